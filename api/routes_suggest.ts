/**
 * Calls that read the audit log for what rules should be: suggestions for one client, and the test of a policy file. They
 * change nothing; a suggestion is taken up with `POST /proxy/v1/allows`.
 *
 * Not here: how rules are found and judged (`policy/suggest.ts`, `policy/replay.ts`).
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { DenialTally } from "../policy/denial_tally.ts";
import { parsePolicyFile } from "../policy/policy_file.ts";
import { parseSince } from "../policy/record_filter.ts";
import { Replayer, rulesToReplay } from "../policy/replay.ts";
import { suggestRules } from "../policy/suggest.ts";
import type { AuditSlots } from "./audit_slots.ts";
import type { AuditSource, ControlPlane } from "./control.ts";
import { jsonBodyUpTo } from "./json_body.ts";
import { MAX_POLICY_BODY_BYTES } from "./routes_policy.ts";
import { common, commonWithBody, error, json, requestJson } from "./responses.ts";
import * as schemas from "./schemas_suggest.ts";

const suggestions = createRoute({
  method: "get",
  path: "/proxy/v1/clients/{name}/suggestions",
  operationId: "suggestRules",
  summary: "The narrowest rules that would have let a client's denied requests through",
  description:
    "Denied requests that a present rule allows by now are left out. Never proposed are addresses, " +
    "passthrough and secrets.",
  tags: ["audit"],
  request: {
    params: z.object({ name: z.string().openapi({ example: "ci-1" }) }),
    query: schemas.SuggestQuery,
  },
  responses: {
    ...common,
    200: json("The rules, and why", schemas.SuggestionBody),
    400: error("A parameter cannot be used"),
    404: error("There is no such client"),
  },
});

const test = createRoute({
  method: "post",
  path: "/proxy/v1/policy/test",
  operationId: "testPolicy",
  summary: "What would have been decided otherwise, had a policy file been in force",
  description:
    "Judges the stored audit records. `ttl` and `expires` are ignored: every rule counts as just made.",
  tags: ["policy"],
  middleware: jsonBodyUpTo(MAX_POLICY_BODY_BYTES),
  request: { body: requestJson(schemas.PolicyTestBody) },
  responses: {
    ...commonWithBody,
    200: json("What would change", schemas.ReplayBody),
    400: error("The policy file cannot be read, with its line and column, or the time cannot"),
    413: error("The body is longer than 4 MiB"),
  },
});

/** Adds the calls to an app. */
export function addSuggestRoutes(
  app: OpenAPIHono,
  { control, audit, readers }: {
    readonly control: ControlPlane;
    readonly audit: AuditSource;
    readonly readers: AuditSlots;
  },
): void {
  const asReader: MiddlewareHandler = async (_c, next) => {
    const slot = readers.take();
    if (slot instanceof Response) return slot;
    using _slot = slot;
    return await next();
  };
  for (const route of [suggestions, test]) app.use(route.getRoutingPath(), asReader);
  app.openapi(suggestions, async (c) => {
    const { name } = c.req.valid("param");
    const { since, exact } = c.req.valid("query");
    control.listRules(name); // refuses a client that is not there before any file is read
    const tally = new DenialTally(name);
    const filter = { client: name, denied: true, sinceMs: sinceMsOf(since) };
    for await (const record of audit.records(filter)) tally.add(record);
    const { denials, forgotten } = tally;
    const found = suggestRules({
      denials,
      rules: control.listRules(name),
      isExact: exact === "1" || exact === "true",
    });
    return c.json(schemas.suggestionBody(found, forgotten), 200);
  });
  app.openapi(test, async (c) => {
    const { policy, name = "policy", since } = c.req.valid("json");
    const replayer = new Replayer(rulesToReplay(parsePolicyFile(policy, name)));
    for await (const record of audit.records({ sinceMs: sinceMsOf(since) })) replayer.add(record);
    return c.json(schemas.replayBody(replayer.result()), 200);
  });
}

function sinceMsOf(since: string | undefined): number | undefined {
  return since === undefined ? undefined : parseSince(since, Date.now());
}
