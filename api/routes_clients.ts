/**
 * Calls about clients. Their tokens appear in two responses, of creation and rotation, and in none after that.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ControlPlane } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";
import * as schemas from "./schemas.ts";

const tags = ["clients"];
const params = z.object({ name: z.string().openapi({ example: "ci-1" }) });
const unknownClient = error("There is no such client");

const list = createRoute({
  method: "get",
  path: "/proxy/v1/clients",
  operationId: "listClients",
  summary: "All clients, by name",
  tags,
  responses: { ...common, 200: json("The clients", z.array(schemas.ClientBody)) },
});

const create = createRoute({
  method: "post",
  path: "/proxy/v1/clients",
  operationId: "createClient",
  summary: "Make a client; the only call that shows a new client's token",
  tags,
  middleware: jsonBody,
  request: { body: requestJson(schemas.NewClientBody) },
  responses: {
    ...commonWithBody,
    201: json("The client and its token", schemas.ClientWithTokenBody),
    400: error("The name or the token cannot be used"),
    409: error("The name or the token is taken"),
    507: notStored,
  },
});

const rules = createRoute({
  method: "get",
  path: "/proxy/v1/clients/{name}",
  operationId: "listRules",
  summary: "A client's live rules, in declaration order",
  tags,
  request: { params },
  responses: { ...common, 200: json("The rules", z.array(schemas.RuleBody)), 404: unknownClient },
});

const remove = createRoute({
  method: "delete",
  path: "/proxy/v1/clients/{name}",
  operationId: "deleteClient",
  summary: "Revoke a client's token and drop its rules",
  tags,
  request: { params },
  responses: { ...common, 204: { description: "Deleted" }, 404: unknownClient, 507: notStored },
});

const rotate = createRoute({
  method: "post",
  path: "/proxy/v1/clients/{name}/rotate",
  operationId: "rotateClient",
  summary: "Give a client a new token; the old one ends at once",
  tags,
  request: { params },
  responses: {
    ...common,
    200: json("The client and its new token", schemas.ClientWithTokenBody),
    404: unknownClient,
    507: notStored,
  },
});

/** Adds the calls about clients to an app. */
export function addClientRoutes(app: OpenAPIHono, control: ControlPlane): void {
  app.openapi(list, (c) => {
    const all = control.suspensions().find(({ client }) => client === undefined);
    const clients = control.listClients().map((client) =>
      all ? { suspendedSince: all.since, ...client } : client
    );
    return c.json(clients.map(schemas.clientBody), 200);
  });
  app.openapi(create, async (c) => {
    const { name, token } = c.req.valid("json");
    return c.json(schemas.clientWithTokenBody(await control.createClient(name, token)), 201);
  });
  app.openapi(
    rules,
    (c) => c.json(control.judgeRules(c.req.valid("param").name).map(schemas.judgedRuleBody), 200),
  );
  app.openapi(remove, async (c) => {
    await control.deleteClient(c.req.valid("param").name);
    return c.body(null, 204);
  });
  app.openapi(rotate, async (c) => {
    return c.json(schemas.clientWithTokenBody(await control.rotateClient(c.req.valid("param").name)), 200);
  });
}
