/**
 * One decision as it is logged: the record, its two line forms, and the reader of the JSON form. Field names are here and
 * nowhere else. There is no field that could hold a credential, a header or a body.
 *
 * Not here: writing (`proxy/records/audit_log.ts`), keeping and asking for records (`store/audit_store.ts`).
 *
 * @module
 */
import { formatDuration } from "../core/duration.ts";
import { escapeLogValue } from "../core/escape.ts";
import { isReason, type Reason } from "./reason.ts";

/** The version of the JSON form. It rises when a field changes its meaning or goes; a new optional field does not. */
export const RECORD_VERSION = 1;

/** What happened to one request or tunnel. Absent fields are left out of the line; an absent client is `-`. */
export interface AuditRecord {
  /** A request that was let on, one that was not, or a tunnel whose bytes were passed through unseen. */
  readonly verdict: "allow" | "deny" | "passthrough";
  /** Who asked; absent when nobody proved who they are. */
  readonly client?: string | undefined;
  /** `none` when no credential was shown; then `ruleOwner` says whose rule admitted it. */
  readonly auth?: "none" | undefined;
  /** The client whose rule admitted a tunnel without credentials. */
  readonly ruleOwner?: string | undefined;
  /** As sent; `CONNECT`, `SOCKS5`, `SOCKS4` or `DNS` where no request was seen. */
  readonly method?: string | undefined;
  /** `https` inside TLS. */
  readonly scheme?: "http" | "https" | undefined;
  /** Canonical. */
  readonly host?: string | undefined;
  /** 1 to 65535. */
  readonly port?: number | undefined;
  /** Without the query. */
  readonly path?: string | undefined;
  /** Only with `--log-query`. */
  readonly query?: string | undefined;
  /** What the client was answered. */
  readonly status?: number | undefined;
  /** The name of the secret that was injected. */
  readonly secret?: string | undefined;
  /** How the proxy treats what no rule allows; said of denials. */
  readonly mode?: "strict" | "audit" | undefined;
  /** Why it was denied, or how it ended badly. */
  readonly reason?: Reason | undefined;
  /** Body or tunnel bytes from the client. */
  readonly sent?: number | undefined;
  /** Body or tunnel bytes to the client. */
  readonly received?: number | undefined;
  /** From the head, or the opening, to the end. */
  readonly durationMs?: number | undefined;
  /** From the request's head to the moment when the upstream was asked. For the metrics: it is in no line. */
  readonly setupMs?: number | undefined;
}

/** The two forms of a line. */
export type LogFormat = "text" | "json";

/** A record as it was written. */
export interface StoredRecord extends AuditRecord {
  /** Epoch milliseconds. */
  readonly timeMs: number;
  /** How many requests it stands for: more than 1 where identical denials were coalesced. */
  readonly repeated: number;
}

/** Which records are asked for; what is absent does not matter. */
export interface RecordFilter {
  /** A name, or `-` for nobody. */
  readonly client?: string | undefined;
  /** Only denials. */
  readonly denied?: boolean | undefined;
  /** A canonical host or host pattern. */
  readonly host?: string | undefined;
  /** Epoch milliseconds, inclusive. */
  readonly sinceMs?: number | undefined;
}

/** The line of a record, without a line end. */
export function formatRecord(
  record: AuditRecord,
  format: LogFormat,
  timeMs: number,
  repeated?: number,
): string {
  const fields: [string, string | number | undefined][] = [
    ["client", record.client ?? "-"],
    ["auth", record.auth],
    ["rule-owner", record.ruleOwner],
    ["method", record.method],
    ["scheme", record.scheme],
    ["host", record.host],
    ["port", record.port],
    ["path", record.path],
    ["query", record.query],
    ["status", record.status],
    ["secret", record.secret],
    ["mode", record.mode],
    ["reason", record.reason],
    ["sent", record.sent],
    ["received", record.received],
    [
      "duration",
      format === "text" && record.durationMs !== undefined ? formatDuration(record.durationMs) : undefined,
    ],
    ["repeated", repeated],
  ];
  if (format === "text") {
    let line: string = record.verdict;
    for (const [key, value] of fields) {
      if (value !== undefined) line += ` ${key}=${typeof value === "number" ? value : escapeLogValue(value)}`;
    }
    return line;
  }
  const json: Record<string, string | number> = {
    v: RECORD_VERSION,
    time: new Date(timeMs).toISOString(),
    verdict: record.verdict,
  };
  for (const [key, value] of fields) if (value !== undefined) json[key.replace("-", "_")] = value;
  if (record.durationMs !== undefined) json["duration_ms"] = Math.round(record.durationMs);
  return JSON.stringify(json);
}

/** The line of a record as it was written. `repeated` is part of it only where it says something. */
export function formatStored(record: StoredRecord, format: LogFormat): string {
  return formatRecord(record, format, record.timeMs, record.repeated > 1 ? record.repeated : undefined);
}

/**
 * The record in a line of the JSON form, or undefined when the line is none: cut short, of another version, or of
 * another program. Unknown fields are ignored.
 */
export function parseRecord(line: string): StoredRecord | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof json !== "object" || json === null) return undefined;
  const row = json as Readonly<Record<string, unknown>>;
  const timeMs = typeof row["time"] === "string" ? Date.parse(row["time"]) : NaN;
  const verdict = row["verdict"];
  if (row["v"] !== RECORD_VERSION || Number.isNaN(timeMs) || !isVerdict(verdict)) return undefined;
  const text = (key: string) => typeof row[key] === "string" ? row[key] : undefined;
  const number = (key: string) => typeof row[key] === "number" ? row[key] : undefined;
  const repeated = number("repeated") ?? 1;
  // Counts are added up: a negative one in a file that was handed on would hide others.
  if (!Number.isSafeInteger(repeated) || repeated < 1) return undefined;
  const [client, scheme, mode, reason] = [text("client"), text("scheme"), text("mode"), text("reason")];
  return {
    timeMs,
    repeated,
    verdict,
    client: client === "-" ? undefined : client,
    auth: row["auth"] === "none" ? "none" : undefined,
    ruleOwner: text("rule_owner"),
    method: text("method"),
    scheme: scheme === "http" || scheme === "https" ? scheme : undefined,
    host: text("host"),
    port: number("port"),
    path: text("path"),
    query: text("query"),
    status: number("status"),
    secret: text("secret"),
    mode: mode === "strict" || mode === "audit" ? mode : undefined,
    reason: reason !== undefined && isReason(reason) ? reason : undefined,
    sent: number("sent"),
    received: number("received"),
    durationMs: number("duration_ms"),
  };
}

function isVerdict(value: unknown): value is AuditRecord["verdict"] {
  return value === "allow" || value === "deny" || value === "passthrough";
}
