/**
 * Which metrics there are, and from which figure each comes. `docs/METRICS.md` lists them for people; a test compares.
 *
 * No metric is by client or host. Prometheus keeps a series for every value of a label, for as long as it keeps anything:
 * hosts are chosen by the VMs, and clients come and go with them, up to ten thousand at a time. Who did what is in the
 * audit log.
 *
 * Not here: the text format (`metrics.ts`).
 *
 * @module
 */
import { countOf, type HistogramData } from "../core/histogram.ts";
import type { StatusReport } from "./control.ts";
import type { Metric, Sample } from "./metrics.ts";
import { hostCounts } from "./schemas_fleet.ts";

/** Every metric with its value now. Every value of a label is there from the start: a rate needs the 0 before the first 1. */
export function statusMetrics(report: StatusReport, secretErrors: number): Metric[] {
  return [
    gauge("build_info", "Always 1; the label says which version runs.", {
      labels: { version: report.version },
      value: 1,
    }),
    gauge("start_time_seconds", "When the proxy began to listen, in Unix time.", report.startedAt / 1_000),
    ...trafficMetrics(report),
    ...secretMetrics(report, secretErrors),
    ...nameMetrics(report),
    ...certificateMetrics(report),
    ...auditMetrics(report),
    ...storeMetrics(report),
    ...fleetMetrics(report.fleet),
    ...processMetrics(report),
  ];
}

function trafficMetrics(report: StatusReport): Metric[] {
  return [
    gauge("open_connections", "Open client connections.", report.openConnections),
    gauge("max_connections", "Client connections that there may be.", report.maxConnections),
    gauge("open_tunnels", "Open tunnels, inspected and passed through.", report.openTunnels),
    gauge("idle_upstream_connections", "Upstream connections kept for reuse.", report.idleUpstreams),
    gauge(
      "tls_listeners",
      "Loopback listeners that end TLS, one per inspected host and worker.",
      report.tlsListeners,
    ),
    gauge("workers", "Threads that serve.", report.workers),
    counter(
      "worker_replacements",
      "Threads that had died or hung, and were replaced.",
      report.replacedWorkers,
    ),
    counter("requests", "Requests and tunnels by verdict.", by("verdict", report.requests)),
    counter("denials", "Denied requests and tunnels by reason.", by("reason", report.denials)),
    counter(
      "failures",
      "Allowed requests and tunnels that ended badly, by reason.",
      by("reason", report.failures),
    ),
    counter(
      "responses",
      "Allowed requests by the class of the status that the client was answered.",
      by("code", report.responses),
    ),
    histogram(
      "request_duration",
      "Allowed requests from their head to the end of the answer.",
      report.requestDuration,
    ),
    histogram(
      "setup_duration",
      "From a request's head until the upstream was asked: policy, credential, connection.",
      report.setupDuration,
    ),
    counter(
      "budget_warnings",
      "Budgets that were used up to 80 %, each counted once an hour or day.",
      report.budgetWarnings,
    ),
    counter("sent_bytes", "Body and tunnel bytes from clients.", report.sentBytes),
    counter("received_bytes", "Body and tunnel bytes to clients.", report.receivedBytes),
    counter(
      "tokens",
      "Tokens of models under budgets of tokens: input is what they read, output what they wrote.",
      by("direction", report.tokens),
    ),
    counter("credential_echoes", "Credentials that were found in answers.", report.echoes),
  ];
}

function secretMetrics(report: StatusReport, secretErrors: number): Metric[] {
  return [
    gauge("secret_errors", "Secrets whose credential cannot be used.", secretErrors),
    counter(
      "secret_renewals",
      "Renewals of credentials, by how they ended.",
      by("outcome", report.renewals),
    ),
  ];
}

function nameMetrics({ names }: StatusReport): Metric[] {
  return [
    counter("name_questions", "Questions to name servers.", names.questions),
    counter("name_failures", "Questions that no name server could answer.", names.failures),
    counter("name_cache_hits", "Questions that were answered from memory.", names.cacheHits),
    counter(
      "name_stale_answers",
      "Answers that were used beyond their time, since no name server answered.",
      names.stale,
    ),
  ];
}

function certificateMetrics({ certificates }: StatusReport): Metric[] {
  const { entries, hits, misses, mintFailures, mintDuration } = certificates;
  return [
    gauge("certificate_cache_entries", "Certificates of inspected hosts that are kept.", entries),
    counter("certificate_cache_lookups", "Questions to the certificate cache.", [
      { labels: { result: "hit" }, value: hits },
      { labels: { result: "miss" }, value: misses },
    ]),
    histogram("certificate_mint_duration", "Making a certificate.", mintDuration),
    counter("certificate_mint_failures", "Certificates that could not be made.", mintFailures),
  ];
}

