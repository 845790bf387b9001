/**
 * Header fields as an ordered list: order, case, duplicates and the exact line survive, and an edit changes only the
 * field it means. Also which names are hop-by-hop, carry credentials, or override what a rule has checked.
 *
 * @module
 */
import { MAX_CONNECTION_MEMBERS } from "../../core/limits.ts";

/** One field. `value` is trimmed of optional whitespace. */
export interface HeaderField {
  readonly name: string;
  /** The name in lower case. */
  readonly key: string;
  readonly value: string;
  /** What was received over HTTP/1, without its CRLF. */
  readonly line?: string;
}

/** A field that we make ourselves. */
export function makeField(name: string, value: string): HeaderField {
  return { name, key: name.toLowerCase(), value, line: `${name}: ${value}` };
}

/** The values of every field of that (lower-case) name, in order. */
export function valuesOf(fields: readonly HeaderField[], key: string): readonly string[] {
  let values: string[] | undefined;
  for (const field of fields) if (field.key === key) (values ??= []).push(field.value);
  return values ?? NONE;
}

/** Of most names that are asked for a message has no field. */
const NONE: readonly string[] = Object.freeze([]);

/** The members of a comma-separated list header, lower-case, over all its fields (RFC 9110 §5.6.1). */
export function listOf(fields: readonly HeaderField[], key: string): readonly string[] {
  const values = valuesOf(fields, key);
  if (values.length === 0) return NONE;
  const members: string[] = [];
  for (const value of values) {
    for (const member of value.split(",")) {
      const text = member.trim().toLowerCase();
      if (text !== "") members.push(text);
    }
  }
  return members;
}

/**
 * A (lower-case) name as every comparison sees it: `_` and `-` are one character, since CGI and all that came of it (WSGI,
 * Rack, PHP) hand both on as `_`, so that `X_Api_Key` is `X-Api-Key` to them.
 */
export function foldName(key: string): string {
  return key.includes("_") ? key.replaceAll("_", "-") : key;
}

/** Names that decide where a message ends and who sent it: with `_` nobody can say whether they count. */
const NEVER_FOLDED = new Set(["content-length", "transfer-encoding", "proxy-authorization"]);

/** True for a name that means framing or identity to some servers, and nothing to others. */
export function isAmbiguousName(key: string): boolean {
  return key.includes("_") && NEVER_FOLDED.has(foldName(key));
}

/** Fields that are for one hop (RFC 9110 §7.6.1), whether or not `Connection` names them. `Proxy-*` goes as a whole. */
const HOP_BY_HOP = new Set(["connection", "keep-alive", "te", "upgrade", "http2-settings"]);

/** True for a field that must not cross the proxy. */
export function isHopByHop(key: string): boolean {
  const name = foldName(key);
  return HOP_BY_HOP.has(name) || name.startsWith("proxy-");
}

/** Headers known to carry a credential. A rule with a secret removes the client's own ones (SPEC section 9.3). */
const CREDENTIAL_HEADERS = new Set([
  "authorization",
  "x-api-key",
  "api-key",
  "apikey",
  "x-apikey",
  "x-goog-api-key",
  "x-goog-iam-authorization-token",
  "private-token",
  "job-token",
  "deploy-token",
  "x-auth-token",
  "x-access-token",
  "x-amz-security-token",
  "x-gitlab-token",
  "x-github-token",
  "x-vault-token",
  "x-figma-token",
  "x-shopify-access-token",
  "x-authorization",
  "x-original-authorization",
  "x-forwarded-authorization",
  "ocp-apim-subscription-key",
  "dd-api-key",
  "dd-application-key",
  "x-auth-key",
  "x-subscription-token",
]);

/** True for a header that is known to carry a credential. */
export function isCredentialHeader(key: string): boolean {
  return CREDENTIAL_HEADERS.has(foldName(key));
}

const OVERRIDE_HEADERS = new Set([
  "x-http-method-override",
  "x-http-method",
  "x-method-override",
  "x-original-method",
  "x-original-url",
  "x-original-uri",
  "x-rewrite-url",
  "x-forwarded-uri",
  "x-forwarded-path",
  "x-original-path",
  "x-forwarded-method",
  "x-forwarded-host",
  "x-forwarded-prefix",
  "x-envoy-original-path",
]);

