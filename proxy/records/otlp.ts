/**
 * Audit records as OTLP/JSON (opentelemetry-proto 1.x, `logs/v1`): what a request to a collector holds, and what its answer
 * means. Attributes have the names of OpenTelemetry's semantic conventions where there is one, and `slicer_proxy.` before them
 * where there is none.
 *
 * JSON is a stable encoding of OTLP: 64-bit integers are decimal strings, names of fields are in lowerCamelCase.
 *
 * Not here: sending (`cli/up/otlp_exporter.ts`).
 *
 * @module
 */
import { parseAuthority } from "../../core/host_port.ts";
import { type AuditRecord, formatStored, type StoredRecord } from "../../policy/audit_record.ts";

/** `AnyValue`: one of them is there. */
export type OtlpValue =
  | { readonly stringValue: string }
  | { readonly intValue: string }
  | { readonly boolValue: boolean };

/** `KeyValue`. */
export interface OtlpAttribute {
  readonly key: string;
  readonly value: OtlpValue;
}

/** `LogRecord`. */
export interface OtlpRecord {
  readonly timeUnixNano: string;
  readonly observedTimeUnixNano: string;
  readonly severityNumber: number;
  readonly severityText: string;
  readonly eventName: string;
  readonly body: OtlpValue;
  readonly attributes: readonly OtlpAttribute[];
}

/** Who sends. */
export interface OtlpSource {
  readonly version: string;
  /** Of this proxy and no other. */
  readonly instance: string;
  readonly hostgroup: string;
}

/** The methods that the semantic conventions name. A VM may send any text: others are `_OTHER`, with the original beside. */
const KNOWN_METHODS = new Set([
  ...["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"],
]);

/** `ExportLogsServiceRequest` with the records of one proxy. */
export function otlpRequest({ version, instance, hostgroup }: OtlpSource, logRecords: readonly OtlpRecord[]) {
  return {
    resourceLogs: [{
      resource: {
        attributes: attributes([
          ["service.name", "slicer-proxy"],
          ["service.version", version],
          ["service.instance.id", instance],
          ["slicer_proxy.hostgroup", hostgroup],
        ]),
      },
      scopeLogs: [{ scope: { name: "slicer-proxy.audit", version }, logRecords }],
    }],
  };
}

/** A record. Its body is its line of text; `uid` stays the same when it is sent twice, so that a receiver can tell. */
export function otlpRecord(record: StoredRecord, uid: string): OtlpRecord {
  const nanos = `${Math.max(0, Math.round(record.timeMs))}000000`;
  const isDenial = record.verdict === "deny";
  return {
    timeUnixNano: nanos,
    observedTimeUnixNano: nanos,
    severityNumber: isDenial ? 13 : 9,
    severityText: isDenial ? "WARN" : "INFO",
    eventName: record.verdict === "change" ? "slicer_proxy.change" : "slicer_proxy.decision",
    body: { stringValue: formatStored(record, "text").toWellFormed() },
    attributes: attributes([
      ["log.record.uid", uid],
      ["slicer_proxy.verdict", record.verdict],
      ...aboutClient(record),
      ...aboutRequest(record),
      ...aboutOutcome(record),
      ["slicer_proxy.repeated", record.repeated > 1 ? record.repeated : undefined],
    ]),
  };
}

type Pair = readonly [key: string, value: string | number | boolean | undefined];

function aboutClient({ client, auth, ruleOwner, origin }: AuditRecord): readonly Pair[] {
  const from = origin && parseAuthority(origin.src);
  return [
    ["slicer_proxy.client", client],
    ["slicer_proxy.auth", auth],
    ["slicer_proxy.rule_owner", ruleOwner],
    ["client.address", from?.host ?? origin?.src.replace(/^\[|\]$/g, "")],
    ["client.port", from?.port],
    ["network.local.port", origin?.proxyPort],
    ["tls.protocol.version", origin?.tls],
  ];
}

