/** docs/METRICS.md and the Grafana dashboard: nothing in them that /metrics does not export, and nothing missing. */
import { assert, assertEquals } from "@std/assert";
import { load } from "js-yaml";
import type { Metric } from "../../../api/metrics.ts";
import { statusMetrics } from "../../../api/status_metrics.ts";
import { promtool } from "../../support/exposition.ts";
import { REPORT } from "./support.ts";

const DOCS = new URL("../../../docs/", import.meta.url);
const METRICS = new Map(statusMetrics(REPORT, 0).map((metric) => [metric.name, metric]));

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: unknown;
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly datasource: unknown;
  }[];
}

interface Dashboard {
  readonly title: string;
  readonly uid: string;
  readonly id: null;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly Panel[];
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly annotations: { readonly summary: string };
    }[];
  }[];
}

const read = (name: string) => Deno.readTextFile(new URL(name, DOCS));

/** The code blocks of a language in docs/METRICS.md. */
async function blocks(language: string): Promise<readonly string[]> {
  const text = await read("METRICS.md");
  return [...text.matchAll(new RegExp("^```" + language + "\\n(.*?)^```", "gms"))].map(([, block = ""]) =>
    block
  );
}

/** What an expression asks for, without what follows a metric's name in a histogram. */
function namesIn(expr: string): readonly string[] {
  const bare = expr.replace(/"[^"]*"/g, '""');
  const selectors = [...bare.matchAll(/([a-zA-Z_:][\w:]*)\s*[[{]/g)].map(([, name = ""]) => name);
  return [...new Set([...bare.match(/\b(?:slicer_proxy|process)_\w+/g) ?? [], ...selectors])];
}

/** What is wrong with a name in an expression, or undefined. */
function faultOf(name: string): string | undefined {
  if (name === "up") return undefined; // Prometheus' own
  const base = name.replace(/_(bucket|sum|count)$/, "");
  if (METRICS.has(name)) return METRICS.get(name)?.type === "histogram" ? `${name} has no sample` : undefined;
  return METRICS.get(base)?.type === "histogram" ? undefined : `${name} is not exported`;
}

/** The label names and values of a metric; `reason` and `version` stand for themselves. */
function labelsOf(metric: Metric): string {
  if (metric.type === "histogram") return "";
  const values = new Map<string, string[]>();
  for (const { labels = {} } of metric.samples) {
    for (const [label, value] of Object.entries(labels)) {
      values.set(label, [...values.get(label) ?? [], `\`${value}\``]);
    }
  }
  return [...values].map(([label, each]) =>
    label === "reason" || label === "version" ? `\`${label}\`` : `\`${label}\`: ${each.join(", ")}`
  ).join("; ");
}

async function dashboard(): Promise<Dashboard> {
  return JSON.parse(await read("grafana/slicer-proxy.json"));
}

Deno.test("docs/METRICS.md lists every metric with its type and labels, in order", async () => {
  const rows = [...(await read("METRICS.md")).matchAll(/^\| `(\w+)` +\| (\w+) +\| (.*?) *\| (.+?) *\|$/gm)];
  assertEquals(
    rows.map(([, name, type, labels, help]) => [name, type, labels, help]),
    [...METRICS.values()].map((metric) => [metric.name, metric.type, labelsOf(metric), metric.help]),
  );
});

Deno.test("namesIn() and faultOf() find what is not exported", () => {
  assertEquals(namesIn('sum(rate(a_b{job="slicer_proxy_x"}[5m])) / process_max_fds > 0'), [
    "process_max_fds",
    "a_b",
  ]);
  assertEquals(faultOf("a_b"), "a_b is not exported");
  assertEquals(
    faultOf("slicer_proxy_requests_total_count"),
    "slicer_proxy_requests_total_count is not exported",
  );
  assertEquals(
    faultOf("slicer_proxy_request_duration_seconds"),
    "slicer_proxy_request_duration_seconds has no sample",
  );
  assertEquals(faultOf("slicer_proxy_request_duration_seconds_bucket"), undefined);
});

Deno.test("the dashboard asks only for what is exported, and its panels cover every area", async () => {
  const { panels } = await dashboard();
  const asked = new Set<string>();
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      assert(namesIn(expr).length > 0, title);
      for (const name of namesIn(expr)) {
        assertEquals(faultOf(name), undefined, title);
        asked.add(name.replace(/_(bucket|sum|count)$/, ""));
      }
    }
  }
  const unseen = [...METRICS.keys()].filter((name) => !asked.has(name));
  assertEquals(unseen, ["slicer_proxy_certificate_cache_entries", "process_start_time_seconds"]);
});

