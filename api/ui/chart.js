/**
 * The chart: stacked bars of what was allowed, passed through and denied, drawn as SVG.
 *
 * @module
 */
import { drawing, element } from "./dom.js";
import { roundUp } from "./tally.js";

/** @typedef {import("./tally.js").Interval} Interval */
/** @typedef {import("./tally.js").Verdict} Verdict */

/** From the axis up. */
const SERIES = /** @type {const} */ ([
  { verdict: "allow", label: "allowed" },
  { verdict: "passthrough", label: "passed through" },
  { verdict: "deny", label: "denied" },
]);

const HEIGHT = 190;
const LEFT = 34;
const BOTTOM = 18;
const TOP = 8;

/**
 * Draws the intervals into `plot`, as wide as it is, and the totals into `legend`.
 *
 * @param {HTMLElement} plot
 * @param {HTMLElement} legend
 * @param {readonly Interval[]} intervals
 */
export function drawChart(plot, legend, intervals) {
  const width = Math.max(240, plot.clientWidth);
  const total = sum(intervals);
  const words = SERIES.map(({ verdict, label }) => `${total[verdict]} ${label}`).join(", ");
  const top = roundUp(
    Math.max(...intervals.map(({ counts }) => counts.allow + counts.deny + counts.passthrough)),
  );
  const stepX = (width - LEFT) / intervals.length;
  /** @param {number} count */
  const y = (count) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - count / top);

  const bars = intervals.map(({ startMs, counts }, i) => {
    const [x, wide] = [LEFT + i * stepX, Math.max(1, stepX - 1.5)];
    let from = 0;
    const parts = SERIES.filter(({ verdict }) => counts[verdict] > 0).map(({ verdict }) => {
      const [low, high] = [y(from), y(from += counts[verdict])];
      return drawing("rect", { class: verdict, x, width: wide, y: high, height: Math.max(1, low - high) });
    });
    const says = SERIES.map(({ verdict, label }) => `${counts[verdict]} ${label}`).join(", ");
    return drawing("g", {}, drawing("title", {}, `${clockTime(startMs)}: ${says}`), ...parts);
  });
  const lines = [0, top / 2, top].flatMap((count) => [
    drawing("line", { x1: LEFT, x2: width, y1: y(count), y2: y(count), class: "grid" }),
    drawing("text", { x: LEFT - 6, y: y(count) + 4, "text-anchor": "end" }, String(count)),
  ]);
  const times = timeMarks(intervals).map(({ startMs, i, anchor }) =>
    drawing("text", { x: LEFT + i * stepX, y: HEIGHT - 3, "text-anchor": anchor }, clockTime(startMs))
  );
  plot.replaceChildren(drawing(
    "svg",
    {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
      role: "img",
      "aria-labelledby": "plot-title plot-desc",
    },
    drawing("title", { id: "plot-title" }, "Requests over time, by verdict"),
    drawing("desc", { id: "plot-desc" }, `In this window: ${words}`),
    hatching(),
    ...lines,
    ...bars,
    ...times,
  ));
  legend.replaceChildren(...SERIES.map(({ verdict, label }) =>
    element(
      "li",
      {},
      drawing(
        "svg",
        { width: 12, height: 12, "aria-hidden": "true" },
        drawing("rect", { width: 12, height: 12, class: verdict }),
      ),
      `${label} `,
      element("b", {}, String(total[verdict])),
    )
  ));
}

/** Denied bars are hatched, so that colour is not all that tells them apart. */
function hatching() {
  return drawing(
    "defs",
    {},
    drawing(
      "pattern",
      { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      drawing("rect", { width: 5, height: 5, class: "hatch-ground" }),
      drawing("rect", { width: 2, height: 5, class: "hatch-line" }),
    ),
  );
}

/** @param {readonly Interval[]} intervals */
function timeMarks(intervals) {
  return [0, 0.25, 0.5, 0.75].map((part) => {
    const i = Math.round(part * intervals.length);
    return { i, startMs: intervals[i]?.startMs ?? 0, anchor: part === 0 ? "start" : "middle" };
  });
}

/** @param {readonly Interval[]} intervals */
function sum(intervals) {
  const total = { allow: 0, deny: 0, passthrough: 0 };
  for (const { counts } of intervals) for (const { verdict } of SERIES) total[verdict] += counts[verdict];
  return total;
}

/** @param {number} timeMs */
function clockTime(timeMs) {
  return new Date(timeMs).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}
