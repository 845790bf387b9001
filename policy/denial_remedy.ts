/**
 * What can be done about one denial: nothing any more, because the present rules allow it; a rule for exactly this
 * request; or no rule, and why not.
 *
 * Not here: rules for many denials (`suggest.ts`).
 *
 * @module
 */
import { isProxyError } from "../core/errors.ts";
import { isIpLiteral } from "../core/host_port.ts";
import { canBeTyped } from "./allow_command.ts";
import { isCut } from "./audit_record.ts";
import { decideConnect, decideRequest, rulesThatReach } from "./decide.ts";
import type { Denial } from "./denial_tally.ts";
import { matchHost } from "./match.ts";
import { readingsOf } from "./path.ts";
import { type Reason, REASONS } from "./reason.ts";
import { DEFAULT_PORTS, parseRule, type Rule, type RuleSpec } from "./rule.ts";
import type { Content } from "./words/conditions.ts";
import { parseSays, queryOf } from "./words/says.ts";

/** A denied request, all of it known. */
export interface DeniedRequest extends Denial {
  /** As sent, in any case. */
  readonly method: string;
  /** Canonical. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  /** As sent, without the query. */
  readonly path: string;
  /** As far as its record says: enough for the conditions that it names. */
  readonly query?: string | undefined;
  /** As far as its record says. */
  readonly content?: Content | undefined;
}

/** What can be done. */
export type Remedy =
  | { readonly kind: "none-needed" }
  /** A rule for exactly this request, behind the present ones, would allow it. */
  | { readonly kind: "rule"; readonly request: DeniedRequest }
  | {
    readonly kind: "no-rule";
    /** One clause, lower case, no full stop. */
    readonly why: string;
    /** No present rule matches any reading of it, so that a wider rule than its own may allow it. */
    readonly request?: DeniedRequest;
  };

/** No honest path has more readings: it would have to mix `%2F`, `;` and backslashes. Each costs a look at every rule. */
const MAX_READINGS = 8;

/** Denials that rules alone decide. */
const BY_RULES: ReadonlySet<Reason> = new Set(["no-rule", "path-ambiguous", "path-encoding"] as const);

/**
 * Finds out.
 *
 * @param rules the client's live rules in declaration order
 */
export function findRemedy(denial: Denial, rules: readonly Rule[]): Remedy {
  if (isTunnelSolved(denial, rules)) return { kind: "none-needed" };
  const { host, path, reason } = denial;
  const isAddress = host !== undefined && isIpLiteral(host);
  if (!BY_RULES.has(reason)) return { kind: "no-rule", why: whyOutsideRules(denial) };
  if (!isRequest(denial) || path === undefined) {
    return { kind: "no-rule", why: isAddress ? NO_ADDRESSES : whyNoRequest(denial) };
  }
  if (isCut(path)) {
    return { kind: "no-rule", why: "its path is too long for the log to keep the whole of it" };
  }
  if (readingsOf(path).length > MAX_READINGS) {
    return { kind: "no-rule", why: "its path can be read in too many ways" };
  }
  const request = { ...denial, ...askedOf(denial) };
  const here = rules.filter((rule) => matchHost(rule.host, request.host));
  const decision = decideRequest(here, request);
  if (decision.verdict === "allow") return { kind: "none-needed" };
  // Then a rule for some of its readings stands before whatever is added; or the path is suspect.
  if (decision.reason !== "no-rule") return { kind: "no-rule", why: REASONS[decision.reason] };
  if (isAddress) return { kind: "no-rule", why: NO_ADDRESSES };
  if (!hasExactRule(request)) {
    return { kind: "no-rule", why: "its method or path cannot be written in a rule", request };
  }
  return { kind: "rule", request };
}

/** What a record says of the query and the body. */
function askedOf({ says }: Denial): Pick<DeniedRequest, "query" | "content"> {
  if (says === undefined || isCut(says)) return {};
  const said = parseSays(says);
  return { ...queryOf(said, []), content: said.content };
}

/**
 * True for a tunnel or a look-up of a name that the rules would let through. What was asked for inside is not known, so
 * nothing more can be said of it.
 */
export function isTunnelSolved(
  { method, host, port, path, reason }: Denial,
  rules: readonly Rule[],
): boolean {
  if (host === undefined || path !== undefined) return false;
  const here = rules.filter((rule) => matchHost(rule.host, host));
  if (method === "DNS") return reason === "no-rule" && rulesThatReach(here).length > 0;
  if (port === undefined) return false;
  const { verdict } = decideConnect(here, { host, port });
  return verdict === "passthrough" || (verdict === "inspect" && reason === "no-rule");
}

/** A rule read back, or undefined when there is none for that. */
export function tryRule(input: Parameters<typeof parseRule>[0]): RuleSpec | undefined {
  try {
    return parseRule(input);
  } catch (error) {
    if (isProxyError(error, "input.invalid")) return undefined;
    throw error;
  }
}

/** The ports of a rule for a request: none where they are the usual ones. */
export function portsFor(port: number): readonly number[] {
  return DEFAULT_PORTS.includes(port) ? [] : [port];
}

/** A proposed rule as it would stand in the store. */
export function asRule(spec: RuleSpec): Rule {
  return { ...spec, id: "", client: "" };
}

const NO_ADDRESSES = "rules for addresses are not suggested";

function isRequest(denial: Denial): denial is DeniedRequest {
  const { method, host, port, path } = denial;
  return method !== undefined && host !== undefined && port !== undefined && path !== undefined;
}

function whyOutsideRules({ path, reason }: Denial): string {
  if (reason === "tls-untrusted-ca") {
    return "the client does not trust the proxy's certificate authority: install it, or allow with --passthrough";
  }
  if (reason === "tls-client-clock") {
    return "the client's clock is wrong: set it (agent doctor tells by how much)";
  }
  if (reason === "tls-client-alpn") {
    return "the client offers only protocols that the proxy does not speak: if that is right, allow with --passthrough";
  }
  if (path === undefined && (reason === "tls-handshake" || reason === "client-closed")) {
    return "the client broke off in the TLS handshake: does it trust the proxy's certificate authority?";
  }
  if (
    path === undefined &&
    (reason === "tls-no-client-hello" || reason === "malformed" || reason === "idle-timeout")
  ) {
    return "what came through the tunnel was no HTTP request: if it is another protocol, allow with --passthrough";
  }
  if (reason === "rule-denied") {
    return "a deny rule says so: slicer-proxy rules lists it, and rules move puts another before it";
  }
  return `no rule helps: ${REASONS[reason]}`;
}

function whyNoRequest({ method }: Denial): string {
  return method === "DNS"
    ? "only its name was looked up"
    : "strict mode refused the tunnel before anything was asked in it: run the proxy with --mode=audit";
}

/** True when there is a rule for exactly this request that can be typed. */
function hasExactRule(request: DeniedRequest): boolean {
  const { method, host, port, path } = request;
  if (!path.startsWith("/") || !canBeTyped({ host, method, path })) return false;
  const spec = tryRule({ host, ports: portsFor(port), methods: [method], paths: [path] });
  return spec?.host === host && decideRequest([asRule(spec)], request).verdict === "allow";
}
