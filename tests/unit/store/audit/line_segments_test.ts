import { assertEquals, assertRejects } from "@std/assert";
import {
  linesIn,
  makeSegment,
  measureSegment,
  readFront,
  removeSegment,
  segmentNumbers,
  writeFront,
} from "../../../../store/audit/line_segments.ts";
import { modeOf, tempFolder } from "../support.ts";

const ID = "01234567-89ab-cdef-0123-456789abcdef";

async function write(dir: string, number: number, text: string): Promise<string> {
  const path = `${dir}/${String(number).padStart(10, "0")}.lines`;
  await Deno.writeTextFile(path, text);
  return path;
}

Deno.test("makeSegment() makes a file of its own number, for its user alone, that is appended to", async () => {
  await using folder = await tempFolder();
  using file = await makeSegment(folder.path, 7);
  const path = `${folder.path}/0000000007.lines`;
  assertEquals(await modeOf(path), 0o600);
  await file.write(new TextEncoder().encode("abc"));
  await file.truncate(1);
  await file.write(new TextEncoder().encode("d")); // at the end, wherever it stood
  assertEquals(await Deno.readTextFile(path), "ad");
  await assertRejects(() => makeSegment(folder.path, 7), Deno.errors.AlreadyExists);
});

Deno.test("removeSegment() removes a file, takes one that is gone as removed, and hides no other failure", async () => {
  await using folder = await tempFolder();
  const path = await write(folder.path, 3, "x\n");
  await removeSegment(folder.path, 3);
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
  await removeSegment(folder.path, 3);
  await Deno.mkdir(`${path}/in`, { recursive: true });
  await assertRejects(() => removeSegment(folder.path, 3));
});

Deno.test("segmentNumbers() are those of the names that it gives itself, ascending by number", async () => {
  await using folder = await tempFolder();
  const foreign = ["front", "1.lines", "00000000001.lines", "x0000000004.lines", "0000000004.lines.bak"];
  for (const name of foreign) await Deno.writeTextFile(`${folder.path}/${name}`, "");
  for (const number of [30, 4, 1_000_000_000, 200]) await write(folder.path, number, "");
  assertEquals(await segmentNumbers(folder.path), [4, 30, 200, 1_000_000_000]);
});

Deno.test("measureSegment() counts the lines that end behind a place, and cuts off half a line", async (t) => {
  const long = `${"x".repeat(70_000)}\n`; // more than is read at once
  const rows: readonly (readonly [text: string, offset: number, bytes: number, lines: number])[] = [
    ["", 0, 0, 0],
    ["half", 0, 0, 0],
    ["a\nbc\n", 0, 5, 2],
    ["a\nbc\n", 1, 5, 2],
    ["a\nbc\n", 2, 5, 1],
    ["a\nbc\n", 4, 5, 1],
    ["a\nbc\n", 5, 5, 0],
    ["a\nbc\n", 9, 5, 0],
    ["a\nbc\nhalf", 0, 5, 2],
    ["\n\n\n", 0, 3, 3],
    [`${long}${long}b\nhalf`, long.length, 2 * long.length + 2, 2],
  ];
  for (const [text, offset, bytes, lines] of rows) {
    await t.step(`${JSON.stringify(text.slice(0, 20))} from ${offset}`, async () => {
      await using folder = await tempFolder();
      const path = await write(folder.path, 5, text);
      assertEquals(await measureSegment(folder.path, 5, offset), { number: 5, bytes, lines });
      assertEquals((await Deno.stat(path)).size, bytes);
    });
  }
});

Deno.test("linesIn() are the whole lines of a part, each with the place behind it", async (t) => {
  await using folder = await tempFolder();
  await write(folder.path, 1, "a\nbc\n\nä\nhalf");
  const rows: readonly (readonly [
    offset: number,
    length: number,
    lines: readonly (readonly [string, number])[],
  ])[] = [
    [0, 100, [["a", 2], ["bc", 5], ["", 6], ["ä", 9]]],
    [2, 100, [["bc", 5], ["", 6], ["ä", 9]]],
    [2, 3, [["bc", 5]]],
    [2, 4, [["bc", 5], ["", 6]]],
    [2, 2, []],
    [5, 100, [["", 6], ["ä", 9]]],
    [9, 4, []],
    [50, 4, []],
    [0, 0, []],
  ];
  for (const [offset, length, lines] of rows) {
    await t.step(`${offset} ${length}`, async () => {
      const found = await linesIn(folder.path, { number: 1, offset, length });
      assertEquals(found.map(({ text, end }) => [text, end] as const), lines);
    });
  }
});

Deno.test("readFront() gives back what writeFront() was given, whatever was there before", async () => {
  await using folder = await tempFolder();
  assertEquals(await readFront(folder.path), undefined);
  for (const front of [{ id: ID, segment: 1, offset: 9 }, { id: ID, segment: 0, offset: 0 }]) {
    await writeFront(folder.path, front);
    assertEquals(await readFront(folder.path), front);
  }
  assertEquals(await modeOf(`${folder.path}/front`), 0o600);
  assertEquals((await Array.fromAsync(Deno.readDir(folder.path))).map(({ name }) => name), ["front"]);
});

Deno.test("readFront() takes nothing for a front that is none", async (t) => {
  await using folder = await tempFolder();
  const front = { id: ID, segment: 1, offset: 2 };
  const texts = [
    "",
    "null",
    "{",
    ...[
      { ...front, id: 7 },
      { ...front, id: ID.slice(1) },
      { ...front, id: `${ID}0` },
      { ...front, id: ID.toUpperCase() },
      { ...front, segment: -1 },
      { ...front, segment: 1.5 },
      { ...front, segment: undefined },
      { ...front, offset: -1 },
      { ...front, offset: "2" },
      { ...front, offset: 2 ** 53 },
    ].map((each) => JSON.stringify(each)),
  ];
  for (const text of texts) {
    await t.step(text, async () => {
      await Deno.writeTextFile(`${folder.path}/front`, text);
      assertEquals(await readFront(folder.path), undefined);
    });
  }
  await Deno.remove(`${folder.path}/front`);
  await Deno.mkdir(`${folder.path}/front`);
  await assertRejects(() => readFront(folder.path)); // what cannot be read is not what is not there
});
