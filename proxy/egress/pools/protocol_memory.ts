/**
 * What upstreams have said about the protocols that they speak, so that later tunnels need not ask again.
 *
 * @module
 */
import { formatHostPort, type HostPort } from "../../../core/host_port.ts";
import { RecentMap } from "../../../core/recent_map.ts";
import type { Alpn } from "../upstream_connection.ts";

/** Clients may name places without end; one that was forgotten costs a dial that its first request needs anyway. */
const MAX_REMEMBERED = 4_096;
/** Servers change their settings now and then. */
const REMEMBERED_MS = 600_000;

interface Known {
  /** By offer, of which there are few. */
  readonly picks: Map<string, { readonly protocol: Alpn; readonly untilMs: number }>;
  extendedConnect: { readonly untilMs: number } | undefined;
}

/** See the module. */
export class ProtocolMemory {
  readonly #now: () => number;
  readonly #known = new RecentMap<string, Known>(MAX_REMEMBERED);

  /** @param now milliseconds on any steady clock */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** What it picks of an offer, as far as it is known. */
  pickOf(place: HostPort, offer: readonly Alpn[]): Alpn | undefined {
    const pick = this.#known.get(formatHostPort(place))?.picks.get(offer.join());
    return pick && pick.untilMs > this.#now() ? pick.protocol : undefined;
  }

  /** True when it is known to take Extended CONNECT (RFC 8441). */
  hasExtendedConnect(place: HostPort): boolean {
    const untilMs = this.#known.get(formatHostPort(place))?.extendedConnect?.untilMs ?? 0;
    return untilMs > this.#now();
  }

  notePick(place: HostPort, offer: readonly Alpn[], protocol: Alpn): void {
    this.#of(place).picks.set(offer.join(), { protocol, untilMs: this.#now() + REMEMBERED_MS });
  }

  noteExtendedConnect(place: HostPort, has: boolean): void {
    this.#of(place).extendedConnect = has ? { untilMs: this.#now() + REMEMBERED_MS } : undefined;
  }

  /** At the first sign that it may speak otherwise by now: the next tunnel asks again. */
  forget(place: HostPort): void {
    this.#known.delete(formatHostPort(place));
  }

  #of(place: HostPort): Known {
    const key = formatHostPort(place);
    const known = this.#known.get(key) ?? { picks: new Map(), extendedConnect: undefined };
    this.#known.set(key, known);
    return known;
  }
}
