/**
 * The signature that a client's AWS SDK has put on a request: what it is for, what it covers, and how the body is signed.
 * Its keys are placeholders, so the signature itself says nothing. Read strictly, in one pass, bounded by the head's size.
 *
 * Not here: whether a rule allows its scope (`policy/words/aws_scope.ts`), signing anew (`signer.ts`).
 *
 * Sources: "Signature Version 4 for API requests" (IAM User Guide), "Authenticating requests: query parameters" and
 * "Signature calculations for the authorization header" (Amazon S3 API Reference).
 *
 * @module
 */
import type { AwsScope } from "../../policy/words/aws_scope.ts";
import { type QueryPair, readQuery } from "./query.ts";

/** A field of a request's head. `key` is its name in lower case. */
export interface Field {
  readonly key: string;
  readonly value: string;
}

/** A request's head, as far as signatures go. `query` is without the `?`. */
export interface SignedHead {
  readonly query: string | undefined;
  readonly fields: readonly Field[];
}

/** What the signature says about the body. */
export type Payload =
  /** A SHA-256 in hex, or that the body is not signed: stays as it is. */
  | { readonly kind: "said"; readonly value: string }
  /** Signed chunk by chunk (aws-chunked). */
  | { readonly kind: "chunks"; readonly value: string; readonly hasTrailer: boolean }
  /** The SDK has hashed the body, and does not say what came out. */
  | { readonly kind: "unsaid" };

/** A client's signature. */
export interface ClientSignature extends AwsScope {
  /** In the header `Authorization`, or in the query (a presigned URL). */
  readonly form: "header" | "query";
  /** Names in lower case. */
  readonly signedHeaders: ReadonlySet<string>;
  readonly payload: Payload;
  /** The parameters of the query. */
  readonly query: readonly QueryPair[];
  /** Of a presigned URL: `X-Amz-Date` as epoch milliseconds, and for how long it is good, in seconds. */
  readonly signedAtMs?: number;
  readonly expiresS?: number;
}

/** Why a signature cannot be replaced. `why` is one clause for the client. */
export interface Refused {
  readonly why: string;
}

export const CONTENT_SHA256 = "x-amz-content-sha256";
const ALGORITHM = "AWS4-HMAC-SHA256";
/** Services whose paths are signed as they are sent: every other has them encoded once more, and normalised. */
const S3_SERVICES = new Set(["s3", "s3express", "s3-outposts", "s3-object-lambda"]);
/** What SDKs presign without an end (AWS IoT) is good for this long. */
const DEFAULT_EXPIRES_S = 300;
const MAX_EXPIRES_S = 604_800; // a week, as AWS has it
const MAX_SIGNED_HEADERS = 128;

/** True for a service that takes paths as S3 does. */
export function isS3(service: string): boolean {
  return S3_SERVICES.has(service);
}

/** The signature of a request. */
export function readSignature(head: SignedHead): ClientSignature | Refused {
  const query = readQuery(head.query ?? "");
  if (!Array.isArray(query)) return { why: query.why };
  const headers = head.fields.filter(({ key }) => key === "authorization");
  const algorithm = query.find(({ name }) => name.toLowerCase() === "x-amz-algorithm");
  const [header, ...more] = headers;
  if (more.length > 0 || (header && algorithm)) return { why: "it is signed more than once" };
  if (algorithm) return readQueryForm(head, query, algorithm.value);
  if (header) return readHeaderForm(head, query, header.value);
  if (query.some(({ name }) => name === "AWSAccessKeyId" || name === "Signature")) return SIGNATURE_V2;
  return {
    why:
      "it has no AWS signature: give the SDK in the VM the placeholder keys that `slicer-proxy env` prints, " +
      "or use `curl --aws-sigv4 aws:amz:REGION:SERVICE --user PLACEHOLDER:PLACEHOLDER`",
  };
}

const SIGNATURE_V2: Refused = {
  why: "it has a signature of version 2: set signature_version to s3v4 in the SDK " +
    "(boto3: Config(signature_version='s3v4'); `aws configure set default.s3.signature_version s3v4`)",
};

function readHeaderForm(
  head: SignedHead,
  query: readonly QueryPair[],
  value: string,
): ClientSignature | Refused {
  const space = value.indexOf(" ");
  const scheme = space < 0 ? value : value.slice(0, space);
  const bad = refusedAlgorithm(scheme);
  if (bad) return bad;
  const parts = new Map<string, string>();
  for (const part of value.slice(space + 1).split(",")) {
    const text = part.trim();
    const equals = text.indexOf("=");
    const name = text.slice(0, Math.max(0, equals));
    if (parts.has(name)) return unreadable("Authorization");
    parts.set(name, text.slice(equals + 1));
  }
  const scope = readScope(parts.get("Credential"));
  const signedHeaders = readSignedHeaders(parts.get("SignedHeaders"));
  const isWhole = parts.size === 3 && isSignature(parts.get("Signature"));
  if (!scope || !signedHeaders || !isWhole) return unreadable("Authorization");
  const payload = readPayload(valuesOf(head.fields, CONTENT_SHA256), { kind: "unsaid" });
  if ("why" in payload) return payload;
  return { form: "header", ...scope, signedHeaders, payload, query };
}