function auditMetrics({ auditLog }: StatusReport): Metric[] {
  return [
    gauge(
      "audit_writable",
      "1 while the audit log can be written; at 0 new requests are refused.",
      auditLog.isWritable ? 1 : 0,
    ),
    gauge("audit_queued_records", "Records that wait to be written.", auditLog.queued),
    counter("audit_write_failures", "Failed attempts to write the audit log.", auditLog.writeFailures),
    counter(
      "audit_coalesced_records",
      "Denials counted by a later line instead of having one.",
      auditLog.coalesced,
    ),
    ...exportMetrics(auditLog.exported),
  ];
}

function exportMetrics(exported: StatusReport["auditLog"]["exported"]): Metric[] {
  if (!exported) return [];
  return [
    gauge("audit_otlp_queued_records", "Records that the collector does not have yet.", exported.queued),
    gauge(
      "audit_otlp_failing",
      "1 while the collector takes no records.",
      exported.failing === undefined ? 0 : 1,
    ),
    counter("audit_otlp_sent_records", "Records that the collector has taken.", exported.sent),
    counter(
      "audit_otlp_dropped_records",
      "Records that the collector will never have: it refused them, or too many waited.",
      exported.dropped,
    ),
    counter("audit_otlp_failures", "Requests that the collector did not take.", exported.failures),
  ];
}

function storeMetrics({ store }: StatusReport): Metric[] {
  return [
    gauge("clients", "Clients.", store.clients),
    gauge("secrets", "Secrets.", store.secrets),
    gauge("rules", "Live allow rules of all clients.", store.rules),
    counter("store_writes", "Commits to the state, failed ones included.", countOf(store.writeDuration)),
    counter("store_write_failures", "Commits to the state that failed.", store.writeFailures),
    histogram(
      "store_write_duration",
      "A commit to the state, until it was on the disk.",
      store.writeDuration,
    ),
    ...knownGauge(
      "slicer_proxy_store_database_bytes",
      "What the state takes on the disk.",
      store.databaseBytes,
    ),
  ];
}

/** No label is a host's name: whoever scrapes knows whom, and every host says the same of all. */
function fleetMetrics(fleet: StatusReport["fleet"]): Metric[] {
  if (!fleet) return [];
  return [
    gauge(
      "fleet_store_reachable",
      "1 while the fleet's store answers this host; at 0 no change is taken, and the grace runs.",
      fleet.awaySince === undefined ? 1 : 0,
    ),
    gauge("fleet_sequence", "The last change that is in force on this host.", Math.max(0, fleet.sequence)),
    gauge("fleet_lag_changes", "Changes that the store has and this host does not.", fleet.behind),
    gauge(
      "fleet_lag_seconds",
      "Since this host last knew that it has every change in force: a second at rest.",
      fleet.behindMs / 1_000,
    ),
    gauge(
      "fleet_hosts",
      "Hosts of the fleet by state, as this one sees them.",
      by("state", hostCounts(fleet)),
    ),
  ];
}

/** By the names that the client libraries of Prometheus give them, so that common dashboards work. */
function processMetrics({ process }: StatusReport): Metric[] {
  return [
    {
      name: "process_cpu_seconds_total",
      type: "counter",
      help: "Processor time used, user and system.",
      samples: [{ value: process.cpuSeconds }],
    },
    ...knownGauge(
      "process_start_time_seconds",
      "When the process started, in Unix time.",
      process.startedAt / 1_000,
    ),
    ...knownGauge("process_resident_memory_bytes", "Resident memory.", process.residentBytes),
    ...knownGauge("process_open_fds", "Open file descriptors.", process.openDescriptors),
    ...knownGauge("process_max_fds", "File descriptors that there may be.", process.maxDescriptors),
  ];
}

function gauge(name: string, help: string, value: number | Sample | readonly Sample[]): Metric {
  return { name: `slicer_proxy_${name}`, type: "gauge", help, samples: samplesOf(value) };
}

function counter(name: string, help: string, value: number | readonly Sample[]): Metric {
  const samples = typeof value === "number" ? samplesOf(value) : value;
  return { name: `slicer_proxy_${name}_total`, type: "counter", help, samples };
}

function histogram(name: string, help: string, data: HistogramData): Metric {
  return { name: `slicer_proxy_${name}_seconds`, type: "histogram", help, data };
}

/** A gauge by its whole name, or nothing where its value cannot be known. */
function knownGauge(name: string, help: string, value: number | undefined): Metric[] {
  return value === undefined ? [] : [{ name, type: "gauge", help, samples: samplesOf(value) }];
}

function samplesOf(value: number | Sample | readonly Sample[]): readonly Sample[] {
  if (typeof value === "number") return [{ value }];
  return "value" in value ? [value] : value;
}

function by(label: string, counts: Readonly<Record<string, number>>): readonly Sample[] {
  return Object.entries(counts).map(([key, value]) => ({ labels: { [label]: key }, value }));
}
