/**
 * Calls that stop a client, or all, at once, and let them go on.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ControlPlane } from "./control.ts";
import { common, error, json, notStored } from "./responses.ts";
import { rfc3339 } from "./schemas.ts";

const params = z.object({ name: z.string().openapi({ example: "ci-1" }) });
const responses = { ...common, 507: notStored };
const done = { 204: { description: "It is in force everywhere" } };
const unknownClient = { 404: error("There is no such client") };

/** `GET /proxy/v1/suspensions`. */
const SuspensionsBody = z.array(z.strictObject({
  client: z.string().optional().openapi({ description: "All clients when left out", example: "ci-1" }),
  since: z.iso.datetime(),
})).openapi("Suspensions");

const list = createRoute({
  method: "get",
  path: "/proxy/v1/suspensions",
  operationId: "listSuspensions",
  summary: "Who is suspended: all first, then clients by name",
  tags: ["suspensions"],
  responses: { ...common, 200: json("The suspensions", SuspensionsBody) },
});

const suspend = createRoute({
  method: "post",
  path: "/proxy/v1/clients/{name}/suspend",
  operationId: "suspendClient",
  summary: "End all that a client has open, and refuse it everything until it is resumed",
  tags: ["suspensions"],
  request: { params },
  responses: { ...responses, ...unknownClient, ...done },
});

const resume = createRoute({
  method: "post",
  path: "/proxy/v1/clients/{name}/resume",
  operationId: "resumeClient",
  summary: "End the suspension of a client",
  tags: ["suspensions"],
  request: { params },
  responses: { ...responses, ...unknownClient, ...done },
});

const suspendAll = createRoute({
  method: "post",
  path: "/proxy/v1/suspensions/all",
  operationId: "suspendAll",
  summary: "End all that is open, and refuse every client everything until all are resumed",
  tags: ["suspensions"],
  responses: { ...responses, ...done },
});

const resumeAll = createRoute({
  method: "delete",
  path: "/proxy/v1/suspensions/all",
  operationId: "resumeAll",
  summary: "End the suspension of all; clients that were suspended by name stay so",
  tags: ["suspensions"],
  responses: { ...responses, ...done },
});

/** Adds the calls to an app. */
export function addSuspendRoutes(app: OpenAPIHono, control: ControlPlane): void {
  app.openapi(list, (c) =>
    c.json(
      control.suspensions().map(({ client, since }) => ({
        ...(client === undefined ? {} : { client }),
        since: rfc3339(since),
      })),
      200,
    ));
  app.openapi(suspend, async (c) => {
    await control.suspend(c.req.valid("param").name);
    return c.body(null, 204);
  });
  app.openapi(resume, async (c) => {
    await control.resume(c.req.valid("param").name);
    return c.body(null, 204);
  });
  app.openapi(suspendAll, async (c) => {
    await control.suspend(undefined);
    return c.body(null, 204);
  });
  app.openapi(resumeAll, async (c) => {
    await control.resume(undefined);
    return c.body(null, 204);
  });
}
