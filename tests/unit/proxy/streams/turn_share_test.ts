import { assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { turnAfter } from "../../../../proxy/streams/turn_share.ts";

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

Deno.test("turnAfter() has who comes after half a MiB in a turn wait for the next one", async () => {
  await nextTurn();
  let pieces = 0;
  let turn = turnAfter(65_536);
  for (; !turn; turn = turnAfter(65_536)) pieces++;
  assertEquals(pieces, 8);
  let isOver = false;
  void turn.then(() => isOver = true);
  for (let i = 0; i < 100; i++) await Promise.resolve();
  assertEquals(isOver, false);
  await turn;
});

Deno.test("turnAfter() lets those who wait pass in their order, half a MiB in a turn", async () => {
  await nextTurn();
  while (!turnAfter(262_144)); // this turn is full; the one who asked last waits as well
  const passed: number[] = [];
  const all = Array.from({ length: 8 }, (_, i) => turnAfter(262_144)?.then(() => passed.push(i)));
  const seen: number[] = [];
  while (passed.length < 8) {
    await nextTurn();
    seen.push(passed.length);
  }
  await Promise.all(all);
  assertEquals(passed, [0, 1, 2, 3, 4, 5, 6, 7]);
  const most = Math.max(...seen.map((each, i) => each - (seen[i - 1] ?? 0)));
  assertEquals(most, 2);
});

Deno.test("turnAfter() lets small pieces pass, and turns that are not full", async () => {
  await nextTurn();
  for (let i = 0; i < 1_000; i++) assertEquals(turnAfter(8_191), undefined);
  for (let turn = 0; turn < 3; turn++) {
    for (let i = 0; i < 7; i++) assertEquals(turnAfter(65_536), undefined);
    await nextTurn();
  }
});
