/**
 * The bodies of calls about the policy as a whole.
 *
 * Not here: what a policy file may say (`policy/policy_file.ts` decides that, with line and column).
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { PolicyFile } from "../policy/policy_file.ts";
import type { PolicyPlan } from "../policy/policy_diff.ts";
import type { AppliedPolicy } from "../store/changes/policy.ts";
import { ClientWithTokenBody, clientWithTokenBody, RuleBody, ruleFieldsBody } from "./schemas.ts";

const name = z.string();
const budget = z.array(z.string()).openapi({ example: ["requests=1K/h"] });

/** `GET /proxy/v1/policy` as JSON: the same fields as the YAML has. */
export const PolicyBody = z.strictObject({
  version: z.literal(1),
  secrets: z.record(name, z.strictObject({ host: z.string(), type: z.string() })).openapi({
    description: "The secrets that rules may name, by name, never with a value",
  }),
  clients: z.record(name, z.strictObject({ budget: budget.optional(), allow: z.array(RuleBody) })).openapi({
    description: "The clients by name, with their own budgets and their live rules in order",
  }),
}).openapi("Policy");

/** A policy file in a call. */
export const policyText = {
  policy: z.string().openapi({ description: "A policy file: YAML or JSON" }),
  name: z.string().min(1).max(255).optional().openapi({
    description: "What errors call the file; policy when left out",
    example: "policy.yaml",
  }),
};

/** `POST /proxy/v1/policy/apply`. */
export const ApplyBody = z.strictObject({
  ...policyText,
  dry_run: z.boolean().optional().openapi({ description: "Only say what would change" }),
  prune: z.boolean().optional().openapi({
    description: "Remove rules, budgets and clients that the file does not have",
  }),
}).openapi("ApplyPolicyRequest");

const RuleChangeBody = RuleBody.extend({
  action: z.enum(["remove", "add", "expire", "move"]).openapi({
    description: "`expire`: another end; `move`: another place among the rules that stay",
  }),
  place: z.int().min(1).openapi({
    description: "The rule's place in the client's list: afterwards, or before when it is removed",
  }),
}).openapi("RuleChange");

/** What applying a policy changed, or would change. */
export const ApplyResultBody = z.strictObject({
  changes: z.array(z.strictObject({
    client: name,
    action: z.enum(["create", "change", "delete"]),
    budget: budget.optional().openapi({
      description: "Its own afterwards, where that changes; empty for none",
    }),
    rules: z.array(RuleChangeBody),
  })).openapi({ description: "The clients that change; empty when there is nothing to change" }),
  created: z.array(ClientWithTokenBody).openapi({
    description:
      "The clients that were created. No later call shows their tokens again; a dry run creates none",
  }),
}).openapi("ApplyPolicyResult");

/** The JSON body of a policy. */
export function policyBody({ clients, budgets, secrets }: PolicyFile): z.infer<typeof PolicyBody> {
  return {
    version: 1,
    secrets: Object.fromEntries([...secrets].map(([name, { host, type }]) => [name, { host, type }])),
    clients: Object.fromEntries(
      [...clients].map(([client, rules]) => [client, {
        ...budgetBody(budgets.get(client)),
        allow: rules.map(({ spec, expiresAt }) => ruleFieldsBody(spec, expiresAt)),
      }]),
    ),
  };
}

function budgetBody(budget: readonly string[] | undefined): { budget?: string[] } {
  return budget ? { budget: [...budget] } : {};
}

/** The body of what was applied. */
export function applyResultBody({ plan, created }: AppliedPolicy): z.infer<typeof ApplyResultBody> {
  return { changes: changesBody(plan), created: created.map(clientWithTokenBody) };
}

function changesBody(plan: PolicyPlan): z.infer<typeof ApplyResultBody>["changes"] {
  return plan.map(({ client, action, budget, changes }) => ({
    client,
    action,
    ...budgetBody(budget),
    rules: changes.map(({ action, place, spec, expiresAt }) => ({
      action,
      place,
      ...ruleFieldsBody(spec, expiresAt),
    })),
  }));
}