/** True for a header by which some servers take another method or path than the request line's. */
export function isOverride(key: string): boolean {
  return OVERRIDE_HEADERS.has(foldName(key));
}

/** The first override header among the fields. */
export function findOverride(fields: readonly HeaderField[]): HeaderField | undefined {
  return fields.find((field) => isOverride(field.key));
}

/** Names that `Connection` must not nominate: removing them would change the message's meaning or its framing. */
const NEVER_NOMINATED = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "trailer",
  "expect",
  "content-type",
  "content-encoding",
  "cookie",
  "set-cookie",
]);

/** The first name that a `Connection` header nominates and must not (SPEC section 9.3). */
export function findBadNomination(fields: readonly HeaderField[]): string | undefined {
  return listOf(fields, "connection").find((name) =>
    NEVER_NOMINATED.has(foldName(name)) || isCredentialHeader(name)
  );
}

/** True when `Connection` names more than any client does. Counts separators, so that empty members cost as well. */
export function hasTooManyNominations(fields: readonly HeaderField[]): boolean {
  let left = MAX_CONNECTION_MEMBERS;
  for (const value of valuesOf(fields, "connection")) {
    left -= value.split(",", MAX_CONNECTION_MEMBERS + 1).length;
    if (left < 0) return true;
  }
  return false;
}

/** A message's head, as far as it says which fields are for one hop. */
export interface Versioned {
  readonly version: string;
  readonly fields: readonly HeaderField[];
}

/**
 * The fields without those that are for one hop: the fixed ones, those that `Connection` nominates, and `Proxy-*`. What must
 * not be nominated stays: requests that try are refused before, but servers do send `Connection: Transfer-Encoding`, and
 * without it the client would not find the end of the response.
 */
export function removeHopByHop({ version, fields }: Versioned): HeaderField[] {
  // HTTP/2 has no other such fields than `te: trailers` (RFC 9113 §8.2.2), which the other side has to know.
  if (version === "HTTP/2") return fields.filter(({ key }) => key === "te" || !isHopByHop(key));
  const nominated = listOf(fields, "connection");
  if (nominated.length === 0) return fields.filter(({ key }) => !isHopByHop(key));
  const names = new Set(nominated.map(foldName));
  return fields.filter(({ key }) => {
    const name = foldName(key);
    return !isHopByHop(name) && (NEVER_NOMINATED.has(name) || !names.has(name));
  });
}

/** What a credential does to a request's fields. */
export interface Injection {
  /** Set, in place of the client's own credentials and of its fields of these names. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Members that a comma-separated list field must have; what the client has in it stays. */
  readonly merge?: readonly (readonly [name: string, value: string])[];
  /** Added unless the client sends the field itself. */
  readonly defaults?: readonly (readonly [name: string, value: string])[];
}

/**
 * The fields with a credential in place of the client's own. Everything known to carry a credential goes, and so does
 * any field of an injected name; the credential stands where the first of them stood, or at the end.
 */
export function injectCredential(fields: readonly HeaderField[], injection: Injection): HeaderField[] {
  const injected = injection.headers.map(([name, value]) => makeField(name, value));
  const names = new Set(injected.map((field) => foldName(field.key)));
  const out: HeaderField[] = [];
  let isPlaced = false;
  for (const field of fields) {
    if (!isCredentialHeader(field.key) && !names.has(foldName(field.key))) out.push(field);
    else if (!isPlaced) {
      out.push(...injected);
      isPlaced = true;
    }
  }
  if (!isPlaced) out.push(...injected);
  for (const [name, value] of injection.merge ?? []) mergeMember(out, name, value);
  for (const [name, value] of injection.defaults ?? []) {
    if (!out.some(({ key }) => key === name.toLowerCase())) out.push(makeField(name, value));
  }
  return out;
}

/** Makes sure that a list field has a member (RFC 9110 §5.6.1): behind those of the field's last line, or in a new one. */
function mergeMember(fields: HeaderField[], name: string, member: string): void {
  const key = name.toLowerCase();
  if (listOf(fields, key).includes(member.toLowerCase())) return;
  const at = fields.findLastIndex((field) => field.key === key);
  const field = fields[at];
  if (!field) fields.push(makeField(name, member));
  else fields[at] = makeField(field.name, field.value === "" ? member : `${field.value},${member}`);
}
