/**
 * The results as Markdown: the table, what was reached of the project's own targets, and every setting.
 *
 * @module
 */
import { judge, type Row } from "./results.ts";
import { format, median } from "./stats.ts";

/** What stands around the table. */
export interface ReportFrame {
  readonly ours: string;
  /** Columns, in order. Rows without a sample for one show a dash. */
  readonly columns: readonly string[];
  /** Facts about the run: date, machine, versions. */
  readonly facts: readonly string[];
  /** Title and text of each configuration. */
  readonly settings: readonly (readonly [title: string, text: string])[];
}

/** The report. */
export function formatReport(rows: readonly Row[], { ours, columns, facts, settings }: ReportFrame): string {
  const head = ["", ...columns, "target (SPEC 8)"];
  const lines = rows.map((row) => {
    const words = judge(row, ours).map((verdict) => `${verdict.words} ${verdict.ok ? "✓" : "✗"}`).join("; ");
    return [titleOf(row), ...columns.map((column) => cell(row, column)), words];
  });
  const table = [head, head.map((_, i) => i === 0 ? "---" : "---:"), ...lines].map((cells) =>
    `| ${cells.join(" | ")} |`
  );
  return [
    "# Results",
    "",
    "Written by `deno task bench`; a cell is the median of its samples, with the lowest and highest beside it.",
    "",
    ...facts.map((fact) => `- ${fact}`),
    "",
    ...table,
    "",
    "![plot](results.svg)",
    "",
    "## Settings",
    "",
    ...settings.flatMap(([title, text]) => [`### ${title}`, "", "```", text.trimEnd(), "```", ""]),
  ].join("\n");
}

function titleOf({ spec }: Row): string {
  return spec.unit === "" ? spec.title : `${spec.title}, ${spec.unit}`;
}

function cell({ spec, samples }: Row, column: string): string {
  const values = samples.get(column);
  if (!values || values.length === 0) return "–";
  const middle = format(median(values), spec.digits);
  if (values.length === 1) return middle;
  return `${middle} (${format(Math.min(...values), spec.digits)}–${
    format(Math.max(...values), spec.digits)
  })`;
}
