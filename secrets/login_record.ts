/**
 * One login as it is stored: each change is a compare-and-set on the version and the value that this host knows.
 *
 * In a fleet the mark that a renewal is under way is a lease as well: one host renews a login at a time, and the others wait for
 * what it gets. A lease ends by the store's clock, so that it outlives no host that died with it for long. Whoever has it looks
 * right before it asks the provider whether it has it still; and what it got is committed only if nobody has renewed the login
 * meanwhile, and nobody else is at it: all of that is one transaction.
 *
 * Not here: what the value means, and when it is renewed (`login.ts`).
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { isProxyError } from "../core/errors.ts";
import type { SecretRecord, SecretUpdate } from "../store/records.ts";
import { RenewalFailure } from "./token_answer.ts";

/** A lease is so many times as long as a renewal may take: whoever has it stops asking well before it ends. */
const LEASE_OF_LIMIT = 1.5;

/** What a {@linkcode LoginRecord} works with. */
export interface LoginRecordParts {
  readonly clock: Clock;
  /** How long a renewal may take. */
  readonly limitMs: number;
  /** See `State.updateSecret`. */
  readonly update: (name: string, update: SecretUpdate) => Promise<SecretRecord | undefined>;
}

/** A secret and its value. */
export interface StoredSecret {
  readonly record: SecretRecord;
  readonly value: string;
}

/** See the module. */
export class LoginRecord {
  readonly #parts: LoginRecordParts;
  #record: SecretRecord;
  /** What is stored, as this host knows it: what it changes is a change of that. */
  #value: string;
  /** What this host is about to store. */
  #storing: string | undefined;
  /** Resolves when another host has changed the value. */
  #changed = Promise.withResolvers<void>();
  /** This host's lease, in a fleet, and when it was asked for. */
  #lease: { readonly id: string; readonly sinceMs: number; readonly sinceMonotonic: number } | undefined;
  /** The lease that was asked for and may be this host's without its knowing: the store stopped answering. */
  #askedLease: string | undefined;

  constructor(parts: LoginRecordParts, { record, value }: StoredSecret) {
    this.#parts = parts;
    this.#record = record;
    this.#value = value;
  }

  get record(): SecretRecord {
    return this.#record;
  }

  get value(): string {
    return this.#value;
  }

  /** Takes what is stored by now. @returns whether another host has changed the value */
  follow({ record, value }: StoredSecret): boolean {
    this.#record = record;
    if (value === this.#value || value === this.#storing) return false;
    this.#value = value;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    return true;
  }

  /**
   * Stores a change.
   *
   * @throws RenewalFailure when the secret was replaced or deleted; ProxyError `input.conflict`, `state.*`
   */
  async update(change: Omit<SecretUpdate, "ifVersion">): Promise<void> {
    const { version, name } = this.#record;
    const lease = this.#lease && { id: this.#lease.id };
    const update = { ifVersion: version, ifValue: this.#value, ...(lease ? { lease } : {}), ...change };
    this.#storing = change.value;
    try {
      const record = await this.#parts.update(name, update);
      if (!record) throw new RenewalFailure("the secret was replaced or deleted");
      this.#record = record;
      if (change.value !== undefined) this.#value = change.value;
      this.#lease = undefined; // any change ends it
    } finally {
      this.#storing = undefined;
    }
  }

  /**
   * Marks on the disk that a renewal is under way; in a fleet, that it is this host's.
   *
   * @returns 0, or for how many milliseconds it is another host's
   */
  async begin(): Promise<number> {
    const { clock, limitMs } = this.#parts;
    const [sinceMs, sinceMonotonic] = [clock.now(), clock.monotonic()];
    const id = this.#lease?.id ?? this.#askedLease ?? crypto.randomUUID();
    this.#askedLease = id;
    try {
      await this.update({ refreshingSince: sinceMs, lease: { id, forMs: limitMs * LEASE_OF_LIMIT } });
    } catch (error) {
      if (!isProxyError(error, "input.conflict")) throw error;
      this.#askedLease = undefined; // another's
      return (error.retryAfterSeconds ?? 1) * 1_000;
    }
    this.#askedLease = undefined;
    if (this.#record.lease === id) this.#lease = { id, sinceMs, sinceMonotonic }; // a host alone has none
    return 0;
  }

  /**
   * False once another host may have the lease. A process or a machine that was stopped meanwhile finds that out by one of its two
   * clocks: one goes on while a process is stopped, the other while a machine sleeps.
   */
  holdsLease(): boolean {
    if (!this.#lease) return true;
    const { clock, limitMs } = this.#parts;
    const { sinceMs, sinceMonotonic } = this.#lease;
    return Math.max(clock.now() - sinceMs, clock.monotonic() - sinceMonotonic) < limitMs;
  }

  /** Waits until the value is another than `before`, no longer than `waitMs` and not beyond the signal. */
  async change(
    { before, waitMs }: { readonly before: string; readonly waitMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#value !== before || signal.aborted) return; // the look at the store has brought it
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort);
    await Promise.race([this.#changed.promise, over]);
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