function aboutRequest(record: AuditRecord): readonly Pair[] {
  const { method, host, path, proto } = record;
  const isHttp = path !== undefined || method === "CONNECT";
  const isKnown = method !== undefined && KNOWN_METHODS.has(method);
  return [
    ["http.request.method", isHttp && method !== undefined ? isKnown ? method : "_OTHER" : undefined],
    ["http.request.method_original", isHttp && !isKnown ? method : undefined],
    ["slicer_proxy.method", isHttp ? undefined : method], // SOCKS5, DNS, SUSPEND: no request of HTTP
    ["url.scheme", record.scheme],
    ["server.address", host],
    ["server.port", record.port],
    ["url.path", path],
    ["url.query", record.query],
    ["network.protocol.name", isHttp ? "http" : undefined],
    ["network.protocol.version", proto === "h2" ? "2" : undefined],
  ];
}

function aboutOutcome(record: AuditRecord): readonly Pair[] {
  const isTunnel = record.verdict === "passthrough" || record.path === undefined;
  const size = (side: "request" | "response", name: string) =>
    isTunnel ? `slicer_proxy.${name}_bytes` : `http.${side}.body.size`;
  return [
    ["http.response.status_code", record.status],
    ["rpc.grpc.status_code", record.grpcStatus],
    [size("request", "sent"), record.sent],
    [size("response", "received"), record.received],
    ["slicer_proxy.duration_ms", record.durationMs === undefined ? undefined : Math.round(record.durationMs)],
    ["slicer_proxy.secret", record.secret],
    ["slicer_proxy.cleartext", record.cleartext],
    ["slicer_proxy.mode", record.mode],
    ["slicer_proxy.reason", record.reason],
    ["slicer_proxy.echoed", record.echoed],
    ["slicer_proxy.says", record.says],
    ["slicer_proxy.budget", record.budget],
    ["gen_ai.usage.input_tokens", record.tokens?.input],
    ["gen_ai.usage.output_tokens", record.tokens?.output],
    ["slicer_proxy.tokens_estimated", record.tokens?.isEstimated || undefined],
  ];
}

/** What is undefined is left out. */
function attributes(pairs: readonly Pair[]): readonly OtlpAttribute[] {
  return pairs.flatMap(([key, value]) => value === undefined ? [] : [{ key, value: valueOf(value) }]);
}

function valueOf(value: string | number | boolean): OtlpValue {
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "number") return { intValue: String(Math.round(value)) };
  // Half of a surrogate pair has no UTF-8: a parser of protobuf would refuse the whole request, other VMs' records with it.
  return { stringValue: value.toWellFormed() };
}

/** What a collector says of records that it was sent. */
export type OtlpAnswer =
  /** It has them, but for so many, which are not to be sent again; `why` is its own text. */
  | { readonly kind: "taken"; readonly rejected: number; readonly why: string }
  /** It will never take this request. */
  | { readonly kind: "refused" }
  /** It may take it later; `why` is in our words. */
  | { readonly kind: "later"; readonly why: string; readonly isAuth: boolean; readonly afterMs: number };

/** About the content of what was sent: fewer records, or one, may be taken, and the same never is. */
const REFUSED = [400, 413, 422];

/**
 * The meaning of an answer (OTLP/HTTP: response, failures, throttling, partial success). Statuses that say nothing about
 * the records, such as those for a wrong token or path, are not the end of them: somebody will put that right.
 *
 * @param nowMs for a `Retry-After` that is a date
 */
export function readOtlpAnswer(
  { status, headers, body }: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  },
  nowMs: number,
): OtlpAnswer {
  const later = (why: string) => {
    const isAuth = status === 401 || status === 403;
    return { kind: "later", why, isAuth, afterMs: retryAfterMs(headers["retry-after"], nowMs) } as const;
  };
  if (REFUSED.includes(status)) return { kind: "refused" };
  if (status < 200 || status > 299) return later(`it answered with ${status}`);
  if (body.trim() === "") return { kind: "taken", rejected: 0, why: "" };
  const answer = parseObject(body);
  if (!answer) return later("its answer is none of OTLP"); // a page of a proxy or a login in the way
  const partial = asObject(answer["partialSuccess"]);
  const rejected = Number(partial?.["rejectedLogRecords"] ?? 0);
  const why = partial?.["errorMessage"];
  return {
    kind: "taken",
    rejected: Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0,
    why: typeof why === "string" ? why : "",
  };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Readonly<Record<string, unknown>>
    : undefined;
}

/** Seconds or a date (RFC 9110 §10.2.3); 0 when there is none that can be read. */
function retryAfterMs(text: string | undefined, nowMs: number): number {
  if (text === undefined) return 0;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
