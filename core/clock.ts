/**
 * Time: a wall clock that never steps back, a monotonic clock, and a timer without the 24.8-day limit.
 *
 * @module
 */

/** What the program asks about time. Fakes implement it in tests. */
export interface Clock {
  /** Milliseconds since the epoch; never less than an earlier answer, so that a clock set back revives nothing. */
  now(): number;
  /** Milliseconds from an arbitrary start, for measuring. */
  monotonic(): number;
}

/** The clock of the machine. */
export function systemClock(): Clock {
  let latest = 0;
  return {
    now: () => latest = Math.max(latest, Date.now()),
    monotonic: () => performance.now(),
  };
}

/** `setTimeout` fires at once beyond 2^31-1 ms (LAB-measured on Deno), so long waits go in steps of a day. */
const LONGEST_TIMER_MS = 86_400_000;

/**
 * Calls `callback` once the clock has reached `atMs` (epoch). Re-reads the clock at every step, so a suspended or
 * adjusted machine is late by at most one step of a day, and never early.
 *
 * @returns a function that cancels
 */
export function callAt(clock: Clock, atMs: number, callback: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const step = () => {
    const leftMs = atMs - clock.now();
    if (leftMs <= 0) return callback();
    timer = setTimeout(step, Math.min(leftMs, LONGEST_TIMER_MS));
    Deno.unrefTimer(timer as unknown as number);
  };
  timer = setTimeout(step, Math.max(0, Math.min(atMs - clock.now(), LONGEST_TIMER_MS)));
  Deno.unrefTimer(timer as unknown as number);
  return () => clearTimeout(timer);
}
