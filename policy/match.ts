/**
 * Which dimensions of a rule a request falls under, and which rule came closest to it.
 *
 * Not here: the verdict, and the several readings of a path (`decide.ts`).
 *
 * @module
 */
import { isIpLiteral } from "../core/host_port.ts";
import { matcherFor } from "./path.ts";
import { DEFAULT_PORTS, hostWithin, type Rule, type RuleSpec } from "./rule.ts";
import { hasConditions } from "./rule_words.ts";
import { type Asked, judgeConditions } from "./words/conditions.ts";

/** What is asked for. Method and path are unknown while only a tunnel is asked for. */
export interface Target {
  /** Canonical. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  /** As sent, in any case. */
  readonly method?: string | undefined;
  /** The path as sent, without the query. */
  readonly path?: string | undefined;
  /** As sent, without the `?`; undefined when there is none. */
  readonly query?: string | undefined;
  /** What its body says, as far as it was read. */
  readonly content?: Asked["content"];
}

/** The dimensions of a rule, in the order in which they narrow it. */
export const DIMENSIONS = ["host", "port", "method", "path", "words"] as const;

/** One of {@linkcode DIMENSIONS}. */
export type Dimension = typeof DIMENSIONS[number];

/** For each dimension, whether the rule covers the request in it. */
export type RuleMatch = Readonly<Record<Dimension, boolean>>;

/** A rule and where it falls short. */
export interface ClosestRule {
  /** The rule that came closest. */
  readonly rule: Rule;
  /** Empty when the rule covers the request as sent. */
  readonly missed: readonly Dimension[];
}

/** True when a host pattern covers a canonical host. */
export function matchHost(pattern: string, host: string): boolean {
  return hostWithin(host, pattern);
}

/** True when a rule's ports cover `port`: an empty list is 80 and 443. */
export function matchPort(ports: readonly number[], port: number): boolean {
  return (ports.length === 0 ? DEFAULT_PORTS : ports).includes(port);
}

/** True when a rule's methods (upper case) cover `method`, whatever its case; an empty list covers any. */
export function matchMethod(methods: readonly string[], method: string): boolean {
  if (methods.length === 0) return true;
  // Only ASCII has a method's letters: `toUpperCase` alone would turn "poſt" into POST.
  return methods.includes(method.replace(/[a-z]/g, (letter) => letter.toUpperCase()));
}

/** True when a rule's paths cover a path by the given test; an empty list covers any. */
export function matchPaths(paths: readonly string[], matches: (pattern: string) => boolean): boolean {
  return paths.length === 0 || paths.some(matches);
}

/** The dimensions in which `rule` covers the target as sent. What the target leaves out is covered. */
export function matchRule(rule: RuleSpec, target: Target, matchesPath = pathMatcher(target)): RuleMatch {
  const { method, path } = target;
  return {
    host: matchHost(rule.host, target.host),
    port: matchPort(rule.ports, target.port),
    method: method === undefined || matchMethod(rule.methods, method),
    path: matchPaths(rule.paths, matchesPath),
    words: method === undefined || path === undefined || !hasConditions(rule) ||
      judgeConditions(rule, { ...target, method, path }) === true,
  };
}

function pathMatcher({ path }: Target): (pattern: string) => boolean {
  return path === undefined ? () => true : matcherFor(path);
}

/**
 * The rule that falls short in the fewest dimensions; among equals the one whose first miss comes latest (host, port,
 * method, path, words), then the first declared. A rule for another host counts only when both names share their last two
 * labels (`example.com` for `www.example.com`), else there is none. A deny rule counts only where it covers the request.
 */
export function closestRule(rules: readonly Rule[], target: Target): ClosestRule | undefined {
  let closest: ClosestRule | undefined;
  let bestScore = 0;
  const matchesPath = pathMatcher(target);
  for (const rule of rules) {
    const match = matchRule(rule, target, matchesPath);
    const missed = DIMENSIONS.filter((dimension) => !match[dimension]);
    if (rule.deny && missed.length > 0) continue; // it would not allow anything closer either
    const first = missed[0] === undefined ? DIMENSIONS.length : DIMENSIONS.indexOf(missed[0]);
    const score = match.host
      ? 1_000 - DIMENSIONS.length * missed.length + first // above any count of shared labels (127 at most)
      : sharedLabels(rule.host, target.host);
    if (score <= bestScore) continue;
    bestScore = score;
    closest = { rule, missed: match.host ? missed : ["host"] };
  }
  return closest;
}

/** How many trailing labels two names share; 0 when fewer than two or when one is an address. */
function sharedLabels(pattern: string, host: string): number {
  if (isIpLiteral(host)) return 0; // no name ends like one
  const a = pattern.replace(/^\*\./, "").split(".").reverse();
  const b = host.split(".").reverse();
  let count = 0;
  while (count < a.length && a[count] === b[count]) count++;
  return count >= 2 ? count : 0;
}
