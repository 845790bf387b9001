/**
 * Applying a policy file: everything or nothing, whatever its size.
 *
 * One commit of Deno KV takes 1,000 rows, and a policy may have more. So the rules of every client that changes are
 * written under a new id, which nobody has: rows of nobody are not in force, and go at the next start. One commit then
 * gives each client its new id, and with it the new rules; what is left of the old ones belongs to nobody from then on.
 * What fits is one commit altogether.
 *
 * Not here: what changes (`policy/policy_diff.ts`).
 *
 * @module
 */
import {
  type ClientPlan,
  type PlannedRule,
  planPolicy,
  type PolicyPlan,
  type PresentPolicy,
  type Prune,
} from "../../policy/policy_diff.ts";
import type { PolicyFile } from "../../policy/policy_file.ts";
import { batchesOf } from "../batches.ts";
import type { Rule } from "../../policy/rule.ts";
import { requireClient, withBudget } from "./clients.ts";
import { digestToken, makeToken, removeClient, type StoredClient, writeClient } from "../clients.ts";
import type { Mutation } from "../engine.ts";
import {
  MAX_BUDGETS_PER_CLIENT,
  MAX_CLIENTS,
  MAX_COMMIT_ROWS,
  MAX_RULE_CHARS,
  MAX_RULES,
  MAX_RULES_PER_CLIENT,
} from "../limits.ts";
import type { NewClient } from "../records.ts";
import { checkRoom, refuseInvalid } from "../refuse.ts";
import { removeRule, type StoredRule, writeRule } from "../rules.ts";
import type { PolicyView } from "../view.ts";
import type { Writer } from "../writer.ts";

/** How a policy is applied. */
export interface ApplyOptions {
  readonly prune: Prune;
  /** Only says what would change. */
  readonly isDryRun: boolean;
}

/** What applying a policy changed, or would change. */
export interface AppliedPolicy {
  readonly plan: PolicyPlan;
  /** The clients that were made, with their tokens. Empty for a dry run. */
  readonly created: readonly NewClient[];
}

/** One client's part of the commit. */
interface Step {
  /** Rows that mean nothing before `turn` is on the disk. */
  readonly ahead: readonly Mutation[];
  /** The client's own row. */
  readonly turn: Mutation;
  /** Rows that mean nothing after it. */
  readonly stale: readonly Mutation[];
  /** Changes memory. */
  readonly apply: () => void;
  readonly created?: NewClient;
}

/** See `State.presentPolicy`. */
export function presentPolicy(view: PolicyView, nowMs: number): PresentPolicy {
  return {
    clients: new Map(view.clients().map(({ name }) => [name, view.liveRules(name, nowMs)])),
    budgets: new Map(view.clients().flatMap(({ name, budget }) => budget ? [[name, budget]] : [])),
    secrets: new Map(view.secrets().map(({ name, host, type }) => [name, { host, type }])),
  };
}

/** See `State.applyPolicy`. */
export async function applyPolicy(
  writer: Writer,
  file: PolicyFile,
  { prune, isDryRun }: ApplyOptions,
): Promise<AppliedPolicy> {
  const { view } = writer;
  const nowMs = writer.clock.now();
  const plan = planPolicy(presentPolicy(view, nowMs), file, { prune, nowMs });
  checkLimits(view, plan);
  if (isDryRun || plan.length === 0) return { plan, created: [] };
  const steps = plan.map((client) => stepOf(writer, client, nowMs));
  const ahead = steps.flatMap((step) => step.ahead);
  const turns = steps.map((step) => step.turn);
  const stale = steps.flatMap((step) => step.stale);
  const apply = () => {
    for (const step of steps) step.apply();
  };
  const whole = [...ahead, ...turns, ...stale];
  if (batchesOf(whole, writer.commitBounds).length === 1) {
    await writer.commit(whole, apply);
  } else {
    await writer.commitAhead(batchesOf(ahead, writer.commitBounds));
    await writer.commit(turns, apply);
    writer.sweepLater(stale);
  }
  writer.armTimer();
  return { plan, created: steps.flatMap(({ created }) => created ?? []) };
}

function stepOf(writer: Writer, { client: name, action, rules, budget }: ClientPlan, nowMs: number): Step {
  const { view } = writer;
  const stale = view.storedRules(name).map(removeRule);
  if (action === "delete") {
    return { ahead: [], turn: removeClient(name), stale, apply: () => view.deleteClient(name) };
  }
  const old = view.client(name);
  const made = old ? undefined : makeClient(writer, name, nowMs);
  const base = made?.stored ?? requireClient(view, name, "change");
  const record = budget ? withBudget(base.record, budget) : base.record;
  const client = { ...base, record, id: crypto.randomUUID() };
  const stored = rules.map((rule) => storedRule(rule, client, writer.takeSequence()));
  return {
    ahead: stored.map((rule) => writeRule(rule, nowMs)),
    turn: writeClient(client),
    stale,
    apply: () => view.replaceClient(client, stored),
    ...(made ? { created: made.created } : {}),
  };
}

function makeClient(writer: Writer, name: string, nowMs: number) {
  const token = makeToken();
  const record = { name, version: crypto.randomUUID(), createdAt: nowMs };
  return {
    stored: { record, digest: digestToken(writer.keys.token, token) },
    created: { ...record, token },
  };
}

function storedRule(
  { spec, expiresAt, kept }: PlannedRule,
  client: StoredClient,
  sequence: number,
): StoredRule {
  const rule: Rule = {
    ...spec,
    id: kept?.id ?? crypto.randomUUID(),
    client: client.record.name,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
  return { rule, clientId: client.id, sequence };
}

function checkLimits(view: PolicyView, plan: PolicyPlan): void {
  let clients = view.clientCount;
  let rules = view.ruleCount;
  for (const { client, action, rules: after, budget = [] } of plan) {
    clients += action === "create" ? 1 : action === "delete" ? -1 : 0;
    rules += after.length - view.storedRules(client).length;
    checkRoom(`budget of client ${client}`, budget.length - 1, MAX_BUDGETS_PER_CLIENT);
    checkRoom(`rule of client ${client}`, after.length - 1, MAX_RULES_PER_CLIENT);
    if (after.some(({ spec }) => JSON.stringify(spec).length > MAX_RULE_CHARS)) {
      refuseInvalid(
        `Cannot apply the policy: a rule of client ${client} is too long`,
        "split its paths over several rules",
      );
    }
  }
  checkRoom("client", clients - 1, MAX_CLIENTS);
  checkRoom("rule", rules - 1, MAX_RULES);
  if (plan.length > MAX_COMMIT_ROWS) {
    refuseInvalid(
      `Cannot apply the policy: it changes ${plan.length} clients, and ${MAX_COMMIT_ROWS} is the most at once`,
      "apply it in parts, without --prune",
    );
  }
}
