/**
 * Calls about requests that wait for a person.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { MAX_DURATION_MS } from "../core/duration.ts";
import { ProxyError } from "../core/errors.ts";
import type { Approval, RequestDesk } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";
import { rfc3339, RuleBody, ruleBody } from "./schemas.ts";

const tags = ["requests"];
const params = z.object({ id: z.string().openapi({ example: "3f9a1c2b7d40" }) });
const noLonger = { 404: error("No such request waits any more") };

/** `GET /proxy/v1/requests`. */
const WaitingBody = z.array(z.strictObject({
  id: z.string(),
  client: z.string(),
  method: z.string(),
  scheme: z.enum(["http", "https"]),
  host: z.string(),
  port: z.int(),
  path: z.string(),
  query: z.string().optional(),
  reason: z.string().optional().openapi({
    description: "The client asks for a rule, and says so: text of an untrusted program",
  }),
  since: z.iso.datetime(),
  until: z.iso.datetime().openapi({ description: "When it is refused by itself" }),
})).openapi("WaitingRequests");

/** `POST /proxy/v1/requests/{id}/approve`. */
const ApprovalBody = z.strictObject({
  for_seconds: z.int().min(1).max(MAX_DURATION_MS / 1_000).optional().openapi({
    description: "Adds a rule for exactly this method, host, port and path that lives so long",
  }),
  always: z.boolean().optional().openapi({
    description: "Adds such a rule for good. Neither: this request alone",
  }),
}).openapi("Approval");

/** What an approval did. */
const ApprovedBody = z.strictObject({
  rule: RuleBody.optional().openapi({ description: "The rule that was added" }),
}).openapi("Approved");

const list = createRoute({
  method: "get",
  path: "/proxy/v1/requests",
  operationId: "listRequests",
  summary: "The requests that wait for a person, the first first",
  tags,
  responses: {
    ...common,
    200: json("The requests. What clients have chosen is as they sent it", WaitingBody),
  },
});

const approve = createRoute({
  method: "post",
  path: "/proxy/v1/requests/{id}/approve",
  operationId: "approveRequest",
  summary: "Let a waiting request go on, and for a while or for good those like it",
  tags,
  middleware: jsonBody,
  request: { params, body: requestJson(ApprovalBody) },
  responses: {
    ...commonWithBody,
    ...noLonger,
    200: json("It goes on", ApprovedBody),
    400: error("It cannot be approved like this"),
    409: error("The client has this rule already"),
    507: notStored,
  },
});

const deny = createRoute({
  method: "post",
  path: "/proxy/v1/requests/{id}/deny",
  operationId: "denyRequest",
  summary: "Refuse a waiting request",
  tags,
  request: { params },
  responses: { ...common, ...noLonger, 204: { description: "It is refused" } },
});

/** Adds the calls to an app. */
export function addRequestRoutes(app: OpenAPIHono, desk: RequestDesk): void {
  app.openapi(list, (c) =>
    c.json(
      desk.list().map((
        { id, client, method, scheme, host, port, path, query, reason, sinceMs, untilMs },
      ) => ({
        ...{ id, client, method, scheme, host, port, path },
        ...(query === undefined ? {} : { query }),
        ...(reason === undefined ? {} : { reason }),
        since: rfc3339(sinceMs),
        until: rfc3339(untilMs),
      })),
      200,
    ));
  app.openapi(approve, async (c) => {
    const rule = await desk.approve(c.req.valid("param").id, approvalOf(c.req.valid("json")));
    return c.json(rule ? { rule: ruleBody(rule) } : {}, 200);
  });
  app.openapi(deny, (c) => {
    desk.deny(c.req.valid("param").id);
    return c.body(null, 204);
  });
}

function approvalOf({ for_seconds: seconds, always = false }: z.infer<typeof ApprovalBody>): Approval {
  if (seconds !== undefined && always) {
    throw new ProxyError("input.invalid", "Cannot approve for a while and for good at once", {
      hint: "leave out for_seconds or always",
    });
  }
  return always ? "always" : seconds === undefined ? "once" : { forMs: seconds * 1_000 };
}
