/**
 * Idle upstream connections, kept for the next request of the same client to the same place with the same credential. Each
 * is watched: bytes that nobody asked for, or an end, close it.
 *
 * @module
 */
import type { Deadline, Deadlines } from "../../../core/deadlines.ts";
import { LEAST_SLEEP_MS } from "../../../core/wake_watch.ts";
import type { Limits } from "../../../core/limits.ts";
import { closeQuietly } from "../../streams/byte_reader.ts";
import { type Counts, IDLE_UPSTREAMS, LocalCounts } from "../../records/counts.ts";
import type { Grants } from "../../grants.ts";
import type { Grant } from "../../policy_source.ts";
import type { PlaceInPool, UpstreamConnection } from "../upstream_connection.ts";
import { IdleTimes } from "./idle_times.ts";

/** What must be equal for a connection to be used again. */
export interface PoolKey {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  readonly grant: Grant;
  /** The way to it where that leads through a parent proxy. */
  readonly way?: string | undefined;
}

/** A connection that is idle, or was and may be again: made when it first is. */
class Idle implements PlaceInPool {
  readonly connection: UpstreamConnection;
  readonly name: string;
  readonly place: string;
  readonly counter: string;
  /** Closes it, unless it is in use. */
  readonly discard: () => void;
  since = 0;
  /** The same by the wall clock, which counts while the machine sleeps. */
  sinceWall = 0;
  deadline: Deadline | undefined;
  release: (() => void) | undefined;

  constructor(connection: UpstreamConnection, key: PoolKey, discard: (idle: Idle) => void) {
    this.connection = connection;
    this.name = keyOf(key);
    this.place = `${key.scheme}://${key.host}:${key.port}`;
    this.counter = `${IDLE_UPSTREAMS} ${this.name}`;
    this.discard = () => discard(this);
  }
}

/** The pool. */
export class UpstreamPool {
  readonly #limits: Limits;
  readonly #deadlines: Deadlines;
  readonly #grants: Grants;
  readonly #counts: Counts;
  readonly #now: () => number;
  readonly #wallNow: () => number;
  readonly #times: IdleTimes;
  readonly #idle = new Map<string, Idle[]>();
  /** Connections that were dialled before are not kept. */
  #retiredAt = -Infinity;
  #isClosed = false;

  constructor(options: {
    readonly limits: Limits;
    readonly deadlines: Deadlines;
    readonly grants: Grants;
    readonly counts?: Counts;
    /** Milliseconds on any steady clock. */
    readonly now?: () => number;
    /** Milliseconds since the epoch. */
    readonly wallNow?: () => number;
  }) {
    this.#limits = options.limits;
    this.#deadlines = options.deadlines;
    this.#grants = options.grants;
    this.#counts = options.counts ?? new LocalCounts();
    this.#now = options.now ?? (() => performance.now());
    this.#wallNow = options.wallNow ?? Date.now;
    this.#times = new IdleTimes(options.limits.freshUpstreamMs, this.#now);
  }

  /** How many are idle. */
  get size(): number {
    return this.#counts.of(IDLE_UPSTREAMS);
  }

