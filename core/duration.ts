/**
 * Durations as people write them (`90s`, `15m`, `1h30m`, `7d`) and as logs show them (`34ms`, `3.1s`).
 *
 * @module
 */
import { ProxyError } from "./errors.ts";
import { quoteText } from "./escape.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Ten years: longer than any rule should live, and far inside what a `Date` can hold. */
export const MAX_DURATION_MS = 3_650 * 86_400_000;

/**
 * The milliseconds of a duration: one or more of `<digits><ms|s|m|h|d>`, in any order.
 *
 * @throws ProxyError `input.invalid` for anything else, zero, or more than ten years
 */
export function parseDuration(text: string): number {
  let totalMs = 0;
  const rest = text.replace(/(\d{1,10})(ms|[smhd])/g, (_all, digits: string, unit: string) => {
    totalMs += Number(digits) * (UNIT_MS[unit] ?? NaN);
    return "";
  });
  if (rest !== "" || !(totalMs > 0) || totalMs > MAX_DURATION_MS) {
    throw new ProxyError(
      "input.invalid",
      `Cannot read ${quoteText(text, 40)} as a duration: write 90s, 15m, 1h or 7d (at most ten years)`,
    );
  }
  return totalMs;
}

/** A duration in the largest unit that divides it: exact, and what {@linkcode parseDuration} reads back. */
export function formatExactDuration(durationMs: number): string {
  const [size, unit] = EXACT_UNITS.find(([size]) => durationMs % size === 0) ?? [1, "ms"];
  return `${durationMs / size}${unit}`;
}

const EXACT_UNITS: readonly (readonly [number, string])[] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "m"],
  [1_000, "s"],
];

/** A short duration for logs and lists: `34ms`, `3.1s`, `14m59s`, `6d23h`. */
export function formatDuration(durationMs: number): string {
  const ms = Math.max(0, Math.round(durationMs));
  if (ms < 1_000) return `${ms}ms`;
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)}s`;
  const totalSeconds = Math.round(ms / 1_000);
  const parts: readonly [number, string][] = [
    [Math.floor(totalSeconds / 86_400), "d"],
    [Math.floor(totalSeconds / 3_600) % 24, "h"],
    [Math.floor(totalSeconds / 60) % 60, "m"],
    [totalSeconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => count + unit)
    .join("");
}