Deno.test("the dashboard can be imported: panels of their own id and place, all with the chosen data source", async () => {
  const { title, uid, id, schemaVersion, templating, panels } = await dashboard();
  assertEquals([title, uid, id], ["Slicer Proxy", "slicer-proxy", null]);
  assert(schemaVersion >= 38 && schemaVersion <= 39, "what Grafana 10 and 11 read");
  assertEquals(templating.list.map(({ name, type }) => [name, type]), [
    ["datasource", "datasource"],
    ["job", "query"],
    ["instance", "query"],
  ]);
  assertEquals(new Set(panels.map((panel) => panel.id)).size, panels.length);
  const taken = new Map<string, string>();
  for (const { title, type, gridPos: { x, y, w, h }, datasource, targets = [] } of panels) {
    assert(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24, title);
    for (let row = y; row < y + h; row++) {
      for (let column = x; column < x + w; column++) {
        assertEquals(taken.get(`${column},${row}`), undefined, `${title} lies over another panel`);
        taken.set(`${column},${row}`, title);
      }
    }
    if (type === "row") continue;
    for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
      assertEquals(source, { type: "prometheus", uid: "${datasource}" }, title);
    }
    assertEquals(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
  }
});

Deno.test("Prometheus can read every expression of the dashboard", async (t) => {
  const { panels } = await dashboard();
  const rules = panels.flatMap(({ targets = [] }) => targets).map(({ expr }, i) => ({
    record: `panel:${i}`,
    expr: expr.replaceAll("$__rate_interval", "5m").replaceAll("$job", ".+").replaceAll("$instance", ".+"),
  }));
  assertEquals(JSON.stringify(rules).includes("$"), false);
  await checkRules(t, JSON.stringify({ groups: [{ name: "dashboard", rules }] })); // JSON is YAML
});

Deno.test("the alerts of docs/METRICS.md ask only for what is exported, and Prometheus takes them", async (t) => {
  const [, text = ""] = await blocks("yaml");
  const rules = (load(text) as Rules).groups.flatMap((group) => group.rules);
  assert(rules.length >= 5);
  assertEquals(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const { alert, expr, annotations } of rules) {
    assert(annotations.summary.length > 0, alert);
    assert(namesIn(expr).length > 0, alert);
    for (const name of namesIn(expr)) assertEquals(faultOf(name), undefined, alert);
  }
  await checkRules(t, text);
});

Deno.test("Prometheus takes the scrape configuration of docs/METRICS.md", async (t) => {
  const [text = ""] = await blocks("yaml");
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/prometheus.yml`, text);
    const said = await promtool(["check", "config", "--syntax-only", `${dir}/prometheus.yml`], "");
    if (said === undefined) await skip(t);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

async function checkRules(t: Deno.TestContext, text: string): Promise<void> {
  const file = await Deno.makeTempFile({ suffix: ".yaml" });
  try {
    await Deno.writeTextFile(file, text);
    if (await promtool(["check", "rules", "--lint-fatal", file], "") === undefined) await skip(t);
  } finally {
    await Deno.remove(file);
  }
}

async function skip(t: Deno.TestContext): Promise<void> {
  await t.step({ name: "skipped: there is no promtool", ignore: true, fn: () => {} });
}
