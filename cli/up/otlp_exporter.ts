/**
 * Sends the audit log to a collector (`up --audit-otlp`). Every record is in a queue on the disk before it is in the log, and
 * leaves it when the collector has said that it has it: each arrives at least once. Nothing waits for the collector; what it
 * does not take in time is dropped by the queue's bound, counted and told.
 *
 * Not here: the queue (`store/audit/line_queue.ts`), what is sent and what an answer means (`proxy/records/otlp.ts`), where to
 * (`otlp_target.ts`).
 *
 * @module
 */
import { messageOf } from "../../core/errors.ts";
import { escapeTerminal } from "../../core/escape.ts";
import { OTLP_LIMITS } from "../../core/limits.ts";
import type { LineLog } from "../../core/log.ts";
import { isUnauthenticatedDenial, parseRecord, type StoredRecord } from "../../policy/audit_record.ts";
import type { LinePlace } from "../../proxy/records/audit_sinks.ts";
import {
  type OtlpAnswer,
  type OtlpRecord,
  otlpRecord,
  otlpRequest,
  type OtlpSource,
} from "../../proxy/records/otlp.ts";
import type { LineQueue, TakenLines } from "../../store/audit/line_queue.ts";

/** How the export does. The counts are since the start and never fall. */
export interface ExportFigures {
  /** Records that the collector does not have yet. */
  readonly queued: number;
  readonly sent: number;
  /** Records that the collector will never have: the queue was full, or it refused them. */
  readonly dropped: number;
  /** Requests that it did not take. */
  readonly failures: number;
  /** Why it takes none now. */
  readonly failing?: string;
}

/** Sends one request. Rejects when there is no answer in time. */
export type SendOtlp = (body: string, signal: AbortSignal) => Promise<OtlpAnswer>;

/** See {@linkcode OtlpExporter}. */
export interface OtlpExporterParts {
  /** Of records with a client, and of those of nobody. */
  readonly queues: { readonly main: LineQueue; readonly unauthenticated: LineQueue };
  readonly source: Omit<OtlpSource, "instance">;
  readonly send: SendOtlp;
  /** What lines of the log call the collector. */
  readonly name: string;
  readonly log: LineLog;
  readonly monotonic: () => number;
  /** Tests pass others. */
  readonly limits?: Partial<
    Record<"gatherMs" | "timeoutMs" | "minRetryMs" | "maxRetryMs" | "closingMs", number>
  >;
}

/** How long the log is silent about more of the same. */
const TELL_MS = 60_000;

/** A place of the audit log. Disposing sends what is left, for a short while, and closes the queues. */
export class OtlpExporter implements LinePlace, AsyncDisposable {
  readonly format = "json";
  readonly #parts: OtlpExporterParts;
  readonly #limits;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #isClosing = false;
  /** Ends the rest of {@linkcode #run}, which a write does once so many records wait. */
  #wake = () => {};
  #wakesAt = Infinity;
  /** The last record of a write of which only the first queue has its part. */
  #half: StoredRecord | undefined;
  /** Records of the next request: fewer after one that was refused, to find which of them it was. */
  #batch: number = OTLP_LIMITS.maxBatchRecords;
  #isOthersTurn = false;
  #sent = 0;
  #refused = 0;
  #failures = 0;
  /** Failures since the last success, and the last of them. */
  #streak = 0;
  #failing: string | undefined;
  #told = { dropped: 0, droppedAt: -Infinity, failedAt: -Infinity };

  constructor(parts: OtlpExporterParts) {
    this.#parts = parts;
    this.#limits = { ...OTLP_LIMITS, ...parts.limits };
    this.#running = this.#run();
  }

