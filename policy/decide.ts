/**
 * The verdict on a tunnel and on a request: default deny, first match wins. Pure: the caller passes the client's live
 * rules in declaration order and acts on the answer.
 *
 * Not here: secrets, addresses and quotas, which can still refuse what a rule allows; and words for people
 * (`explain.ts`).
 *
 * @module
 */
import { type ClosestRule, closestRule, matchHost, matchMethod, matchPaths, matchPort } from "./match.ts";
import { isSuspectPath, type PathReading, readingsOf, readLiterally } from "./path.ts";
import type { Reason } from "./reason.ts";
import { isLimited, limitsPaths, type Rule } from "./rule.ts";
import { wordsOf } from "./rule_words.ts";

/** A CONNECT (or SOCKS) target. */
export interface ConnectTarget {
  /** Canonical. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** A request. */
export interface RequestTarget extends ConnectTarget {
  /** As sent, in any case. */
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
}

/** No. */
export interface Denial {
  /** The same for tunnels and requests. */
  readonly verdict: "deny";
  /** For the audit log and the answer. */
  readonly reason: Reason;
  /** The given rule that came closest. */
  readonly closest?: ClosestRule;
}

/** The answer to a tunnel: splice its bytes, or look at every request in it, each of which is decided on its own. */
export type ConnectDecision = { readonly verdict: "passthrough" | "inspect"; readonly rule: Rule } | Denial;

/** The answer to a request. */
export type RequestDecision = Allowance | Denial;

/** Yes. */
export interface Allowance {
  readonly verdict: "allow";
  /** The first match for the path as sent. */
  readonly rule: Rule;
  /** Those for its other readings, which have the same effect. What was admitted ends with any of them. */
  readonly others?: readonly Rule[];
}

/** Decides a tunnel by the first rule that covers its host and port. */
export function decideConnect(rules: readonly Rule[], target: ConnectTarget): ConnectDecision {
  const { host, port } = target;
  const rule = rules.find((rule) => matchHost(rule.host, host) && matchPort(rule.ports, port));
  if (!rule) return deny("no-rule", rules, target);
  return { verdict: rule.passthrough ? "passthrough" : "inspect", rule };
}

/**
 * Decides a request. It is allowed only when every reading of its path has a first match, and all of them have the same
 * effect (reason `path-ambiguous` otherwise); a suspect path is denied as soon as any rule for the host has paths (`path-encoding`).
 */
export function decideRequest(rules: readonly Rule[], request: RequestTarget): RequestDecision {
  const hasPathRule = rules.some((rule) => limitsPaths(rule) && matchHost(rule.host, request.host));
  if (hasPathRule && isSuspectPath(request.path)) return deny("path-encoding", rules, request);
  // Without path rules every reading has the same first match, so none needs to be computed.
  const readings = hasPathRule ? readingsOf(request.path) : [readLiterally(request.path)];
  const [first, ...others] = readings.map((reading) => firstMatch(rules, request, reading));
  const rest = [...new Set(others)].filter((rule) => rule !== first);
  if (!first) return deny(rest.length > 0 ? "path-ambiguous" : "no-rule", rules, request);
  const alike = rest.flatMap((rule) => rule && hasEffectOf(first, rule) ? [rule] : []);
  if (alike.length < rest.length) return deny("path-ambiguous", rules, request);
  return { verdict: "allow", rule: first, ...(alike.length > 0 ? { others: alike } : {}) };
}

/**
 * True when it makes no difference under which of two rules a request goes. The host pattern says which addresses may be
 * dialled and which secrets fit; a rule that limits methods or paths refuses headers that change them.
 */
function hasEffectOf(a: Rule, b: Rule): boolean {
  const effectOf = (rule: Rule) =>
    JSON.stringify([rule.host, rule.secret, rule.passthrough, isLimited(rule), wordsOf(rule)]);
  return effectOf(a) === effectOf(b);
}

function firstMatch(rules: readonly Rule[], request: RequestTarget, path: PathReading): Rule | undefined {
  return rules.find((rule) =>
    matchHost(rule.host, request.host) && matchPort(rule.ports, request.port) &&
    matchMethod(rule.methods, request.method) && matchPaths(rule.paths, path.matches)
  );
}

function deny(reason: Reason, rules: readonly Rule[], target: ConnectTarget): Denial {
  const closest = closestRule(rules, target);
  return { verdict: "deny", reason, ...(closest ? { closest } : {}) };
}
