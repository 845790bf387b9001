import { assertEquals } from "@std/assert";
import { MAX_FACTS, roundUp, STEP_MS, Tally } from "../../../api/ui/tally.js";

function lineOf(verdict: "allow" | "deny" | "passthrough", client = "ci-1") {
  return { verdict, client };
}

const START_MS = 1_800_000_000_000;

Deno.test("Tally counts into intervals that end with the present one", () => {
  const tally = new Tally();
  const add = (atMs: number, verdict: "allow" | "deny" | "passthrough", count = 1) =>
    tally.add(START_MS + atMs, verdict, count, lineOf(verdict));
  add(-1, "allow"); // just outside
  add(0, "allow");
  add(STEP_MS - 1, "deny", 14);
  add(STEP_MS, "passthrough");
  add(3 * STEP_MS - 1, "allow");
  add(4 * STEP_MS, "deny"); // after the end: a clock that is ahead
  const intervals = tally.intervals(START_MS + 4 * STEP_MS - 1, 4 * STEP_MS, 2 * STEP_MS);
  assertEquals(intervals, [
    { startMs: START_MS, counts: { allow: 1, deny: 14, passthrough: 1 } },
    { startMs: START_MS + 2 * STEP_MS, counts: { allow: 1, deny: 0, passthrough: 0 } },
  ]);
});

Deno.test("Tally forgets what no chart shows any more", () => {
  const tally = new Tally();
  const hoursMs = 2 * 3_600_000;
  tally.add(START_MS, "allow", 1, lineOf("allow"));
  const first = () => tally.intervals(START_MS, STEP_MS, STEP_MS)[0]?.counts.allow;
  tally.add(START_MS + hoursMs, "allow", 1, lineOf("allow"));
  assertEquals(first(), 1);
  tally.add(START_MS + hoursMs + STEP_MS, "allow", 1, lineOf("allow"));
  assertEquals(first(), 0);
});

Deno.test("roundUp() gives the top of an axis", () => {
  assertEquals([0, 1, 2, 3, 8, 9, 10, 11, 25, 99, 100, 101].map(roundUp), [
    2,
    2,
    2,
    4,
    8,
    10,
    10,
    20,
    30,
    100,
    100,
    200,
  ]);
});

Deno.test("intervals() counts what a filter asks for, and says from when on that is whole", () => {
  const tally = new Tally();
  tally.add(START_MS, "deny", 3, lineOf("deny", "ci-2"));
  tally.add(START_MS, "allow", 1, lineOf("allow"));
  const counts = (client: string) =>
    tally.intervals(START_MS, STEP_MS, STEP_MS, (line) => line.client === client)[0]?.counts;
  assertEquals(counts("ci-1"), { allow: 1, deny: 0, passthrough: 0 });
  assertEquals(counts("ci-2"), { allow: 0, deny: 3, passthrough: 0 });
  assertEquals(tally.filteredFromMs, -Infinity);
  for (let i = 0; i < MAX_FACTS * 1.1; i++) tally.add(START_MS + STEP_MS, "allow", 1, lineOf("allow"));
  assertEquals(tally.filteredFromMs, START_MS + 2 * STEP_MS);
  assertEquals(counts("ci-2"), { allow: 0, deny: 0, passthrough: 0 });
  assertEquals(tally.intervals(START_MS, STEP_MS, STEP_MS)[0]?.counts, { allow: 1, deny: 3, passthrough: 0 });
});
