import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { countOf, Histogram, LATENCY_BOUNDS } from "../../../core/histogram.ts";

Deno.test("LATENCY_BOUNDS rise, from below a millisecond to minutes", () => {
  assertEquals(LATENCY_BOUNDS, [...LATENCY_BOUNDS].sort((a, b) => a - b));
  assertEquals(new Set(LATENCY_BOUNDS).size, LATENCY_BOUNDS.length);
  assert((LATENCY_BOUNDS[0] ?? 1) < 0.001 && (LATENCY_BOUNDS.at(-1) ?? 0) >= 60);
});

Deno.test("observe() counts a duration in the bucket of the first bound that it does not exceed", async (t) => {
  const last = LATENCY_BOUNDS.length;
  const rows: readonly (readonly [string, number, number])[] = [
    ["nothing at all", 0, 0],
    ["the first bound", 0.5, 0],
    ["just above it", 0.500001, 1],
    ["the second bound", 1, 1],
    ["one second", 1_000, LATENCY_BOUNDS.indexOf(1)],
    ["a little more", 1_000.001, LATENCY_BOUNDS.indexOf(1) + 1],
    ["the last bound", 300_000, last - 1],
    ["just above it", 300_001, last],
    ["a day", 86_400_000, last],
  ];
  for (const [name, ms, bucket] of rows) {
    await t.step(name, () => {
      const histogram = new Histogram();
      histogram.observe(ms);
      const { counts, sum } = histogram.data();
      assertEquals([counts.length, counts.indexOf(1), sum], [last + 1, bucket, ms / 1_000]);
    });
  }
});

Deno.test("data() adds up in seconds, and does not change afterwards", () => {
  const histogram = new Histogram();
  for (const ms of [1, 20, 300, 4_000]) histogram.observe(ms);
  const before = histogram.data();
  histogram.observe(50_000);
  assertEquals([countOf(before), countOf(histogram.data())], [4, 5]);
  assertAlmostEquals(before.sum, 4.321);
  assertAlmostEquals(histogram.data().sum, 54.321);
});
