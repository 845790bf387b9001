/**
 * Counters by key: how much of something is in use. Where several threads share a limit, they share these.
 *
 * @module
 */

/** A key that was never counted is at 0. */
export interface Counts {
  of(key: string): number;
  /** Others that share the counters see it at once. */
  add(key: string, change: number): void;
}

/** The counters of one thread. A key disappears at 0. */
export class LocalCounts implements Counts {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, change: number): void {
    const count = this.of(key) + change;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}

/** The keys of what is counted for `status` beside the limits. */
export const CONNECTIONS = "connection";
export const TUNNELS = "tunnel";
export const IDLE_UPSTREAMS = "idle upstream";

/** What these counters say is open. */
export function countersIn(counts: Counts) {
  return {
    connections: counts.of(CONNECTIONS),
    openTunnels: counts.of(TUNNELS),
    idleUpstreams: counts.of(IDLE_UPSTREAMS),
  };
}
