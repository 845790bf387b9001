/**
 * Calls about the fleet that this host is a part of.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ProxyError } from "../core/errors.ts";
import type { FleetDesk } from "./control.ts";
import { common, error, json } from "./responses.ts";
import { rfc3339 } from "./schemas.ts";

const time = z.iso.datetime();
const count = z.int().min(0);

const FleetHostBody = z.strictObject({
  name: z.string(),
  version: z.string(),
  since: time.openapi({ description: "Since when its process runs" }),
  last_seen: time,
  sequence: z.int().openapi({ description: "The last change that is in force there" }),
  is_dead: z.boolean().openapi({
    description: "It was silent for longer than its grace, so it denies everything",
  }),
  open_tunnels: count.optional(),
  denials: count.optional().openapi({ description: "Since its start" }),
}).openapi("FleetHost");

/** `GET /proxy/v1/fleet`. */
const FleetBody = z.strictObject({
  name: z.string(),
  host: z.string().openapi({ description: "The one that answers" }),
  sequence: z.int().openapi({ description: "The last change that is in force here" }),
  hosts: z.array(FleetHostBody),
}).openapi("Fleet");

const show = createRoute({
  method: "get",
  path: "/proxy/v1/fleet",
  operationId: "getFleet",
  summary: "The hosts of the fleet, by name",
  tags: ["fleet"],
  responses: {
    ...common,
    200: json("The fleet", FleetBody),
    404: error("This host is in none"),
    503: error("The store is away"),
  },
});

/** Adds the call to an app. */
export function addFleetRoutes(app: OpenAPIHono, fleet: FleetDesk | undefined): void {
  app.openapi(show, async (c) => {
    if (!fleet) {
      throw new ProxyError("input.not-found", "Cannot show the fleet: this host is in none", {
        hint: "slicer-proxy up --store postgres://… makes it one of a fleet; docs/FLEET.md",
      });
    }
    const hosts = await fleet.list();
    const { fleet: name, host, sequence } = fleet.status;
    return c.json({
      ...{ name, host, sequence },
      hosts: hosts.map(({ name, version, since, lastSeen, applied, isDead, figures }) => ({
        ...{ name, version, since: rfc3339(since), last_seen: rfc3339(lastSeen) },
        ...{ sequence: applied, is_dead: isDead },
        ...counted("open_tunnels", figures["openTunnels"]),
        ...counted("denials", figures["denials"]),
      })),
    }, 200);
  });
}

/** What a host says of itself is of another version, perhaps. */
function counted<Name extends string>(name: Name, value: unknown): { [N in Name]?: number } {
  const isCount = typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  return (isCount ? { [name]: value } : {}) as { [N in Name]?: number };
}
