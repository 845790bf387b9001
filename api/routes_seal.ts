/**
 * The calls about the seal key.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { SealKeyStatus } from "../store/state.ts";
import type { ControlPlane } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";

const keyId = z.string().regex(/^[0-9a-f]{16}$/).openapi({
  description: "Tells one seal key from another, and nothing else about it",
});

/** The body of `POST /proxy/v1/seal-key/rotate`. */
const RotateBody = z.strictObject({
  key_file: z.string().min(1).max(4_096).optional().openapi({
    description:
      "A file of the proxy's host with the key to take; one is made without it. It stays there; a fleet's host keeps a copy",
  }),
}).openapi("RotateSealKey");

const RotatedBody = z.strictObject({
  id: keyId,
  former_id: keyId,
  secrets: z.int().min(0).openapi({ description: "Secrets that were sealed anew" }),
  key_file: z.string().openapi({ description: "Where the key in force is" }),
  former_key_file: z.string().optional().openapi({ description: "Where the one before was moved" }),
}).openapi("RotatedSealKey");

const RotationBody = z.strictObject({
  phase: z.enum(["waiting", "sealing", "finishing"]).openapi({
    description:
      "Hosts have to get the key; all have it, and everything is sealed anew; it is in force, and hosts have to take it over",
  }),
  former_id: keyId,
  next_id: keyId,
  waiting_for: z.array(z.string()).openapi({ description: "Names of the hosts that are waited for" }),
  rows: z.int().min(0).openapi({ description: "What is sealed in the store: secrets, keys of CAs" }),
  resealed: z.int().min(0).openapi({ description: "How much of it is sealed with the new key" }),
}).openapi("SealKeyRotation");

const StatusBody = z.strictObject({
  id: keyId,
  key_file: z.string().openapi({ description: "Where the key in force is, on this host" }),
  next_key_file: z.string().optional().openapi({
    description: "In a fleet: where this host looks for the key that is to follow",
  }),
  rotation: RotationBody.optional().openapi({
    description: "In a fleet, while another key is to come into force",
  }),
}).openapi("SealKeyStatus");

const status = createRoute({
  method: "get",
  path: "/proxy/v1/seal-key",
  operationId: "getSealKey",
  summary: "Say which seal key is in force, and how far another one is",
  tags: ["seal key"],
  responses: { ...common, 200: json("How it stands", StatusBody) },
});

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
    202: json("In a fleet: it is begun, and is done when all hosts have the key", StatusBody),
    400: error("The file holds no seal key"),
    409: error("It is the key in force already, or in a fleet another one is to follow"),
    507: notStored,
  },
});

const cancel = createRoute({
  method: "delete",
  path: "/proxy/v1/seal-key/rotation",
  operationId: "cancelSealKeyRotation",
  summary: "Give up a seal key of a fleet that is not in force yet",
  tags: ["seal key"],
  responses: { ...common, 204: { description: "It is given up" }, 404: error("None is to come into force") },
});

/** Adds the calls to an app. */
export function addSealRoutes(app: OpenAPIHono, control: ControlPlane): void {
  app.openapi(status, async (c) => c.json(statusBody(await control.sealKey()), 200));
  app.openapi(rotate, async (c) => {
    const brought = c.req.valid("json").key_file;
    if (control.fleet) {
      await control.fleet.beginRotation(brought);
      return c.json(statusBody(await control.sealKey()), 202);
    }
    const rotated = await control.rotateSealKey(brought);
    return c.json({
      id: rotated.id,
      former_id: rotated.formerId,
      secrets: rotated.secrets,
      key_file: rotated.keyFile,
      ...(rotated.formerKeyFile === undefined ? {} : { former_key_file: rotated.formerKeyFile }),
    }, 200);
  });
  app.openapi(cancel, async (c) => {
    await control.cancelSealKey();
    return c.body(null, 204);
  });
}

function statusBody({ id, file, nextFile, rotation }: SealKeyStatus): z.infer<typeof StatusBody> {
  return {
    id,
    key_file: file,
    ...(nextFile === undefined ? {} : { next_key_file: nextFile }),
    ...(rotation === undefined ? {} : {
      rotation: {
        phase: rotation.phase,
        former_id: rotation.formerId,
        next_id: rotation.nextId,
        waiting_for: [...rotation.waitingFor],
        rows: rotation.rows,
        resealed: rotation.resealed,
      },
    }),
  };
}
