/**
 * Calls about allow rules. The list is `GET /proxy/v1/clients/{name}` (`routes_clients.ts`).
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { parseRule } from "../policy/rule.ts";
import type { ControlPlane } from "./control.ts";
import { refuse } from "./errors.ts";
import { jsonBody } from "./json_body.ts";
import { isPageCall } from "./ui_door.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";
import * as schemas from "./schemas.ts";

const tags = ["allows"];

/** What the web page adds stands behind the rules that are there: before them it would undo those that deny, or ask. */
const newRuleBody: MiddlewareHandler = (c, next) => {
  const isPage = isPageCall(c.req.raw);
  return jsonBody(c, async () => {
    if (!isPage || !Object.hasOwn(await c.req.raw.clone().json(), "before")) return await next();
    c.res = refuse(403, "Cannot put a rule before others from the web page", {
      hint: "use the command line: slicer-proxy allow --before, or rules move",
    });
  });
};

const add = createRoute({
  method: "post",
  path: "/proxy/v1/allows",
  operationId: "addRule",
  summary: "Allow a client something, behind its other rules or before one of them",
  tags,
  middleware: newRuleBody,
  request: { body: requestJson(schemas.NewRuleBody) },
  responses: {
    ...commonWithBody,
    201: json("The rule, with the time at which it expires", schemas.RuleBody),
    400: error("A field cannot be used, or the client or the secret is unknown"),
    409: error("The client has this rule already"),
    507: notStored,
  },
});

const place = z.int().min(1).max(1_000_000);

/** `POST /proxy/v1/allows/move`. */
const MoveBody = z.strictObject({
  client: z.string().min(1).openapi({ example: "ci-1" }),
  from: place.openapi({ description: "The rule's place in the client's list, from 1" }),
  before: place.optional().openapi({
    description: "The place, now, of the rule before which it is put; behind all when left out",
  }),
}).openapi("MoveRuleRequest");

const move = createRoute({
  method: "post",
  path: "/proxy/v1/allows/move",
  operationId: "moveRule",
  summary: "Put a rule of a client before another one, or behind all; what it has admitted goes on",
  tags,
  middleware: jsonBody,
  request: { body: requestJson(MoveBody) },
  responses: {
    ...commonWithBody,
    204: { description: "Moved" },
    400: error("A place cannot be used"),
    404: error("There is no such client, or it has no such rule"),
    507: notStored,
  },
});

const revokeHost = createRoute({
  method: "delete",
  path: "/proxy/v1/allows/{client}/{host}",
  operationId: "revokeHost",
  summary: "Revoke all of a client's rules for a host pattern",
  tags,
  request: {
    params: z.object({
      client: z.string().openapi({ example: "ci-1" }),
      host: z.string().openapi({
        description: "The pattern of the rules, percent-encoded or literal",
        example: "*.example.com",
      }),
    }),
  },
  responses: {
    ...common,
    204: { description: "Revoked" },
    400: error("The host is none"),
    404: error("There is no such client, or it has no rule for that host"),
    507: notStored,
  },
});

const revokeRule = createRoute({
  method: "post",
  path: "/proxy/v1/allows/revoke",
  operationId: "revokeRule",
  summary: "Revoke the one rule that has exactly these fields",
  tags,
  middleware: jsonBody,
  request: { body: requestJson(schemas.RevokeBody) },
  responses: {
    ...commonWithBody,
    204: { description: "Revoked" },
    400: error("A field cannot be used"),
    404: error("There is no such client, or it has no such rule"),
    507: notStored,
  },
});

/** Adds the calls about allow rules to an app. */
export function addAllowRoutes(app: OpenAPIHono, control: ControlPlane): void {
  app.openapi(add, async (c) => {
    const { client, ttl_seconds: ttlSeconds, before: place, ...fields } = c.req.valid("json");
    const ttlMs = ttlSeconds ? ttlSeconds * 1_000 : undefined; // 0 means none, as for the published clients
    const rule = await control.addRule(client, parseRule(schemas.ruleInput(fields)), { ttlMs, place });
    const { warnings = [] } = control.judgeRules(client).find((judged) => judged.rule.id === rule.id) ?? {};
    const news = warnings.filter(({ kind }) => kind !== "ends-soon"); // the caller has just said when
    return c.json(schemas.judgedRuleBody({ rule, warnings: news }), 201);
  });
  app.openapi(move, async (c) => {
    const { client, from, before } = c.req.valid("json");
    await control.moveRule(client, { from, before });
    return c.body(null, 204);
  });
  app.openapi(revokeHost, async (c) => {
    const { client, host } = c.req.valid("param");
    await control.revokeHost(client, host);
    return c.body(null, 204);
  });
  app.openapi(revokeRule, async (c) => {
    const { client, ...fields } = c.req.valid("json");
    await control.revokeRule(client, parseRule(schemas.ruleInput(fields)));
    return c.body(null, 204);
  });
}
