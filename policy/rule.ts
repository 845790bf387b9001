/**
 * The allow rule: its shape, and the one strict reader that CLI, REST and policy files share.
 *
 * Not here: matching (`match.ts`) and storing (`store/`).
 *
 * @module
 */
import { domainToASCII } from "node:url";
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import { hyphenFault, isIpLiteral, parseHost } from "../core/host_port.ts";
import { parseName } from "../core/names.ts";
import { hasDotSegments, isSuspectPath, prefixOf, upperEscapes } from "./path.ts";
import { problemOfStars } from "./path_stars.ts";
import {
  conditionsOf,
  flagOf,
  hasConditions,
  parseWords,
  type RuleWords,
  type RuleWordsInput,
  WORD_ROWS,
} from "./rule_words.ts";

/** What a rule says, in canonical form. Lists are sorted sets; an empty list means "any". */
export interface RuleSpec extends RuleWords {
  /** A host, `*.suffix` or `*`. */
  readonly host: string;
  /** Upper-case method names. */
  readonly methods: readonly string[];
  /** `/exact`, `/prefix/*`, `/prefix%2F*`, `*`, or with stars for segments inside; escapes in upper case. */
  readonly paths: readonly string[];
  /** 1 to 65535; empty means 80 and 443. */
  readonly ports: readonly number[];
  /** The name of the secret whose credential is injected. */
  readonly secret?: string;
  /** Splice bytes instead of inspecting them. */
  readonly passthrough: boolean;
}

/** A rule as it stands in the store. */
export interface Rule extends RuleSpec {
  /** Unique for ever: a rule that is revoked and added again is another rule. */
  readonly id: string;
  /** The owner's name. */
  readonly client: string;
  /** Epoch milliseconds; from that instant on the rule is absent. */
  readonly expiresAt?: number;
}

/** Rule fields as a person or a program gives them. */
export interface RuleInput extends RuleWordsInput {
  /** `*`, `*.suffix`, a name in any case or script, or an address. */
  readonly host: string;
  /** In any case; none means any. */
  readonly methods?: readonly string[] | undefined;
  /** `*`, `/exact`, `/prefix/*`, or with stars for segments inside; none means any. */
  readonly paths?: readonly string[] | undefined;
  /** None means 80 and 443. */
  readonly ports?: readonly number[] | undefined;
  /** The name of a secret. */
  readonly secret?: string | undefined;
  /** False when absent. */
  readonly passthrough?: boolean | undefined;
}

