/**
 * Which audit records somebody asks for: the test of one record, and the time that a question begins at.
 *
 * Not here: the fields of a filter (`audit_record.ts`), and where records come from (`store/audit/store.ts`).
 *
 * @module
 */
import { parseDuration } from "../core/duration.ts";
import { cidrContains, parseCidr, parseIp } from "../core/cidr.ts";
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import { parseAuthority } from "../core/host_port.ts";
import type { Origin, RecordFilter, SourceFilter, StoredRecord } from "./audit_record.ts";
import { matchHost } from "./match.ts";

/** The newest records that may be asked for at once: they are held in memory. */
export const MAX_RECORDS = 10_000;

/** What may be asked for of a client's TLS. */
export const TLS_FILTERS = ["1.2", "1.3", "none"] as const;

/** RFC 3339 §5.6, with the zone that it demands. `Date.parse` alone would take much else, and local times. */
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** True when a record is asked for. The client `-` is nobody. */
export function matchesRecord(record: StoredRecord, filter: RecordFilter): boolean {
  if (filter.sinceMs !== undefined && record.timeMs < filter.sinceMs) return false;
  if (filter.denied && record.verdict !== "deny") return false;
  if (filter.client !== undefined && (record.client ?? "-") !== filter.client) return false;
  if (filter.src && !isFrom(filter.src, record.origin)) return false;
  if (filter.proxyPort !== undefined && record.origin?.proxyPort !== filter.proxyPort) return false;
  if (filter.tls !== undefined && !(record.origin && (record.origin.tls ?? "none") === filter.tls)) {
    return false;
  }
  return filter.host === undefined || (record.host !== undefined && matchHost(filter.host, record.host));
}

function isFrom({ network, port }: SourceFilter, origin: Origin | undefined): boolean {
  const from = origin && splitSource(origin.src);
  return from !== undefined && cidrContains(network, from.ip) && (port === undefined || from.port === port);
}

/** The address, and the port where there is one, of a record's `src` or of what somebody asks for. */
function splitSource(text: string): { readonly ip: Uint8Array; readonly port?: number } | undefined {
  const alone = parseIp(text);
  if (alone) return { ip: alone };
  const authority = parseAuthority(text);
  const ip = authority && parseIp(authority.host);
  return ip && { ip, port: authority.port };
}

/**
 * Which sources `text` asks for: an address, a network, or an address with the port of one connection.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseSource(text: string): SourceFilter {
  const one = splitSource(text);
  if (one) return { network: { bytes: one.ip, prefix: one.ip.length * 8 }, port: one.port };
  try {
    return { network: parseCidr(text) };
  } catch {
    throw new ProxyError("input.invalid", `Cannot read ${quoteText(text, 60)} as a source`, {
      hint: "write an address (10.0.0.5), a network (10.0.0.0/24), or IP:PORT ([fd00::5]:40312)",
    });
  }
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
  } catch {
    throw new ProxyError("input.invalid", `Cannot read ${quoteText(text, 40)} as a time to begin at`, {
      hint: "write a duration (90s, 15m, 1h, 7d) or a time with its zone (2026-01-02T15:04:05Z)",
    });
  }
}
