/**
 * The call that takes another seal key.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { ControlPlane } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { commonWithBody, error, json, notStored, requestJson } from "./responses.ts";

const keyId = z.string().regex(/^[0-9a-f]{16}$/).openapi({
  description: "Tells one seal key from another, and nothing else about it",
});

/** The body of `POST /proxy/v1/seal-key/rotate`. */
const RotateBody = z.strictObject({
  key_file: z.string().min(1).max(4_096).optional().openapi({
    description: "A file of the proxy's host with the key to take, which stays there; one is made without it",
  }),
}).openapi("RotateSealKey");

const RotatedBody = z.strictObject({
  id: keyId,
  former_id: keyId,
  secrets: z.int().min(0).openapi({ description: "Secrets that were sealed anew" }),
  key_file: z.string().openapi({ description: "Where the key in force is" }),
  former_key_file: z.string().optional().openapi({ description: "Where the one before was moved" }),
}).openapi("RotatedSealKey");

const rotate = createRoute({
  method: "post",
  path: "/proxy/v1/seal-key/rotate",
  operationId: "rotateSealKey",
  summary: "Take another seal key, and seal everything anew with it while everything goes on",
  tags: ["seal key"],
  middleware: jsonBody,
  request: { body: requestJson(RotateBody) },
  responses: {
    ...commonWithBody,
    200: json("It is done, on the disk too", RotatedBody),
    400: error("The file holds no seal key"),
    409: error("It is the key in force already"),
    507: notStored,
  },
});

/** Adds the call to an app. */
export function addSealRoutes(app: OpenAPIHono, control: ControlPlane): void {
  app.openapi(rotate, async (c) => {
    const rotated = await control.rotateSealKey(c.req.valid("json").key_file);
    return c.json({
      id: rotated.id,
      former_id: rotated.formerId,
      secrets: rotated.secrets,
      key_file: rotated.keyFile,
      ...(rotated.formerKeyFile === undefined ? {} : { former_key_file: rotated.formerKeyFile }),
    }, 200);
  });
}
