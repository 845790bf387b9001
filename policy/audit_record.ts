/**
 * One decision as it is logged: the record, its two line forms, and the reader of the JSON form. Field names are here and
 * nowhere else. There is no field that could hold a credential, a header or a body.
 *
 * Not here: writing (`proxy/records/audit_log.ts`), keeping and asking for records (`store/audit/store.ts`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Cidr } from "../core/cidr.ts";
import { formatDuration } from "../core/duration.ts";
import { escapeLogValue } from "../core/escape.ts";
import { RECORD_LIMITS } from "../core/limits.ts";
import { isReason, type Reason } from "./reason.ts";

/** The version of the JSON form. It rises when a field changes its meaning or goes; a new optional field does not. */
export const RECORD_VERSION = 1;

/** Where a request came from. All requests of a connection, or of a tunnel in it, share one. */
export interface Origin {
  /** `IP:PORT`, an IPv6 address in brackets. Without a port where it stands for several connections. */
  readonly src: string;
  /** The proxy's own port that it came to. */
  readonly proxyPort?: number | undefined;
  /** The version of TLS that the client speaks with the proxy: inside an inspected tunnel where it is in one. */
  readonly tls?: TlsVersion | undefined;
}

/** What the proxy speaks. */
export type TlsVersion = "1.2" | "1.3";

/** What happened to one request or tunnel. Absent fields are left out of the line; an absent client is `-`. */
export interface AuditRecord {
  /**
   * A request that was let on, one that was not, a tunnel whose bytes were passed through unseen, or an operator's switch of
   * the mode, whose `client` is `*` for all and whose duration is how long it is to last.
   */
  readonly verdict: "allow" | "deny" | "passthrough" | "change";
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
  /** What words of rules saw of it: `words/says.ts`. */
  readonly says?: string | undefined;
  /** What the client was answered. */
  readonly status?: number | undefined;
  /** The name of the secret that was injected. */
  readonly secret?: string | undefined;
  /** Said of HTTP/2. */
  readonly proto?: "h2" | undefined;
  /** The budget that is used up to 80 %, as `parseBudget` reads it. */
  readonly budget?: string | undefined;
  /** What a gRPC call ended with: 0 is OK. */
  readonly grpcStatus?: number | undefined;
  /** Under a budget of tokens: what the model read and wrote. */
  readonly tokens?: RecordedTokens | undefined;
  /** How often the answer held the credential of its request. */
  readonly echoed?: number | undefined;
  /** True when the secret was sent without TLS. */
  readonly cleartext?: true | undefined;
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
  /** What the log's `begin` gave when it began. It is in no line. */
  readonly opened?: number | undefined;
  /** How many requests it stands for: more than 1 where denials were coalesced. Absent is 1. */
  readonly repeated?: number | undefined;
  /** Where it came from. */
  readonly origin?: Origin | undefined;
}

/** Tokens of a model. */
export interface RecordedTokens {
  readonly input: number;
  readonly output: number;
  /** The answer did not say all of it. */
  readonly isEstimated: boolean;
}

/** The two forms of a line. */
export type LogFormat = "text" | "json";

/** A record as it was written. */
export interface StoredRecord extends AuditRecord {
  /** Epoch milliseconds. */
  readonly timeMs: number;
  /** How many requests it stands for. */
  readonly repeated: number;
}

/** True for a denial of somebody who did not say who they are: anyone who reaches a port can cause them, and any number. */
export function isUnauthenticatedDenial({ verdict, client }: AuditRecord): boolean {
  return verdict === "deny" && client === undefined;
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
  /** A source address, a network of them, or one connection's address and port. */
  readonly src?: SourceFilter | undefined;
  /** The proxy's port. */
  readonly proxyPort?: number | undefined;
  /** The client's version of TLS; `none` is in clear. */
  readonly tls?: TlsVersion | "none" | undefined;
}

/** Which sources are asked for. */
export interface SourceFilter {
  readonly network: Cidr;
  /** Of the client's connection. */
  readonly port?: number | undefined;
}

/**
 * The record with no text longer than the log keeps ({@linkcode RECORD_LIMITS}): the same record where nothing is. A text
 * that was cut ends in `…`, how long the whole of it was, and the beginning of its digest, so that two that differ stay
 * different. No path, query or method that was sent can hold `…`: heads are read byte by byte.
 */
export function boundRecord(record: AuditRecord): AuditRecord {
  const { maxPathChars, maxTextChars } = RECORD_LIMITS;
  const { path, query, says, method, host, client } = record;
  const isShort = (text: string | undefined, most: number) => text === undefined || text.length <= most;
  const isBounded = isShort(path, maxPathChars) && isShort(query, maxPathChars) &&
    isShort(says, maxPathChars) && isShort(method, maxTextChars) && isShort(host, maxTextChars) &&
    isShort(client, maxTextChars);
  if (isBounded) return record;
  const cut = (text: string | undefined, most: number) => text === undefined ? text : cutText(text, most);
  return {
    ...record,
    path: cut(path, maxPathChars),
    query: cut(query, maxPathChars),
    ...(says === undefined ? {} : { says: cutText(says, maxPathChars) }),
    method: cut(method, maxTextChars),
    host: cut(host, maxTextChars),
    client: cut(client, maxTextChars),
  };
}

