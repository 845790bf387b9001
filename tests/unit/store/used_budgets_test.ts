import { assertEquals } from "@std/assert";
import { readUse, type SavedUse, writeUse } from "../../../store/used_budgets.ts";
import { makeWriter, MemoryEngine } from "./memory_engine.ts";
import { assertCode, HandClock } from "./support.ts";

function use(meter: string, untilMs: number): SavedUse {
  return { meter, period: 0, used: 0, untilMs };
}

Deno.test("readUse() gives back what writeUse() was given, until its hour or day is over", async () => {
  const [db, clock] = [new MemoryEngine(), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  const saved = [
    { meter: "0", period: 3, used: 7, untilMs: clock.nowMs + 2 },
    { meter: "0123456789abcdef", period: 2 ** 53 - 1, used: 0, untilMs: clock.nowMs + 1 },
  ];
  await writeUse(writer, saved);
  assertEquals(db.commits.flat().map(({ expireInMs }) => expireInMs), [2, 1]);
  assertEquals(await readUse(writer), saved);
  clock.nowMs += 1;
  assertEquals(await readUse(writer), saved.slice(0, 1));
  await writeUse(writer, saved);
  assertEquals(db.commits.at(-1)?.map(({ expireInMs }) => expireInMs), [1, 1], "no row is kept for ever");
});

Deno.test("writeUse() takes five hundred rows in a commit", async () => {
  const [db, clock] = [new MemoryEngine(), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  const many = Array.from({ length: 1_001 }, (_, i) => use(i.toString(16), clock.nowMs + 1));
  await writeUse(writer, many);
  assertEquals(db.commits.map(({ length }) => length), [500, 500, 1]);
  assertEquals((await readUse(writer)).length, 1_001);
  await writeUse(writer, []);
  assertEquals(db.commits.length, 3);
});

Deno.test("readUse() refuses a row that no host has written", async (t) => {
  const fine = { period: 1, used: 1, untilMs: 1 };
  const rows: readonly (readonly [meter: string, value: Record<string, unknown>])[] = [
    ["", fine],
    ["01234567890abcdef", fine],
    ["G", fine],
    ["A", fine],
    ["a", { ...fine, period: -1 }],
    ["a", { ...fine, period: 0.5 }],
    ["a", { ...fine, used: -1 }],
    ["a", { ...fine, used: 1.5 }],
    ["a", { ...fine, used: 2 ** 53 }],
    ["a", { ...fine, used: "1" }],
    ["a", { period: 1, used: 1 }],
  ];
  for (const [meter, value] of rows) {
    await t.step(`${meter} ${JSON.stringify(value)}`, async () => {
      const db = new MemoryEngine();
      await using writer = await makeWriter({ db });
      await db.commit([{ key: ["used", meter], value }]);
      await assertCode(readUse(writer), "state.damaged");
    });
  }
});
