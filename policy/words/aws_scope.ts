/**
 * Which of AWS's services and regions a rule allows, against the scope that a request was signed for.
 *
 * Not here: reading that scope (`secrets/aws/`).
 *
 * @module
 */
import { quoteText } from "../../core/escape.ts";
import { ProxyError } from "../../core/errors.ts";

/** What a signature says that it is for (the credential scope of SigV4). */
export interface AwsScope {
  /** The name that is signed, such as `s3` or `bedrock`; not always the host's. */
  readonly service: string;
  readonly region: string;
}

/** What a rule says of it. Patterns, of which one has to fit. */
export interface AwsWords {
  readonly awsService?: readonly string[];
  readonly awsRegion?: readonly string[];
}

/** A name, or the beginning of names with a `*` behind. One star, so that a look costs no more than the name's length. */
const PATTERN = /^(?:[a-z0-9-]{1,63}\*?|\*)$/;

/** A service in a rule, canonical. @throws ProxyError `input.invalid` */
export function parseAwsService(text: string): string {
  return parsePattern("an AWS service", text, "s3, bedrock or dynamodb");
}

/** A region in a rule, canonical. @throws ProxyError `input.invalid` */
export function parseAwsRegion(text: string): string {
  return parsePattern("an AWS region", text, "eu-west-1 or eu-*");
}

/** What of a scope a rule does not allow, in words; undefined when all of it is allowed. */
export function scopeMiss(
  { awsService, awsRegion }: AwsWords,
  { service, region }: AwsScope,
): string | undefined {
  if (!isAmong(awsService, service)) {
    return `the service ${service}, and the rule allows ${listed(awsService)}`;
  }
  if (!isAmong(awsRegion, region)) return `the region ${region}, and the rule allows ${listed(awsRegion)}`;
  return undefined;
}

/** True when a rule names a service itself, and not by a pattern. */
export function isServiceNamed({ awsService = [] }: AwsWords, service: string): boolean {
  return awsService.includes(service);
}

function isAmong(patterns: readonly string[] | undefined, name: string): boolean {
  if (patterns === undefined) return true;
  const lower = name.toLowerCase();
  return patterns.some((pattern) =>
    pattern.endsWith("*") ? lower.startsWith(pattern.slice(0, -1)) : lower === pattern
  );
}

function listed(patterns: readonly string[] = []): string {
  return patterns.slice(0, 8).join(", ");
}

function parsePattern(what: string, text: string, examples: string): string {
  const lower = text.toLowerCase();
  if (PATTERN.test(lower)) return lower;
  throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 40)} as ${what}`, {
    hint: `write its name as it is signed, such as ${examples}; a * may stand at the end`,
  });
}
