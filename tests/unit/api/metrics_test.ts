import { assertEquals } from "@std/assert";
import type { StatusReport } from "../../../api/control.ts";
import { formatMetrics } from "../../../api/metrics.ts";
import { StatusBody } from "../../../api/schemas_status.ts";
import { LATENCY_BOUNDS } from "../../../core/histogram.ts";
import { REASONS } from "../../../policy/reason.ts";
import { parseExposition, promtool, sampleOf } from "../../support/exposition.ts";
import { REPORT, TestApi } from "./support.ts";

Deno.test("formatMetrics() writes HELP and TYPE once, and escapes", () => {
  const text = formatMetrics([
    {
      name: "a_total",
      type: "counter",
      help: "Back\\slash\nand line.",
      samples: [
        { labels: { path: 'C:\\x "y"\nz', other: "é" }, value: 1.5 },
        { value: 2 },
      ],
    },
    {
      name: "b",
      type: "gauge",
      help: 'A "quote".',
      samples: [{ value: NaN }, { value: -Infinity }, { value: Infinity }],
    },
  ]);
  assertEquals(
    text,
    "# HELP a_total Back\\\\slash\\nand line.\n# TYPE a_total counter\n" +
      'a_total{path="C:\\\\x \\"y\\"\\nz",other="é"} 1.5\na_total 2\n' +
      '# HELP b A "quote".\n# TYPE b gauge\nb NaN\nb -Inf\nb +Inf\n',
  );
});

Deno.test("formatMetrics() writes a histogram in cumulative buckets", () => {
  const last = LATENCY_BOUNDS.length;
  const counts = LATENCY_BOUNDS.map((_, i) => i === 0 || i === 2 ? 5 : 0);
  const text = formatMetrics([
    { name: "a_seconds", type: "histogram", help: "A.", data: { counts: [...counts, 1], sum: 0.25 } },
  ]);
  const lines = text.split("\n");
  assertEquals(lines.slice(0, 6), [
    "# HELP a_seconds A.",
    "# TYPE a_seconds histogram",
    'a_seconds_bucket{le="0.0005"} 5',
    'a_seconds_bucket{le="0.001"} 5',
    'a_seconds_bucket{le="0.0025"} 10',
    'a_seconds_bucket{le="0.005"} 10',
  ]);
  assertEquals(lines.slice(last + 1), [
    'a_seconds_bucket{le="300"} 10',
    'a_seconds_bucket{le="+Inf"} 11',
    "a_seconds_sum 0.25",
    "a_seconds_count 11",
    "",
  ]);
});

