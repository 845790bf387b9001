/**
 * A worker's side of the audit log: records go to the main thread in batches, and what waits for it there is bounded. While
 * much waits denials are only counted, and beyond that new requests are refused, until it has caught up.
 *
 * Not here: the log itself (`proxy/records/audit_log.ts`), what is left of a worker that is lost (`shared_exchanges.ts`).
 *
 * @module
 */
import { Deadlines } from "../core/deadlines.ts";
import { RECORD_LIMITS } from "../core/limits.ts";
import { type AuditRecord, boundRecord, sizeOfRecord } from "../policy/audit_record.ts";
import type { AuditTrail } from "../proxy/records/audit_log.ts";
import { DenialGate } from "../proxy/records/denial_gate.ts";
import { NO_SLOT, type SharedExchanges } from "./shared_exchanges.ts";

/** How long records wait for others, so that they cross to the main thread together. */
const GATHER_MS = 5;

/** What crosses at once. */
interface Batch {
  readonly records: AuditRecord[];
  /** Reckoned. */
  bytes: number;
}

/** See {@linkcode RecordSender}. */
export interface RecordSenderParts {
  /** A message to the main thread. It never fails, and is taken in order. */
  readonly send: (records: readonly AuditRecord[]) => void;
  readonly exchanges: SharedExchanges;
  /** Whether the main thread can write the log. */
  readonly isWritable: () => boolean;
}

/** Takes a worker's records. */
export class RecordSender implements AuditTrail {
  readonly #parts: RecordSenderParts;
  /** Counts floods where they arrive, so that they neither cross to the main thread nor wait for it. */
  readonly #gate: DenialGate;
  #batch: Batch = { records: [], bytes: 0 };
  #gathering: ReturnType<typeof setTimeout> | undefined;
  /** Batches that the main thread has not taken, the oldest first. */
  readonly #sent: { readonly bytes: number; readonly slots: readonly number[] }[] = [];
  /** Of all records that it has not taken. */
  #waitingBytes = 0;
  /** Slots that were used and are empty; the last one is used again first, so that few of them take memory. */
  readonly #emptySlots: number[] = [];
  #usedSlots = 0;

  constructor(parts: RecordSenderParts) {
    this.#parts = parts;
    this.#gate = new DenialGate({
      deadlines: new Deadlines(),
      hasRoom: () => this.#waiting() < RECORD_LIMITS.maxUntakenBytes / 2,
      // Counted already, one by one, and of no slot: the record that it is like may have left its own to another.
      write: (summary) => this.#gather({ ...summary, opened: undefined }),
    });
  }

  get isWritable(): boolean {
    return this.#waiting() < RECORD_LIMITS.maxUntakenBytes && this.#parts.isWritable();
  }

  begin(record: AuditRecord): number {
    const { exchanges } = this.#parts;
    this.#waiting();
    const slot = this.#emptySlots.pop() ??
      (this.#usedSlots < RECORD_LIMITS.openSlots ? this.#usedSlots++ : undefined);
    if (slot !== undefined) {
      if (exchanges.fill(slot, record)) return slot;
      this.#emptySlots.push(slot);
    }
    exchanges.count({ verdict: "allow" });
    return NO_SLOT;
  }

  write(record: AuditRecord): void {
    const bounded = boundRecord(record);
    const { exchanges } = this.#parts;
    if (bounded.verdict === "deny" && !this.#gate.admits(bounded)) {
      exchanges.count(bounded);
      if (bounded.opened === undefined) return;
      exchanges.leave(bounded.opened);
      if (bounded.opened !== NO_SLOT) this.#emptySlots.push(bounded.opened);
      return;
    }
    if (bounded.opened === undefined) exchanges.count(bounded);
    this.#gather(bounded);
  }

  /** Sends the records that wait. What is being counted stays so. */
  flush(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    const { records, bytes } = this.#batch;
    if (records.length === 0) return;
    const slots = records.flatMap(({ opened = NO_SLOT }) => opened === NO_SLOT ? [] : [opened]);
    this.#sent.push({ bytes, slots });
    this.#parts.send(records);
    this.#batch = { records: [], bytes: 0 };
  }

  /** Sends all there is, for nothing comes after it. */
  end(): void {
    this.#gate.flush();
    this.flush();
  }

  #gather(record: AuditRecord): void {
    const bytes = sizeOfRecord(record);
    this.#batch.records.push(record);
    this.#batch.bytes += bytes;
    this.#waitingBytes += bytes;
    this.#gathering ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  /** How much waits, after a look at what was taken. */
  #waiting(): number {
    for (let taken = this.#parts.exchanges.takenBatches(); taken > 0; taken--) {
      const batch = this.#sent.shift();
      if (!batch) break;
      this.#waitingBytes -= batch.bytes;
      this.#emptySlots.push(...batch.slots);
    }
    return this.#waitingBytes;
  }
}