/** The beginning of a text that is longer than `most`, with its length and digest; a shorter one as it is. */
export function cutText(text: string, most: number): string {
  if (text.length <= most) return text;
  const digest = createHash("sha256").update(text).digest("hex").slice(0, DIGEST_CHARS);
  return `${text.slice(0, most)}${CUT_MARK}${text.length}-${digest}`;
}

/** True when a text of a record is not the whole of it. */
export function isCut(text: string): boolean {
  return text.includes(CUT_MARK);
}

const CUT_MARK = "…";
/** 128 bits. */
const DIGEST_CHARS = 32;

/** What a record takes in memory and in a file, in bytes, reckoned rather than measured. */
export function sizeOfRecord({ path = "", query = "", says = "", host = "" }: AuditRecord): number {
  return RECORD_LIMITS.baseBytes + path.length + query.length + says.length + host.length;
}

/** The line of a record, without a line end. */
export function formatRecord(
  record: AuditRecord,
  format: LogFormat,
  timeMs: number,
  repeated?: number,
): string {
  return format === "text" ? textLine(record, repeated) : jsonLine(record, timeMs, repeated);
}

function textLine(record: AuditRecord, repeated: number | undefined): string {
  const { durationMs, origin } = record;
  let line = `${record.verdict} client=${record.client ?? "-"}`;
  const add = (key: string, value: string | number | true | undefined) => {
    if (value !== undefined) line += ` ${key}=${typeof value === "string" ? escapeLogValue(value) : value}`;
  };
  add("auth", record.auth);
  add("rule-owner", record.ruleOwner);
  add("method", record.method);
  add("scheme", record.scheme);
  add("host", record.host);
  add("port", record.port);
  add("path", record.path);
  add("query", record.query);
  add("status", record.status);
  add("secret", record.secret);
  add("cleartext", record.cleartext);
  add("mode", record.mode);
  add("reason", record.reason);
  add("sent", record.sent);
  add("received", record.received);
  add("duration", durationMs === undefined ? undefined : formatDuration(durationMs));
  add("repeated", repeated);
  add("proto", record.proto); // what came later stands behind: lines are read by the order that was documented
  add("grpc-status", record.grpcStatus);
  add("echoed", record.echoed);
  if (origin) {
    add("src", origin.src);
    add("proxy-port", origin.proxyPort);
    add("tls", origin.tls);
  }
  add("says", record.says);
  add("budget", record.budget);
  add("input-tokens", record.tokens?.input);
  add("output-tokens", record.tokens?.output);
  add("tokens-estimated", record.tokens?.isEstimated || undefined);
  return line;
}

function jsonLine(record: AuditRecord, timeMs: number, repeated: number | undefined): string {
  const { durationMs, origin } = record;
  return JSON.stringify({ // what is undefined is left out
    v: RECORD_VERSION,
    time: new Date(timeMs).toISOString(),
    verdict: record.verdict,
    client: record.client ?? "-",
    auth: record.auth,
    rule_owner: record.ruleOwner,
    method: record.method,
    scheme: record.scheme,
    host: record.host,
    port: record.port,
    path: record.path,
    query: record.query,
    proto: record.proto,
    status: record.status,
    grpc_status: record.grpcStatus,
    echoed: record.echoed,
    secret: record.secret,
    cleartext: record.cleartext,
    mode: record.mode,
    reason: record.reason,
    sent: record.sent,
    received: record.received,
    repeated,
    duration_ms: durationMs === undefined ? undefined : Math.round(durationMs),
    src: origin?.src,
    proxy_port: origin?.proxyPort,
    tls: origin?.tls,
    says: record.says,
    budget: record.budget,
    input_tokens: record.tokens?.input,
    output_tokens: record.tokens?.output,
    tokens_estimated: record.tokens?.isEstimated || undefined,
  });
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
  const [src, tls] = [text("src"), text("tls")];
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
    ...(text("says") === undefined ? {} : { says: text("says") }),
    ...(text("budget") === undefined ? {} : { budget: text("budget") }),
    ...tokensOf(number("input_tokens"), number("output_tokens"), row["tokens_estimated"] === true),
    status: number("status"),
    secret: text("secret"),
    ...(row["proto"] === "h2" ? { proto: "h2" as const } : {}),
    ...(number("grpc_status") === undefined ? {} : { grpcStatus: number("grpc_status") }),
    ...(number("echoed") === undefined ? {} : { echoed: number("echoed") }),
    cleartext: row["cleartext"] === true ? true : undefined,
    mode: mode === "strict" || mode === "audit" ? mode : undefined,
    reason: reason !== undefined && isReason(reason) ? reason : undefined,
    sent: number("sent"),
    received: number("received"),
    durationMs: number("duration_ms"),
    ...(src === undefined ? {} : {
      origin: { src, proxyPort: number("proxy_port"), tls: tls === "1.2" || tls === "1.3" ? tls : undefined },
    }),
  };
}

function tokensOf(
  input: number | undefined,
  output: number | undefined,
  isEstimated: boolean,
): Pick<AuditRecord, "tokens"> {
  return input === undefined || output === undefined ? {} : { tokens: { input, output, isEstimated } };
}

function isVerdict(value: unknown): value is AuditRecord["verdict"] {
  return value === "allow" || value === "deny" || value === "passthrough" || value === "change";
}