Deno.test("GET /metrics gives the figures of the status in Prometheus' text format", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("a");
  const answer = await api.call("/metrics");
  assertEquals(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
  const families = parseExposition(answer.text);
  const isFirst = (sample: string) => !/reason="(?!no-rule|quota|dns)|le="(?!0\.0005|\+Inf)/.test(sample);
  const histogram = (name: string) => [
    `slicer_proxy_${name}_seconds_bucket{le="0.0005"} 2`,
    `slicer_proxy_${name}_seconds_bucket{le="+Inf"} 3`,
    `slicer_proxy_${name}_seconds_sum 400.5`,
    `slicer_proxy_${name}_seconds_count 3`,
  ];
  assertEquals(
    [...families.values()].flatMap(({ samples }) => [...samples]).filter(([sample]) => isFirst(sample)).map((
      [sample, value],
    ) => `${sample} ${value}`),
    [
      'slicer_proxy_build_info{version="1.2.3"} 1',
      "slicer_proxy_start_time_seconds 1767323045",
      "slicer_proxy_open_connections 7",
      "slicer_proxy_max_connections 4700",
      "slicer_proxy_open_tunnels 5",
      "slicer_proxy_idle_upstream_connections 3",
      "slicer_proxy_tls_listeners 2",
      "slicer_proxy_workers 4",
      "slicer_proxy_worker_replacements_total 1",
      'slicer_proxy_requests_total{verdict="allow"} 11',
      'slicer_proxy_requests_total{verdict="deny"} 12',
      'slicer_proxy_requests_total{verdict="passthrough"} 13',
      'slicer_proxy_denials_total{reason="no-rule"} 10',
      'slicer_proxy_denials_total{reason="quota"} 2',
      'slicer_proxy_denials_total{reason="dns"} 0',
      'slicer_proxy_failures_total{reason="no-rule"} 0',
      'slicer_proxy_failures_total{reason="quota"} 0',
      'slicer_proxy_failures_total{reason="dns"} 4',
      'slicer_proxy_responses_total{code="1xx"} 1',
      'slicer_proxy_responses_total{code="2xx"} 2',
      'slicer_proxy_responses_total{code="3xx"} 3',
      'slicer_proxy_responses_total{code="4xx"} 4',
      'slicer_proxy_responses_total{code="5xx"} 5',
      ...histogram("request_duration"),
      ...histogram("setup_duration"),
      "slicer_proxy_budget_warnings_total 6",
      "slicer_proxy_sent_bytes_total 100",
      "slicer_proxy_received_bytes_total 200",
      'slicer_proxy_tokens_total{direction="input"} 0',
      'slicer_proxy_tokens_total{direction="output"} 0',
      "slicer_proxy_credential_echoes_total 0",
      "slicer_proxy_secret_errors 0",
      'slicer_proxy_secret_renewals_total{outcome="renewed"} 14',
      'slicer_proxy_secret_renewals_total{outcome="adopted"} 15',
      'slicer_proxy_secret_renewals_total{outcome="failed"} 16',
      'slicer_proxy_secret_renewals_total{outcome="refused"} 17',
      "slicer_proxy_name_questions_total 61",
      "slicer_proxy_name_failures_total 62",
      "slicer_proxy_name_cache_hits_total 63",
      "slicer_proxy_name_stale_answers_total 64",
      "slicer_proxy_certificate_cache_entries 21",
      'slicer_proxy_certificate_cache_lookups_total{result="hit"} 22',
      'slicer_proxy_certificate_cache_lookups_total{result="miss"} 23',
      ...histogram("certificate_mint_duration"),
      "slicer_proxy_certificate_mint_failures_total 24",
      "slicer_proxy_audit_writable 1",
      "slicer_proxy_audit_queued_records 31",
      "slicer_proxy_audit_write_failures_total 32",
      "slicer_proxy_audit_coalesced_records_total 33",
      "slicer_proxy_audit_otlp_queued_records 34",
      "slicer_proxy_audit_otlp_failing 1",
      "slicer_proxy_audit_otlp_sent_records_total 35",
      "slicer_proxy_audit_otlp_dropped_records_total 36",
      "slicer_proxy_audit_otlp_failures_total 37",
      "slicer_proxy_clients 1",
      "slicer_proxy_secrets 0",
      "slicer_proxy_rules 0",
      "slicer_proxy_store_writes_total 3",
      "slicer_proxy_store_write_failures_total 41",
      ...histogram("store_write_duration"),
      "slicer_proxy_store_database_bytes 42",
      "slicer_proxy_fleet_store_reachable 0",
      "slicer_proxy_fleet_sequence 71",
      "slicer_proxy_fleet_lag_changes 2",
      "slicer_proxy_fleet_lag_seconds 1.25",
      'slicer_proxy_fleet_hosts{state="live"} 1',
      'slicer_proxy_fleet_hosts{state="late"} 1',
      'slicer_proxy_fleet_hosts{state="denies"} 1',
      "process_cpu_seconds_total 1.5",
      "process_start_time_seconds 1767323044",
      "process_resident_memory_bytes 51",
      "process_open_fds 52",
      "process_max_fds 53",
    ],
  );
  const reasons = families.get("slicer_proxy_denials_total")?.samples;
  assertEquals(
    [...reasons?.keys() ?? []],
    Object.keys(REASONS).map((reason) => `slicer_proxy_denials_total{reason="${reason}"}`),
  );
  const said = await promtool(["check", "metrics"], answer.text);
  assertEquals(said ?? "", ""); // it lints names, too
});

Deno.test("GET /metrics leaves out what cannot be known, and says when the audit log cannot be written", async () => {
  const status = (): StatusReport => ({
    ...REPORT,
    auditLog: { ...REPORT.auditLog, isWritable: false },
    store: { ...REPORT.store, databaseBytes: undefined },
    process: { ...REPORT.process, openDescriptors: undefined, maxDescriptors: undefined },
  });
  await using api = await TestApi.start({ status });
  const families = parseExposition((await api.call("/metrics")).text);
  assertEquals(sampleOf(families, "slicer_proxy_audit_writable"), 0);
  for (const name of ["slicer_proxy_store_database_bytes", "process_open_fds", "process_max_fds"]) {
    assertEquals(families.has(name), false, name);
  }
  const body = StatusBody.parse(JSON.parse((await api.call("/proxy/v1/status")).text));
  assertEquals([body.audit_log.writable, body.store.database_bytes, body.process.open_fds], [
    false,
    undefined,
    undefined,
  ]);
});
