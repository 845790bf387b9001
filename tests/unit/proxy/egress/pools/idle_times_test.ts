import { assertEquals } from "@std/assert";
import { announcedIdleMs, IdleTimes } from "../../../../../proxy/egress/pools/idle_times.ts";
import { makeField } from "../../../../../proxy/message/fields.ts";

function setUp() {
  const clock = { now: 0 };
  return { clock, times: new IdleTimes(1_000, () => clock.now) };
}

Deno.test("IdleTimes knows nothing of other places, and forgets after ten minutes", () => {
  const { times, clock } = setUp();
  times.announced("a", 5_000);
  assertEquals([times.longestMs("a"), times.freshMs("a")], [4_000, 4_000]);
  assertEquals([times.longestMs("b"), times.freshMs("b")], [Infinity, 1_000]);
  clock.now = 599_999;
  assertEquals(times.longestMs("a"), 4_000);
  clock.now = 600_000;
  assertEquals([times.longestMs("a"), times.freshMs("a")], [Infinity, 1_000]);
});

Deno.test("IdleTimes believes an upstream's closes over what it announces", () => {
  const { times } = setUp();
  times.announced("a", 60_000);
  times.closedAfter("a", 2_500);
  times.announced("a", 60_000);
  assertEquals([times.longestMs("a"), times.freshMs("a")], [1_500, 1_500]);
});

Deno.test("IdleTimes takes the shortest of closes, and none under a second, which has another reason", () => {
  const { times } = setUp();
  times.closedAfter("a", 999);
  assertEquals(times.longestMs("a"), Infinity);
  times.closedAfter("a", 7_000);
  times.closedAfter("a", 5_000);
  times.closedAfter("a", 6_000);
  assertEquals(times.longestMs("a"), 4_000);
});

Deno.test("IdleTimes: a connection that was open for longer than one that was closed disproves it", () => {
  const { times } = setUp();
  times.closedAfter("a", 3_000); // the upstream was restarted
  times.openAfter("a", 2_000);
  assertEquals(times.longestMs("a"), 2_000);
  times.openAfter("a", 20_000);
  assertEquals([times.longestMs("a"), times.freshMs("a")], [Infinity, 19_000]);
  times.closedAfter("a", 15_000);
  assertEquals([times.longestMs("a"), times.freshMs("a")], [14_000, 14_000]);
});

Deno.test("IdleTimes is bounded: the place that was not asked about for longest is forgotten", () => {
  const { times } = setUp();
  times.announced("first", 5_000);
  times.announced("second", 5_000);
  for (let at = 0; at < 1_022; at++) times.announced(`place ${at}`, 5_000);
  assertEquals(times.longestMs("first"), 4_000); // in use
  times.announced("one more", 5_000);
  assertEquals([times.longestMs("first"), times.longestMs("second")], [4_000, Infinity]);
});

Deno.test("announcedIdleMs() reads the timeout of Keep-Alive", async (t) => {
  const rows: readonly (readonly [string, number | undefined])[] = [
    ["timeout=5", 5_000],
    ["timeout=5, max=100", 5_000],
    ["max=100 , Timeout = 15", 15_000],
    ["timeout=0", 0],
    ["max=100", undefined],
    ["timeout", undefined],
    ["timeout=", undefined],
    ["timeout=-1", undefined],
    ["timeout=1.5", undefined],
    ["timeout=1234567", undefined],
    ["x-timeout=5", undefined],
  ];
  for (const [value, expected] of rows) {
    await t.step(value, () => assertEquals(announcedIdleMs([makeField("Keep-Alive", value)]), expected));
  }
  assertEquals(announcedIdleMs([makeField("X-Keep-Alive", "timeout=5")]), undefined);
});
