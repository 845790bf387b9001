/**
 * `aws`: keys that requests to AWS are signed with, or to anything that takes its signatures. Temporary ones of a role come
 * from STS (`AssumeRole`) at first use, are renewed like any token, and stay in memory.
 *
 * Not here: signing (`aws/`, `proxy/inject/aws_signing.ts`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { parseDuration } from "../core/duration.ts";
import { isProxyError } from "../core/errors.ts";
import { hasPlaceholder } from "../policy/placeholder.ts";
import { readQuery } from "./aws/query.ts";
import { readOffset } from "./aws/clocks.ts";
import { areKeysGone, awsErrorCode, awsFault, textIn } from "./aws/fault.ts";
import { signHead } from "./aws/signer.ts";
import type { AwsKeys } from "./credential.ts";
import { Fields, isToken } from "./fields.ts";
import {
  type AccessToken,
  compact,
  type Login,
  makeToken,
  type OAuthKind,
  type RenewalContext,
} from "./oauth_kind.ts";
import type { ProviderResponse } from "./provider_call.ts";
import { FORM_HEADERS, formBody, RenewalFailure, retryAfter } from "./token_answer.ts";

const HINT =
  'give {"access_key_id": "AKIA...", "secret_access_key": "..."}, with "session_token" for temporary keys, ' +
  'or with "role_arn" (and "external_id", "duration", "region") for a role\'s';

/** Keys, and the role to take on with them. */
export interface AwsLogin extends Login {
  readonly access_key_id: string;
  readonly secret_access_key: string;
  readonly session_token?: string;
  /** When the keys end, epoch milliseconds. */
  readonly expires_at?: number;
  readonly role_arn?: string;
  readonly external_id?: string;
  /** How long a role's keys live, in seconds. */
  readonly duration?: number;
  /** Of STS. */
  readonly region?: string;
  readonly sts_endpoint?: string;
}

/** Fields of the documented form, of `aws sts` and `credential_process`, and our own. Others would be lost in silence. */
const FIELDS = new Set([
  "access_key_id",
  "secret_access_key",
  "session_token",
  "expires_at",
  "role_arn",
  "external_id",
  "duration",
  "region",
  "sts_endpoint",
  "AccessKeyId",
  "SecretAccessKey",
  "SessionToken",
  "Expiration",
  "Version",
  "AccountId",
  "source_digest",
]);
const ROLE_FIELDS = ["external_id", "duration", "region", "sts_endpoint"] as const;

/** AWS's own bounds (STS API Reference, AssumeRole). */
const SHORTEST_S = 900;
const LONGEST_S = 43_200;
const DEFAULT_S = 3_600;
const FORM = FORM_HEADERS["Content-Type"];
const SESSION_NAME = "slicer-proxy";

/** Answers after which the same call never succeeds. */
const FINAL_CODES = new Set([
  "AccessDenied",
  "InvalidClientTokenId",
  "UnrecognizedClientException",
  "SignatureDoesNotMatch",
  "ExpiredToken",
  "ExpiredTokenException",
  "ValidationError",
  "MalformedPolicyDocument",
  "RegionDisabledException",
]);

export const AWS: OAuthKind<AwsLogin> = {
  rotates: false,

  parse(text, nowMs) {
    const outer = Fields.parse("AWS value", HINT, text);
    const inner = outer.child("Credentials"); // as `aws sts assume-role` prints it
    const fields = inner ?? outer;
    // AWS writes more beside it, all of it with a capital. What is ours, such as a role, has to stand within.
    const beside = inner ? outer.names().filter((name) => !/^[A-Z]/.test(name)) : [];
    const [unknown] = [...beside, ...fields.names().filter((name) => !FIELDS.has(name))];
    if (unknown !== undefined) fields.refuse(`it has no field ${JSON.stringify(unknown.slice(0, 40))}`);
    const login = compact({
      access_key_id: matching(fields, /^[\w+=.@-]{3,128}$/, "access_key_id", "AccessKeyId") ??
        fields.refuse("it has no access_key_id"),
      secret_access_key: fields.needToken("secret_access_key", "SecretAccessKey"),
      session_token: fields.token("session_token", "SessionToken"),
      expires_at: fields.time(nowMs, "expires_at", "Expiration"),
      role_arn: matching(fields, /^arn:aws[a-z-]{0,20}:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/, "role_arn"),
      external_id: matching(fields, /^[\w+=,.@:/-]{2,1224}$/, "external_id"),
      duration: durationIn(fields),
      region: matching(fields, /^[a-z0-9-]{1,64}$/, "region"),
      sts_endpoint: fields.url("sts_endpoint"),
    });
    if (hasPlaceholder(login.access_key_id) || hasPlaceholder(login.secret_access_key)) {
      fields.refuse("its keys are the placeholders that the VM gets", "give the real keys");
    }
    const lone = ROLE_FIELDS.find((name) => login.role_arn === undefined && login[name] !== undefined);
    return lone === undefined ? login : fields.refuse(`its ${lone} is for a role, and it has no role_arn`);
  },

  stored: (login) => login.role_arn === undefined ? tokenOf(keysOf(login), login.expires_at) : undefined,
  isRenewable: ({ role_arn }) => role_arn !== undefined,

  async renew(login, context) {
    let nowMs = context.now();
    for (let isSecond = false;; isSecond = true) {
      const response = await assumeRole(login, context, nowMs);
      if (response.status === 200) return { token: readAnswer(response, login, context.now()) };
      const { body: bodyStart, headers } = response;
      const isSkewed = awsFault({ errorType: undefined, bodyStart }) === "aws-clock";
      const offset = isSkewed && !isSecond ? readOffset(headers["date"], context.now()) ?? 0 : 0;
      if (offset === 0) throw failureOf(response, context.now());
      nowMs = context.now() + offset;
    }
  },

  inject(_login, token) {
    const aws: AwsKeys = JSON.parse(token);
    const { secretAccessKey, sessionToken } = aws;
    return {
      headers: [],
      aws,
      material: [secretAccessKey, ...(sessionToken === undefined ? [] : [sessionToken])],
    };
  },
  endpoints: (login) => login.role_arn === undefined ? [] : [{ url: stsUrl(login), scope: "path" }],
  identity: ({ role_arn, sts_endpoint, region }) => [role_arn, sts_endpoint, region],
  isRefused: ({ bodyStart = "" }) => areKeysGone(bodyStart),
};

