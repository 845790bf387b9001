/**
 * The results as an SVG: one group of bars per row, each bar a proxy's median relative to the longest of its row, with a
 * line from the lowest to the highest sample.
 *
 * @module
 */
import type { Row } from "./results.ts";
import { format, median } from "./stats.ts";

const COLOURS = ["#9aa0a6", "#1a73e8", "#12b5cb", "#e37400", "#f9ab00", "#188038", "#a142f4", "#d93025"];
const LABELS_WIDTH = 420;
const BARS_WIDTH = 420;
const BAR = 12;
const GAP = 14;

/** The plot of those rows that compare at least two of the proxies. */
export function plot(rows: readonly Row[], columns: readonly string[]): string {
  const compared = rows.filter(({ samples }) => columns.filter((column) => samples.has(column)).length > 1);
  const parts: string[] = [];
  let y = 40;
  for (const [i, column] of columns.entries()) {
    parts.push(`<rect x="${20 + i * 150}" y="12" width="12" height="12" fill="${COLOURS[i]}"/>`);
    parts.push(text(38 + i * 150, 22, column));
  }
  for (const { spec, samples } of compared) {
    const present = columns.filter((column) => samples.has(column));
    const longest = Math.max(...present.flatMap((column) => samples.get(column) ?? []), 0);
    const scale = longest > 0 ? BARS_WIDTH / longest : 0;
    parts.push(text(20, y + BAR, `${spec.title}${spec.unit === "" ? "" : `, ${spec.unit}`}`));
    for (const column of present) {
      const values = samples.get(column) ?? [];
      const width = Math.max(0, median(values) * scale);
      const [low, high] = [Math.min(...values), Math.max(...values)].map((value) =>
        LABELS_WIDTH + Math.max(0, value * scale)
      );
      const middle = y + BAR / 2;
      parts.push(
        `<rect x="${LABELS_WIDTH}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 2}" fill="${
          COLOURS[columns.indexOf(column)]
        }"/>`,
        `<line x1="${low?.toFixed(1)}" x2="${high?.toFixed(1)}" y1="${middle - 1}" y2="${
          middle - 1
        }" stroke="#202124"/>`,
        text(LABELS_WIDTH + BARS_WIDTH + 12, y + BAR - 2, format(median(values), spec.digits)),
      );
      y += BAR;
    }
    y += GAP;
  }
  const width = Math.max(LABELS_WIDTH + BARS_WIDTH + 90, 20 + columns.length * 150);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" ` +
    `font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>\n${
      parts.join("\n")
    }\n</svg>\n`;
}

function text(x: number, y: number, words: string): string {
  const safe = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" fill="#202124">${safe}</text>`;
}
