/**
 * Testing a secret: which harmless call tells whether a host takes it, and what the answer means in words.
 *
 * Not here: making the call (`proxy/egress/secret_probe.ts`).
 *
 * @module
 */
import { isProxyError, ProxyError } from "../core/errors.ts";
import { parseHost } from "../core/host_port.ts";
import { hasSegmentPlace, SEGMENT_PLACEHOLDER } from "../policy/placeholder.ts";
import { hostWithin } from "../policy/rule.ts";
import type { SecretRecord } from "../store/records.ts";
import { oauthKind } from "./kinds.ts";
import { jsonFields } from "./token_answer.ts";

/** How a test ended. `words` is for people and holds no credential. */
export interface SecretTest {
  /** `failed` is when nothing was asked, or nothing answered. */
  readonly verdict: "accepted" | "refused" | "unclear" | "failed";
  readonly words: string;
  /** What was asked for, with `{}` in the place of a credential and without its query. */
  readonly url?: string;
  readonly status?: number;
}

/** What a test has to know of a secret. */
export type TestedSecret = Pick<SecretRecord, "name" | "host" | "type" | "cleartext">;

/** An answer to a test's call, as far as it is read. */
export interface ProbeAnswer {
  readonly status: number;
  /** The beginning of the body, decoded. */
  readonly bodyStart: string;
}

/** What asks who one is, or lists what everybody may see: paths that cost nothing and change nothing. */
const KNOWN: Readonly<Record<string, string>> = {
  "api.anthropic.com": "/v1/models?limit=1",
  "api.openai.com": "/v1/models",
  "chatgpt.com": "/backend-api/wham/usage",
  "api.githubcopilot.com": "/models",
  "api.x.ai": "/v1/models",
  "api.github.com": "/user",
  "gitlab.com": "/api/v4/user",
  "generativelanguage.googleapis.com": "/v1beta/models?pageSize=1",
  "openrouter.ai": "/api/v1/key",
  "api.mistral.ai": "/v1/models",
  "api.groq.com": "/openai/v1/models",
  "huggingface.co": "/api/whoami-v2",
  "registry.npmjs.org": "/-/whoami",
  "slack.com": "/api/auth.test",
  "api.telegram.org": `/bot${SEGMENT_PLACEHOLDER}/getMe`,
  "api.stripe.com": "/v1/balance",
  "api.cloudflare.com": "/client/v4/user/tokens/verify",
  "api.digitalocean.com": "/v2/account",
  "sts.amazonaws.com": "/?Action=GetCallerIdentity&Version=2011-06-15",
};

/** Logins whose token says nothing: it is another for each repository, or is not fetched at all. */
const NEEDS_URL = new Set(["github-app", "aws"]);

/**
 * What to ask for.
 *
 * @param text the operator's own URL
 * @returns undefined for a login that is tested by fetching its token
 * @throws ProxyError `input.invalid`
 */
export function probeUrl(record: TestedSecret, text: string | undefined): URL | undefined {
  const url = text === undefined ? knownUrl(record) : ownUrl(record, text);
  if (url) {
    if (record.type !== "path" || hasSegmentPlace(url.pathname)) return url;
    return refuse(
      record,
      `its URL does not say where in the path it goes`,
      `write ${SEGMENT_PLACEHOLDER} there`,
    );
  }
  if (oauthKind(record.type) && !NEEDS_URL.has(record.type)) return undefined;
  const example = record.type === "github-app"
    ? "https://github.com/OWNER/REPO.git/info/refs?service=git-upload-pack"
    : `https://${record.host.replace("*.", "HOST.")}/PATH`;
  return refuse(
    record,
    `no harmless call is known for ${record.host}`,
    `name one that needs the credential: --at ${example}`,
  );
}

function knownUrl({ host, type }: TestedSecret): URL | undefined {
  if (type === "github-app" || type === "google-service-account") return undefined;
  const known = Object.keys(KNOWN).find((each) => hostWithin(each, host));
  return known === undefined ? undefined : new URL(`https://${known}${KNOWN[known]}`);
}

function ownUrl(record: TestedSecret, text: string): URL {
  const url = URL.parse(text);
  const host = parseHost(url?.hostname.replace(/^\[|\]$/g, "") ?? "");
  if (
    !url || host === undefined || !["https:", "http:"].includes(url.protocol) ||
    url.username + url.password !== ""
  ) {
    return refuse(record, "its URL is no plain http or https URL", "write --at https://HOST/PATH");
  }
  if (!hostWithin(host, record.host)) {
    refuse(
      record,
      `it is bound to ${record.host}, and the URL names another host`,
      `use a host within ${record.host}`,
    );
  }
  return url;
}

