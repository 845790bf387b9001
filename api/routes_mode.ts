/**
 * Calls about the mode: what is done with what no rule allows, and for whom that was switched while the proxy runs.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { MAX_DURATION_MS } from "../core/duration.ts";
import type { ControlPlane, StatusReport } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, requestJson } from "./responses.ts";
import { rfc3339 } from "./schemas.ts";

const tags = ["mode"];
const mode = z.enum(["strict", "audit"]).openapi({
  description:
    "`audit` looks into tunnels to unknown hosts and logs what is asked for there, before it denies it",
});
const client = z.string().min(1).optional().openapi({
  description: "All clients when left out",
  example: "ci-1",
});

/** `PUT /proxy/v1/mode`. */
const SwitchBody = z.strictObject({
  client,
  mode,
  ttl_seconds: z.int().min(0).max(MAX_DURATION_MS / 1_000).optional().openapi({
    description: "After so many seconds it ends by itself; 0, or nothing, for until the next switch or start",
  }),
}).openapi("ModeSwitchRequest");

/** What is in force. */
const ModeBody = z.strictObject({
  mode: mode.openapi({ description: "What `up --mode` says, for whom no switch is in force" }),
  switches: z.array(z.strictObject({ client, mode, until: z.iso.datetime().optional() })),
}).openapi("Mode");

const show = createRoute({
  method: "get",
  path: "/proxy/v1/mode",
  operationId: "getMode",
  summary: "The mode that the proxy was started with, and the switches in force",
  tags,
  responses: { ...common, 200: json("The modes", ModeBody) },
});

const change = createRoute({
  method: "put",
  path: "/proxy/v1/mode",
  operationId: "switchMode",
  summary: "Switch the mode of a client, or of all in the place of all switches before, for a while",
  tags,
  middleware: jsonBody,
  request: { body: requestJson(SwitchBody) },
  responses: {
    ...commonWithBody,
    200: json("The modes after it", ModeBody),
    400: error("A field cannot be used"),
    404: error("There is no such client"),
  },
});

/** Adds the calls about the mode to an app. */
export function addModeRoutes(
  app: OpenAPIHono,
  control: Pick<ControlPlane, "switchMode" | "modeSwitches">,
  status: () => StatusReport | Promise<StatusReport>,
): void {
  const body = async (): Promise<z.infer<typeof ModeBody>> => ({
    mode: (await status()).mode,
    switches: control.modeSwitches().map(({ client, mode, untilMs }) => ({
      ...(client === undefined ? {} : { client }),
      mode,
      ...(untilMs === undefined ? {} : { until: rfc3339(untilMs) }),
    })),
  });
  app.openapi(show, async (c) => c.json(await body(), 200));
  app.openapi(change, async (c) => {
    const { client, mode, ttl_seconds: ttlSeconds } = c.req.valid("json");
    await control.switchMode({ client, mode, ttlMs: ttlSeconds ? ttlSeconds * 1_000 : undefined });
    return c.json(await body(), 200);
  });
}
