/**
 * The audit log: one record per request or tunnel, written in order and never lost while the process lives.
 *
 * Not here: what a record and its line are (`policy/audit_record.ts`), operational messages (`core/log.ts`), where records
 * are kept (`store/audit_store.ts`, `store/audit_file.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import { type AuditRecord, formatRecord, type StoredRecord } from "../../policy/audit_record.ts";
import { type TrafficFigures, TrafficTotals } from "./traffic_totals.ts";

/** How the log itself does. The counts never fall. */
export interface AuditHealth {
  readonly isWritable: boolean;
  /** Records that wait to be written. */
  readonly queued: number;
  readonly writeFailures: number;
  /** Denials without a line of their own: a later line counts them. */
  readonly coalesced: number;
}

/**
 * Where records go. `write` resolves when they are handed to the operating system; it is not called again before it has
 * settled. Once it rejects, the same records come again, with those after them.
 */
export interface AuditSink {
  write(records: readonly StoredRecord[]): Promise<void>;
}

/** Where the data plane puts its records. */
export interface AuditTrail {
  /** False while records cannot be written, or not as fast as they come: new requests must be refused then. */
  readonly isWritable: boolean;
  write(record: AuditRecord): void;
}

/** Identical denials beyond the first few of a window are counted, not written: a loop in a VM must not fill a disk. */
const REPEAT_WINDOW_MS = 10_000;
const REPEATS_WRITTEN = 5;
const MAX_REPEAT_KEYS = 1_024;
/** While that many wait, new requests are refused: the sink is slower than they come, or stands still. */
const MAX_BEHIND = 50_000;
/** What may wait at all. Requests that were admitted before end here too; beyond this the oldest are given up. */
const MAX_QUEUED = 100_000;
const GIVEN_UP_AT_ONCE = 1_000; // taking one at a time off so long an array costs more than writing it
const RETRY_MS = 1_000;
/**
 * How long after a write the next one waits for more records. A write wakes threads of the runtime; one for every request
 * would cost a third of the request (measured at one connection; an eighth at fifty). It is also what a `kill -9` takes at
 * most. The first record after a rest is written at once.
 */
const GATHER_MS = 10;

/** Takes records, and hands them on in order. */
export class AuditLog implements AuditTrail, AsyncDisposable {
  readonly #sink: AuditSink;
  readonly #now: () => number;
  readonly #deadlines: Deadlines;
  readonly #repeats = new Map<
    string,
    { record: AuditRecord; written: number; pending: number; stop: () => void }
  >();
  #queue: StoredRecord[] = [];
  /** Records so far, and those of them that were handed to the sink, whether or not it took them. */
  #appended = 0;
  #attempted = 0;
  #attempt = Promise.withResolvers<void>();
  #writing: Promise<void> | undefined;
  /** How many wait for records to be written: until then nothing waits for more records. */
  #hurrying = 0;
  #stopGathering = () => {};
  #failed: unknown;
  #wasWritable = true;
  #isClosing = false;
  /** Is told when {@linkcode isWritable} changes. */
  onWritable: (isWritable: boolean) => void = () => {};
  #writeFailures = 0;
  #coalesced = 0;
  readonly #totals = new TrafficTotals();

  constructor(
    options: {
      readonly sink: AuditSink;
      readonly now: () => number;
      readonly deadlines: Deadlines;
    },
  ) {
    this.#sink = options.sink;
    this.#now = options.now;
    this.#deadlines = options.deadlines;
  }

  get isWritable(): boolean {
    return this.#failed === undefined && this.#queue.length < MAX_BEHIND;
  }

  get totals(): TrafficFigures {
    return this.#totals.figures();
  }

  get health(): AuditHealth {
    return {
      isWritable: this.isWritable,
      queued: this.#queue.length,
      writeFailures: this.#writeFailures,
      coalesced: this.#coalesced,
    };
  }

  write(record: AuditRecord): void {
    this.#totals.add(record);
    if (record.verdict !== "deny" || !this.#coalesce(record)) this.#append(record);
  }

  /** Resolves when the records so far are written, or cannot be for now. What is being coalesced stays so. */
  async written(): Promise<void> {
    const count = this.#appended;
    await this.#hurried(async () => {
      while (this.#attempted < count) await this.#attempt.promise;
    });
  }

  /** Resolves when everything so far is written, or cannot be. */
  async flush(): Promise<void> {
    for (const key of [...this.#repeats.keys()]) this.#endWindow(key);
    await this.#hurried(async () => {
      while (this.#writing) await this.#writing;
    });
  }

  /** Flushes, and gives up what a failing sink does not take. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    await this.flush();
  }

  #append(record: AuditRecord, repeated = 1): void {
    if (this.#queue.length >= MAX_QUEUED) this.#queue.splice(0, GIVEN_UP_AT_ONCE);
    this.#queue.push({ ...record, timeMs: this.#now(), repeated });
    this.#appended++;
    this.#tellWritable();
    this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // records of the same turn go in one write
    while (this.#queue.length > 0) {
      const isWritten = await this.#writeQueue();
      if (isWritten) {
        if (this.#hurrying === 0) await this.#gather();
        continue;
      }
      if (this.#isClosing) break;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.#writing = undefined;
  }

  async #hurried(wait: () => Promise<void>): Promise<void> {
    this.#hurrying++;
    this.#stopGathering();
    await wait();
    this.#hurrying--;
  }

  async #gather(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, GATHER_MS);
    this.#stopGathering = resolve;
    await promise;
    clearTimeout(timer);
  }

  /** False when the sink did not take the records: they wait on. */
  async #writeQueue(): Promise<boolean> {
    const records = this.#queue;
    const upTo = this.#appended;
    this.#queue = [];
    try {
      await this.#sink.write(records);
      this.#failed = undefined;
    } catch (error) {
      this.#failed = error;
      this.#writeFailures++;
      this.#queue = [...records, ...this.#queue];
    }
    this.#tellWritable();
    this.#attempted = upTo;
    this.#attempt.resolve();
    this.#attempt = Promise.withResolvers();
    return this.#failed === undefined;
  }

  #tellWritable(): void {
    const { isWritable } = this;
    if (isWritable === this.#wasWritable) return;
    this.#wasWritable = isWritable;
    this.onWritable(isWritable);
  }

  /** True when the record was counted instead of written. */
  #coalesce(record: AuditRecord): boolean {
    const key = formatRecord(record, "text", 0);
    const known = this.#repeats.get(key);
    if (known) {
      if (known.written++ < REPEATS_WRITTEN) return false;
      known.pending++;
      this.#coalesced++;
      return true;
    }
    if (this.#repeats.size >= MAX_REPEAT_KEYS) return false;
    const deadline = this.#deadlines.start(REPEAT_WINDOW_MS, () => this.#endWindow(key));
    this.#repeats.set(key, { record, written: 1, pending: 0, stop: () => deadline.stop() });
    return false;
  }

  #endWindow(key: string): void {
    const known = this.#repeats.get(key);
    this.#repeats.delete(key);
    known?.stop();
    if (known && known.pending > 0) this.#append(known.record, known.pending);
  }
}
