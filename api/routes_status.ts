/**
 * Calls about the running proxy: status, health, metrics, and the OpenAPI document of the API itself.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { eTag, ifNoneMatch } from "@std/http/etag";
import { countOf } from "../core/histogram.ts";
import type { SecretRecord } from "../store/records.ts";
import type { ControlPlane, StatusReport } from "./control.ts";
import { formatMetrics, METRICS_TYPE } from "./metrics.ts";
import { common, json } from "./responses.ts";
import { rfc3339 } from "./schemas.ts";
import { fleetSumsBody } from "./schemas_fleet.ts";
import { StatusBody } from "./schemas_status.ts";
import { statusMetrics } from "./status_metrics.ts";

const tags = ["status"];

/** Rules that are named in a status. Lists of rules have the rest. */
const MAX_WITHOUT_SECRET = 100;

const status = createRoute({
  method: "get",
  path: "/proxy/v1/status",
  operationId: "getStatus",
  summary: "Since when the proxy is up, how it is set up, and what it holds",
  tags,
  responses: { ...common, 200: json("The status", StatusBody) },
});

const health = createRoute({
  method: "get",
  path: "/healthz",
  operationId: "getHealth",
  summary: "Is it up?",
  tags,
  responses: {
    ...common,
    200: { description: "It is", content: { "text/plain": { schema: z.literal("ok") } } },
  },
});

const metrics = createRoute({
  method: "get",
  path: "/metrics",
  operationId: "getMetrics",
  summary: "Figures for Prometheus",
  tags,
  responses: {
    ...common,
    200: { description: "Text format 0.0.4", content: { "text/plain": { schema: z.string() } } },
  },
});

const document = createRoute({
  method: "get",
  path: "/proxy/v1/openapi.json",
  operationId: "getOpenApi",
  summary: "This document",
  tags,
  request: { headers: z.object({ "if-none-match": z.string().optional() }) },
  responses: {
    ...common,
    200: json("An OpenAPI 3.1 document", z.record(z.string(), z.unknown())),
    304: { description: "The caller has it already" },
  },
});

/** Adds the calls about the running proxy to an app. */
export function addStatusRoutes(
  app: OpenAPIHono,
  control: ControlPlane,
  report: () => StatusReport | Promise<StatusReport>,
): void {
  const failing = () => control.listSecrets().filter(({ error }) => error !== undefined);
  app.openapi(
    status,
    async (c) => c.json(statusBody(await report(), failing(), rulesWithoutSecret(control)), 200),
  );
  app.openapi(health, (c) => c.text("ok", 200));
  app.openapi(metrics, async (c) => {
    const text = formatMetrics(statusMetrics(await report(), failing().length));
    return c.text(text, 200, { "content-type": METRICS_TYPE });
  });
  let known: Promise<{ readonly text: string; readonly tag: string }> | undefined;
  const describe = async () => {
    const text = JSON.stringify(describeApi(app, (await report()).version));
    return { text, tag: await eTag(text) };
  };
  app.openapi(document, async (c) => {
    const { text, tag } = await (known ??= describe());
    const headers = { etag: tag, "cache-control": "no-cache" };
    // RFC 9110 §13.1.2: 304 when the caller names this tag; ifNoneMatch() is false then.
    if (!ifNoneMatch(c.req.valid("header")["if-none-match"] ?? null, tag)) return c.body(null, 304, headers);
    return c.body(text, 200, { ...headers, "content-type": "application/json" });
  });
}

/** The OpenAPI 3.1 document of an app with all its routes. */
function describeApi(app: OpenAPIHono, version: string): unknown {
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Slicer Proxy",
      version,
      description:
        "Clients, secrets and allow rules of an egress proxy. Over the unix socket no token is needed, " +
        "and one that is sent is ignored; over TCP every call needs it.",
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }, {}],
  });
}

function statusBody(
  report: StatusReport,
  failingSecrets: readonly SecretRecord[],
  withoutSecret: z.infer<typeof StatusBody>["rules_without_secret"],
): z.infer<typeof StatusBody> {
  const { certificates, auditLog, store, process } = report;
  return {
    version: report.version,
    started_at: rfc3339(report.startedAt),
    uptime_seconds: Math.floor(report.uptimeMs / 1_000),
    mode: report.mode,
    hostgroup: report.hostgroup,
    bind: report.binds[0] ?? "",
    binds: [...report.binds],
    http_port: report.httpPort,
    https_port: report.httpsPort,
    clients: store.clients,
    secrets: store.secrets,
    rules: store.rules,
    suspended_clients: store.suspendedClients,
    rules_with_warnings: store.rulesWithWarnings,
    open_connections: report.openConnections,
    max_connections: report.maxConnections,
    open_tunnels: report.openTunnels,
    idle_upstreams: report.idleUpstreams,
    tls_listeners: report.tlsListeners,
    workers: report.workers,
    replaced_workers: report.replacedWorkers,
    requests: { ...report.requests },
    denials: counted(report.denials),
    failures: counted(report.failures),
    responses: { ...report.responses },
    renewals: { ...report.renewals },
    names: {
      questions: report.names.questions,
      failures: report.names.failures,
      cache_hits: report.names.cacheHits,
      stale_answers: report.names.stale,
    },
    upstream_proxies: report.parents.map((parent) => ({ ...parent })),
    dead_addresses: report.deadAddresses.map((dead) => ({ ...dead })),
    sent_bytes: report.sentBytes,
    received_bytes: report.receivedBytes,
    credential_echoes: report.echoes,
    certificates: {
      entries: certificates.entries,
      hits: certificates.hits,
      misses: certificates.misses,
      minted: countOf(certificates.mintDuration),
      mint_failures: certificates.mintFailures,
    },
    audit_log: {
      writable: auditLog.isWritable,
      queued: auditLog.queued,
      write_failures: auditLog.writeFailures,
      coalesced: auditLog.coalesced,
      ...(auditLog.exported ? { otlp: { ...auditLog.exported } } : {}),
    },
    store: {
      writes: countOf(store.writeDuration),
      write_failures: store.writeFailures,
      ...(store.databaseBytes === undefined ? {} : { database_bytes: store.databaseBytes }),
    },
    process: {
      started_at: rfc3339(process.startedAt),
      cpu_seconds: process.cpuSeconds,
      resident_bytes: process.residentBytes,
      ...(process.openDescriptors === undefined ? {} : { open_fds: process.openDescriptors }),
      ...(process.maxDescriptors === undefined ? {} : { max_fds: process.maxDescriptors }),
    },
    upstream_cas: report.upstreamCas.map(({ host, file, certificates, error }) => ({
      ...{ host, file, certificates },
      ...(error === undefined ? {} : { error }),
    })),
    secret_errors: failingSecrets.flatMap(({ name, host, type, error }) =>
      error === undefined ? [] : [{ name, host, type, error }]
    ),
    rules_without_secret: withoutSecret,
    ...(report.fleet ? { fleet: fleetSumsBody(report.fleet) } : {}),
  };
}

function rulesWithoutSecret(control: ControlPlane): z.infer<typeof StatusBody>["rules_without_secret"] {
  const secrets = new Set(control.listSecrets().map(({ name }) => name));
  return control.listClients().flatMap(({ name: client }) =>
    control.listRules(client).flatMap(({ host, secret }) =>
      secret === undefined || secrets.has(secret) ? [] : [{ client, host, secret }]
    )
  ).slice(0, MAX_WITHOUT_SECRET);
}

/** The reasons that have occurred. */
function counted(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
