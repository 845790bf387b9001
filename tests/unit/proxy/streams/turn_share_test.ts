import { assert, assertEquals } from "@std/assert";
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

Deno.test("turnAfter() counts pieces of 8 KiB, and lets one pass while there is a byte of room", async () => {
  await nextTurn();
  for (let i = 0; i < 64; i++) assertEquals(turnAfter(8_192), undefined);
  const passed: string[] = [];
  const wait = async (bytes: number, name: string) => {
    const turn = turnAfter(bytes);
    assert(turn, `${name} did not have to wait`);
    await turn;
    passed.push(name);
  };
  const all = [wait(524_287, "all but a byte"), wait(8_192, "the last"), wait(8_192, "the next turn's")];
  await nextTurn();
  assertEquals(passed, ["all but a byte", "the last"]);
  await Promise.all(all);
  await nextTurn();
  assertEquals([turnAfter(524_287), turnAfter(8_192)], [undefined, undefined]);
  await turnAfter(8_192);
});

Deno.test("turnAfter() keeps a thread at work only while somebody waits", async () => {
  const module = new URL("../../../../proxy/streams/turn_share.ts", import.meta.url).href;
  const script = `import { turnAfter } from "${module}"; turnAfter(524_288); await turnAfter(8_192);`;
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    signal: AbortSignal.timeout(30_000), // it would go round for ever
    stdout: "null",
    stderr: "null",
  }).output();
  assertEquals(success, true);
});
