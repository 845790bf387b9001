/**
 * The denials of one client, counted by what was asked for: what `suggest.ts` makes rules from. A log may hold millions
 * of lines, and a client can ask for something new in each, so only so many different requests are remembered.
 *
 * Not here: what a denial is worth (`suggest.ts`), and where records come from.
 *
 * @module
 */
import type { StoredRecord } from "./audit_record.ts";
import type { Reason } from "./reason.ts";

/** One thing that was asked for and denied, however often. */
export interface Denial {
  /** `CONNECT`, `SOCKS5`, `SOCKS4` or `DNS` where no request was seen. */
  readonly method?: string | undefined;
  /** Canonical. Absent when the request could not be read. */
  readonly host?: string | undefined;
  /** Absent for a look-up of a name. */
  readonly port?: number | undefined;
  /** Without the query. Absent for a tunnel. */
  readonly path?: string | undefined;
  /** Why it was denied. */
  readonly reason: Reason;
  /** How often. */
  readonly count: number;
  /** Epoch milliseconds. */
  readonly lastMs: number;
}

/** What is remembered, 200 bytes or so each. A run that asks for more is looked at in parts. */
const MAX_DENIALS = 1_000;

/** Counts one client's denials. */
export class DenialTally {
  readonly #client: string;
  readonly #max: number;
  /** Least recently seen first. */
  readonly #denials = new Map<string, Denial>();
  #forgotten = 0;

  /**
   * An empty tally.
   *
   * @param client whose denials count
   * @param max different requests, of which the latest are kept
   */
  constructor(client: string, max: number = MAX_DENIALS) {
    this.#client = client;
    this.#max = max;
  }

  /**
   * Counts a record when it is a denial of this client. A record without a credential (`auth=none`) is nobody's: what
   * anyone on the network can cause must not become a rule.
   */
  add(record: StoredRecord): void {
    const { client, auth, verdict, method, host, port, path, reason, repeated, timeMs } = record;
    if (verdict !== "deny" || client !== this.#client || auth === "none" || reason === undefined) return;
    const key = JSON.stringify([method, host, port, path, reason]);
    const known = this.#denials.get(key);
    this.#denials.delete(key);
    this.#denials.set(key, {
      method,
      host,
      port,
      path,
      reason,
      count: (known?.count ?? 0) + repeated,
      lastMs: Math.max(known?.lastMs ?? 0, timeMs),
    });
    if (this.#denials.size <= this.#max) return;
    for (const [oldest, { count }] of this.#denials) {
      this.#denials.delete(oldest);
      this.#forgotten += count;
      return;
    }
  }

  /** What was counted, least recently seen first. */
  get denials(): readonly Denial[] {
    return [...this.#denials.values()];
  }

  /** How many requests were counted and then dropped for later ones. */
  get forgotten(): number {
    return this.#forgotten;
  }
}