function matching(fields: Fields, pattern: RegExp, ...names: readonly string[]): string | undefined {
  const text = fields.text(...names);
  if (text === undefined || pattern.test(text)) return text;
  return fields.refuse(`its ${names[0]} is not of the form that AWS gives it`);
}

/** Seconds, or a duration such as `1h`. */
function durationIn(fields: Fields): number | undefined {
  const given = fields.numberOrText("duration");
  if (given === undefined) return undefined;
  const seconds = typeof given === "number" ? given : secondsOf(given);
  return Number.isInteger(seconds) && seconds >= SHORTEST_S && seconds <= LONGEST_S
    ? seconds
    : fields.refuse("its duration is not from 15m to 12h", "write seconds or a duration, such as 1h");
}

function secondsOf(text: string): number {
  try {
    return /^\d{1,6}$/.test(text) ? Number(text) : parseDuration(text) / 1_000;
  } catch (error) {
    if (isProxyError(error, "input.invalid")) return NaN;
    throw error;
  }
}

/** The keys are what the engine keeps as a token. */
function tokenOf(keys: AwsKeys, expiresAtMs?: number): AccessToken {
  return makeToken(JSON.stringify(keys), expiresAtMs);
}

function keysOf({ access_key_id, secret_access_key, session_token }: AwsLogin): AwsKeys {
  return compact({
    accessKeyId: access_key_id,
    secretAccessKey: secret_access_key,
    sessionToken: session_token,
  });
}

/** The global endpoint without a region. The partition of China has a domain of its own. */
function stsUrl({ region, sts_endpoint }: AwsLogin): string {
  if (sts_endpoint !== undefined) return sts_endpoint;
  if (region === undefined) return "https://sts.amazonaws.com/";
  return `https://sts.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}/`;
}

async function assumeRole(
  login: AwsLogin,
  { call }: RenewalContext,
  nowMs: number,
): Promise<ProviderResponse> {
  const url = new URL(stsUrl(login));
  const body = formBody({
    Action: "AssumeRole",
    Version: "2011-06-15",
    RoleArn: login.role_arn,
    RoleSessionName: SESSION_NAME,
    DurationSeconds: String(login.duration ?? DEFAULT_S),
    ExternalId: login.external_id,
  });
  const query = readQuery(url.search.slice(1));
  const signed = await signHead({
    method: "POST",
    path: url.pathname,
    query: Array.isArray(query) ? query : [],
    fields: [{ key: "host", value: url.host }, { key: "content-type", value: FORM }],
    signedHeaders: new Set(),
    payload: createHash("sha256").update(body).digest("hex"),
  }, { keys: keysOf(login), scope: { service: "sts", region: login.region ?? "us-east-1" }, nowMs });
  return await call({
    method: "POST",
    url: url.href,
    headers: { "Content-Type": FORM, ...Object.fromEntries(signed.headers) }, // and no Accept: XML is documented
    body,
  });
}

function readAnswer({ body, headers }: ProviderResponse, { duration }: AwsLogin, nowMs: number): AccessToken {
  const part = (name: string) => textIn(body, `<${name}>`, "<")?.trim() ?? "";
  const accessKeyId = part("AccessKeyId");
  const secretAccessKey = part("SecretAccessKey");
  const sessionToken = part("SessionToken");
  if (![accessKeyId, secretAccessKey, sessionToken].every(isToken)) {
    throw new RenewalFailure("the answer of STS holds no keys", { isAnswered: false });
  }
  // Counted from here: AWS's clock may differ from ours. It may also have given less than was asked for.
  const endsMs = Date.parse(part("Expiration")) - (readOffset(headers["date"], nowMs) ?? 0);
  const askedMs = nowMs + (duration ?? DEFAULT_S) * 1_000;
  return tokenOf(
    { accessKeyId, secretAccessKey, sessionToken },
    Number.isNaN(endsMs) ? askedMs : Math.min(endsMs, askedMs),
  );
}

function failureOf({ status, body, headers }: ProviderResponse, nowMs: number): RenewalFailure {
  const code = awsErrorCode({ errorType: undefined, bodyStart: body });
  const isFinal = status < 500 && code !== undefined && FINAL_CODES.has(code);
  return new RenewalFailure(
    isFinal ? `STS refused the role (${code})` : `STS answered HTTP status ${status}`,
    { isFinal, retryAfterMs: retryAfter(headers["retry-after"], nowMs) },
  );
}
