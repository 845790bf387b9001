import { assertEquals, assertRejects } from "@std/assert";
import type { StoredRecord } from "../../../../policy/audit_record.ts";
import { mergeRecords } from "../../../../store/audit/merge.ts";
import { makeRecord } from "../../../support/make_record.ts";

/** Records at these times, of a port that says whose they are; `ended` is told once it has been let go of. */
async function* recordsAt(port: number, times: readonly number[], ended = () => {}) {
  try {
    for (const timeMs of times) yield makeRecord(port, { timeMs });
  } finally {
    ended();
  }
}

async function timesOf(records: AsyncIterable<StoredRecord>): Promise<string[]> {
  return (await Array.fromAsync(records)).map(({ port, timeMs }) => `${port === 1 ? "a" : "b"}${timeMs}`);
}

Deno.test("mergeRecords() gives both in the order of their times, the first's before the second's", async (t) => {
  const rows: [
    name: string,
    a: readonly number[],
    b: readonly number[],
    limit: number | undefined,
    merged: string,
  ][] = [
    ["in turns", [1, 4, 5], [2, 3, 6], undefined, "a1 b2 b3 a4 a5 b6"],
    ["of the same time", [2, 3], [2, 3], undefined, "a2 b2 a3 b3"],
    ["one after the other", [3, 4], [1, 2], undefined, "b1 b2 a3 a4"],
    ["none of the first", [], [1, 2], undefined, "b1 b2"],
    ["none of the second", [1, 2], [], undefined, "a1 a2"],
    ["none", [], [], undefined, ""],
    ["the newest", [1, 4], [2, 3], 2, "b3 a4"],
    ["the newest one", [1, 4], [2, 3], 1, "a4"],
    ["as many as there are", [1, 4], [2, 3], 4, "a1 b2 b3 a4"],
    ["more than there are", [1], [2], 9, "a1 b2"],
  ];
  for (const [name, a, b, limit, merged] of rows) {
    await t.step(name, async () => {
      assertEquals((await timesOf(mergeRecords(recordsAt(1, a), recordsAt(2, b), limit))).join(" "), merged);
    });
  }
});

Deno.test("mergeRecords() lets go of both when the reader stops, or one of them fails", async () => {
  const ended: string[] = [];
  const source = (port: number) => recordsAt(port, [port, port + 2], () => ended.push(`${port}`));
  const merged = mergeRecords(source(1), source(2));
  assertEquals((await merged.next()).value?.port, 1);
  assertEquals(ended, []);
  await merged.return(undefined);
  assertEquals(ended.sort(), ["1", "2"]);

  // deno-lint-ignore require-yield
  async function* failing(): AsyncGenerator<StoredRecord> {
    await Promise.resolve();
    throw new Error("no such file any more");
  }
  for (const [left, right] of [[source(3), failing()], [failing(), source(4)]] as const) {
    await assertRejects(() => timesOf(mergeRecords(left, right)), Error, "no such file any more");
  }
  assertEquals(ended.sort(), ["1", "2", "3"]); // 4 was not begun, and has nothing to let go of
});

Deno.test("mergeRecords() reads no further than its reader: a followed log is not held in memory", async () => {
  let read = 0;
  async function* counted(port: number): AsyncGenerator<StoredRecord> {
    for (let timeMs = 0; timeMs < 100; timeMs++, read++) yield makeRecord(port, { timeMs });
  }
  const merged = mergeRecords(counted(1), counted(2));
  for (let i = 0; i < 10; i++) await merged.next();
  await merged.return(undefined);
  assertEquals(read, 9);
});
