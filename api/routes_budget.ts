/**
 * Calls about what a client has for an hour or a day.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ProxyError } from "../core/errors.ts";
import type { BudgetDesk, ControlPlane } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";
import { rfc3339 } from "./schemas.ts";

const params = z.object({ name: z.string().openapi({ example: "ci-1" }) });
const unknownClient = { 404: error("There is no such client") };
const budget = z.string().min(1, "must not be empty").openapi({
  description: "`requests=1000/h`, `bytes-up=100M/d`, `bytes-down=1G/d`, `tokens=2M/d`",
  example: "requests=1000/h",
});

/** `PUT /proxy/v1/clients/{name}/budget`. */
const NewBudgetBody = z.strictObject({
  budget: z.array(budget).openapi({ description: "In the place of what it had; none ends that" }),
}).openapi("BudgetRequest");

/** `GET /proxy/v1/clients/{name}/budget`. */
const BudgetUsesBody = z.array(z.strictObject({
  budget,
  rule_host: z.string().optional().openapi({
    description: "Of the rule whose budget it is; the client's own without",
  }),
  used: z.int().min(0).openapi({ description: "In this hour or day" }),
  free_at: z.iso.datetime().openapi({ description: "When the hour or day is over" }),
})).openapi("BudgetUses");

const show = createRoute({
  method: "get",
  path: "/proxy/v1/clients/{name}/budget",
  operationId: "getBudget",
  summary: "How the budgets of a client and of its rules stand",
  tags: ["clients"],
  request: { params },
  responses: {
    ...common,
    ...unknownClient,
    200: json("The client's own, then those of its rules", BudgetUsesBody),
  },
});

const set = createRoute({
  method: "put",
  path: "/proxy/v1/clients/{name}/budget",
  operationId: "setBudget",
  summary: "Say how many requests, bytes and tokens a client has for an hour or a day",
  tags: ["clients"],
  middleware: jsonBody,
  request: { params, body: requestJson(NewBudgetBody) },
  responses: {
    ...commonWithBody,
    ...unknownClient,
    204: { description: "It is in force everywhere" },
    400: error("No such budget can be"),
    507: notStored,
  },
});

/** Adds the calls to an app. */
export function addBudgetRoutes(app: OpenAPIHono, control: ControlPlane, desk: BudgetDesk): void {
  app.openapi(show, (c) => {
    const { name } = c.req.valid("param");
    if (!control.getClient(name)) {
      throw new ProxyError(
        "input.not-found",
        `Cannot show the budget of client ${JSON.stringify(name)}: unknown client`,
      );
    }
    const uses = desk.usesOf(name).map(({ budget, ruleHost, used, freeAtMs }) => ({
      budget,
      ...(ruleHost === undefined ? {} : { rule_host: ruleHost }),
      used,
      free_at: rfc3339(freeAtMs),
    }));
    return c.json(uses, 200);
  });
  app.openapi(set, async (c) => {
    await control.setBudget(c.req.valid("param").name, c.req.valid("json").budget);
    return c.body(null, 204);
  });
}
