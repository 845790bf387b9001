/**
 * What the running proxy says of itself (`StatusReport`), gathered from its parts.
 *
 * Not here: how it is shown (`api/status_metrics.ts`, `review/cmd_status.ts`).
 *
 * @module
 */
import { cpuUsage } from "node:process";
import type { ProcessFigures, StatusReport } from "../../api/control.ts";
import type { LeafCache } from "../../ca/leaf_cache.ts";
import type { Clock } from "../../core/clock.ts";
import { descriptorLimit, openDescriptors } from "../../core/native.ts";
import type { AuditLog } from "../../proxy/records/audit_log.ts";
import type { DeadChoices } from "../../proxy/egress/connect/dead_choices.ts";
import { formatParent, type ParentProxies } from "../../proxy/egress/parents/parents.ts";
import type { NameCounters } from "../../proxy/egress/names/asker.ts";
import type { Credentials } from "../../secrets/credentials.ts";
import type { State } from "../../store/state.ts";
import { VERSION } from "../command/cmd_version.ts";
import type { AuditPlaces } from "./audit_places.ts";
import type { UpConfig } from "./config.ts";
import type { UpstreamTrust } from "./upstream_trust.ts";
import type { DataPlane } from "./data_plane.ts";

/** The parts that have something to say. */
export interface ReportParts {
  readonly clock: Clock;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly proxy: Pick<DataPlane, "counters" | "replacedWorkers">;
  readonly audit: Pick<AuditLog, "totals" | "health">;
  readonly leaves: Pick<LeafCache, "figures">;
  readonly credentials: Pick<Credentials, "outcomes">;
  readonly state: Pick<State, "figures" | "fleet">;
  readonly places: Pick<AuditPlaces, "exported">;
  readonly names: () => NameCounters;
  readonly upstreamTrust: Pick<UpstreamTrust, "report">;
  readonly parents: ParentProxies;
  readonly deadChoices: Pick<DeadChoices, "list">;
}

/** The report as of now. */
export async function statusReport(config: UpConfig, parts: ReportParts): Promise<StatusReport> {
  const { clock, startedAt, proxy, audit, leaves, credentials, state, names, places, upstreamTrust } = parts;
  const exported = places.exported();
  const counters = proxy.counters();
  const traffic = audit.totals;
  return {
    version: VERSION,
    startedAt,
    uptimeMs: clock.now() - startedAt,
    mode: config.mode,
    hostgroup: config.hostgroup,
    binds: config.binds.map(({ address }) => address),
    httpPort: config.httpPort,
    httpsPort: config.httpsPort,
    openConnections: counters.connections,
    maxConnections: counters.maxConnections,
    openTunnels: counters.openTunnels,
    idleUpstreams: counters.idleUpstreams,
    tlsListeners: counters.tlsListeners,
    workers: config.workers,
    replacedWorkers: proxy.replacedWorkers,
    requests: { allow: traffic.allow, deny: traffic.deny, passthrough: traffic.passthrough },
    denials: traffic.denials,
    failures: traffic.failures,
    responses: traffic.responses,
    requestDuration: traffic.requestDuration,
    setupDuration: traffic.setupDuration,
    renewals: credentials.outcomes(),
    names: names(),
    parents: parts.parents.byPattern.map(({ pattern, parent }) => ({
      hosts: pattern,
      url: formatParent(parent),
    })),
    deadAddresses: parts.deadChoices.list(),
    budgetWarnings: traffic.budgetWarnings,
    sentBytes: traffic.sentBytes,
    receivedBytes: traffic.receivedBytes,
    echoes: traffic.echoes,
    tokens: traffic.tokens,
    certificates: leaves.figures(),
    auditLog: { ...audit.health, ...(exported ? { exported } : {}) },
    store: await state.figures(),
    process: processFigures(),
    upstreamCas: upstreamTrust.report(),
    ...(state.fleet ? { fleet: await state.fleet.report() } : {}),
  };
}

/** Only what needs no further permission: Deno denies `/proc/self` to a program without all rights. */
function processFigures(): ProcessFigures {
  const { user, system } = cpuUsage(); // microseconds
  return {
    startedAt: performance.timeOrigin,
    cpuSeconds: (user + system) / 1_000_000,
    residentBytes: Deno.memoryUsage().rss,
    openDescriptors: openDescriptors(),
    maxDescriptors: descriptorLimit(),
  };
}
