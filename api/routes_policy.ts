/**
 * Calls about the policy as a whole: what is in force as one file, and making it what a file says.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { policyFileOf } from "../policy/policy_diff.ts";
import { formatPolicyFile, parsePolicyFile } from "../policy/policy_file.ts";
import type { ControlPlane } from "./control.ts";
import { jsonBodyUpTo } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";
import * as schemas from "./schemas_policy.ts";

const tags = ["policy"];

/** A policy file has a mebibyte of characters, which UTF-8 and JSON make longer. */
export const MAX_POLICY_BODY_BYTES = 4 * 1_048_576;

const read = createRoute({
  method: "get",
  path: "/proxy/v1/policy",
  operationId: "exportPolicy",
  summary:
    "Clients, rules and secret references as a policy file, in YAML, or in JSON when the caller accepts that",
  tags,
  request: { headers: z.object({ accept: z.string().optional() }) },
  responses: {
    ...common,
    200: {
      description: "The policy file",
      content: {
        "application/yaml": { schema: z.string() },
        "application/json": { schema: schemas.PolicyBody },
      },
    },
  },
});

const apply = createRoute({
  method: "post",
  path: "/proxy/v1/policy/apply",
  operationId: "applyPolicy",
  summary: "Make clients and rules what a policy file says, all of it or nothing",
  description:
    "A client that the file names has the file's rules afterwards, in order, and behind them the others that " +
    "it had. With `prune` these go, and so do budgets of which it says nothing, and clients that the file does not name. Secrets are never made or removed.",
  tags,
  middleware: jsonBodyUpTo(MAX_POLICY_BODY_BYTES),
  request: { body: requestJson(schemas.ApplyBody) },
  responses: {
    ...commonWithBody,
    200: json(
      "What changed, or for a dry run what would; tokens of created clients",
      schemas.ApplyResultBody,
    ),
    400: error("The file cannot be read, with its line and column, or a secret is not as it says"),
    413: error("The body is longer than 4 MiB"),
    507: notStored,
  },
});

/** Adds the calls about the policy to an app. */
export function addPolicyRoutes(app: OpenAPIHono, control: ControlPlane): void {
  app.openapi(read, (c) => {
    const file = policyFileOf(control.presentPolicy());
    return acceptsJson(c.req.valid("header").accept ?? "")
      ? c.json(schemas.policyBody(file), 200)
      : c.body(formatPolicyFile(file), 200, { "content-type": "application/yaml" });
  });
  app.openapi(apply, async (c) => {
    const { policy, name = "policy", dry_run: isDryRun = false, prune = false } = c.req.valid("json");
    const applied = await control.applyPolicy(parsePolicyFile(policy, name), {
      prune: prune ? "clients" : "nothing",
      isDryRun,
    });
    return c.json(schemas.applyResultBody(applied), 200);
  });
}

/** True when a caller names JSON, and not YAML. Whoever takes anything gets what people read. */
function acceptsJson(accept: string): boolean {
  const types = accept.split(",").map((type) => type.split(";", 1)[0]?.trim().toLowerCase());
  return types.includes("application/json") && !types.includes("application/yaml");
}
