import { assertEquals } from "@std/assert";
import { makeMetersMemory, Meters } from "../../../../proxy/records/meters.ts";

Deno.test("add() counts up to the limit, and the next hour begins at 0", () => {
  const meters = new Meters();
  const add = (amount: number, period = 500_000) => meters.add(7n, amount, { period, limit: 10 });
  assertEquals(add(9), { before: 0, isAdded: true });
  assertEquals(add(9), { before: 9, isAdded: true }); // the last one may go over it
  assertEquals(add(1), { before: 18, isAdded: false });
  assertEquals(meters.used(7n, 500_000), 18);
  assertEquals(meters.used(7n, 500_001), 0);
  assertEquals(add(1, 500_001), { before: 0, isAdded: true });
  // A thread whose clock is a little behind counts into the hour that another has begun.
  assertEquals(add(2, 500_000), { before: 1, isAdded: true });
  assertEquals(meters.used(7n, 500_001), 3);
});

Deno.test("the number of an hour may pass 65,536", () => {
  const meters = new Meters();
  meters.add(7n, 5, { period: 65_535, limit: 10 });
  assertEquals(meters.add(7n, 1, { period: 65_536, limit: 10 }), { before: 0, isAdded: true });
});

Deno.test("keys that share a place have meters of their own, and keepOnly() frees those of others", () => {
  const meters = new Meters();
  const keys = Array.from({ length: 500 }, (_, i) => 2n + (BigInt(i) << 20n)); // all have one home
  for (const [i, key] of keys.entries()) meters.add(key, i + 1, { period: 1, limit: 1_000 });
  assertEquals(keys.map((key) => meters.used(key, 1)), keys.map((_, i) => i + 1));
  const kept = keys.filter((_, i) => i % 2 === 0);
  meters.keepOnly(new Set(kept));
  assertEquals(kept.map((key) => meters.used(key, 1)), kept.map((_, i) => 2 * i + 1));
  assertEquals(meters.used(keys[1] ?? 0n, 1), 0);
  assertEquals(meters.add(keys[1] ?? 0n, 3, { period: 1, limit: 1_000 }).before, 0);
});

Deno.test("where there is no meter left, nothing is let through", () => {
  const meters = new Meters();
  const keys = Array.from({ length: 1_024 }, (_, i) => 2n + (BigInt(i) << 20n));
  for (const key of keys) meters.add(key, 1, { period: 1, limit: 10 });
  assertEquals(meters.add(2n + (5_000n << 20n), 1, { period: 1, limit: 10 }).isAdded, false);
});

Deno.test("two views of one memory count together", () => {
  const memory = makeMetersMemory();
  const [one, two] = [new Meters(memory), new Meters(memory)];
  for (const meters of [one, two, one]) meters.add(99n, 2, { period: 3, limit: 5 });
  assertEquals(two.add(99n, 1, { period: 3, limit: 5 }), { before: 6, isAdded: false });
  assertEquals([one.used(99n, 3), two.used(99n, 3)], [6, 6]);
});

Deno.test("all places are used: keys wrap around at the end, and one place is left for the 65,536th", () => {
  const memory = makeMetersMemory();
  assertEquals(memory.byteLength, 2 * 65_536 * 8);
  const meters = new Meters(memory);
  const last = 2n * 65_536n - 1n; // its home is the last place
  for (const [i, key] of [last, last + 65_536n, last + 131_072n].entries()) {
    assertEquals(meters.add(key, i + 1, { period: 1, limit: 10 }), { before: 0, isAdded: true });
  }
  assertEquals([0n, 65_536n, 131_072n].map((more) => meters.used(last + more, 1)), [1, 2, 3]);
  const words = new BigUint64Array(memory);
  assertEquals([words[2 * 65_535], words[0], words[2]], [last, last + 65_536n, last + 131_072n]);
});

Deno.test("a freed place is taken again, and what lies behind it is still found", () => {
  const memory = makeMetersMemory();
  const meters = new Meters(memory);
  const [one, two, three] = [7n, 7n + 65_536n, 7n + 131_072n];
  const add = (key: bigint, amount: number) => meters.add(key, amount, { period: 1, limit: 100 });
  add(one, 1);
  add(two, 2);
  meters.keepOnly(new Set([two]));
  assertEquals([meters.used(one, 1), meters.used(two, 1)], [0, 2]);
  assertEquals(add(two, 1).before, 2); // not in the freed place, where a second meter of it would begin
  assertEquals(add(three, 5), { before: 0, isAdded: true });
  const words = new BigUint64Array(memory);
  assertEquals([words[14], words[16], words[18]], [three, two, 0n]);
});

Deno.test("used() makes no meter, and a limit is reached exactly", () => {
  const memory = makeMetersMemory();
  const meters = new Meters(memory);
  assertEquals(meters.used(7n, 1), 0);
  assertEquals(new BigUint64Array(memory).some((word) => word !== 0n), false);
  assertEquals(meters.add(7n, 10, { period: 1, limit: 10 }), { before: 0, isAdded: true });
  assertEquals(meters.add(7n, 1, { period: 1, limit: 10 }), { before: 10, isAdded: false });
  assertEquals(meters.add(7n, 1, { period: 1, limit: 11 }), { before: 10, isAdded: true });
});

Deno.test("what is used has 48 bits and stays there, and 32,767 periods ahead are later, no more", () => {
  const meters = new Meters();
  const most = 2 ** 48 - 1;
  const limit = Number.MAX_SAFE_INTEGER;
  meters.add(7n, most - 1, { period: 3, limit });
  assertEquals(meters.used(7n, 3), most - 1);
  meters.add(7n, 5, { period: 3, limit });
  assertEquals([meters.used(7n, 3), meters.used(7n, 2)], [most, most]);
  assertEquals(meters.used(7n, 3 + 0x7fff), 0);
  assertEquals(meters.used(7n, 3 + 0x8000), most); // that is behind, counted in a circle
});
