/**
 * Records as they are written, for whoever follows. A follower that reads too slowly waits for nobody and nobody waits
 * for it: beyond its bound, records are counted instead of kept.
 *
 * Not here: records of the past (`reader.ts`).
 *
 * @module
 */
import type { RecordFilter, StoredRecord } from "../../policy/audit_record.ts";
import { matchesRecord } from "../../policy/record_filter.ts";

/** Records that wait for one follower. All followers share the records themselves. */
const MAX_WAITING = 10_000;

/** Characters that wait for one follower: paths and queries may be as long as a request's head. */
const MAX_WAITING_CHARS = 8_388_608;

/** Stands in the place of records that came while a follower had too many waiting. */
export interface Missed {
  readonly missed: number;
}

/** Hands records on to followers. */
export class AuditFeed {
  readonly #maxWaiting: number;
  readonly #followers = new Set<Follower>();

  constructor(maxWaiting = MAX_WAITING) {
    this.#maxWaiting = maxWaiting;
  }

  publish(records: readonly StoredRecord[]): void {
    for (const follower of this.#followers) follower.add(records);
  }

  /**
   * Every record that is published after this call, until `signal` aborts, the feed is closed or the reader stops: what
   * waits is given up then.
   */
  follow(filter: RecordFilter, signal: AbortSignal): AsyncIterableIterator<StoredRecord | Missed> {
    const follower = new Follower(filter, this.#maxWaiting, () => {
      this.#followers.delete(follower);
      signal.removeEventListener("abort", end);
    });
    const end = () => follower.end();
    this.#followers.add(follower);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
    return follower;
  }

  close(): void {
    for (const follower of this.#followers) follower.end();
  }
}

/** What waits for one reader, who reads one after the other. */
class Follower implements AsyncIterableIterator<StoredRecord | Missed> {
  readonly #filter: RecordFilter;
  readonly #maxWaiting: number;
  readonly #onEnd: () => void;
  #waiting: (StoredRecord | undefined)[] = [];
  #waitingChars = 0;
  #taken = 0;
  #missed = 0;
  #hasEnded = false;
  #wake: (() => void) | undefined;

  constructor(filter: RecordFilter, maxWaiting: number, onEnd: () => void) {
    this.#filter = filter;
    this.#maxWaiting = maxWaiting;
    this.#onEnd = onEnd;
  }

  add(records: readonly StoredRecord[]): void {
    for (const record of records) {
      if (!matchesRecord(record, this.#filter)) continue;
      // Once behind, all is missed until the reader has caught up: one gap that says its size instead of many.
      if (this.#missed > 0 || !this.#hasRoom()) {
        this.#missed++;
        continue;
      }
      this.#waiting.push(record);
      this.#waitingChars += charsOf(record);
    }
    this.#wake?.();
  }

  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#waiting = [];
    this.#onEnd();
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<StoredRecord | Missed, undefined>> {
    for (;;) {
      if (this.#hasEnded) return { done: true, value: undefined };
      const value = this.#take();
      if (value !== undefined) return { done: false, value };
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = undefined;
    }
  }

  return(): Promise<IteratorResult<StoredRecord | Missed, undefined>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #hasRoom(): boolean {
    return this.#waiting.length - this.#taken < this.#maxWaiting && this.#waitingChars < MAX_WAITING_CHARS;
  }

  #take(): StoredRecord | Missed | undefined {
    const record = this.#waiting[this.#taken];
    if (record) {
      this.#waiting[this.#taken++] = undefined;
      this.#waitingChars -= charsOf(record);
      // A reader who keeps up, but never quite, would have the array grow for as long as it reads.
      if (this.#taken >= this.#maxWaiting) {
        this.#waiting.splice(0, this.#taken);
        this.#taken = 0;
      }
      return record;
    }
    this.#waiting = [];
    this.#taken = 0;
    if (this.#missed === 0) return undefined;
    const missed = { missed: this.#missed };
    this.#missed = 0;
    return missed;
  }
}

/** What of a record has no bound of its own that is far smaller. */
function charsOf({ path = "", query = "", says = "" }: StoredRecord): number {
  return path.length + query.length + says.length;
}
