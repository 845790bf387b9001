/**
 * What AWS has against a signature: the key, the time, or the region; nothing, when it has denied an action. In XML (S3, STS,
 * EC2), in JSON, or in a field of the head.
 *
 * What is found here only names the trouble in the audit log, and has a request sent once more: anybody who answers for AWS
 * (an API behind API Gateway) could say it.
 *
 * @module
 */

/** As an audit reason. */
export type AwsFault = "aws-key" | "aws-clock" | "aws-region";

/** An answer, as far as it is at hand. */
export interface AwsAnswer {
  /** The field `x-amzn-errortype`. */
  readonly errorType: string | undefined;
  /** The beginning of the body. */
  readonly bodyStart: string;
}

const CLOCK = new Set(["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"]);
const REGION = new Set([
  "AuthorizationHeaderMalformed",
  "AuthorizationQueryParametersError",
  "PermanentRedirect",
  "IllegalLocationConstraintException",
]);
/** Keys that are not known, or not any more: other ones may be. */
const GONE = new Set([
  "InvalidAccessKeyId",
  "InvalidClientTokenId",
  "UnrecognizedClientException",
  "UnrecognizedClient",
  "InvalidToken",
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
]);
const SIGNATURE = new Set([
  "SignatureDoesNotMatch",
  "InvalidSignatureException",
  "InvalidSignature",
  "AuthFailure",
]);

/** The code of an error, such as `AccessDenied`; undefined where none is found. */
export function awsErrorCode({ errorType, bodyStart }: AwsAnswer): string | undefined {
  const found = errorType ?? textIn(bodyStart, "<Code>", "<") ?? jsonText(bodyStart, '"__type"') ??
    jsonText(bodyStart, '"code"') ?? jsonText(bodyStart, '"Code"');
  // `com.amazon.coral.service#UnrecognizedClientException`, `ValidationException:http://…`
  const code = found?.slice(found.lastIndexOf("#") + 1).split(":", 1)[0];
  return code !== undefined && /^[A-Za-z.]{1,64}$/.test(code) ? code : undefined;
}

/** What an answer says about the signature. */
export function awsFault(answer: AwsAnswer): AwsFault | undefined {
  const code = awsErrorCode(answer);
  if (code === undefined) return undefined;
  if (CLOCK.has(code)) return "aws-clock";
  if (REGION.has(code)) return "aws-region";
  if (GONE.has(code)) return "aws-key";
  if (!SIGNATURE.has(code)) return undefined;
  const { bodyStart } = answer;
  if (/Signature (?:expired|not yet current)/.test(bodyStart)) return "aws-clock";
  return bodyStart.includes("Credential should be scoped to") ? "aws-region" : "aws-key";
}

/** True when the keys themselves are not taken (any more), so that newer ones may be. */
export function areKeysGone(bodyStart: string, errorType?: string): boolean {
  const code = awsErrorCode({ errorType, bodyStart });
  return code !== undefined && GONE.has(code);
}

/** The text between two marks. */
export function textIn(text: string, begin: string, end: string): string | undefined {
  const from = text.indexOf(begin);
  if (from < 0) return undefined;
  const to = text.indexOf(end, from + begin.length);
  return to < 0 ? undefined : text.slice(from + begin.length, to);
}

function jsonText(text: string, name: string): string | undefined {
  const at = text.indexOf(name);
  const match = at < 0
    ? null
    : /^\s{0,8}:\s{0,8}"([^"]{1,200})"/.exec(text.slice(at + name.length, at + name.length + 240));
  return match?.[1];
}
