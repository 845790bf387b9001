/**
 * What a policy file changes: present clients, rules and secrets and a file in, a plan out. Pure.
 *
 * A client that the file names has the file's rules afterwards, in the file's order, for the first match wins; and behind
 * them, unless they are pruned, the others that it had. A rule that was there goes on as the rule it was, so that what it
 * had admitted goes on too. Another secret or other options make it another rule; another end does not.
 *
 * A client's own budget is a brake: a file that says nothing of it lifts it only where clients are pruned, since then the
 * file is all that there is to be.
 *
 * Not here: reading the file (`policy_file.ts`), and making the changes (`store/changes/policy.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { escapeTerminal, quoteShell } from "../core/escape.ts";
import type { PolicyFile, PolicyRule, PolicySecret } from "./policy_file.ts";
import { type Rule, ruleKey, type RuleSpec } from "./rule.ts";
import { wordsOf } from "./rule_words.ts";

/** The policy that is in force. */
export interface PresentPolicy {
  /** Every client with its live rules, in order. */
  readonly clients: ReadonlyMap<string, readonly Rule[]>;
  /** The budgets of the clients that have one. */
  readonly budgets: ReadonlyMap<string, readonly string[]>;
  /** All secrets. */
  readonly secrets: ReadonlyMap<string, PolicySecret>;
}

/**
 * What goes although the file says nothing of it: `rules`, the other rules of the clients that the file names;
 * `clients`, these, budgets of clients that it names, and all other clients with theirs. A secret never goes.
 */
export type Prune = "nothing" | "rules" | "clients";

/** How a plan is made. */
export interface PlanOptions {
  /** What goes although the file does not say so. */
  readonly prune: Prune;
  /** Epoch milliseconds. */
  readonly nowMs: number;
}

/** A rule as it will be. */
export interface PlannedRule {
  /** What it allows. */
  readonly spec: RuleSpec;
  /** Epoch milliseconds; for ever when absent. */
  readonly expiresAt?: number;
  /** The present rule that goes on, as it is now. Absent for a new one. */
  readonly kept?: Rule;
}

/** One difference that people see. */
export interface RuleChange {
  /** `expire` is another end of a rule that goes on, `move` another place among those that go on. */
  readonly action: "remove" | "add" | "expire" | "move";
  /** The rule's place in the list, from 1: afterwards, or before when it goes. */
  readonly place: number;
  /** The rule. */
  readonly spec: RuleSpec;
  /** Its end, afterwards or before when it goes. */
  readonly expiresAt?: number;
}

/** What happens to one client. */
export interface ClientPlan {
  /** Its name. */
  readonly client: string;
  /** What happens to the client itself. */
  readonly action: "create" | "change" | "delete";
  /** All its rules afterwards, in order. */
  readonly rules: readonly PlannedRule[];
  /** The differences: what goes, then what comes in the order of the list. */
  readonly changes: readonly RuleChange[];
  /** Its own budget afterwards, where that changes; empty for none. */
  readonly budget?: readonly string[];
}

/** The clients that change, in the file's order and then by name. Empty when there is nothing to change. */
export type PolicyPlan = readonly ClientPlan[];

/**
 * Compares a file with what is in force. Applying the same file again is an empty plan, until a TTL ends:
 *
 * - a rule with a `ttl` that is there keeps the end that it has, unless that is later than a `ttl` from now
 * - one whose `expires` has passed is absent
 *
 * @throws ProxyError `input.invalid` when a secret of the file is absent, or has another host or type
 */
export function planPolicy(present: PresentPolicy, file: PolicyFile, options: PlanOptions): PolicyPlan {
  for (const [name, secret] of file.secrets) checkSecret(name, secret, present.secrets.get(name));
  const plans: ClientPlan[] = [];
  for (const [client, rules] of file.clients) {
    const before = present.clients.get(client);
    const after = planRules(before ?? [], rules, options);
    const changes = changesBetween(before ?? [], after);
    const budget = budgetChange(present.budgets.get(client), file.budgets.get(client), options);
    if (before && changes.length === 0 && !budget) continue;
    plans.push({
      ...{ client, action: before ? "change" : "create", rules: after, changes },
      ...(budget ? { budget } : {}),
    });
  }
  if (options.prune !== "clients") return plans;
  const others = [...present.clients.keys()].filter((client) => !file.clients.has(client)).sort();
  for (const client of others) {
    const changes = changesBetween(present.clients.get(client) ?? [], []);
    plans.push({ client, action: "delete", rules: [], changes });
  }
  return plans;
}