  /** How it does. */
  get figures(): ExportFigures {
    const { main, unauthenticated } = this.#parts.queues;
    return {
      queued: main.length + unauthenticated.length,
      sent: this.#sent,
      dropped: this.#refused + main.dropped + unauthenticated.dropped,
      failures: this.#failures,
      ...(this.#failing === undefined ? {} : { failing: this.#failing }),
    };
  }

  /** Puts records into the queues. Rejects while these cannot be written; the same call then writes nothing twice. */
  async write(records: readonly StoredRecord[], lines: readonly string[]): Promise<void> {
    const { main, unauthenticated } = this.#parts.queues;
    const done = this.#half ? records.lastIndexOf(this.#half) + 1 : 0;
    const isTheirs = records.map(isUnauthenticatedDenial);
    const known = lines.filter((_, i) => !isTheirs[i] && i >= done);
    const unknown = lines.filter((_, i) => isTheirs[i]);
    if (known.length > 0) await main.append(known);
    this.#half = records.at(-1);
    if (unknown.length > 0) await unauthenticated.append(unknown);
    this.#half = undefined;
    if (main.length + unauthenticated.length >= this.#wakesAt) this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    this.#wake();
    const timer = setTimeout(() => this.#stop.abort(), this.#limits.closingMs);
    await this.#running;
    clearTimeout(timer);
    this.#tellDropped(true);
    const { main, unauthenticated } = this.#parts.queues;
    await main[Symbol.asyncDispose]();
    await unauthenticated[Symbol.asyncDispose]();
  }

  async #run(): Promise<void> {
    const { maxBatchRecords, gatherMs } = this.#limits;
    while (!this.#stop.signal.aborted) {
      if (this.figures.queued === 0) await this.#rest(undefined, 1);
      if (this.figures.queued < maxBatchRecords) await this.#rest(gatherMs, maxBatchRecords);
      const queue = this.#nextQueue();
      const waitMs = queue ? await this.#attempt(queue) : 0;
      this.#tellDropped(false);
      if (this.#isClosing && (!queue || waitMs > 0)) return;
      if (waitMs > 0) await this.#rest(waitMs, Infinity);
    }
  }

  async #rest(ms: number | undefined, wakesAt: number): Promise<void> {
    if (this.#isClosing) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    this.#wakesAt = wakesAt;
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
    this.#wakesAt = Infinity;
  }

  /** The two in turn: neither waits for the end of the other. */
  #nextQueue(): LineQueue | undefined {
    const { main, unauthenticated } = this.#parts.queues;
    this.#isOthersTurn = !this.#isOthersTurn;
    const inTurn = this.#isOthersTurn ? [main, unauthenticated] : [unauthenticated, main];
    return inTurn.find(({ length }) => length > 0);
  }

  /** Sends the oldest records of a queue. Gives how long to wait before the next attempt. */
  async #attempt(queue: LineQueue): Promise<number> {
    try {
      const taken = await queue.take({ lines: this.#batch, bytes: this.#limits.maxBatchBytes });
      return taken ? await this.#send(queue, taken) : 0;
    } catch (error) {
      queue.release();
      return this.#stop.signal.aborted ? 0 : this.#fail(this.#whyFailed(error), 0);
    }
  }

  async #send(queue: LineQueue, taken: TakenLines): Promise<number> {
    const { send, source, queues } = this.#parts;
    const records = await readRecords(taken.lines);
    this.#refused += taken.lines.length - records.length; // somebody has written into the queue
    if (records.length === 0) return await queue.done(taken).then(() => 0);
    const body = JSON.stringify(otlpRequest({ ...source, instance: queues.main.id }, records));
    const limit = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#limits.timeoutMs)]);
    const answer = await send(body, limit);
    if (answer.kind === "later") {
      queue.release();
      return this.#fail(answer.why, answer.afterMs);
    }
    if (answer.kind === "refused") return await this.#splitOrDrop(queue, taken);
    const rejected = Math.min(answer.rejected, records.length);
    this.#sent += records.length - rejected;
    this.#refused += rejected;
    this.#succeed(answer.why);
    await queue.done(taken);
    return 0;
  }

  /** One record may have spoilt a request for all others: halves are sent, until it is alone. */
  async #splitOrDrop(queue: LineQueue, taken: TakenLines): Promise<number> {
    this.#failures++;
    this.#batch = Math.ceil(taken.lines.length / 2);
    if (taken.lines.length > 1) {
      queue.release();
      return 0;
    }
    this.#refused++;
    await queue.done(taken);
    return this.#limits.minRetryMs;
  }

  #succeed(why: string): void {
    const { log, name } = this.#parts;
    if (this.#failing !== undefined) log.info(`${name} takes records again`);
    if (why !== "") log.warn(`${name} says: ${escapeTerminal(why.slice(0, OTLP_LIMITS.maxWhyChars))}`);
    this.#failing = undefined;
    this.#streak = 0;
    this.#batch = Math.min(OTLP_LIMITS.maxBatchRecords, this.#batch * 2);
  }

  #fail(why: string, afterMs: number): number {
    const { log, name, monotonic } = this.#parts;
    const { minRetryMs, maxRetryMs, maxRetryAfterMs } = this.#limits;
    const isNews = this.#failing === undefined ||
      (why !== this.#failing && monotonic() - this.#told.failedAt >= TELL_MS);
    this.#failing = why;
    this.#failures++;
    if (isNews) {
      this.#told.failedAt = monotonic();
      log.warn(`${name} takes no records: ${why}; ${this.figures.queued} wait on the disk, going on trying`);
    }
    const backOffMs = Math.min(maxRetryMs, minRetryMs * 2 ** Math.min(this.#streak++, 20));
    return Math.max(backOffMs * (0.5 + Math.random() / 2), Math.min(afterMs, maxRetryAfterMs));
  }

  #whyFailed(error: unknown): string {
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    return isLate ? `it did not answer within ${this.#limits.timeoutMs / 1_000} seconds` : messageOf(error);
  }

  #tellDropped(isLast: boolean): void {
    const { log, name, monotonic } = this.#parts;
    const count = this.figures.dropped - this.#told.dropped;
    if (count === 0 || (!isLast && monotonic() - this.#told.droppedAt < TELL_MS)) return;
    this.#told.dropped += count;
    this.#told.droppedAt = monotonic();
    log.error(`${count} records will not get to ${name}: it refused them, or too many waited for it`);
  }
}

/** The lines as they are sent, but for those that are no record. Other work gets its turn meanwhile. */
async function readRecords(lines: TakenLines["lines"]): Promise<readonly OtlpRecord[]> {
  const records: OtlpRecord[] = [];
  for (const [i, { text, uid }] of lines.entries()) {
    if (i > 0 && i % OTLP_LIMITS.recordsPerTurn === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    const record = parseRecord(text);
    if (record) records.push(otlpRecord(record, uid));
  }
  return records;
}
