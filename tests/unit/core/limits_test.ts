import { assert, assertEquals } from "@std/assert";
import { DEFAULT_LIMITS, fitLimits } from "../../../core/limits.ts";

Deno.test("fitLimits() lowers the connections to what the descriptors allow, six each", async (t) => {
  const max = DEFAULT_LIMITS.maxConnections;
  const rows: readonly (readonly [string, number | undefined, number])[] = [
    ["unknown", undefined, max],
    ["just enough", 6 * max + 1_980, max],
    ["one short", 6 * max + 1_979, max - 1],
    ["plenty", 1_048_576, max],
    ["20,000", 20_000, 3_003],
    ["4,096", 4_096, 504],
    ["1,200", 1_200, 132],
    ["fewer than it can begin with", 64, 1],
  ];
  for (const [name, descriptors, expected] of rows) {
    await t.step(name, () => assertEquals(fitLimits(DEFAULT_LIMITS, descriptors).maxConnections, expected));
  }
});

Deno.test("fitLimits() leaves descriptors for everything that it lets in, and for the API and the log", () => {
  for (const [threads, perUpstream] of [[1, 1], [2, 1], [16, 1], [1, 3], [2, 5]] as const) {
    for (let descriptors = 1_024; descriptors <= 65_536; descriptors = Math.floor(descriptors * 1.1)) {
      const limits = fitLimits(DEFAULT_LIMITS, descriptors, { threads, perUpstream });
      const taken = (5 + perUpstream) * limits.maxConnections + limits.maxTlsListeners +
        (limits.maxIdleUpstream + limits.maxPendingDials / 2) * perUpstream;
      assert(descriptors - taken >= 96 + 12 * threads + Math.min(448, Math.floor(descriptors / 8)));
      assert(limits.maxUnauthenticated <= Math.ceil(limits.maxConnections / 2));
    }
  }
});

Deno.test("fitLimits() changes nothing of what it has fitted, as a worker finds it", () => {
  for (const perUpstream of [1, 3, 5]) {
    const fitted = fitLimits(DEFAULT_LIMITS, 4_096, { threads: 4, perUpstream });
    assertEquals(fitLimits(fitted, 4_096, { perUpstream }), fitted);
  }
});
