/**
 * Counting records over time, for the chart: pure.
 *
 * @module
 */

/** @typedef {"allow" | "deny" | "passthrough"} Verdict */
/** @typedef {import("./filters.js").Filtered} Filtered */

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

/** Records that can be counted by what they are: 5 MB or so. A chart without a filter counts all. */
export const MAX_FACTS = 20_000;

/** Counts per {@linkcode STEP_MS}, of the last hours only, and the newest records by what a filter looks at. */
export class Tally {
  /** @type {Map<number, Record<Verdict, number>>} */
  #steps = new Map();
  #newest = 0;
  /** @type {{ step: number, count: number, verdict: Verdict, line: Filtered }[]} oldest first */
  #facts = [];
  #areSomeGone = false;

  /** Epoch milliseconds from which on a chart with a filter is whole. */
  get filteredFromMs() {
    const [oldest] = this.#facts;
    return this.#areSomeGone && oldest ? (oldest.step + 1) * STEP_MS : -Infinity;
  }

  /**
   * @param {number} timeMs epoch
   * @param {Verdict} verdict
   * @param {number} count
   * @param {Filtered} line
   */
  add(timeMs, verdict, count, line) {
    this.#keep(Math.floor(timeMs / STEP_MS), verdict, count, line);
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
   * @param {(line: Filtered) => boolean} [isCounted] of all when it is left out
   * @returns {Interval[]}
   */
  intervals(nowMs, windowMs, intervalMs, isCounted) {
    const endMs = (Math.floor(nowMs / intervalMs) + 1) * intervalMs;
    const startMs = endMs - windowMs;
    /** @type {Interval[]} */
    const intervals = Array.from({ length: windowMs / intervalMs }, (_, i) => ({
      startMs: startMs + i * intervalMs,
      counts: { allow: 0, deny: 0, passthrough: 0 },
    }));
    /** @param {number} step */
    const at = (step) => intervals[Math.floor((step * STEP_MS - startMs) / intervalMs)]?.counts;
    if (isCounted) {
      for (const { step, verdict, count, line } of this.#facts) {
        const sum = at(step);
        if (sum && isCounted(line)) sum[verdict] += count;
      }
      return intervals;
    }
    for (const [step, counts] of this.#steps) {
      const sum = at(step);
      if (!sum) continue;
      sum.allow += counts.allow;
      sum.deny += counts.deny;
      sum.passthrough += counts.passthrough;
    }
    return intervals;
  }

  /**
   * @param {number} step
   * @param {Verdict} verdict
   * @param {number} count
   * @param {Filtered} line
   */
  #keep(step, verdict, count, { client, host, src, proxy_port, tls }) {
    this.#facts.push({ // not the line itself: its path may be long
      step,
      verdict,
      count,
      line: {
        verdict,
        client,
        ...(host === undefined ? {} : { host }),
        ...(src === undefined ? {} : { src }),
        ...(proxy_port === undefined ? {} : { proxy_port }),
        ...(tls === undefined ? {} : { tls }),
      },
    });
    if (this.#facts.length <= MAX_FACTS + MAX_FACTS / 10) return;
    this.#facts.splice(0, this.#facts.length - MAX_FACTS); // a tenth at a time: each of them moves all the others
    this.#areSomeGone = true;
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
