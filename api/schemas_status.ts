/**
 * The body of `GET /proxy/v1/status`. Fields are only ever added: scripts read it.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { FleetSumsBody } from "./schemas_fleet.ts";

const text = z.string().min(1);
const time = z.iso.datetime().openapi({ description: "RFC 3339, UTC" });
const count = z.int().min(0);
const byReason = z.record(z.string(), count);

/** `GET /proxy/v1/status`. Counts are since the start. */
export const StatusBody = z.strictObject({
  version: text,
  started_at: time,
  uptime_seconds: count,
  mode: z.enum(["strict", "audit"]),
  hostgroup: text,
  bind: text.openapi({ description: "The first of the addresses" }),
  binds: z.array(text).openapi({ description: "The addresses that both proxy ports listen on" }),
  http_port: count,
  https_port: count,
  clients: count,
  secrets: count,
  rules: count,
  suspended_clients: count.openapi({
    description: "Clients that are refused everything until somebody resumes them, or all",
  }),
  rules_with_warnings: count.openapi({
    description: "Rules that cannot act as they read; their lists say why",
  }),
  open_connections: count,
  max_connections: count.openapi({ description: "Above it, connections are refused" }),
  open_tunnels: count,
  idle_upstreams: count.openapi({ description: "Upstream connections kept for reuse" }),
  tls_listeners: count,
  workers: count.openapi({ description: "Threads that serve" }),
  replaced_workers: count.openapi({ description: "Threads that had died or hung, and were replaced" }),
  requests: z.strictObject({ allow: count, deny: count, passthrough: count }),
  denials: byReason.openapi({
    description: "Denials by those reasons that have occurred",
    example: { "no-rule": 12 },
  }),
  failures: byReason.openapi({
    description: "What was allowed or passed through and ended badly, by those reasons that have occurred",
    example: { "connect-timeout": 1 },
  }),
  responses: z.strictObject({ "1xx": count, "2xx": count, "3xx": count, "4xx": count, "5xx": count })
    .openapi({ description: "Allowed requests by the class of the status that the client was answered" }),
  renewals: z.strictObject({ renewed: count, adopted: count, failed: count, refused: count })
    .openapi({ description: "Renewals of credentials, by how they ended" }),
  names: z.strictObject({ questions: count, failures: count, cache_hits: count, stale_answers: count })
    .openapi({
      description:
        "Questions to name servers, those that none could answer, and answers from memory; stale ones " +
        "were used beyond their time while no server answered",
    }),
  upstream_proxies: z.array(z.strictObject({ hosts: text, url: text }))
    .openapi({
      description: "Parent proxies, each with the pattern of the hosts that are reached through it",
    }),
  dead_addresses: z.array(z.strictObject({ place: text, address: text, instead: text }))
    .openapi({
      description:
        "Upstreams whose preferred address did not answer, or not first, within the last ten minutes, and " +
        "the one that did; the latest first, 64 at most",
    }),
  sent_bytes: count,
  received_bytes: count,
  credential_echoes: count.openapi({ description: "Credentials that were found in answers" }),
  certificates: z.strictObject({
    entries: count,
    hits: count,
    misses: count,
    minted: count,
    mint_failures: count,
  }).openapi({ description: "Certificates of inspected hosts" }),
  audit_log: z.strictObject({
    writable: z.boolean().openapi({ description: "New requests are refused while it is not" }),
    queued: count,
    write_failures: count,
    coalesced: count.openapi({ description: "Denials counted by a later line instead of having one" }),
    otlp: z.strictObject({
      queued: count.openapi({ description: "Records that the collector does not have yet" }),
      sent: count,
      dropped: count.openapi({ description: "Records that it will never have" }),
      failures: count.openapi({ description: "Requests that it did not take" }),
      failing: text.optional().openapi({ description: "Why it takes none now" }),
    }).optional().openapi({ description: "How sending it to a collector goes, with --audit-otlp" }),
  }),
  store: z.strictObject({
    writes: count,
    write_failures: count,
    database_bytes: count.optional(),
  }),
  process: z.strictObject({
    started_at: time,
    cpu_seconds: z.number().min(0),
    resident_bytes: count,
    open_fds: count.optional(),
    max_fds: count.optional(),
  }),
  upstream_cas: z.array(z.strictObject({
    host: text,
    file: text,
    certificates: count,
    error: text.optional().openapi({ description: "Why the file as it is now is not in force" }),
  })).openapi({ description: "Files of --upstream-ca, and how many of their certificates are in force" }),
  secret_errors: z.array(z.strictObject({ name: text, host: text, type: text, error: text }))
    .openapi({ description: "Secrets whose credential cannot be used" }),
  rules_without_secret: z.array(z.strictObject({ client: text, host: text, secret: text }))
    .openapi({ description: "Rules that deny what they match, since their secret is gone; 100 at most" }),
  fleet: FleetSumsBody.optional().openapi({
    description: "With up --store: sums over all hosts. Everything beside it is of this host alone",
  }),
}).openapi("Status");
