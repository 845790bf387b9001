/**
 * What a worker has admitted and not yet accounted for, in memory that outlives it: when it is lost, the main thread knows from
 * here what has no line in the audit log. An exchange that begins takes a slot, which the main thread empties when it has the
 * record of its end: what a slot holds then has no other line, whatever was on its way when the worker died. Beside the slots
 * there are counts, of exchanges that found none and of records without one.
 *
 * It is also the worker's credit: how many batches of its records were taken is told here, without a message.
 *
 * Not here: the worker's side, which chooses slots (`record_sender.ts`).
 *
 * @module
 */
import { RECORD_LIMITS } from "../core/limits.ts";
import { type AuditRecord, formatRecord, parseRecord } from "../policy/audit_record.ts";

const ALLOWED = 0;
const DENIED = 1;
const TAKEN_BATCHES = 2;
/** The lengths of what the slots hold, 0 for an empty one. */
const LENGTHS = 3;
const { openSlots, openSlotBytes } = RECORD_LIMITS;
const TEXTS_AT = (LENGTHS + openSlots) * Int32Array.BYTES_PER_ELEMENT;

/** Says of a record that its exchange found no slot: it was counted. */
export const NO_SLOT = -1;

/** Memory for the exchanges of one worker. What is never used of it takes no room. */
export function makeExchangesMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(TEXTS_AT + openSlots * openSlotBytes);
}

/** The open exchanges of one worker, for both sides. */
export class SharedExchanges {
  readonly #cells: Int32Array;
  readonly #texts: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory, 0, LENGTHS + openSlots);
    this.#texts = new Uint8Array(memory, TEXTS_AT);
  }

  /** The worker fills an empty slot. False when the record is too long for it. */
  fill(slot: number, record: AuditRecord): boolean {
    const text = new TextEncoder().encode(formatRecord(record, "json", 0));
    if (text.length > openSlotBytes) return false;
    this.#texts.set(text, slot * openSlotBytes);
    Atomics.store(this.#cells, LENGTHS + slot, text.length); // last: what a thread had not finished counts as nothing
    return true;
  }

  /** The worker counts what has no slot. */
  count({ verdict, repeated = 1 }: AuditRecord): void {
    Atomics.add(this.#cells, verdict === "deny" ? DENIED : ALLOWED, repeated);
  }

  /** The main thread has taken a batch of records, and whoever is lost from now on has accounted for them. */
  take(records: readonly AuditRecord[]): void {
    for (const { opened, verdict, repeated = 1 } of records) {
      if (opened === undefined) Atomics.sub(this.#cells, verdict === "deny" ? DENIED : ALLOWED, repeated);
      else this.leave(opened);
    }
    Atomics.add(this.#cells, TAKEN_BATCHES, 1);
  }

  /** The exchange in a slot, or one that found none, is accounted for. */
  leave(slot: number): void {
    if (slot === NO_SLOT) Atomics.sub(this.#cells, ALLOWED, 1);
    else Atomics.store(this.#cells, LENGTHS + slot, 0);
  }

  /** The worker asks how many batches were taken since it last asked. */
  takenBatches(): number {
    return Atomics.exchange(this.#cells, TAKEN_BATCHES, 0);
  }

  /** What a worker that is gone has not accounted for: a record for each exchange, and one for each count. */
  lost(): AuditRecord[] {
    const records: AuditRecord[] = [];
    for (let slot = 0; slot < openSlots; slot++) {
      const length = Atomics.load(this.#cells, LENGTHS + slot);
      if (length === 0) continue;
      const at = slot * openSlotBytes;
      const record = parseRecord(new TextDecoder().decode(this.#texts.slice(at, at + length)));
      if (record) records.push({ ...record, reason: "worker-lost" });
    }
    for (const [cell, verdict] of [[ALLOWED, "allow"], [DENIED, "deny"]] as const) {
      const repeated = Atomics.load(this.#cells, cell);
      if (repeated > 0) records.push({ verdict, reason: "worker-lost", repeated });
    }
    return records;
  }
}
