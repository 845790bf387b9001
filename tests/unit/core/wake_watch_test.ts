import { assertEquals } from "@std/assert";
import { watchWakes } from "../../../core/wake_watch.ts";

Deno.test("watchWakes() tells of every time in which nobody looked, by whichever clock counted it", async (t) => {
  const rows:
    readonly (readonly [name: string, wallMs: number, monotonicMs: number, told: number | undefined])[] = [
      ["a look", 1_000, 1_000, undefined],
      ["a machine under load", 5_900, 5_900, undefined],
      ["a sleep, which the monotonic clock does not count", 3_601_000, 1_000, 3_600_000],
      ["a process that was stopped", 6_000, 6_000, 5_000],
      ["a clock that stands, since it was set back", 0, 1_000, undefined],
    ];
  for (const [name, wallMs, monotonicMs, told] of rows) {
    await t.step(name, () => {
      let [wall, monotonic] = [1_000_000, 50];
      let look = () => {};
      let isEnded = false;
      const slept: number[] = [];
      const end = watchWakes(
        { now: () => wall, monotonic: () => monotonic },
        (ms) => slept.push(ms),
        (_, callback) => {
          look = callback;
          return () => isEnded = true;
        },
      );
      wall += wallMs;
      monotonic += monotonicMs;
      look();
      assertEquals(slept, told === undefined ? [] : [told]);
      wall += 1_000;
      monotonic += 1_000;
      look();
      assertEquals(slept.length, told === undefined ? 0 : 1);
      end();
      assertEquals(isEnded, true);
    });
  }
});