/** The ports of a rule that names none. */
export const DEFAULT_PORTS: readonly number[] = [80, 443];

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/; // RFC 9110 §5.6.2 token
// deno-lint-ignore no-control-regex
const NOT_IN_PATH = /[\x00-\x20\x7f-\uffff?#]/;

/**
 * The canonical rule for an input.
 *
 * @throws ProxyError `input.invalid`, naming the field: a host that is none, an empty string anywhere, a path that is
 * neither `*`, exact, `<prefix>/*` nor `<prefix>%2F*`, with stars in wrong places, or that is not written plainly (dot segments, double encoding), a port
 * out of range, a word that `parseWords` refuses, or `passthrough` with secret, methods, paths or words
 */
export function parseRule(input: RuleInput): RuleSpec {
  const methods = uniqueSorted((input.methods ?? []).map(parseMethod));
  const paths = uniqueSorted((input.paths ?? []).map(parsePathPattern));
  const ports = [...new Set((input.ports ?? []).map(checkPort))].sort((a, b) => a - b);
  const passthrough = input.passthrough ?? false;
  if (passthrough && (input.secret !== undefined || methods.length > 0 || paths.length > 0)) {
    invalid(
      "Cannot use passthrough with a secret, methods or paths: passed-through bytes are not inspected",
      "leave out --passthrough, or --secret, --method and --path",
    );
  }
  const words = parseWords(input);
  const said = WORD_ROWS.filter(({ field }) => words[field] !== undefined).map(({ name }) => flagOf(name));
  if (passthrough && said.length > 0) {
    invalid(
      `Cannot use passthrough with ${said.join(", ")}: passed-through bytes are not inspected`,
      `leave out --passthrough, or ${said.join(", ")}`,
    );
  }
  if (words.deny) checkDeny(input.secret, words);
  if (words.grpc && (methods.length > 0 || paths.length > 0)) {
    invalid(
      "Cannot use --grpc with methods or paths: it means POST and the path of the call",
      "leave out --method and --path, or write the call's path as --path /package.Service/Method",
    );
  }
  return {
    host: parseHostPattern(input.host),
    methods,
    paths,
    ports,
    ...(input.secret === undefined ? {} : { secret: parseName("secret", input.secret) }),
    passthrough,
    ...words,
  };
}

/** A rule that allows nothing has nothing to say about how it is sent. */
function checkDeny(secret: string | undefined, words: RuleWords): void {
  const options = WORD_ROWS.filter(({ field, isCondition }) =>
    words[field] !== undefined && !isCondition && field !== "deny"
  );
  const others = [...(secret === undefined ? [] : ["--secret"]), ...options.map(({ name }) => flagOf(name))];
  if (others.length === 0) return;
  invalid(
    `Cannot use ${others.join(", ")} in a deny rule: it sends nothing`,
    `leave out ${others.join(", ")}`,
  );
}

/** True when the rule limits requests at a host and port: what would change a request afterwards is refused then. */
export function isLimited(rule: Pick<Rule, "methods" | "paths"> & RuleWords): boolean {
  return rule.methods.length > 0 || rule.paths.length > 0 || hasConditions(rule);
}

/**
 * A host pattern in canonical form: `*`, `*.suffix`, a name as A-labels (UTS #46), or an IP literal, brackets dropped.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseHostPattern(text: string): string {
  if (text === "*") return text;
  const isSuffix = text.startsWith("*.");
  const isBracketed = text.startsWith("[") && text.endsWith("]") && text.includes(":");
  const name = isSuffix ? text.slice(2) : isBracketed ? text.slice(1, -1) : text;
  // deno-lint-ignore no-control-regex
  const isAscii = /^[\x00-\x7f]*$/.test(name);
  const host = parseHost(isAscii ? name : domainToASCII(name));
  // An address has one spelling: `*.10.0.0.1` and full-width digits are no way to write one.
  if (host === undefined || (isIpLiteral(host) && (isSuffix || !isAscii))) {
    invalid(
      text === ""
        ? "Cannot use an empty host: it would be unclear what the rule allows"
        : `Cannot use ${quoteText(text, 260)} as a host`,
      hyphenFault(name) ??
        "write api.example.com, *.example.com, * or an IP address, without scheme, port or path",
    );
  }
  return isSuffix ? `*.${host}` : host;
}

/** True when every host that `inner` matches is matched by `outer` too. Both are canonical patterns. */
export function hostWithin(inner: string, outer: string): boolean {
  if (outer === "*" || inner === outer) return true;
  return outer.startsWith("*.") && inner.endsWith(outer.slice(1));
}

/** The identity of a rule within its client: secret, TTL and how its requests are sent are no part of it, but that it asks first is. */
export function ruleKey(spec: RuleSpec): string {
  const paths = spec.paths.map(upperEscapes); // older stores keep escapes as they were typed
  const conditions = hasConditions(spec) ? [conditionsOf(spec)] : [];
  const asks = spec.ask ? ["ask"] : []; // so that what was approved can stand beside it
  return JSON.stringify([
    spec.host,
    spec.methods,
    paths,
    spec.ports,
    spec.passthrough,
    ...conditions,
    ...asks,
  ]);
}

function parseMethod(text: string): string {
  if (!METHOD.test(text) || text === "*") {
    invalid(
      `Cannot use ${quoteText(text, 40)} as a method`,
      "write GET, POST or another method name; a rule without methods allows any",
    );
  }
  return text.toUpperCase();
}

function parsePathPattern(text: string): string {
  if (text === "*") return text;
  const isPlain = text.startsWith("/") && !NOT_IN_PATH.test(text) && text.length <= 2_048;
  const problem = isPlain ? problemOfStars(text) : undefined;
  if (!isPlain || problem !== undefined) {
    invalid(
      `Cannot use ${quoteText(text, 80)} as a path`,
      problem ??
        "write /v1/models (exact), /v1/* (all below) or *; percent-encode as the client does; the query is no part of it",
    );
  }
  const literal = prefixOf(text) ?? text;
  // Such a request is denied, or means another path to the server, whatever the rules say.
  if (hasDotSegments(literal) || isSuspectPath(literal)) {
    invalid(
      `Cannot use ${quoteText(text, 80)} as a path: it is not written plainly`,
      "write the path that the server will see, without . and .. segments and encoded once",
    );
  }
  return upperEscapes(text);
}

function checkPort(port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    invalid(`Cannot use ${port} as a port`, "a port is a whole number from 1 to 65535");
  }
  return port;
}

function uniqueSorted(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}

function invalid(message: string, hint: string): never {
  throw new ProxyError("input.invalid", message, { hint });
}
