/**
 * Calls about secrets. A value comes in and never goes out.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import { adoptValue } from "../secrets/adopt.ts";
import { DEFAULT_TYPE } from "../secrets/kinds.ts";
import type { ControlPlane, SecretDesk } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";
import * as schemas from "./schemas.ts";

const tags = ["secrets"];

const list = createRoute({
  method: "get",
  path: "/proxy/v1/secrets",
  operationId: "listSecrets",
  summary: "All secrets without their values, by name",
  tags,
  responses: { ...common, 200: json("The secrets", z.array(schemas.SecretBody)) },
});

const params = z.object({ name: z.string().openapi({ example: "llm-key" }) });

const show = createRoute({
  method: "get",
  path: "/proxy/v1/secrets/{name}",
  operationId: "showSecret",
  summary: "A secret without its value: who uses it, and when it was last used",
  tags,
  request: { params },
  responses: {
    ...common,
    200: json("The secret", schemas.SecretDetailsBody),
    404: error("There is no such secret"),
  },
});

const test = createRoute({
  method: "post",
  path: "/proxy/v1/secrets/{name}/test",
  operationId: "testSecret",
  summary: "Try a secret with one harmless GET, on the way that requests take",
  tags,
  middleware: jsonBody,
  request: { params, body: requestJson(schemas.SecretTestRequestBody) },
  responses: {
    ...commonWithBody,
    200: json("How it went", schemas.SecretTestBody),
    400: error("It cannot be tested so: a URL is needed, or names another host"),
    404: error("There is no such secret"),
  },
});

const create = createRoute({
  method: "post",
  path: "/proxy/v1/secrets",
  operationId: "createSecret",
  summary: "Store a credential for a host",
  tags,
  middleware: jsonBody,
  request: { body: requestJson(schemas.NewSecretBody) },
  responses: {
    ...commonWithBody,
    201: json("The secret without its value", schemas.SecretBody),
    400: error("The name, host, type or value cannot be used"),
    409: error("The name is taken, and force was not given"),
    507: notStored,
  },
});

const remove = createRoute({
  method: "delete",
  path: "/proxy/v1/secrets/{name}",
  operationId: "deleteSecret",
  summary: "Delete a secret; rules that name it stay, and deny",
  tags,
  request: { params },
  responses: {
    ...common,
    204: { description: "Deleted" },
    404: error("There is no such secret"),
    507: notStored,
  },
});

/** Adds the calls about secrets to an app. */
export function addSecretRoutes(app: OpenAPIHono, control: ControlPlane, desk: SecretDesk): void {
  const find = (name: string) => {
    const secret = control.getSecret(name);
    if (secret) return secret;
    throw new ProxyError("input.not-found", `Cannot find secret ${quoteText(name, 64)}: unknown secret`);
  };
  app.openapi(list, (c) => c.json(control.listSecrets().map(schemas.secretBody), 200));
  app.openapi(create, async (c) => {
    const body = c.req.valid("json");
    const secret = await control.putSecret({
      name: body.name,
      host: body.host,
      ...await adoptValue(
        { type: body.type ?? DEFAULT_TYPE, value: body.value, sourceFile: body.source_file },
        Date.now(),
      ),
      cleartext: body.cleartext ?? false,
      ...(body.env === undefined ? {} : { env: body.env }),
    }, { force: body.force ?? false });
    return c.json(schemas.secretBody(secret), 201);
  });
  app.openapi(show, (c) => {
    const secret = find(c.req.valid("param").name);
    const rules = control.listClients().flatMap(({ name }) => control.listRules(name))
      .filter((rule) => rule.secret === secret.name);
    const lastUse = desk.lastUse(secret.name);
    return c.json(schemas.secretDetailsBody(secret, { rules, lastUse }), 200);
  });
  app.openapi(test, async (c) => {
    const tested = await desk.test(find(c.req.valid("param").name), c.req.valid("json").url);
    return c.json(tested, 200);
  });
  app.openapi(remove, async (c) => {
    await control.deleteSecret(c.req.valid("param").name);
    return c.body(null, 204);
  });
}
