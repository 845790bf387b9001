/**
 * How long upstreams keep idle connections open: what they say (`Keep-Alive: timeout=`), when they close one, and how long one
 * was seen open. A request that arrives while its upstream closes is lost, and a POST cannot be sent again (RFC 9110 §9.2.2),
 * so connections are not used in the last second before that, and where nothing is known yet POSTs get new ones.
 *
 * Not here: the connections (`pool.ts`).
 *
 * @module
 */
import { RecentMap } from "../../../core/recent_map.ts";
import { type HeaderField, listOf } from "../../message/fields.ts";

/** The request has to arrive before the upstream closes. */
const MARGIN_MS = 1_000;
/** What is closed sooner is closed for another reason: a restart, a limit of requests for a connection. */
const SHORTEST_MS = 1_000;
/** A close may have had another reason all the same, and settings change. */
const REMEMBERED_MS = 600_000;
/** Clients choose the hosts. */
const MAX_PLACES = 1_024;

interface Known {
  readonly announcedMs: number;
  /** The shortest time after which the upstream closed. */
  readonly closedMs: number;
  /** The longest time after which a connection was still open. */
  readonly openMs: number;
  readonly untilMs: number;
}

/** What is known of upstreams. A place is scheme, host and port. */
export class IdleTimes {
  readonly #now: () => number;
  readonly #unknownMs: number;
  readonly #known = new RecentMap<string, Known>(MAX_PLACES);

  /**
   * @param unknownMs how old a connection may be for a request that cannot be replayed where nothing is known
   * @param now milliseconds on any steady clock
   */
  constructor(unknownMs: number, now: () => number) {
    this.#unknownMs = unknownMs;
    this.#now = now;
  }

  /** The upstream says how long it will wait. */
  announced(place: string, announcedMs: number): void {
    this.#learn(place, { announcedMs });
  }

  /** It closed an idle connection. */
  closedAfter(place: string, idleMs: number): void {
    if (idleMs < SHORTEST_MS) return;
    const { closedMs = Infinity, openMs = 0 } = this.#get(place) ?? {};
    this.#learn(place, { closedMs: Math.min(closedMs, idleMs), openMs: Math.min(openMs, idleMs) });
  }

  /** A connection was idle for so long, and open. */
  openAfter(place: string, idleMs: number): void {
    if (idleMs <= this.#unknownMs) return; // most are used again at once
    const { closedMs = Infinity, openMs = 0 } = this.#get(place) ?? {};
    if (idleMs <= openMs) return;
    this.#learn(place, { openMs: idleMs, closedMs: idleMs > closedMs ? Infinity : closedMs });
  }

  /** How long a connection may be idle and be used still; Infinity where nothing is known. */
  longestMs(place: string, nowMs = this.#now()): number {
    const { announcedMs = Infinity, closedMs = Infinity } = this.#get(place, nowMs) ?? {};
    const closesMs = Math.min(announcedMs, closedMs);
    return Math.max(closesMs - MARGIN_MS, Math.min(closesMs, 2 * MARGIN_MS) / 2);
  }

  /** The same for a request that cannot be sent again. */
  freshMs(place: string, nowMs = this.#now()): number {
    const { announcedMs = Infinity, openMs = 0 } = this.#get(place, nowMs) ?? {};
    const keptMs = Math.max(this.#unknownMs, (announcedMs < Infinity ? announcedMs : openMs) - MARGIN_MS);
    return Math.min(keptMs, this.longestMs(place, nowMs));
  }

  #get(place: string, nowMs = this.#now()): Known | undefined {
    const known = this.#known.get(place);
    return known && known.untilMs > nowMs ? known : undefined;
  }

  #learn(place: string, news: Partial<Known>): void {
    const { announcedMs = Infinity, closedMs = Infinity, openMs = 0 } = this.#get(place) ?? {};
    this.#known.set(place, {
      announcedMs,
      closedMs,
      openMs,
      ...news,
      untilMs: this.#now() + REMEMBERED_MS,
    });
  }
}

/** The time-out that a response announces in `Keep-Alive` (RFC 2068 §19.7.1), in milliseconds. */
export function announcedIdleMs(fields: readonly HeaderField[]): number | undefined {
  for (const member of listOf(fields, "keep-alive")) {
    const [name, value = ""] = member.split("=", 2).map((part) => part.trim());
    if (name === "timeout" && /^\d{1,6}$/.test(value)) return Number(value) * 1_000;
  }
  return undefined;
}
