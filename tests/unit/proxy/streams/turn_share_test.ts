import { assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { passedInTurn } from "../../../../proxy/streams/turn_share.ts";

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

Deno.test("passedInTurn() has who has passed on half a MiB in a turn wait for the next one, and everybody else with them", async () => {
  await nextTurn();
  let pieces = 0;
  while (!passedInTurn(65_536)) pieces++;
  assertEquals(pieces, 7);
  const turn = passedInTurn(8_192);
  let isOver = false;
  void turn?.then(() => isOver = true);
  for (let i = 0; i < 100; i++) await Promise.resolve();
  assertEquals([turn !== undefined, isOver], [true, false]);
  await turn;
  assertEquals(passedInTurn(65_536), undefined);
});

Deno.test("passedInTurn() lets small pieces pass, and turns that are not full", async () => {
  await nextTurn();
  for (let i = 0; i < 1_000; i++) assertEquals(passedInTurn(8_191), undefined);
  for (let turn = 0; turn < 3; turn++) {
    for (let i = 0; i < 7; i++) assertEquals(passedInTurn(65_536), undefined);
    await nextTurn();
  }
});
