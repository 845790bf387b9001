/**
 * Counting records over time, for the chart: pure.
 *
 * @module
 */

/** @typedef {"allow" | "deny" | "passthrough"} Verdict */

/**
 * One interval of a chart.
 *
 * @typedef {object} Interval
 * @property {number} startMs
 * @property {Record<Verdict, number>} counts
 */

/** The finest interval that a chart can have. */
export const STEP_MS = 5_000;

/** The longest window that a chart can have. */
const KEEP_MS = 2 * 3_600_000;

/** Counts per {@linkcode STEP_MS}, of the last hours only. */
export class Tally {
  /** @type {Map<number, Record<Verdict, number>>} */
  #steps = new Map();
  #newest = 0;

  /**
   * @param {number} timeMs epoch
   * @param {Verdict} verdict
   * @param {number} count
   */
  add(timeMs, verdict, count) {
    const step = Math.floor(timeMs / STEP_MS);
    const counts = this.#steps.get(step) ?? { allow: 0, deny: 0, passthrough: 0 };
    counts[verdict] += count;
    this.#steps.set(step, counts);
    if (step <= this.#newest) return;
    this.#newest = step;
    for (const old of this.#steps.keys()) if (old < step - KEEP_MS / STEP_MS) this.#steps.delete(old);
  }

  /**
   * Equal intervals that end with the one that `nowMs` is in.
   *
   * @param {number} nowMs
   * @param {number} windowMs a multiple of `intervalMs`
   * @param {number} intervalMs a multiple of {@linkcode STEP_MS}
   * @returns {Interval[]}
   */
  intervals(nowMs, windowMs, intervalMs) {
    const endMs = (Math.floor(nowMs / intervalMs) + 1) * intervalMs;
    const startMs = endMs - windowMs;
    /** @type {Interval[]} */
    const intervals = Array.from({ length: windowMs / intervalMs }, (_, i) => ({
      startMs: startMs + i * intervalMs,
      counts: { allow: 0, deny: 0, passthrough: 0 },
    }));
    for (const [step, counts] of this.#steps) {
      const interval = intervals[Math.floor((step * STEP_MS - startMs) / intervalMs)];
      if (!interval) continue;
      interval.counts.allow += counts.allow;
      interval.counts.deny += counts.deny;
      interval.counts.passthrough += counts.passthrough;
    }
    return intervals;
  }
}

/**
 * The least round number (2, 4, 6, 8, 10, 20, 30, 40, …) that is not below `value`: the top of an axis with a whole number
 * in its middle.
 *
 * @param {number} value
 */
export function roundUp(value) {
  for (let power = 1;; power *= 10) {
    for (let digit = 1; digit < 10; digit++) {
      const top = digit * power;
      if (top >= value && top % 2 === 0) return top;
    }
  }
}
