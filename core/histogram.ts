/**
 * How long things took, counted in buckets as Prometheus does: cheap to record, and exact to add up over several places.
 *
 * Not here: how it is shown (`api/metrics.ts`).
 *
 * @module
 */

/**
 * Upper bounds of the buckets in seconds, inclusive, the same for everything that is measured. They reach from what the
 * proxy adds on an open connection to a language model that answers for minutes.
 */
export const LATENCY_BOUNDS: readonly number[] = [
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
  120,
  300,
];

/** What a histogram has counted, as plain numbers. Two of them are added element by element. */
export interface HistogramData {
  /** Each measurement once: in the bucket of the first bound that it does not exceed, or in the last, which has none. */
  readonly counts: readonly number[];
  /** Seconds of all measurements. */
  readonly sum: number;
}

/** Counts durations. */
export class Histogram {
  readonly #counts: number[] = [...LATENCY_BOUNDS.map(() => 0), 0];
  #sum = 0;

  /** Counts one duration in milliseconds. Allocates nothing. */
  observe(durationMs: number): void {
    const seconds = durationMs / 1_000;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS.length && seconds > (LATENCY_BOUNDS[bucket] ?? 0)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += seconds;
  }

  /** What has been counted so far; it does not change any more. */
  data(): HistogramData {
    return { counts: [...this.#counts], sum: this.#sum };
  }
}

/** How many measurements there were. */
export function countOf({ counts }: HistogramData): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
