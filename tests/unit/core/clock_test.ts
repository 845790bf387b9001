import { assert, assertEquals, assertThrows } from "@std/assert";
import { callAt, type Clock, systemClock } from "../../../core/clock.ts";

const DAY_MS = 86_400_000;

/** Runs `body` with timers that fire when told to, and records their delays. */
function withManualTimers(body: (delays: readonly number[], fire: () => void) => void): void {
  const realSetTimeout = globalThis.setTimeout;
  const delays: number[] = [];
  const pending: (() => void)[] = [];
  const manual = (callback: () => void, delayMs: number) => {
    delays.push(delayMs);
    pending.push(callback);
    return 0;
  };
  globalThis.setTimeout = manual as unknown as typeof setTimeout;
  try {
    body(delays, () => pending.shift()?.());
  } finally {
    globalThis.setTimeout = realSetTimeout;
  }
}

function settableClock(): Clock & { nowMs: number } {
  return {
    nowMs: 0,
    now() {
      return this.nowMs;
    },
    monotonic: () => 0,
  };
}

Deno.test("systemClock() never steps back when the machine's clock does", () => {
  const [realNow, realMonotonic] = [Date.now, performance.now];
  const clock = systemClock();
  const at = (nowMs: number, monotonicMs: number) => {
    Date.now = () => nowMs;
    performance.now = () => monotonicMs;
    return clock.now();
  };
  try {
    assertEquals(at(2_000, 500), 2_000);
    assertEquals(at(1_000, 500), 2_000);
    assertEquals(at(1_000, 500.9), 2_000);
    // It goes on, else a rule of 15 minutes would live for an hour longer after an hour was set back.
    assertEquals(at(1_100, 600), 2_100);
    assertEquals(at(2_090, 601), 2_101);
    assertEquals(at(2_102, 602), 2_102);
    // And follows the machine's clock ahead, also over a sleep that the monotonic one does not count.
    assertEquals(at(900_000, 603), 900_000);
  } finally {
    Date.now = realNow;
    performance.now = realMonotonic;
  }
  const before = clock.monotonic();
  assert(clock.monotonic() >= before);
});

Deno.test("callAt() waits in steps of a minute, so that no timer overflows and a sleep is noticed", () => {
  withManualTimers((delays, fire) => {
    const clock = settableClock();
    let calls = 0;
    callAt(clock, 30 * DAY_MS, () => calls++);
    fire();
    assertEquals([delays, calls], [[60_000, 60_000], 0]);
    clock.nowMs = 30 * DAY_MS - 1; // the machine slept
    fire();
    assertEquals([delays.at(-1), calls], [1, 0]);
    clock.nowMs = 30 * DAY_MS;
    fire();
    assertEquals([delays.length, calls], [3, 1]);
  });
});

Deno.test("callAt() rounds up, so that a fraction of a millisecond does not spin", () => {
  withManualTimers((delays) => {
    callAt(settableClock(), 0.25, () => {});
    assertEquals(delays, [1]);
  });
});

Deno.test("callAt() calls soon, not at once, for a time in the past", async () => {
  let called = false;
  const done = new Promise<void>((resolve) => {
    callAt(systemClock(), 0, () => {
      called = true;
      resolve();
    });
  });
  assertEquals(called, false);
  const keepAlive = setTimeout(() => {}, 10_000); // callAt's own timer does not keep the program alive
  await done;
  clearTimeout(keepAlive);
});

Deno.test("callAt() leaves no timer when cancelled, nor for never", () => {
  callAt(systemClock(), Date.now() + DAY_MS, () => {})();
  callAt(systemClock(), Infinity, () => {})();
});

Deno.test("callAt() refuses a time that is not a number", () => {
  assertThrows(() => callAt(systemClock(), NaN, () => {}), RangeError);
});
