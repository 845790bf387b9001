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
  /** What words of rules saw of it: `words/says.ts`. */
  readonly says?: string | undefined;
  /** It was a gRPC call, and was answered as one. */
  readonly isGrpc?: boolean | undefined;
  /** Why it was denied. */
  readonly reason: Reason;
  /** How often. */
  readonly count: number;
  /** Epoch milliseconds. */
  readonly lastMs: number;
}

/** What is remembered, 200 bytes or so each. A run that asks for more is looked at in parts. */
const MAX_DENIALS = 1_000;
/** Characters of all of them: a path may be as long as a request's head. */
const MAX_CHARS = 4_194_304;

/** Counts one client's denials. */
export class DenialTally {
  readonly #client: string;
  readonly #max: number;
  readonly #maxChars: number;
  /** By what was asked for. Least recently seen first. */
  readonly #denials = new Map<string, Denial>();
  #chars = 0;
  #forgotten = 0;

  /**
   * An empty tally.
   *
   * @param client whose denials count
   * @param max different requests, of which the latest are kept
   * @param maxChars how many characters these may have
   */
  constructor(client: string, max: number = MAX_DENIALS, maxChars: number = MAX_CHARS) {
    this.#client = client;
    this.#max = max;
    this.#maxChars = maxChars;
  }

  /**
   * Counts a record when it is a denial of this client. A record without a credential (`auth=none`) is nobody's: what
   * anyone on the network can cause must not become a rule.
   */
  add(record: StoredRecord): void {
    const { client, auth, verdict, method, host, port, path, says, reason, repeated, timeMs } = record;
    const isGrpc = record.grpcStatus === undefined ? undefined : true;
    if (verdict !== "deny" || client !== this.#client || auth === "none" || reason === undefined) return;
    const key = JSON.stringify([method, host, port, path, says, isGrpc, reason]);
    const known = this.#denials.get(key);
    if (!known) this.#chars += key.length;
    this.#denials.delete(key);
    this.#denials.set(key, {
      method,
      host,
      port,
      path,
      says,
      ...(isGrpc ? { isGrpc } : {}),
      reason,
      count: (known?.count ?? 0) + repeated,
      lastMs: Math.max(known?.lastMs ?? 0, timeMs),
    });
    for (const [oldest, { count }] of this.#denials) {
      if (this.#denials.size <= this.#max && this.#chars <= this.#maxChars) return;
      this.#denials.delete(oldest);
      this.#chars -= oldest.length;
      this.#forgotten += count;
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