/** The budget that a client is to have, where that is another than it has. */
function budgetChange(
  before: readonly string[] = [],
  wanted: readonly string[] | undefined,
  { prune }: PlanOptions,
): readonly string[] | undefined {
  const after = wanted ?? (prune === "clients" ? [] : before);
  return after.join() === before.join() ? undefined : after;
}

/** The file that says what is in force: applying it changes nothing. */
export function policyFileOf({ clients, budgets, secrets }: PresentPolicy): PolicyFile {
  const rulesOf = (rules: readonly Rule[]): PolicyRule[] =>
    rules.map((rule) => withEnd(rule, rule.expiresAt));
  return {
    clients: new Map([...clients].map(([client, rules]) => [client, rulesOf(rules)])),
    budgets,
    secrets,
  };
}

function planRules(
  before: readonly Rule[],
  wanted: readonly PolicyRule[],
  { prune, nowMs }: PlanOptions,
): readonly PlannedRule[] {
  const present = new Map(before.map((rule) => [ruleKey(rule), rule]));
  const after: PlannedRule[] = [];
  const named = new Set<string>();
  for (const rule of wanted) {
    const key = ruleKey(rule.spec);
    named.add(key);
    const old = present.get(key);
    const kept = old && isSame(old, rule.spec) ? old : undefined;
    const expiresAt = endOf(rule, kept, nowMs);
    if (expiresAt !== undefined && expiresAt <= nowMs) continue;
    after.push({ ...withEnd(rule.spec, expiresAt), ...(kept ? { kept } : {}) });
  }
  if (prune !== "nothing") return after;
  const others = before.filter((rule) => !named.has(ruleKey(rule)));
  return [...after, ...others.map((kept) => ({ ...withEnd(kept, kept.expiresAt), kept }))];
}

/** Beside their keys, which are equal. */
function isSame(old: RuleSpec, wanted: RuleSpec): boolean {
  return old.secret === wanted.secret && JSON.stringify(wordsOf(old)) === JSON.stringify(wordsOf(wanted));
}

function endOf({ ttlMs, expiresAt }: PolicyRule, kept: Rule | undefined, nowMs: number): number | undefined {
  if (ttlMs === undefined) return expiresAt;
  // A running end stays, else every reload would prolong it; but a TTL that was shortened counts.
  return Math.min(kept?.expiresAt ?? Infinity, nowMs + ttlMs);
}

function changesBetween(before: readonly Rule[], after: readonly PlannedRule[]): readonly RuleChange[] {
  const places = new Map(before.map((rule, i) => [rule.id, i]));
  const kept = new Set(after.map((rule) => rule.kept?.id));
  const changes: RuleChange[] = [];
  for (const [i, rule] of before.entries()) {
    if (kept.has(rule.id)) continue;
    changes.push({ action: "remove", place: i + 1, ...withEnd(rule, rule.expiresAt) });
  }
  let latest = -Infinity; // the place that the last kept rule in order had
  for (const [i, { spec, expiresAt, kept }] of after.entries()) {
    const change = { place: i + 1, ...withEnd(spec, expiresAt) };
    if (!kept) {
      changes.push({ action: "add", ...change });
      continue;
    }
    if (kept.expiresAt !== expiresAt) changes.push({ action: "expire", ...change });
    const place = places.get(kept.id) ?? Infinity;
    latest = Math.max(latest, place);
    if (place !== latest) changes.push({ action: "move", ...change });
  }
  return changes;
}

function checkSecret(name: string, wanted: PolicySecret, present: PolicySecret | undefined): void {
  if (present?.host === wanted.host && present.type === wanted.type) return;
  const state = present
    ? `secret ${name} is of type ${present.type} for ${present.host}, not ${
      escapeTerminal(wanted.type)
    } for ${wanted.host}`
    : `there is no secret ${name}`;
  throw new ProxyError("input.invalid", `Cannot apply ${wanted.place ?? "the policy"}: ${state}`, {
    hint: present
      ? "correct the file, or replace the secret with secret create --force"
      : `create it: slicer-proxy secret create ${name} --host ${quoteShell(wanted.host)} --type ${
        quoteShell(wanted.type)
      }`,
  });
}

function withEnd(
  { host, methods, paths, ports, secret, passthrough, ...words }: RuleSpec,
  expiresAt: number | undefined,
): { readonly spec: RuleSpec; readonly expiresAt?: number } {
  const spec = {
    ...{ host, methods, paths, ports, ...(secret === undefined ? {} : { secret }), passthrough },
    ...wordsOf(words),
  };
  return { spec, ...(expiresAt === undefined ? {} : { expiresAt }) };
}
