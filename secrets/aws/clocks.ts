/**
 * How far each upstream's clock is from ours, by the `Date` of its last answer: AWS takes no signature that is some minutes
 * off, and a machine that slept may be.
 *
 * @module
 */
import { RecentMap } from "../../core/recent_map.ts";

/** Less is not corrected: `Date` has whole seconds, and an answer takes some to arrive. AWS allows five minutes. */
const SMALLEST_MS = 60_000;
/** A `Date` further away is nonsense. No signature for another year leaves because of it. */
const LARGEST_MS = 366 * 86_400_000;
/** Hosts: S3 has one for each bucket. */
const CAPACITY = 1_024;

/** The register. */
export class UpstreamClocks {
  readonly #offsets = new RecentMap<string, number>(CAPACITY);

  /** What to add to our time for a place's, in milliseconds. */
  offsetMs(place: string): number {
    return this.#offsets.get(place) ?? 0;
  }

  /**
   * Takes the `Date` of an answer.
   *
   * @returns true when that changed by more than the tolerance what is known of the place
   */
  learn(place: string, date: string | undefined, nowMs: number): boolean {
    const offset = readOffset(date, nowMs);
    if (offset === undefined) return false;
    const before = this.offsetMs(place);
    if (offset === 0) this.#offsets.delete(place);
    else this.#offsets.set(place, offset);
    return Math.abs(offset - before) >= SMALLEST_MS;
  }
}

/** How far a `Date` field (RFC 9110 §6.6.1) is from our time; 0 where that does not matter, undefined when it is none. */
export function readOffset(date: string | undefined, nowMs: number): number | undefined {
  if (date === undefined || !/^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/.test(date)) {
    return undefined;
  }
  const offset = Date.parse(date) - nowMs;
  if (Number.isNaN(offset) || Math.abs(offset) > LARGEST_MS) return undefined;
  return Math.abs(offset) < SMALLEST_MS ? 0 : offset;
}
