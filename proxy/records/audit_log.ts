/**
 * The audit log: one record per request or tunnel, written in order and never lost while the process lives. What waits for the
 * disk is bounded in bytes: first denials are only counted, then new requests are refused, until it has caught up.
 *
 * Not here: what a record and its line are (`policy/audit_record.ts`), operational messages (`core/log.ts`), where records
 * are kept (`store/audit/store.ts`, `store/audit/file.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import { RECORD_LIMITS } from "../../core/limits.ts";
import { type AuditRecord, boundRecord, sizeOfRecord, type StoredRecord } from "../../policy/audit_record.ts";
import { DenialGate } from "./denial_gate.ts";
import { LastUses, type SecretUse } from "./last_uses.ts";
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
 * settled. Once it rejects, the same records come again, perhaps with some of those after them.
 */
export interface AuditSink {
  write(records: readonly StoredRecord[], way?: WriteWay): Promise<void>;
  /** Does ahead what can be done of writing a record: in one go with many others it would hold up whoever comes then. */
  print?(record: StoredRecord): Printed;
}

/** The lines of a record, in the forms that a sink writes. */
export type Printed = readonly string[];

/** See each field. */
export interface WriteWay {
  /** What {@linkcode AuditSink.print} gave for the first records. */
  readonly printed: readonly Printed[];
  /** To be waited for between two places, so that whoever comes meanwhile waits for one of them at most. */
  readonly pause: () => Promise<void>;
}

/** Where the data plane puts its records. */
export interface AuditTrail {
  /** False while records cannot be written, or not as fast as they come: new requests must be refused then. */
  readonly isWritable: boolean;
  /**
   * Says that something is admitted, with what is known of it: so it has a line even when its thread is lost before it ends.
   * Undefined where the log is lost with the thread.
   *
   * @returns what its record, which must come, has as `opened`
   */
  begin?(record: AuditRecord): number;
  write(record: AuditRecord): void;
}

const RETRY_MS = 1_000;
/**
 * How long after a write the next one waits for more records, and a write to one place for that to the one before it. A write
 * wakes threads of the runtime; one for every request would cost a third of the request (measured at one connection; an
 * eighth at fifty), and three places in one go hold up one request in a hundred for longer than a request takes. A few times
 * that is also what a `kill -9` takes at most. The first record after a rest is written at once, and so is a whole piece.
 */
const GATHER_MS = 8;

/** How much of a piece is printed as it comes: where more waits, the disk is what holds it up. */
const PRINTED_BYTES = 131_072;

/** Records that are written together. */
interface Piece {
  readonly records: StoredRecord[];
  /** Of the first of them. */
  readonly printed: Printed[];
  /** Reckoned. */
  bytes: number;
}

/** Takes records, and hands them on in order. */
export class AuditLog implements AuditTrail, AsyncDisposable {
  readonly #sink: AuditSink;
  readonly #now: () => number;
  readonly #gate: DenialGate;
  /** The oldest first. All but the last are whole. */
  readonly #pieces: Piece[] = [];
  /** With those of a write that is under way. */
  #queued = 0;
  #queuedBytes = 0;
  /** Records so far, those of them that the sink has taken, and those after which nobody waits: it has, or cannot for now. */
  #appended = 0;
  #written = 0;
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
  /** Denials that were counted before they came here. */
  #coalesced = 0;
  readonly #totals = new TrafficTotals();
  readonly #uses = new LastUses();

  constructor(
    options: {
      readonly sink: AuditSink;
      readonly now: () => number;
      readonly deadlines: Deadlines;
    },
  ) {
    this.#sink = options.sink;
    this.#now = options.now;
    this.#gate = new DenialGate({
      deadlines: options.deadlines,
      hasRoom: () => this.#queuedBytes < RECORD_LIMITS.maxQueuedBytes / 2,
      write: (summary) => this.#append(summary),
    });
  }

  get isWritable(): boolean {
    return this.#failed === undefined && this.#queuedBytes < RECORD_LIMITS.maxQueuedBytes;
  }

  get totals(): TrafficFigures {
    return this.#totals.figures();
  }

  /** The last use of a secret since the start. */
  lastUse(secret: string): SecretUse | undefined {
    return this.#uses.of(secret);
  }

  get health(): AuditHealth {
    return {
      isWritable: this.isWritable,
      queued: this.#queued,
      writeFailures: this.#writeFailures,
      coalesced: this.#coalesced + this.#gate.counted,
    };
  }

  write(record: AuditRecord): void {
    const bounded = boundRecord(record);
    this.#totals.add(bounded);
    if (bounded.secret !== undefined) this.#uses.add(bounded, this.#now());
    if (bounded.verdict !== "deny" || this.#gate.admits(bounded)) this.#append(bounded);
  }

  /** Takes records of another thread, which has counted denials as this one does. */
  writeAll(records: readonly AuditRecord[]): void {
    for (const record of records) {
      this.#coalesced += record.repeated ?? 0;
      this.write(record);
    }
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
    this.#gate.flush();
    await this.#hurried(async () => {
      while (this.#writing) await this.#writing;
    });
  }

  /** Flushes, and gives up what a failing sink does not take. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    await this.flush();
  }

  #append(record: AuditRecord): void {
    const bytes = sizeOfRecord(record);
    let piece = this.#pieces.at(-1);
    if (!piece || piece.bytes >= RECORD_LIMITS.maxPieceBytes) {
      piece = { records: [], printed: [], bytes: 0 };
      this.#pieces.push(piece);
    }
    const stored = { ...withoutOpened(record), timeMs: this.#now(), repeated: record.repeated ?? 1 };
    piece.records.push(stored);
    piece.bytes += bytes;
    const printed = piece.bytes <= PRINTED_BYTES ? this.#sink.print?.(stored) : undefined;
    if (printed) piece.printed.push(printed);
    this.#queued++;
    this.#queuedBytes += bytes;
    this.#appended++;
    this.#tellWritable();
    this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // records of the same turn go in one write
    for (let piece = this.#pieces.shift(); piece; piece = this.#pieces.shift()) {
      const isWritten = await this.#writePiece(piece);
      if (isWritten) {
        await this.#gather();
        continue;
      }
      this.#pieces.unshift(piece);
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

  /** Waits for more records, unless somebody waits for those that are here, or they are enough. */
  async #gather(): Promise<void> {
    if (this.#hurrying > 0 || this.#pieces.length > 1) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, GATHER_MS);
    this.#stopGathering = resolve;
    await promise;
    clearTimeout(timer);
  }

  /** False when the sink did not take the records: they wait on. */
  async #writePiece({ records, printed, bytes }: Piece): Promise<boolean> {
    const { length } = records; // more may come into a piece that fails
    try {
      await this.#sink.write(records, { printed, pause: () => this.#gather() });
      this.#failed = undefined;
      this.#attempted = this.#written += length;
      this.#queued -= length;
      this.#queuedBytes -= bytes;
    } catch (error) {
      this.#failed = error;
      this.#writeFailures++;
      this.#attempted = this.#appended;
    }
    this.#tellWritable();
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
}

/** Nobody behind the log knows what it means. Records of this thread have none, and are taken as they are. */
function withoutOpened(record: AuditRecord): AuditRecord {
  if (!("opened" in record)) return record;
  const { opened: _, ...kept } = record;
  return kept;
}
