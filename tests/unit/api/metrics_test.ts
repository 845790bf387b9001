import { assertEquals, assertMatch } from "@std/assert";
import { formatMetrics } from "../../../api/metrics.ts";
import { TestApi } from "./support.ts";

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

Deno.test("GET /metrics gives the figures of the status in Prometheus' text format", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("a");
  const answer = await api.call("/metrics");
  assertEquals(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
  const samples = answer.text.split("\n").filter((line) => !line.startsWith("#"));
  assertEquals(samples, [
    'slicer_proxy_build_info{version="1.2.3"} 1',
    "slicer_proxy_start_time_seconds 1767323045",
    "slicer_proxy_clients 1",
    "slicer_proxy_secrets 0",
    "slicer_proxy_secret_errors 0",
    "slicer_proxy_rules 0",
    "slicer_proxy_open_connections 7",
    "slicer_proxy_open_tunnels 5",
    'slicer_proxy_requests_total{verdict="allow"} 11',
    'slicer_proxy_requests_total{verdict="deny"} 12',
    'slicer_proxy_requests_total{verdict="passthrough"} 13',
    'slicer_proxy_secret_renewals_total{outcome="renewed"} 14',
    'slicer_proxy_secret_renewals_total{outcome="adopted"} 15',
    'slicer_proxy_secret_renewals_total{outcome="failed"} 16',
    'slicer_proxy_secret_renewals_total{outcome="refused"} 17',
    "slicer_proxy_sent_bytes_total 100",
    "slicer_proxy_received_bytes_total 200",
    "",
  ]);
  // Every sample has a HELP and a TYPE of its own name right before the first of them.
  assertMatch(answer.text, /^(# HELP (\w+) .+\n# TYPE \2 (counter|gauge)\n(\2(\{.*\})? \S+\n)+)+$/);
});
