/**
 * Which denials have a line of their own. A VM can cause them as fast as it can ask, so what is the same is counted after a
 * few, and nobody causes more lines than a budget of bytes allows: beyond it their denials are counted by reason alone. What
 * was counted is told by a line with `repeated` at the end of a window, so that no denial is missing from the sum.
 *
 * Not here: what was allowed, which is never counted in place of a line (`audit_log.ts`).
 *
 * @module
 */
import { parseIp } from "../../core/cidr.ts";
import type { Deadlines } from "../../core/deadlines.ts";
import { RECORD_LIMITS } from "../../core/limits.ts";
import { type AuditRecord, sizeOfRecord } from "../../policy/audit_record.ts";

/** Denials that are the same, beyond the first few of a window, are counted. */
const WINDOW_MS = 10_000;
const WRITTEN_IN_WINDOW = 5;
const MAX_WINDOWS = 1_024;

/** What was counted in place of lines. */
interface Window {
  readonly record: AuditRecord;
  written: number;
  counted: number;
  readonly stop: () => void;
}

interface Budget {
  bytes: number;
  atMs: number;
}

/** What a {@linkcode DenialGate} works with. */
export interface DenialGateParts {
  readonly deadlines: Deadlines;
  /** Milliseconds of a clock that never steps back; the process's own when absent. */
  readonly monotonic?: () => number;
  /** False while there is no room for denials: all of them are counted, and the lines that tell of it wait. */
  readonly hasRoom: () => boolean;
  /** Takes a record with `repeated`, for a line. */
  readonly write: (summary: AuditRecord) => void;
}

/** Lets denials through, or counts them. */
export class DenialGate {
  readonly #parts: DenialGateParts;
  /** By what was denied. */
  readonly #same = new Map<string, Window>();
  /** By who was denied, and why. */
  readonly #over = new Map<string, Window>();
  /** By who; least recently used first. */
  readonly #budgets = new Map<string, Budget>();
  /** Denials that were counted in place of a line of their own. It never falls. */
  counted = 0;

  constructor(parts: DenialGateParts) {
    this.#parts = parts;
  }

  /** True when the denial gets a line of its own; otherwise it is counted. */
  admits(record: AuditRecord): boolean {
    const count = record.repeated ?? 1;
    const key = keyOf(record);
    const same = this.#same.get(key);
    if (same && same.written >= WRITTEN_IN_WINDOW) {
      this.#count(same, count);
      return false;
    }
    const who = whoIs(record);
    if (!this.#parts.hasRoom() || !this.#spend(who, record)) {
      const over = `${who} ${record.reason}`;
      // Clients and reasons are few. Sources are not: beyond so many, those that come share one.
      const hasPlace = record.client !== undefined || this.#over.has(over) ||
        this.#over.size < RECORD_LIMITS.maxBudgets;
      const place = hasPlace ? over : `rest ${record.reason}`;
      this.#count(this.#over.get(place) ?? this.#open(this.#over, place, summaryOf(record, hasPlace)), count);
      return false;
    }
    if (same) same.written++;
    else if (this.#same.size < MAX_WINDOWS) this.#open(this.#same, key, record).written = 1;
    return true;
  }

  /** Writes what was counted so far. */
  flush(): void {
    for (const windows of [this.#same, this.#over]) {
      for (const key of [...windows.keys()]) this.#end(windows, key);
    }
  }

  #count(window: Window, count: number): void {
    window.counted += count;
    this.counted += count;
  }

  #open(windows: Map<string, Window>, key: string, record: AuditRecord): Window {
    const deadline = this.#parts.deadlines.start(WINDOW_MS, () => {
      if (this.#parts.hasRoom()) this.#end(windows, key);
      else deadline.restart(WINDOW_MS);
    });
    const window = { record, written: 0, counted: 0, stop: () => deadline.stop() };
    windows.set(key, window);
    return window;
  }

  #end(windows: Map<string, Window>, key: string): void {
    const window = windows.get(key);
    windows.delete(key);
    window?.stop();
    if (window && window.counted > 0) this.#parts.write({ ...window.record, repeated: window.counted });
  }

  #spend(who: string, record: AuditRecord): boolean {
    const { burstBytes, bytesPerSecond } = record.client === undefined
      ? RECORD_LIMITS.denialsOfSource
      : RECORD_LIMITS.denialsOfClient;
    const { monotonic = () => performance.now() } = this.#parts;
    const now = monotonic();
    const { bytes, atMs } = this.#budgets.get(who) ?? { bytes: burstBytes, atMs: now };
    const left = Math.min(burstBytes, bytes + (now - atMs) / 1_000 * bytesPerSecond) - sizeOfRecord(record);
    this.#budgets.delete(who);
    if (this.#budgets.size >= RECORD_LIMITS.maxBudgets) {
      const [oldest = ""] = this.#budgets.keys();
      this.#budgets.delete(oldest);
    }
    this.#budgets.set(
      who,
      left < 0 ? { bytes: left + sizeOfRecord(record), atMs: now } : { bytes: left, atMs: now },
    );
    return left >= 0;
  }
}

/** What is the same in denials that are counted together: all but the client's port, which changes with every connection. */
function keyOf(record: AuditRecord): string {
  const { origin } = record;
  // No line ends in what a head can hold, so that no two denials have one key.
  return [
    ...[record.client, record.auth, record.method, record.scheme, record.host, record.port],
    ...[record.path, record.query, record.says, record.status, record.secret, record.mode, record.reason],
    ...[addressOf(record), `${origin?.proxyPort} ${origin?.tls}`],
    `${record.sent} ${record.received} ${record.durationMs}`,
  ].join("\n");
}

/** Whose budget a denial is paid from: the client's, or the source's, which is a /64 of IPv6. */
function whoIs(record: AuditRecord): string {
  if (record.client !== undefined) return `client ${record.client}`;
  const address = addressOf(record);
  const ip = address.includes(":") ? parseIp(address) : undefined;
  return `source ${ip ? ip.subarray(0, 8).join(".") : address}`;
}

/** A denial without what tells it from others of the same client, or source, and reason. */
function summaryOf(record: AuditRecord, isOfOne: boolean): AuditRecord {
  const { verdict, client, auth, mode, reason, origin } = record;
  if (!isOfOne) return { verdict, reason };
  return {
    ...{ verdict, client, auth, mode, reason },
    origin: origin && { src: addressOf(record), proxyPort: origin.proxyPort },
  };
}

/** The source without its port, "" when it is not known. */
function addressOf({ origin }: AuditRecord): string {
  const src = origin?.src ?? "";
  if (src.startsWith("[")) return src.slice(1, src.indexOf("]"));
  const colon = src.indexOf(":");
  return colon >= 0 && colon === src.lastIndexOf(":") ? src.slice(0, colon) : src; // without a port already
}
