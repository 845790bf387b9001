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

/**
 * The clock of the machine. When that is set back, time goes on from where it was: stood it still, whatever has an end,
 * a rule or a session, would live longer by as much as the clock was set back.
 */
export function systemClock(): Clock {
  let latest = 0;
  let latestAt = 0; // on the monotonic clock
  return {
    now() {
      const at = performance.now(); // first, so that rounding never puts it before the machine's clock
      const now = Date.now();
      const least = latest + Math.floor(at - latestAt);
      if (now < least) return least;
      latest = now;
      latestAt = at;
      return now;
    },
    monotonic: () => performance.now(),
  };
}

/**
 * Long waits go in steps. `setTimeout` fires at once beyond 2^31-1 ms (measured on Deno), and it does not count while a
 * machine sleeps nor notice that its clock was set.
 */
const LONGEST_STEP_MS = 60_000;

/**
 * Calls `callback` once the clock has reached `atMs` (epoch). Re-reads the clock at every step, so after a suspension or
 * an adjustment it is late by at most a minute, and it is never early. The timer does not keep the program alive.
 *
 * @param atMs Infinity is never; NaN is a `RangeError`
 * @returns a function that cancels
 */
export function callAt(clock: Clock, atMs: number, callback: () => void): () => void {
  if (Number.isNaN(atMs)) throw new RangeError("Cannot wait for a time that is not a number");
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = () => {
    const leftMs = Math.ceil(Math.max(0, Math.min(atMs - clock.now(), LONGEST_STEP_MS)));
    timer = setTimeout(() => clock.now() >= atMs ? callback() : wait(), leftMs);
    Deno.unrefTimer(timer as unknown as number);
  };
  wait();
  return () => clearTimeout(timer);
}
