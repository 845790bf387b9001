/**
 * Calls about the running proxy: status, health, metrics, and the OpenAPI document of the API itself.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { eTag, ifNoneMatch } from "@std/http/etag";
import type { ControlPlane, StatusReport } from "./control.ts";
import { formatMetrics, type Metric, METRICS_TYPE } from "./metrics.ts";
import { common, json } from "./responses.ts";
import { rfc3339, StatusBody } from "./schemas.ts";

const tags = ["status"];

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
  report: () => StatusReport,
): void {
  app.openapi(status, (c) => c.json(statusBody(report(), control), 200));
  app.openapi(health, (c) => c.text("ok", 200));
  app.openapi(
    metrics,
    (c) => c.text(formatMetrics(metricsOf(report(), control)), 200, { "content-type": METRICS_TYPE }),
  );
  let known: Promise<{ readonly text: string; readonly tag: string }> | undefined;
  const describe = async () => {
    const text = JSON.stringify(describeApi(app, report().version));
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

function statusBody(report: StatusReport, control: ControlPlane): z.infer<typeof StatusBody> {
  const { clients, secrets, rules } = holdings(control);
  return {
    version: report.version,
    started_at: rfc3339(report.startedAt),
    uptime_seconds: Math.floor(report.uptimeMs / 1_000),
    mode: report.mode,
    hostgroup: report.hostgroup,
    bind: report.bind,
    http_port: report.httpPort,
    https_port: report.httpsPort,
    clients,
    secrets: secrets.length,
    rules,
    open_connections: report.openConnections,
    open_tunnels: report.openTunnels,
    requests: { ...report.requests },
    renewals: { ...report.renewals },
    sent_bytes: report.sentBytes,
    received_bytes: report.receivedBytes,
    secret_errors: secrets.flatMap(({ name, error }) => error === undefined ? [] : [{ name, error }]),
  };
}

function metricsOf(report: StatusReport, control: ControlPlane): Metric[] {
  const { clients, secrets, rules } = holdings(control);
  const gauge = (name: string, help: string, value: number): Metric => ({
    name: `slicer_proxy_${name}`,
    type: "gauge",
    help,
    samples: [{ value }],
  });
  const counter = (name: string, help: string, samples: Metric["samples"]): Metric => ({
    name: `slicer_proxy_${name}_total`,
    type: "counter",
    help,
    samples,
  });
  return [
    {
      ...gauge("build_info", "Always 1; the label says which version runs.", 1),
      samples: [{ labels: { version: report.version }, value: 1 }],
    },
    gauge(
      "start_time_seconds",
      "When the proxy started, in seconds since the epoch.",
      report.startedAt / 1_000,
    ),
    gauge("clients", "Clients.", clients),
    gauge("secrets", "Secrets.", secrets.length),
    gauge(
      "secret_errors",
      "Secrets whose credential cannot be used.",
      secrets.filter(({ error }) => error !== undefined).length,
    ),
    gauge("rules", "Live allow rules of all clients.", rules),
    gauge("open_connections", "Open client connections.", report.openConnections),
    gauge("open_tunnels", "Open tunnels.", report.openTunnels),
    counter(
      "requests",
      "Requests and tunnels by verdict.",
      Object.entries(report.requests).map(([verdict, value]) => ({ labels: { verdict }, value })),
    ),
    counter(
      "secret_renewals",
      "Renewals of credentials, by how they ended.",
      Object.entries(report.renewals).map(([outcome, value]) => ({ labels: { outcome }, value })),
    ),
    counter("sent_bytes", "Body and tunnel bytes from clients.", [{ value: report.sentBytes }]),
    counter("received_bytes", "Body and tunnel bytes to clients.", [{ value: report.receivedBytes }]),
  ];
}

function holdings(control: ControlPlane) {
  const clients = control.listClients();
  return {
    clients: clients.length,
    secrets: control.listSecrets(),
    rules: clients.reduce((sum, { name }) => sum + control.listRules(name).length, 0),
  };
}
