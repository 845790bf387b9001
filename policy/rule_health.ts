/**
 * Rules that cannot act as they read: one that an earlier rule always matches before it, one whose secret is gone, one that ends
 * within minutes. Only what is certain is said; a rule without a word here may still be partly hidden by others.
 *
 * Not here: whether a request is allowed (`decide.ts`).
 *
 * @module
 */
import { formatDuration } from "../core/duration.ts";
import { matchPath, prefixOf } from "./path.ts";
import { DEFAULT_PORTS, hostWithin, type Rule, type RuleSpec } from "./rule.ts";
import { conditionsOf, type RuleWords } from "./rule_words.ts";

/** A rule with less left to live is told of. */
const SOON_MS = 10 * 60_000;

/** Earlier rules of one host pattern that are compared with a later one; what stands behind them is not looked at. */
const MAX_OF_ONE_HOST = 100;

/** What the words depend on besides the rules. */
export interface Surroundings {
  /** The secret of that name, with why its credential cannot be used; undefined when there is none. */
  readonly secret: (name: string) => { readonly error?: string | undefined } | undefined;
  /** Epoch milliseconds. */
  readonly nowMs: number;
}

/** What is wrong with a rule, and that in words for people. */
export interface RuleWarning {
  readonly kind: "hidden" | "secret-missing" | "secret-error" | "ends-soon";
  readonly words: string;
}

/** A rule and what is wrong with it; mostly nothing. */
export interface JudgedRule {
  readonly rule: Rule;
  readonly warnings: readonly RuleWarning[];
}

/**
 * For each rule of one client what is wrong with it.
 *
 * @param rules in declaration order
 */
export function ruleWarnings(
  rules: readonly (RuleSpec & Pick<Rule, "expiresAt">)[],
  { secret, nowMs }: Surroundings,
): readonly (readonly RuleWarning[])[] {
  const earlier = new EarlierRules();
  return rules.map((rule, i) => {
    const warnings: RuleWarning[] = [];
    const hiding = earlier.hiding(rule);
    earlier.add(rule, i + 1);
    if (hiding !== undefined) warnings.push({ kind: "hidden", words: wordsOfHidden(rule, hiding) });
    const bound = rule.secret === undefined ? undefined : secret(rule.secret);
    if (bound?.error !== undefined) {
      warnings.push({
        kind: "secret-error",
        words: `its secret ${rule.secret} cannot be used: ${bound.error}`,
      });
    }
    if (rule.secret !== undefined && !bound) {
      warnings.push({
        kind: "secret-missing",
        words: `its secret ${rule.secret} is gone: what it matches is denied`,
      });
    }
    const leftMs = (rule.expiresAt ?? Infinity) - nowMs;
    if (leftMs > 0 && leftMs < SOON_MS) {
      warnings.push({ kind: "ends-soon", words: `it ends in ${formatDuration(leftMs)}` });
    }
    return warnings;
  });
}

/** The rules so far by host pattern, so that a list of thousands is gone through once. */
class EarlierRules {
  readonly #byHost = new Map<string, { readonly rule: RuleSpec; readonly place: number }[]>();

  add(rule: RuleSpec, place: number): void {
    const same = this.#byHost.get(rule.host) ?? [];
    if (same.length < MAX_OF_ONE_HOST) same.push({ rule, place });
    this.#byHost.set(rule.host, same);
  }

  /** The place of the first that hides the rule. */
  hiding(rule: RuleSpec): number | undefined {
    const places = patternsAround(rule.host).flatMap((host) =>
      this.#byHost.get(host)?.find((earlier) => hides(earlier.rule, rule))?.place ?? []
    );
    return places.length === 0 ? undefined : Math.min(...places);
  }
}

/** The patterns that may cover all hosts of a pattern: itself, every suffix above it, and `*`. */
function patternsAround(host: string): string[] {
  return [host, "*", ...host.matchAll(/\./g).map(({ index }) => `*${host.slice(index)}`)];
}

/**
 * True when no request and no tunnel can reach `later` as it reads, because `earlier` matches all of them. A tunnel is decided
 * by host and port alone: so one that is to be passed through is hidden by any earlier rule for the place.
 */
function hides(earlier: RuleSpec, later: RuleSpec): boolean {
  if (!hostWithin(later.host, earlier.host) || !isSubset(portsOf(later), portsOf(earlier))) return false;
  if (earlier.passthrough || later.passthrough) return true;
  const hasMethods = earlier.methods.length === 0 ||
    (later.methods.length > 0 && isSubset(later.methods, earlier.methods));
  const hasPaths = earlier.paths.length === 0 ||
    (later.paths.length > 0 && later.paths.every((path) => earlier.paths.some((all) => covers(all, path))));
  return hasMethods && hasPaths && limitsNoMore(earlier, later);
}

/** True when all conditions of `earlier` stand in `later` too: what a condition covers is not compared. */
function limitsNoMore(earlier: RuleSpec, later: RuleSpec): boolean {
  return Object.entries(conditionsOf(earlier)).every(([field, value]) =>
    JSON.stringify(value) === JSON.stringify(conditionsOf(later)[field as keyof RuleWords])
  );
}

function wordsOfHidden(rule: RuleSpec, place: number): string {
  const loss = rule.secret !== undefined
    ? `, and its secret ${rule.secret} is never used`
    : rule.passthrough
    ? ", and nothing is passed through by it"
    : "";
  return `rule ${place} matches first all that it matches${loss}`;
}

/** True when every path under the pattern `inner` is under the pattern `outer`. */
function covers(outer: string, inner: string): boolean {
  if (outer === inner) return true;
  const deep = inner.indexOf("**");
  const below = deep === -1 ? prefixOf(inner) : inner.slice(0, deep);
  // A pattern for all below is under no exact one, whatever that ends in.
  return below === undefined ? matchPath(outer, inner) : isOpen(outer) && matchPath(outer, below);
}

/** True for a pattern that covers all below some place. */
function isOpen(pattern: string): boolean {
  return pattern === "*" || prefixOf(pattern) !== undefined;
}

function portsOf({ ports }: RuleSpec): readonly number[] {
  return ports.length === 0 ? DEFAULT_PORTS : ports;
}

function isSubset<T>(inner: readonly T[], outer: readonly T[]): boolean {
  return inner.every((each) => outer.includes(each));
}
