import { assertEquals } from "@std/assert";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { type Arrival, Arrivals } from "../../../../proxy/accept/arrivals.ts";
import { countersIn, LocalCounts } from "../../../../proxy/records/counts.ts";

/** Threads that share counters, and the names of connections that had to make room, in order. */
function stage(changed: Partial<Limits>) {
  const counts = new LocalCounts();
  const ended: string[] = [];
  const thread = () => {
    const limits = { ...DEFAULT_LIMITS, ...changed };
    const arrivals = new Arrivals(limits, new Admission(limits, counts));
    return (source: string, name: string): Arrival | undefined =>
      arrivals.admit(source, () => ended.push(name));
  };
  return { counts, ended, thread };
}

Deno.test("a flood makes room for itself, and not those who said who they are", () => {
  const { counts, ended, thread } = stage({ maxUnauthenticated: 3 });
  const admit = thread();
  const known = admit("192.0.2.1", "known");
  known?.known();
  admit("192.0.2.1", "slow");
  for (let i = 0; i < 5; i++) admit(`2001:db8:0:1::${i}`, `flood ${i}`); // one /64
  assertEquals(ended, ["flood 0", "flood 1", "flood 2"]);
  assertEquals(countersIn(counts).connections, 4);
});

Deno.test("what is gone, or has become known, leaves its place once", () => {
  const { counts, ended, thread } = stage({ maxUnauthenticated: 1, maxConnections: 2 });
  const admit = thread();
  const first = admit("a", "first");
  first?.known();
  first?.known();
  const second = admit("a", "second");
  second?.gone();
  second?.gone();
  second?.known();
  assertEquals(countersIn(counts).connections, 1);
  admit("a", "third");
  admit("a", "fourth"); // the third makes room
  first?.gone();
  assertEquals([ended, countersIn(counts).connections], [["third"], 1]);
});

Deno.test("when all places are taken newcomers make room, and who is known does not", () => {
  const { ended, thread } = stage({ maxConnections: 2 });
  const admit = thread();
  admit("a", "silent");
  admit("a", "one")?.known();
  admit("a", "two")?.known();
  assertEquals([admit("a", "three"), ended], [undefined, ["silent"]]);
});

Deno.test("the share is one for all threads, and each has some places whatever the others have", () => {
  const { ended, thread } = stage({ maxUnauthenticated: 4, ownUnauthenticated: 2 });
  const [here, there] = [thread(), thread()];
  for (let i = 0; i < 4; i++) here("a", `here ${i}`);
  assertEquals(ended, []);
  there("b", "there 0");
  there("b", "there 1");
  assertEquals(ended, []);
  there("b", "there 2");
  here("a", "here 4");
  assertEquals(ended, ["there 0", "here 0", "here 1", "here 2"]);
});

Deno.test("what is refused, ended, known or gone holds no place and no share", () => {
  const { counts, ended, thread } = stage({ maxUnauthenticated: 2, ownUnauthenticated: 0 });
  const [here, there] = [thread(), thread()];
  const places = () => [countersIn(counts).connections, counts.of("unauthenticated")];
  here("a", "one");
  const second = here("a", "two");
  assertEquals([there("b", "refused"), places()], [undefined, [2, 2]]); // it has nobody who could make room
  const third = here("a", "three");
  assertEquals([ended, places()], [["one"], [2, 2]]);
  second?.known();
  assertEquals(places(), [2, 1]);
  third?.gone();
  assertEquals(places(), [1, 0]);
  second?.gone();
  assertEquals(places(), [0, 0]);
  for (const name of ["four", "five", "six"]) here("a", name);
  assertEquals([ended, places()], [["one", "four"], [2, 2]]); // who is gone or known makes no room
});

Deno.test("no more than four make room for one that comes, should others take each place that they leave", () => {
  const limits = { ...DEFAULT_LIMITS };
  const admission = new Admission(limits);
  const arrivals = new Arrivals(limits, admission);
  const ended: number[] = [];
  for (let nth = 0; nth < 6; nth++) arrivals.admit("a", () => ended.push(nth));
  let attempts = 0;
  admission.tryConnection = () => void attempts++ as undefined;
  assertEquals(arrivals.admit("a", () => {}), undefined);
  assertEquals([ended, attempts], [[0, 1, 2, 3], 5] as unknown[]);
});