function readQueryForm(
  head: SignedHead,
  query: readonly QueryPair[],
  algorithm: string,
): ClientSignature | Refused {
  const bad = refusedAlgorithm(algorithm);
  if (bad) return bad;
  const parameters = new Map<string, string>();
  for (const { name, value } of query) {
    const key = name.toLowerCase();
    if (!isAuthParameter(key)) continue;
    if (parameters.has(key)) return unreadable("URL");
    parameters.set(key, value);
  }
  const scope = readScope(parameters.get("x-amz-credential"));
  const signedHeaders = readSignedHeaders(parameters.get("x-amz-signedheaders"));
  const signedAtMs = parseAmzDate(parameters.get("x-amz-date") ?? "");
  const expires = parameters.get("x-amz-expires") ?? String(DEFAULT_EXPIRES_S);
  const isWhole = isSignature(parameters.get("x-amz-signature")) && /^[1-9]\d{0,6}$/.test(expires);
  if (!scope || !signedHeaders || signedAtMs === undefined || !isWhole) return unreadable("URL");
  const said = query.filter(({ name }) => name.toLowerCase() === CONTENT_SHA256).map(({ value }) => value);
  const usual: Payload = isS3(scope.service)
    ? { kind: "said", value: "UNSIGNED-PAYLOAD" }
    : { kind: "unsaid" };
  const payload = readPayload([...valuesOf(head.fields, CONTENT_SHA256), ...said], usual);
  if ("why" in payload) return payload;
  if (payload.kind === "chunks") return { why: "the chunks of a body cannot be signed by a presigned URL" };
  const expiresS = Math.min(Number(expires), MAX_EXPIRES_S);
  return { form: "query", ...scope, signedHeaders, payload, query, signedAtMs, expiresS };
}

/** True for a parameter, lower case, that a presigned URL is signed with. */
export function isAuthParameter(key: string): boolean {
  return AUTH_PARAMETERS.has(key);
}

const AUTH_PARAMETERS = new Set([
  "x-amz-algorithm",
  "x-amz-credential",
  "x-amz-date",
  "x-amz-expires",
  "x-amz-security-token",
  "x-amz-signature",
  "x-amz-signedheaders",
]);

function refusedAlgorithm(scheme: string): Refused | undefined {
  if (scheme === ALGORITHM) return undefined;
  if (scheme === "AWS4-ECDSA-P256-SHA256") {
    return {
      why: "it is signed with SigV4a, for many regions at once: set AWS_AUTH_SCHEME_PREFERENCE=sigv4 " +
        "(auth_scheme_preference = sigv4 in ~/.aws/config) in the VM",
    };
  }
  if (scheme === "AWS" || scheme === "AWS3-HTTPS") return SIGNATURE_V2;
  return { why: `its Authorization is no AWS signature: the SDK in the VM has to sign with ${ALGORITHM}` };
}

/** `ID/20260102/eu-west-1/s3/aws4_request`; an id may hold slashes, none of AWS's does. */
function readScope(credential: string | undefined): AwsScope | undefined {
  const parts = credential?.split("/", 16) ?? [];
  const [end, service = "", region = "", date = ""] = parts.reverse();
  const isScope = parts.length >= 5 && end === "aws4_request" && /^\d{8}$/.test(date) &&
    /^[A-Za-z0-9_-]{1,64}$/.test(region) && /^[a-z0-9_-]{1,64}$/.test(service);
  return isScope ? { service, region } : undefined;
}

function readSignedHeaders(text: string | undefined): ReadonlySet<string> | undefined {
  const names = text?.split(";", MAX_SIGNED_HEADERS + 1) ?? [];
  const isList = names.length > 0 && names.length <= MAX_SIGNED_HEADERS &&
    names.every((name) => /^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$/.test(name));
  return isList ? new Set(names) : undefined;
}

function isSignature(text: string | undefined): boolean {
  return text !== undefined && /^[0-9a-fA-F]{64}$/.test(text);
}

function readPayload(values: readonly string[], usual: Payload): Payload | Refused {
  const [value, ...more] = values;
  if (value === undefined) return usual;
  if (more.some((other) => other !== value)) return unreadable(CONTENT_SHA256);
  switch (value) {
    case "UNSIGNED-PAYLOAD":
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return { kind: "said", value };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
      return { kind: "chunks", value, hasTrailer: false };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
      return { kind: "chunks", value, hasTrailer: true };
    case "STREAMING-AWS4-HMAC-SHA256-EVENTS":
      return {
        why: "the events of its stream are signed one by one: use the operation that sends one request and " +
          "streams the answer (such as InvokeModelWithResponseStream, not …WithBidirectionalStream)",
      };
  }
  if (value.startsWith("STREAMING-AWS4-ECDSA-P256-SHA256-")) {
    return refusedAlgorithm("AWS4-ECDSA-P256-SHA256") ?? usual;
  }
  return /^[0-9a-f]{64}$/.test(value) ? { kind: "said", value } : unreadable(CONTENT_SHA256);
}

/** `20260102T030405Z` as epoch milliseconds. */
export function parseAmzDate(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

function valuesOf(fields: readonly Field[], key: string): string[] {
  return fields.filter((field) => field.key === key).map(({ value }) => value);
}

function unreadable(where: string): Refused {
  return { why: `its AWS signature cannot be read: ${where} is not as Signature Version 4 has it` };
}
