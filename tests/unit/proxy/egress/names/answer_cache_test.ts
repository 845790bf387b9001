import { assertEquals } from "@std/assert";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import { AnswerCache } from "../../../../../proxy/egress/names/answer_cache.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";

const answer = (address: string) => ({ addresses: [address], records: [] });

function open(capacity?: number) {
  const clock = { now: 1_000 };
  return { clock, cache: new AnswerCache(() => clock.now, capacity) };
}

Deno.test("AnswerCache keeps an answer for its time to the millisecond, and as better than nothing for longer", () => {
  const { cache, clock } = open();
  cache.set("a", "c", answer("10.0.0.1"), 60);
  clock.now += 59_999;
  assertEquals(cache.get("a"), answer("10.0.0.1"));
  clock.now += 1;
  assertEquals([cache.get("a"), cache.getStale("a"), cache.get("b"), cache.getStale("b")], [
    undefined,
    answer("10.0.0.1"),
    undefined,
    undefined,
  ]);
  clock.now += NAME_LIMITS.maxStaleSeconds * 1_000 - 1;
  assertEquals(cache.getStale("a"), answer("10.0.0.1"));
  clock.now += 1;
  assertEquals(cache.getStale("a"), undefined);
});

Deno.test("AnswerCache: an old answer is used for a while, and never beyond its end as such", () => {
  const { cache, clock } = open();
  cache.renewStale("a"); // nothing is there
  cache.set("a", "c", answer("10.0.0.1"), 0);
  assertEquals(cache.get("a"), undefined);
  cache.renewStale("a");
  clock.now += NAME_LIMITS.staleTtlSeconds * 1_000 - 1;
  assertEquals(cache.get("a"), answer("10.0.0.1"));
  clock.now += 1;
  assertEquals(cache.get("a"), undefined);
  clock.now = 1_000 + NAME_LIMITS.maxStaleSeconds * 1_000 - 1;
  cache.renewStale("a");
  assertEquals(cache.get("a"), answer("10.0.0.1"));
  clock.now += 1;
  assertEquals([cache.get("a"), cache.getStale("a")], [undefined, undefined]);
});

Deno.test("AnswerCache uses an old answer that there is no such name, and never one that nobody knew", () => {
  const { cache, clock } = open();
  const [none, unknown] = [new FailedLookup("nxdomain"), new FailedLookup("servfail")];
  cache.set("a", "c", none, 1);
  cache.set("b", "c", unknown, 1);
  assertEquals([cache.get("a") === none, cache.get("b") === unknown], [true, true]);
  clock.now += 1_000;
  assertEquals([cache.getStale("a") === none, cache.getStale("b")], [true, undefined]);
});

Deno.test("AnswerCache drops what the client with the most names has not used for longest", () => {
  const { cache } = open(3);
  for (const key of ["a", "b", "c"]) cache.set(key, key === "c" ? "other" : "busy", answer(key), 60);
  assertEquals(cache.size, 3);
  cache.get("a"); // used: now b is the oldest
  cache.set("d", "new", answer("d"), 60);
  assertEquals([cache.size, cache.get("b"), cache.get("c")], [3, undefined, answer("c")]);
  cache.set("a", "busy", answer("a2"), 60); // once more is no second one
  assertEquals([cache.size, cache.get("a")], [3, answer("a2")]);
  cache.clear();
  assertEquals([cache.size, cache.get("a")], [0, undefined]);
});

Deno.test("AnswerCache counts what a client has left, and among equals never drops what has just come", () => {
  const { cache } = open(3);
  for (const key of ["a", "b"]) cache.set(key, "busy", answer(key), 60);
  cache.set("c", "other", answer("c"), 60);
  cache.set("a", "busy", answer("a2"), 60); // b is still busy's too
  cache.set("d", "new", answer("d"), 60);
  assertEquals([cache.get("b"), cache.get("c")], [undefined, answer("c")]);
  cache.set("e", "newest", answer("e"), 60); // one each
  assertEquals([cache.size, cache.get("e")], [3, answer("e")]);
});
