import { assertEquals } from "@std/assert";
import { DEFAULT_LIMITS, fitLimits } from "../../../core/limits.ts";

Deno.test("fitLimits() lowers the connections to what the descriptors allow, four each", async (t) => {
  const max = DEFAULT_LIMITS.maxConnections;
  const rows: readonly (readonly [string, number | undefined, number])[] = [
    ["unknown", undefined, max],
    ["just enough", 4 * max + 1_000, max],
    ["one short", 4 * max + 999, max - 1],
    ["plenty", 1_048_576, max],
    ["the least that keeps the whole reserve", 4_000, 750],
    ["a small allowance is shared out", 1_024, 192],
  ];
  for (const [name, descriptors, expected] of rows) {
    await t.step(name, () => assertEquals(fitLimits(DEFAULT_LIMITS, descriptors).maxConnections, expected));
  }
});