  /**
   * The most recently used idle connection, or undefined.
   *
   * @param isReplayable whether the request can be sent again should the upstream have closed just now
   */
  take(key: PoolKey, isReplayable: boolean): UpstreamConnection | undefined {
    const idle = this.#idle.get(keyOf(key))?.at(-1);
    if (!idle) return undefined;
    const { place, connection: { reader, stream } } = idle;
    const now = this.#now();
    const idleMs = now - idle.since;
    if (!isReplayable && idleMs > this.#times.freshMs(place, now)) return undefined;
    this.#remove(idle);
    const hasEnded = reader.size > 0 || reader.ended; // just now, and its watcher has not run yet
    // Before anything else has noticed that the machine slept.
    const hasSlept = this.#wallNow() - idle.sinceWall - idleMs >= LEAST_SLEEP_MS;
    if (hasEnded || hasSlept || idleMs > this.#times.longestMs(place, now)) {
      closeQuietly(stream);
      return undefined;
    }
    this.#times.openAfter(place, idleMs);
    idle.connection.isReused = true;
    return idle.connection;
  }

  /**
   * Keeps a connection whose last response was read to its end, or closes it.
   *
   * @param announcedMs for how long the upstream says that it will keep it
   */
  put(key: PoolKey, connection: UpstreamConnection, announcedMs?: number): void {
    const known = connection.kept; // it was taken by an equal key, if it was here before
    const idle = known instanceof Idle ? known : new Idle(connection, key, (idle) => this.#discard(idle));
    connection.kept = idle;
    const { name, place, counter } = idle;
    if (announcedMs !== undefined) this.#times.announced(place, announcedMs);
    const now = this.#now();
    const mostMs = Math.min(this.#limits.idleUpstreamTimeoutMs, this.#times.longestMs(place, now));
    const list = this.#idle.get(name) ?? [];
    const isRetired = connection.dialledAt < this.#retiredAt;
    const isFull = this.size >= this.#limits.maxIdleUpstream ||
      this.#counts.of(counter) >= this.#limits.maxIdleUpstreamPerKey;
    if (
      this.#isClosed || isRetired || isFull || mostMs <= 0 || connection.reader.size > 0 ||
      connection.reader.ended
    ) {
      closeQuietly(connection.stream);
      return;
    }
    idle.since = now;
    idle.sinceWall = this.#wallNow();
    if (idle.deadline) idle.deadline.restart(mostMs);
    else idle.deadline = this.#deadlines.start(mostMs, () => this.#onDue(idle));
    list.push(idle);
    this.#idle.set(name, list);
    this.#countIdle(idle, 1);
    connection.reader.rest();
    connection.reader.readAhead(() => this.#onRead(idle));
    idle.release = this.#grants.hold(key.grant, idle.discard);
  }

  /** Bytes that nobody asked for, or the end; the answer to its next request where it is in use by now. */
  #onRead(idle: Idle): void {
    const isInUse = !this.#idle.get(idle.name)?.includes(idle);
    if (!isInUse && idle.connection.reader.size === 0) {
      this.#times.closedAfter(idle.place, this.#now() - idle.since);
    }
    this.#discard(idle);
  }

  #onDue(idle: Idle): void {
    this.#times.openAfter(idle.place, this.#now() - idle.since);
    this.#discard(idle);
  }

  #discard(idle: Idle): void {
    if (this.#remove(idle)) closeQuietly(idle.connection.stream);
  }

  /** Closes what is idle, and keeps nothing of what is in use now: what was true when it was dialled may be so no more. */
  retire(): void {
    this.#retiredAt = performance.now();
    this.#closeAll();
  }

  close(): void {
    this.#isClosed = true;
    this.#closeAll();
  }

  #closeAll(): void {
    for (const list of [...this.#idle.values()]) {
      for (const idle of [...list]) {
        this.#discard(idle);
      }
    }
  }

  #countIdle({ counter }: PlaceInPool, change: 1 | -1): void {
    this.#counts.add(IDLE_UPSTREAMS, change);
    this.#counts.add(counter, change);
  }

  /** False when it is in use, or gone already. */
  #remove(idle: Idle): boolean {
    const { name } = idle;
    const list = this.#idle.get(name);
    const at = list?.indexOf(idle) ?? -1;
    if (!list || at < 0) return false;
    if (at === list.length - 1) list.pop(); // the one that is taken
    else list.splice(at, 1);
    if (list.length === 0) this.#idle.delete(name);
    this.#countIdle(idle, -1);
    idle.deadline?.stop();
    idle.release?.();
    return true;
  }
}

/**
 * The rule's host pattern belongs to it: a rule that names the host exactly may reach a private address, and a connection
 * to that must not serve a request under `*`.
 */
export function keyOf({ scheme, host, port, way, grant: { client, rule, credential } }: PoolKey): string {
  const who = `${client.name}\n${client.version}\n${rule?.host ?? ""}`;
  const what = credential ? `${credential.secret}\n${credential.version}` : "\n";
  return `${who}\n${what}\n${scheme}\n${host}\n${port}\n${way ?? ""}`;
}
