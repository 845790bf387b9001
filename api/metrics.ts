/**
 * Metrics in the text format of Prometheus (exposition format 0.0.4), which every version of Prometheus and everything
 * that scrapes like it reads. OpenMetrics would say the same in other words.
 *
 * Not here: which metrics there are (`status_metrics.ts`).
 *
 * @module
 */
import { countOf, type HistogramData, LATENCY_BOUNDS } from "../core/histogram.ts";

/** The media type of {@linkcode formatMetrics}. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** One value of a metric. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric with its values. The name of a counter ends in `_total`, that of a histogram in `_seconds`. */
export type Metric =
  & { readonly name: string; readonly help: string }
  & (
    | { readonly type: "counter" | "gauge"; readonly samples: readonly Sample[] }
    | { readonly type: "histogram"; readonly data: HistogramData }
  );

/** The exposition: `# HELP`, `# TYPE` and one line per sample, each metric once. */
export function formatMetrics(metrics: readonly Metric[]): string {
  return metrics.map((metric) =>
    `# HELP ${metric.name} ${metric.help.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")}\n` +
    `# TYPE ${metric.name} ${metric.type}\n` +
    (metric.type === "histogram"
      ? formatHistogram(metric.name, metric.data)
      : metric.samples.map((sample) => formatSample(metric.name, sample)).join(""))
  ).join("");
}

/** Buckets are cumulative: each holds what those below it hold, and the last everything. */
function formatHistogram(name: string, data: HistogramData): string {
  let count = 0;
  const buckets = LATENCY_BOUNDS.map((bound, i) => {
    count += data.counts[i] ?? 0;
    return formatSample(`${name}_bucket`, { labels: { le: formatValue(bound) }, value: count });
  });
  return buckets.join("") +
    formatSample(`${name}_bucket`, { labels: { le: "+Inf" }, value: countOf(data) }) +
    formatSample(`${name}_sum`, { value: data.sum }) +
    formatSample(`${name}_count`, { value: countOf(data) });
}

function formatSample(name: string, { labels, value }: Sample): string {
  return `${name}${formatLabels(labels)} ${formatValue(value)}\n`;
}

function formatLabels(labels: Sample["labels"] = {}): string {
  const pairs = Object.entries(labels).map(([key, value]) =>
    `${key}="${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function formatValue(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
