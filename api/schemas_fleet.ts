/**
 * Bodies about the fleet: `GET /proxy/v1/fleet`, and its sums in the status. Fields are only ever added: scripts read them.
 *
 * Not here: where the figures come from (`store/fleet/`).
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { type HostFigures, sumFigures } from "../store/fleet/host_figures.ts";
import type { FleetReport } from "../store/fleet/roster.ts";
import { rfc3339 } from "./schemas.ts";

const text = z.string();
const time = z.iso.datetime().openapi({ description: "RFC 3339, UTC" });
const count = z.int().min(0);
const seconds = z.number().min(0);

const figures = {
  open_connections: count,
  open_tunnels: count,
  requests: z.strictObject({ allow: count, deny: count, passthrough: count })
    .openapi({ description: "Since the start of each host" }),
};

const state = z.enum(["live", "late", "denies"]).openapi({
  description:
    "`late`: silent, or without a change for seconds; `denies`: silent for so long that it certainly " +
    "denies everything, and no change waits for it",
});

const standing = {
  name: text,
  host: text.openapi({ description: "The host that answers" }),
  sequence: count.openapi({ description: "The number of the last change that is in force on this host" }),
  behind: count.openapi({ description: "Changes that the store has beyond it" }),
  behind_seconds: seconds.openapi({
    description: "Since this host last knew that it has every change in force: a second at rest",
  }),
  store_away_since: time.optional().openapi({ description: "Absent while the store answers" }),
  listed_at: time.optional().openapi({
    description: "When the hosts were read from the store; the last that is known, while the store is away",
  }),
};

/** `GET /proxy/v1/fleet`. */
export const FleetBody = z.strictObject({
  ...standing,
  hosts: z.array(z.strictObject({
    name: text,
    is_this: z.boolean().openapi({ description: "The host that answers" }),
    state,
    version: text,
    since: time.openapi({ description: "Since when its process runs" }),
    last_seen: time,
    sequence: z.int().openapi({ description: "Up to which change all is in force; -1 at its start" }),
    behind: count,
    behind_seconds: seconds.openapi({ description: "For how long it has lacked the first change it lacks" }),
    ...figures,
  })).openapi({ description: "By name. One that stopped in good order is gone, a dead one after an hour" }),
  more_hosts: z.boolean().openapi({ description: "There are more than are listed" }),
}).openapi("Fleet");

/** A part of `GET /proxy/v1/status`. */
export const FleetSumsBody = z.strictObject({
  ...standing,
  hosts: z.strictObject({ live: count, late: count, denies: count }),
  ...figures,
}).openapi("FleetSums");

/** The list. */
export function fleetBody(report: FleetReport): z.infer<typeof FleetBody> {
  const { hosts, isCut } = report.roster;
  return {
    ...standingOf(report),
    hosts: hosts.map((each) => ({
      name: each.name,
      is_this: each.id === report.hostId,
      state: each.state,
      version: each.version,
      since: rfc3339(each.since),
      last_seen: rfc3339(each.lastSeen),
      sequence: each.applied,
      behind: each.behind,
      behind_seconds: each.behindMs / 1_000,
      ...figuresOf(each.figures),
    })),
    more_hosts: isCut,
  };
}

/** The sums over all hosts that act on the policy. */
export function fleetSumsBody(report: FleetReport): z.infer<typeof FleetSumsBody> {
  const { hosts } = report.roster;
  const acting = hosts.filter(({ state }) => state !== "denies");
  return {
    ...standingOf(report),
    hosts: hostCounts(report),
    ...figuresOf(sumFigures(acting.map(({ figures }) => figures))),
  };
}

/** How many hosts are how. */
export function hostCounts({ roster }: FleetReport): Record<"live" | "late" | "denies", number> {
  const counts = { live: 0, late: 0, denies: 0 };
  for (const { state } of roster.hosts) counts[state]++;
  return counts;
}

function standingOf(report: FleetReport) {
  const { fleet, host, sequence, behind, behindMs, awaySince, roster: { readAt } } = report;
  return {
    ...{ name: fleet, host, behind },
    sequence: Math.max(0, sequence),
    behind_seconds: behindMs / 1_000,
    ...(awaySince === undefined ? {} : { store_away_since: rfc3339(awaySince) }),
    ...(readAt === undefined ? {} : { listed_at: rfc3339(readAt) }),
  };
}

function figuresOf({ connections, tunnels, allowed, denied, passedThrough }: HostFigures) {
  return {
    open_connections: connections,
    open_tunnels: tunnels,
    requests: { allow: allowed, deny: denied, passthrough: passedThrough },
  };
}
