/**
 * Which audit records somebody asks for: the test of one record, and the time that a question begins at.
 *
 * Not here: the fields of a filter (`audit_record.ts`), and where records come from (`store/audit_store.ts`).
 *
 * @module
 */
import { parseDuration } from "../core/duration.ts";
import { isProxyError, ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import type { RecordFilter, StoredRecord } from "./audit_record.ts";
import { matchHost } from "./match.ts";

/** The newest records that may be asked for at once: they are held in memory. */
export const MAX_RECORDS = 10_000;

/** RFC 3339 §5.6, with the zone that it demands. `Date.parse` alone would take much else, and local times. */
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** True when a record is asked for. The client `-` is nobody. */
export function matchesRecord(record: StoredRecord, filter: RecordFilter): boolean {
  if (filter.sinceMs !== undefined && record.timeMs < filter.sinceMs) return false;
  if (filter.denied && record.verdict !== "deny") return false;
  if (filter.client !== undefined && (record.client ?? "-") !== filter.client) return false;
  return filter.host === undefined || (record.host !== undefined && matchHost(filter.host, record.host));
}

/**
 * The epoch milliseconds of `since`: a time of RFC 3339, or a duration before `nowMs` (`15m`).
 *
 * @throws ProxyError `input.invalid`
 */
export function parseSince(text: string, nowMs: number): number {
  const timeMs = RFC3339.test(text) ? Date.parse(text) : NaN;
  if (!Number.isNaN(timeMs)) return timeMs;
  try {
    return nowMs - parseDuration(text);
  } catch (error) {
    if (!isProxyError(error)) throw error;
    throw new ProxyError("input.invalid", `Cannot read ${quoteText(text, 40)} as a time to begin at`, {
      hint: "write a duration (90s, 15m, 1h, 7d) or a time with its zone (2026-01-02T15:04:05Z)",
    });
  }
}
