/**
 * Notices that nobody looked for a while: the machine slept, its virtual machine was paused, or the process was stopped. What
 * is open may be dead then without a word of it, since the peers and the networks between went on.
 *
 * The monotonic clock does not count while Linux or macOS sleeps, the wall clock does; a process that was stopped finds both
 * ahead. A wall clock that is set forward looks the same, which costs some connections that were good.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/** From one look to the next. */
const LOOK_MS = 1_000;
/** Less than that may be load. */
export const LEAST_SLEEP_MS = 5_000;

/**
 * Calls `onWake` within a second of every return, with about how long it was, in milliseconds. The timer does not keep the
 * program alive.
 *
 * @param every calls back again and again; tests pass their own
 * @returns a function that ends it
 */
export function watchWakes(
  clock: Clock,
  onWake: (sleptMs: number) => void,
  every: (ms: number, callback: () => void) => () => void = interval,
): () => void {
  let last = { wall: clock.now(), monotonic: clock.monotonic() };
  return every(LOOK_MS, () => {
    const now = { wall: clock.now(), monotonic: clock.monotonic() };
    const goneMs = Math.max(now.wall - last.wall, now.monotonic - last.monotonic) - LOOK_MS;
    last = now;
    if (goneMs >= LEAST_SLEEP_MS) onWake(goneMs);
  });
}

function interval(ms: number, callback: () => void): () => void {
  const timer = setInterval(callback, ms);
  Deno.unrefTimer(timer as unknown as number);
  return () => clearInterval(timer);
}
