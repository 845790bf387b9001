/**
 * Every answer that the proxy gives in its own name: the one map from error code to status, and the one body, for people and
 * agents. It says who was refused what, that it is policy and not a bad credential, and what an operator would run; never a
 * credential, an address or an internal text.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type ErrorCode, ProxyError } from "../core/errors.ts";
import { escapeTerminal } from "../core/escape.ts";
import type { Explanation } from "../policy/explain.ts";
import { isReason, type Reason, REASONS } from "../policy/reason.ts";
import { TLS_REMEDIES } from "../policy/tls_remedy.ts";
import { prefersJson } from "./message/accept.ts";
import { makeField } from "./message/fields.ts";
import type { RequestHead, WholeAnswer } from "./message/message.ts";
import { rpcAnswer } from "./rpc_answer.ts";

/** A refusal or failure, ready to be answered and logged. */
export interface Refusal {
  readonly status: number;
  readonly reason: Reason;
  /** One sentence: what did not happen, and why. */
  readonly detail: string;
  /** When the same may be asked again. */
  readonly retryAfterSeconds?: number | undefined;
  /** For policy denials. */
  readonly explanation?: Explanation | undefined;
}

const STATUS: Readonly<Partial<Record<ErrorCode, readonly [status: number, reason: Reason]>>> = {
  "client.malformed": [400, "malformed"],
  "client.head-too-large": [431, "head-too-large"],
  "client.timeout": [408, "idle-timeout"],
  "client.closed": [400, "client-closed"],
  "auth.missing": [407, "auth-missing"],
  "auth.invalid": [407, "auth-invalid"],
  "policy.mismatch": [403, "host-mismatch"],
  "policy.revoked": [403, "revoked"],
  "policy.placeholder": [403, "placeholder"],
  "policy.signature": [403, "aws-signature"],
  "policy.suspended": [403, "client-suspended"],
  "policy.store-lost": [503, "store-lost"],
  "policy.asked": [403, "ask-denied"],
  "upstream.address-denied": [403, "address-denied"],
  "upstream.dns": [502, "dns"],
  "upstream.refused": [502, "connect-refused"],
  "upstream.unreachable": [502, "connect-unreachable"],
  "upstream.tls": [502, "tls-protocol"],
  "upstream.closed": [502, "upstream-closed"],
  "upstream.echo": [502, "credential-echo"],
  "upstream.malformed": [502, "upstream-malformed"],
  "upstream.timeout": [504, "upstream-timeout"],
  "credential.unavailable": [502, "secret-unavailable"],
  "limit.reached": [503, "overload"],
  "audit.write-failed": [503, "audit-write-failed"],
};

/** The refusal that an error amounts to. An error that is none of ours is a bug: `internal`, without its text. */
export function refusalOf(error: unknown): Refusal {
  const row = error instanceof ProxyError ? STATUS[error.code] : undefined;
  if (!row || !(error instanceof ProxyError)) {
    return {
      status: 500,
      reason: "internal",
      detail: "The proxy failed to handle this request; nothing was sent upstream",
    };
  }
  const [status, usual] = row;
  const reason = error.reason !== undefined && isReason(error.reason) ? error.reason : usual;
  const { message: detail, retryAfterSeconds } = error;
  return { status: OF_ONE.has(reason) ? 429 : status, reason, detail, retryAfterSeconds };
}

/** The limits of who asks, not of the proxy. */
const OF_ONE: ReadonlySet<Reason> = new Set(["quota", "auth-throttled", "budget"]);

/**
 * The answer, in the form that a request with these fields prefers: text or JSON, or its protocol's (`rpc_answer.ts`).
 *
 * @param host the canonical host that was asked for, when one is known
 */
export function answerOf(
  refusal: Refusal,
  { method, version, fields }: Pick<RequestHead, "fields"> & Partial<RequestHead>,
  host?: string,
): WholeAnswer {
  const own: [string, string][] = [
    ["Cache-Control", "no-store"],
    ["X-Slicer-Proxy-Reason", refusal.reason],
  ];
  const retryAfter = refusal.retryAfterSeconds ?? (PER_MINUTE.has(refusal.reason) ? 60 : undefined);
  if (retryAfter !== undefined) own.push(["Retry-After", String(retryAfter)]); // RFC 6585 §4
  // A client's HTTP has to see that, whatever is spoken on top.
  if (refusal.status === 407) own.push(["Proxy-Authenticate", 'Basic realm="slicer-proxy"']);
  const phrase = phraseOf(refusal, host);
  // Remote calls are POSTs. A CONNECT must not be told 200, whatever its fields say.
  if (method === "POST" && refusal.status !== 407) {
    const text = `slicer-proxy: ${describe(refusal)} (${refusal.reason})`;
    const answer = rpcAnswer({ status: refusal.status, text, fields: own }, { version, fields });
    if (answer) return { ...answer, phrase };
  }
  const json = prefersJson(fields);
  const body = Buffer.from(json ? formatProblem(refusal) : formatText(refusal), "utf8");
  own.unshift(
    ["Content-Type", json ? "application/problem+json" : "text/plain; charset=utf-8"],
    ["Content-Length", String(body.length)],
  );
  return { status: refusal.status, phrase, fields: own.map(([name, value]) => makeField(name, value)), body };
}

/**
 * Programs whose CONNECT is refused hide the body, and many show the status line. Of what the client has chosen only the host
 * is in it, which is at most 253 characters of a closed set in this form.
 */
function phraseOf({ reason }: Refusal, host: string | undefined): string {
  return `slicer-proxy: ${reason}${host === undefined ? "" : ` (${host})`}`;
}

/** Limits that count by the minute. */
const PER_MINUTE: ReadonlySet<Reason> = new Set(["auth-throttled", "new-hosts"]);

/** What a status means beyond its reason, for whoever reads the body. */
function advice({ status, reason, explanation }: Refusal): string | undefined {
  if (status === 403 && !explanation) return "This is the proxy's policy, not a bad credential.";
  if (status === 407) {
    return "Send the client's token as the proxy password: HTTPS_PROXY=http://proxy:TOKEN@host:port";
  }
  if (reason === "auth-throttled") return "Wait a minute, and send the right token as the proxy password.";
  if (reason === "new-hosts") {
    return "Wait a minute. Hosts that were used before do not count; up --new-hosts-per-minute sets the limit.";
  }
  if (status === 502 || status === 504) {
    const remedy = TLS_REMEDIES[reason];
    return "The proxy allowed this request; the upstream could not be used." + (remedy ? ` ${remedy}` : "");
  }
  return undefined;
}

function describe({ detail, explanation }: Refusal): string {
  return explanation ? explanation.text : escapeTerminal(detail) + ".";
}

function formatText(refusal: Refusal): string {
  const { explanation, reason } = refusal;
  const lines = [`slicer-proxy: ${REASONS[reason]} (${reason})`, "", describe(refusal)];
  const more = advice(refusal);
  if (more) lines.push(more);
  if (explanation?.command) lines.push("", "An operator can allow it with:", `  ${explanation.command}`);
  return lines.join("\n") + "\n";
}

/** RFC 9457. */
function formatProblem(refusal: Refusal): string {
  const { status, reason, explanation } = refusal;
  return JSON.stringify({
    type: "about:blank",
    title: REASONS[reason],
    status,
    detail: describe(refusal),
    reason,
    ...(explanation?.command ? { allow_command: explanation.command } : {}),
    ...(advice(refusal) ? { advice: advice(refusal) } : {}),
  }) + "\n";
}
