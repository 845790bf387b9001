/**
 * Answers of name servers, each for the time that it is good for, and some of them a while longer for when no server answers.
 * When there are too many, the one goes that was not used for longest by the client with the most of them: who asks for a
 * million names loses these.
 *
 * @module
 */
import type { DnsRecord } from "../../../core/dns_record.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import { FailedLookup } from "./failed_lookup.ts";

/** What is known of one name and type. */
export type Answer =
  | {
    readonly addresses: readonly string[];
    readonly records: readonly DnsRecord[];
    /** It is another name's alias, which has to be asked for. */
    readonly alias?: string;
  }
  | FailedLookup;

interface Entry {
  readonly key: string;
  readonly answer: Answer;
  readonly client: string;
  /** Monotonic milliseconds. */
  readonly endsAt: number;
  /** Until then it is better than nothing. */
  readonly staleUntil: number;
}

/** The answers of one thread. */
export class AnswerCache {
  readonly #now: () => number;
  readonly #capacity: number;
  readonly #entries = new Map<string, Entry>();
  /** Whose first question it was: the keys in the order of use, oldest first. */
  readonly #byClient = new Map<string, Set<string>>();

  /** @param now monotonic milliseconds */
  constructor(now: () => number, capacity: number = NAME_LIMITS.maxAnswers) {
    this.#now = now;
    this.#capacity = capacity;
  }

  /** How many there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** Forgets all of them: their times were measured by a clock that stood still while the machine slept. */
  clear(): void {
    this.#entries.clear();
    this.#byClient.clear();
  }

  /** An answer that is still good. */
  get(key: string): Answer | undefined {
    const entry = this.#entries.get(key);
    if (!entry || entry.endsAt <= this.#now()) return undefined;
    const ofClient = this.#byClient.get(entry.client);
    ofClient?.delete(key);
    ofClient?.add(key);
    return entry.answer;
  }

  /** Where no server answers: an answer whose time is over, but not for long. Never that nobody knew one. */
  getStale(key: string): Answer | undefined {
    const entry = this.#entries.get(key);
    return entry && entry.staleUntil > this.#now() ? entry.answer : undefined;
  }

  /** Keeps what a server said for `ttlSeconds`. */
  set(key: string, client: string, answer: Answer, ttlSeconds: number): void {
    const endsAt = this.#now() + ttlSeconds * 1_000;
    const isUnknown = answer instanceof FailedLookup && answer.isUnknown;
    const staleUntil = isUnknown ? -Infinity : endsAt + NAME_LIMITS.maxStaleSeconds * 1_000;
    this.#put({ key, answer, client, endsAt, staleUntil });
  }

  /** Uses an answer whose time is over for a while. Its end as such stays. */
  renewStale(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    const endsAt = this.#now() + NAME_LIMITS.staleTtlSeconds * 1_000;
    this.#put({ ...entry, endsAt: Math.min(endsAt, entry.staleUntil) });
  }

  #put(entry: Entry): void {
    this.#remove(entry.key);
    this.#entries.set(entry.key, entry);
    this.#byClient.set(entry.client, (this.#byClient.get(entry.client) ?? new Set()).add(entry.key));
    if (this.#entries.size <= this.#capacity) return;
    let most: ReadonlySet<string> = new Set();
    for (const keys of this.#byClient.values()) if (keys.size > most.size) most = keys;
    const [oldest] = most;
    if (oldest !== undefined) this.#remove(oldest);
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    const ofClient = this.#byClient.get(entry.client);
    ofClient?.delete(key);
    if (ofClient?.size === 0) this.#byClient.delete(entry.client);
  }
}
