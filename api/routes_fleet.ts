/**
 * The call that says who is in the fleet.
 *
 * @module
 */
import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { ProxyError } from "../core/errors.ts";
import type { StatusReport } from "./control.ts";
import { common, error, json } from "./responses.ts";
import { FleetBody, fleetBody } from "./schemas_fleet.ts";

const show = createRoute({
  method: "get",
  path: "/proxy/v1/fleet",
  operationId: "getFleet",
  summary: "Which hosts share the policy, and how each of them is",
  tags: ["status"],
  responses: {
    ...common,
    200: json("The hosts, by name", FleetBody),
    404: error("This host is alone: it has its policy in a folder of its own"),
  },
});

/** Adds the call to an app. */
export function addFleetRoute(
  app: OpenAPIHono,
  report: () => Pick<StatusReport, "fleet"> | Promise<Pick<StatusReport, "fleet">>,
): void {
  app.openapi(show, async (c) => {
    const { fleet } = await report();
    if (!fleet) {
      throw new ProxyError("input.not-found", "Cannot list the fleet: this host is in none", {
        hint: "up --store makes it a part of one; docs/FLEET.md says how",
      });
    }
    return c.json(fleetBody(fleet), 200);
  });
}