function refuse({ name }: TestedSecret, why: string, hint: string): never {
  throw new ProxyError("input.invalid", `Cannot test secret ${name}: ${why}`, { hint });
}

/** The service and region that a request to AWS is signed for, as the host's name says; S3's, of another vendor, else. */
export function awsScopeOf(host: string): { readonly service: string; readonly region: string } {
  const labels = host.replace(/\.cn$/, "").split(".").filter((label) => label !== "dualstack");
  const isAws = labels.splice(-2).join(".") === "amazonaws.com";
  const last = labels.pop();
  if (!isAws || last === undefined) return { service: "s3", region: "us-east-1" };
  const isRegion = /^[a-z]+-[a-z]+(?:-[a-z]+)?-\d$/.test(last);
  const name = isRegion ? labels.pop() ?? "s3" : last;
  return { service: SIGNED_AS.get(name) ?? name, region: isRegion ? last : "us-east-1" };
}

/** Endpoints whose requests are signed for a service of another name. */
const SIGNED_AS: ReadonlyMap<string, string> = new Map([
  ["bedrock-runtime", "bedrock"],
  ["bedrock-agent", "bedrock"],
  ["bedrock-agent-runtime", "bedrock"],
]);

/** The URL as it is shown: no query, since the operator's own may hold something. */
export function shownUrl({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname.replace(/%7B%7D/gi, SEGMENT_PLACEHOLDER)}`;
}

/**
 * What an answer means.
 *
 * @param bare the status of the same call without the credential, where that was asked
 * @param material texts that must not be shown
 */
export function judgeAnswer(
  url: URL,
  answer: ProbeAnswer,
  { bare, material }: { readonly bare?: number | undefined; readonly material: readonly string[] },
): SecretTest {
  const { status } = answer;
  const code = codeIn(answer.bodyStart, material);
  const says = `HTTP status ${status}${code === undefined ? "" : `, ${code}`}`;
  const { host } = url;
  const [verdict, words] = judge();
  return { verdict, words: `${host} ${words} (${says})`, url: shownUrl(url), status };

  function judge(): [SecretTest["verdict"], string] {
    if (status === 401) return ["refused", "refuses the credential"];
    if (status === 403) {
      return ["refused", "refuses this call: the credential is wrong or has no right to it"];
    }
    if (status === 407) return ["unclear", "answers as a proxy does"];
    if (status === 429) return ["unclear", "has had too many calls"];
    if (status >= 500) return ["unclear", "is in trouble itself"];
    if (status >= 400) return ["unclear", "does not take this call, whatever the credential is"];
    if (status >= 300) return ["unclear", "sends elsewhere, where no credential follows"];
    // Slack and Telegram say no in a 200.
    if (jsonFields(answer.bodyStart).ok === false) return ["refused", "refuses the credential"];
    if (bare !== undefined && bare < 300) {
      return ["unclear", "answers without a credential too: name a URL that needs one"];
    }
    return ["accepted", "takes the credential"];
  }
}

/** What a failure before an answer means. @throws whatever is no expected failure */
export function judgeFailure(error: unknown, url: URL | undefined): SecretTest {
  if (!isProxyError(error)) throw error;
  const hint = error.hint === undefined ? "" : `; ${error.hint}`;
  return { verdict: "failed", words: error.message + hint, ...(url ? { url: shownUrl(url) } : {}) };
}

/** There is a token, fetched now or before, and nothing to try it at. */
export function judgeToken({ type }: TestedSecret, isFetched: boolean): SecretTest {
  const how = isFetched ? "was fetched" : "is at hand and has not ended";
  return { verdict: "accepted", words: `a token of this ${type} ${how}; --at URL tries it at an API` };
}

/** The error code in an answer: a word, which is no credential's shape. */
function codeIn(bodyStart: string, material: readonly string[]): string | undefined {
  const fields = jsonFields(bodyStart);
  const { error } = fields;
  const inner = typeof error === "object" && error !== null ? jsonFields(JSON.stringify(error)) : {};
  const xml = /<Code>([^<]{1,64})<\/Code>/.exec(bodyStart)?.[1];
  return [inner.status, inner.code, inner.type, error, fields.code, xml].find((code): code is string =>
    typeof code === "string" && /^[A-Za-z][A-Za-z_.-]{0,63}$/.test(code) &&
    !material.some((each) => code.includes(each) || each.includes(code))
  );
}
