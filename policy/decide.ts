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
import { isLimited, type Rule } from "./rule.ts";
import { anyConditions, hasConditions, hasPathCondition, wordsOf } from "./rule_words.ts";
import {
  asksOf,
  type Content,
  type ContentKind,
  judgeConditions,
  mayAsk,
  mayRead,
  readsOf,
} from "./words/conditions.ts";
import { isUnreadable, type Unreadable } from "./words/body_text.ts";

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
  /** As sent, without the `?`; undefined when there is none. */
  readonly query?: string | undefined;
  /** What its body says, as far as {@linkcode contentNeeded} asks for it. */
  readonly content?: Content | undefined;
}

/** No. */
export interface Denial {
  /** The same for tunnels and requests. */
  readonly verdict: "deny";
  /** For the audit log and the answer. */
  readonly reason: Reason;
  /** The given rule that came closest. */
  readonly closest?: ClosestRule;
  /** One clause of ours about a body that could not be read. */
  readonly why?: string;
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

/**
 * Decides a tunnel by the first rule that covers its host and port. A deny rule that limits requests stops no tunnel, but has
 * it inspected, whatever rule comes next.
 */
export function decideConnect(rules: readonly Rule[], target: ConnectTarget): ConnectDecision {
  const { host, port } = target;
  let isInspected = false;
  for (const rule of rules) {
    if (!matchHost(rule.host, host) || !matchPort(rule.ports, port)) continue;
    if (!rule.deny) return { verdict: rule.passthrough && !isInspected ? "passthrough" : "inspect", rule };
    if (!isLimited(rule)) return { verdict: "deny", reason: "rule-denied", closest: { rule, missed: [] } };
    isInspected = true;
  }
  return deny("no-rule", rules, target);
}

/** Of the rules for a host those that may allow something there: a name is looked up for a client only under one. */
export function rulesThatReach(rules: readonly Rule[]): readonly Rule[] {
  const end = rules.findIndex((rule) => rule.deny && rule.ports.length === 0 && !isLimited(rule));
  return (end < 0 ? rules : rules.slice(0, end)).filter(({ deny }) => !deny);
}

/** True when a rule for a host and port says that HTTP/1.1 is spoken there: one is enough, since tunnels are for all of them. */
export function isHttp1Only(rules: readonly Rule[], { host, port }: ConnectTarget): boolean {
  return rules.some((rule) => rule.http1 && matchHost(rule.host, host) && matchPort(rule.ports, port));
}

/**
 * Decides a request. It is allowed only when every reading of its path has a first match, and all of them have the same
 * effect (reason `path-ambiguous` otherwise); a suspect path is denied as soon as any rule for the host has paths (`path-encoding`).
 */
export function decideRequest(rules: readonly Rule[], request: RequestTarget): RequestDecision {
  const isPlain = !anyConditions(rules); // most are, and what follows is for each request
  const hasPathRule = rules.some((rule) =>
    (rule.paths.length > 0 || (!isPlain && hasPathCondition(rule))) && matchHost(rule.host, request.host)
  );
  if (hasPathRule && isSuspectPath(request.path)) return deny("path-encoding", rules, request);
  // Without path rules every reading has the same first match, so none needs to be computed.
  const readings = hasPathRule ? readingsOf(request.path) : [readLiterally(request.path)];
  const found = readings.map((reading) => firstMatch(rules, request, reading));
  const unreadable = isPlain ? undefined : found.find(isUnreadable);
  if (unreadable) return { ...deny(unreadable.reason, rules, request), why: unreadable.why };
  const [first, ...others] = found as readonly (Rule | undefined)[];
  const rest = others.length === 0 ? others : [...new Set(others)].filter((rule) => rule !== first);
  if (!first) return deny(rest.length > 0 ? "path-ambiguous" : "no-rule", rules, request);
  const alike = rest.length === 0
    ? []
    : rest.flatMap((rule) => rule && hasEffectOf(first, rule) ? [rule] : []);
  if (alike.length < rest.length) return deny("path-ambiguous", rules, request);
  if (first.deny) return { verdict: "deny", reason: "rule-denied", closest: { rule: first, missed: [] } };
  return alike.length > 0
    ? { verdict: "allow", rule: first, others: alike }
    : { verdict: "allow", rule: first };
}

/** The parameters of the query that rules look at which the request may fall under. */
export function paramsNeeded(rules: readonly Rule[], request: RequestTarget): readonly string[] {
  if (!anyConditions(rules)) return [];
  return [...new Set(ofReadings(rules.filter(mayAsk), request, asksOf))];
}

/**
 * How the body of a request has to be read before {@linkcode decideRequest} is asked: empty unless a rule that the request
 * may fall under says what bodies have to be about.
 */
export function contentNeeded(rules: readonly Rule[], request: RequestTarget): readonly ContentKind[] {
  if (!anyConditions(rules)) return [];
  return [...new Set(ofReadings(rules.filter(mayRead), request, readsOf))];
}

/** What rules want of the request that falls under them but for their conditions, in any reading of its path. */
function ofReadings<T>(
  rules: readonly Rule[],
  request: RequestTarget,
  find: (rule: Rule, asked: RequestTarget) => readonly T[],
): readonly T[] {
  const near = rules.filter((rule) => coversHead(rule, request));
  if (near.length === 0 || isSuspectPath(request.path)) return [];
  return readingsOf(request.path).flatMap(({ path, matches }) =>
    near.flatMap((rule) => matchPaths(rule.paths, matches) ? find(rule, { ...request, path }) : [])
  );
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

/** A body that a rule would have to know is no reason to try the next one: that one may allow more. */
function firstMatch(
  rules: readonly Rule[],
  request: RequestTarget,
  path: PathReading,
): Rule | Unreadable | undefined {
  for (const rule of rules) {
    if (!coversHead(rule, request) || !matchPaths(rule.paths, path.matches)) continue;
    const verdict = !hasConditions(rule) || judgeConditions(rule, { ...request, path: path.path });
    if (verdict !== false) return verdict === true ? rule : verdict;
  }
  return undefined;
}

function coversHead(rule: Rule, { host, port, method }: RequestTarget): boolean {
  return matchHost(rule.host, host) && matchPort(rule.ports, port) && matchMethod(rule.methods, method);
}

function deny(reason: Reason, rules: readonly Rule[], target: ConnectTarget): Denial {
  const closest = closestRule(rules, target);
  return { verdict: "deny", reason, ...(closest ? { closest } : {}) };
}
