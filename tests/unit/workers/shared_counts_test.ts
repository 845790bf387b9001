import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { LocalCounts } from "../../../proxy/records/counts.ts";
import { makeCountsMemory, makeSeeds, SharedCounts } from "../../../workers/shared_counts.ts";

const SEEDS = [1, 2, 3];

function threads(
  count: number,
): { readonly memory: SharedArrayBuffer; readonly of: readonly SharedCounts[] } {
  const memory = makeCountsMemory(count);
  return { memory, of: Array.from({ length: count }, (_, plane) => new SharedCounts(memory, SEEDS, plane)) };
}

Deno.test("SharedCounts counts what LocalCounts counts, whichever thread does it", () => {
  const step = fc.record({
    key: fc.oneof(fc.constantFrom("connection", "client ci-1", "dial to a.test:443"), fc.string()),
    change: fc.integer({ min: -3, max: 3 }),
    thread: fc.nat({ max: 2 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const local = new LocalCounts();
      const shared = threads(3).of;
      for (const { key, change, thread } of steps) {
        local.add(key, change);
        shared[thread]?.add(key, change);
      }
      for (const { key } of steps) for (const one of shared) assertEquals(one.of(key), local.of(key));
    }),
    { numRuns: 200 },
  );
});

Deno.test("SharedCounts.clear() takes back what one thread has counted, and nothing else", () => {
  const [main, one, two] = threads(3).of;
  assert(main && one && two);
  main.add("connection", 1);
  one.add("connection", 5);
  one.add("client ci-1", 5);
  two.add("connection", 7);
  main.clear(1);
  assertEquals([two.of("connection"), two.of("client ci-1")], [8, 0]);
  one.add("connection", 2); // the thread that took its place
  assertEquals(main.of("connection"), 10);
});

Deno.test("SharedCounts of a thread that was given up no longer change, so that what it lets go of is not counted twice", () => {
  const memory = makeCountsMemory(2);
  let isGivenUp = false;
  const [main, old] = [
    new SharedCounts(memory, SEEDS, 0),
    new SharedCounts(memory, SEEDS, 1, () => isGivenUp),
  ];
  old.add("connection", 5);
  isGivenUp = true;
  main.clear(1);
  old.add("connection", -5); // it has come back from where it hung, and its connections end
  old.add("client ci-1", 1);
  assertEquals([main.of("connection"), main.of("client ci-1")], [0, 0]);
});

Deno.test("SharedCounts is never too low, and right for nearly every key when thousands are in use", () => {
  const [main, one] = threads(2).of;
  assert(main && one);
  const keys = Array.from({ length: 2_000 }, (_, i) => `client vm-${i}`);
  for (const key of keys) one.add(key, 3);
  const counts = keys.map((key) => main.of(key));
  assert(counts.every((count) => count >= 3));
  assert(counts.filter((count) => count > 3).length <= 2, `${counts.filter((count) => count > 3)}`);
});

Deno.test("makeSeeds() differ from start to start, so that nobody can choose keys that collide", () => {
  const [a, b] = [makeSeeds(), makeSeeds()];
  assertEquals(a.length, 3);
  assert(a.join() !== b.join());
});
