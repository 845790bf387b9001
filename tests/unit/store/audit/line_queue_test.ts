import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { LineQueue, type TakenLines } from "../../../../store/audit/line_queue.ts";
import { mountSmallDisk } from "../../../support/small_disk.ts";
import { tempFolder } from "../support.ts";

const BOUNDS = { maxBytes: 60, segmentBytes: 20 };
const ALL = { lines: 100, bytes: 1_000 };

function linesOf(...names: (string | number)[]): string[] {
  return names.map((name) => `line ${name}\n`);
}

function textsOf(taken: TakenLines | undefined): readonly string[] {
  return taken?.lines.map(({ text }) => text.replace("line ", "")) ?? [];
}

/** Takes and marks everything. */
async function takeAll(queue: LineQueue): Promise<readonly string[]> {
  const all: string[] = [];
  for (let taken; (taken = await queue.take(ALL));) {
    all.push(...textsOf(taken));
    await queue.done(taken);
  }
  return all;
}

Deno.test("LineQueue gives lines in their order, once each is marked, over files and restarts", async () => {
  await using folder = await tempFolder();
  const seen: string[] = [];
  let n = 0;
  for (let run = 0; run < 4; run++) {
    await using queue = await LineQueue.open(folder.state, { maxBytes: 1_000, segmentBytes: 20 });
    await queue.append(linesOf(n++, n++, n++));
    await queue.append(linesOf(n++));
    const taken = await queue.take({ lines: 2, bytes: 1_000 });
    assert(taken);
    seen.push(...textsOf(taken));
    await queue.done(taken);
    assertEquals(queue.length, n - seen.length);
  }
  await using queue = await LineQueue.open(folder.state, BOUNDS);
  assertEquals(queue.length, n - seen.length);
  seen.push(...await takeAll(queue));
  assertEquals(seen, Array.from({ length: n }, (_, i) => String(i)));
  assertEquals([queue.length, queue.dropped], [0, 0]);
  const files = (await Array.fromAsync(Deno.readDir(folder.state))).map(({ name }) => name);
  assertEquals(files.length, 2, "what was sent is gone from the disk");
  for (const name of files) assertEquals(((await Deno.stat(`${folder.state}/${name}`)).mode ?? 0) & 0o077, 0);
});

Deno.test("LineQueue gives what was not marked again, under the same uid, and others no uid twice", async () => {
  await using folder = await tempFolder();
  const uids: string[][] = [];
  for (let run = 0; run < 3; run++) {
    await using queue = await LineQueue.open(folder.state, BOUNDS);
    if (run === 0) await queue.append(linesOf("a", "b"));
    const first = await queue.take(ALL);
    queue.release();
    const again = await queue.take(ALL);
    assertEquals(first, again);
    assertEquals(textsOf(again), ["a", "b"]);
    uids.push(again?.lines.map(({ uid }) => uid) ?? []);
  }
  assertEquals(uids[1], uids[0]);
  assertEquals(uids[2], uids[0]);
  await using queue = await LineQueue.open(folder.state, BOUNDS);
  await takeAll(queue);
  await queue.append(linesOf("a", "b"));
  const later = (await queue.take(ALL))?.lines.map(({ uid }) => uid) ?? [];
  assertEquals(new Set([...later, ...uids[0] ?? []]).size, 4);
});

Deno.test("LineQueue drops its oldest lines when it is full, and counts them", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, BOUNDS);
  for (let n = 0; n < 8; n++) await queue.append(linesOf(n)); // 7 bytes a line, two in a file
  assertEquals([queue.length, queue.dropped], [8, 0]);
  await queue.append(linesOf(8));
  assertEquals([queue.length, queue.dropped], [7, 2]);
  assertEquals(await takeAll(queue), ["2", "3", "4", "5", "6", "7", "8"]);
});

Deno.test("LineQueue does not drop what is being sent, and counts nothing twice", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, BOUNDS);
  await queue.append(linesOf(0, 1));
  const taken = await queue.take(ALL);
  assert(taken);
  for (let n = 2; n < 20; n++) await queue.append(linesOf(n));
  assertEquals(queue.length + queue.dropped, 20);
  assert(queue.dropped > 0);
  await queue.done(taken);
  const rest = await takeAll(queue);
  assertEquals(rest.length + queue.dropped + 2, 20);
  assertEquals(rest.at(-1), "19");
});

Deno.test("LineQueue stays within its bound, whatever comes", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, BOUNDS);
  for (let n = 0; n < 200; n++) {
    await queue.append(linesOf(...Array.from({ length: n % 3 + 1 }, (_, i) => `${n}-${i}`)));
    if (n % 50 === 10) await queue.take(ALL);
    if (n % 50 === 30) queue.release();
    let size = 0;
    for await (const { name } of Deno.readDir(folder.state)) {
      if (name !== "front") size += (await Deno.stat(`${folder.state}/${name}`)).size;
    }
    // The file being sent stays, and what is written at once is never cut.
    assert(size <= BOUNDS.maxBytes + BOUNDS.segmentBytes + 30, `${size} bytes`);
  }
});

Deno.test("LineQueue.open() cuts off half a line, and takes whatever else is wrong with its files", async (t) => {
  const rows: readonly (readonly [string, (dir: string) => Promise<void>, readonly string[]])[] = [
    ["half a line", (dir) => Deno.writeTextFile(`${dir}/0000000001.lines`, "line", { append: true }), [
      "a",
      "b",
      "new",
    ]],
    ["half a line alone", (dir) => Deno.writeTextFile(`${dir}/0000000001.lines`, "line"), ["new"]],
    ["no front", (dir) => Deno.remove(`${dir}/front`), ["a", "b", "new"]],
    ["an empty front", (dir) => Deno.writeTextFile(`${dir}/front`, ""), ["a", "b", "new"]],
    ["a front that is none", (dir) => Deno.writeTextFile(`${dir}/front`, '{"id":7}'), ["a", "b", "new"]],
    ["no lines", (dir) => Deno.remove(`${dir}/0000000001.lines`), ["new"]],
    ["a foreign file", (dir) => Deno.writeTextFile(`${dir}/notes.txt`, "x"), ["a", "b", "new"]],
    [
      "a front behind the end",
      async (dir) => {
        const front = JSON.parse(await Deno.readTextFile(`${dir}/front`));
        await Deno.writeTextFile(`${dir}/front`, JSON.stringify({ ...front, offset: 99 }));
      },
      ["new"],
    ],
  ];
  for (const [name, spoil, expected] of rows) {
    await t.step(name, async () => {
      await using folder = await tempFolder();
      {
        await using queue = await LineQueue.open(folder.state, BOUNDS);
        await queue.append(linesOf("a", "b"));
      }
      await spoil(folder.state);
      await using queue = await LineQueue.open(folder.state, BOUNDS);
      await queue.append(linesOf("new"));
      assertEquals(queue.length, expected.length);
      assertEquals(await takeAll(queue), expected);
    });
  }
});

Deno.test("LineQueue passes over a file that was emptied under it, and counts what was in it", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, BOUNDS);
  await queue.append(linesOf("a", "b"));
  await queue.append(linesOf("c"));
  await Deno.truncate(`${folder.state}/0000000001.lines`);
  assertEquals(await takeAll(queue), ["c"]);
  assertEquals(queue.dropped, 2);
});

Deno.test("LineQueue.open() says what is wrong with its folder", async () => {
  await using folder = await tempFolder();
  await Deno.writeTextFile(`${folder.path}/file`, "");
  const error = await assertRejects(() => LineQueue.open(`${folder.path}/file`, BOUNDS), ProxyError);
  assertEquals(error.code, "audit.write-failed");
});

Deno.test("LineQueue takes all lines of a call or none when its disk is full", async (t) => {
  await using folder = await tempFolder();
  await using disk = await mountSmallDisk(`${folder.path}/disk`, "64k");
  if (!disk) {
    await t.step({ name: "not root: no small disk", ignore: true, fn() {} });
    return;
  }
  const bounds = { maxBytes: 10_000_000, segmentBytes: 1_000_000 };
  const long = Array.from({ length: 10 }, (_, i) => `${i}${"x".repeat(998)}\n`);
  let written = 0;
  {
    await using queue = await LineQueue.open(`${folder.path}/disk/queue`, bounds);
    await assertRejects(async () => {
      for (;;) {
        await queue.append(long);
        written += long.length;
      }
    });
    assert(written > 0);
    assertEquals(queue.length, written);
    await assertRejects(() => queue.append(long));
    const taken = await queue.take({ lines: 10, bytes: 20_000 });
    assertEquals(taken?.lines.length, 10);
  }
  for await (const { name } of Deno.readDir(`${folder.path}/disk/queue`)) {
    const text = await Deno.readTextFile(`${folder.path}/disk/queue/${name}`);
    if (name.endsWith(".lines")) assert(text === "" || text.endsWith("x\n"), "no half line is left");
  }
});

Deno.test("LineQueue begins another file only where lines are: one longer than a file is alone in it", async () => {
  await using dir = await tempFolder();
  await using queue = await LineQueue.open(dir.path, { maxBytes: 1_000, segmentBytes: 20 });
  const files = async () =>
    (await Array.fromAsync(Deno.readDir(dir.path))).filter(({ name }) => /\d/.test(name));
  const before = (await files()).length;
  await queue.append([`line ${"x".repeat(50)}\n`]);
  assertEquals((await files()).length, before);
  await queue.append(linesOf("y"));
  assertEquals((await files()).length, before + 1);
  assertEquals(await takeAll(queue), [`${"x".repeat(50)}`, "y"].map((text) => text));
});

/** The sizes of a queue's files, in their order. */
async function sizesIn(dir: string): Promise<number[]> {
  const files = (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).filter((name) =>
    name !== "front"
  );
  return await Promise.all(files.sort().map(async (name) => (await Deno.stat(`${dir}/${name}`)).size));
}

Deno.test("LineQueue fills a file to its last byte, and the queue too", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, { maxBytes: 40, segmentBytes: 20 });
  const ten = ["123456789\n"];
  for (let n = 0; n < 2; n++) await queue.append(ten);
  assertEquals(await sizesIn(folder.state), [20]);
  await queue.append(ten);
  assertEquals(await sizesIn(folder.state), [20, 10]);
  await queue.append(ten);
  assertEquals([await sizesIn(folder.state), queue.dropped], [[20, 20], 0] as unknown[]);
  await queue.append(["\n"]);
  assertEquals([await sizesIn(folder.state), queue.dropped], [[20, 1], 2] as unknown[]);
});

Deno.test("LineQueue makes room in a file that is alone, and never for a line longer than all", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, { maxBytes: 10, segmentBytes: 100 });
  await queue.append(["12345\n"]);
  await queue.append(["6789\n"]);
  assertEquals([queue.length, queue.dropped], [1, 1]);
  await queue.append([`${"x".repeat(50)}\n`]);
  assertEquals([queue.length, queue.dropped], [1, 2]);
});

Deno.test("LineQueue.take() gives so many lines and so many bytes, and whole lines alone", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, { maxBytes: 1_000, segmentBytes: 1_000 });
  await queue.append(["1\n", "2\n", "3\n"]);
  const count = async (lines: number, bytes: number) => {
    const taken = await queue.take({ lines, bytes });
    queue.release();
    return taken?.lines.map(({ text }) => text).join("");
  };
  assertEquals([
    await count(2, 100),
    await count(3, 100),
    await count(9, 4),
    await count(9, 5),
    await count(9, 6),
  ], [
    "12",
    "123",
    "12",
    "12",
    "123",
  ]);
});

Deno.test("LineQueue begins another file behind half a line that it could not cut off", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, { maxBytes: 1_000, segmentBytes: 1_000 });
  await queue.append(["a\n"]);
  const { write, truncate } = Deno.FsFile.prototype;
  Deno.FsFile.prototype.write = async function (bytes) {
    await write.call(this, bytes.subarray(0, 2));
    throw new Error("disk is full");
  };
  Deno.FsFile.prototype.truncate = () => Promise.reject(new Error("input/output error"));
  try {
    await assertRejects(() => queue.append(["long\n"]), Error, "disk is full");
  } finally {
    Object.assign(Deno.FsFile.prototype, { write, truncate });
  }
  await queue.append(["b\n"]);
  await queue.append(["c\n"]);
  assertEquals(await sizesIn(folder.state), [4, 4], "one of them, and no more");
  assertEquals(await takeAll(queue), ["a", "b", "c"]);
});

Deno.test("LineQueue cuts off half a line that could not be written whole", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, { maxBytes: 1_000, segmentBytes: 1_000 });
  await queue.append(["a\n"]);
  const { write } = Deno.FsFile.prototype;
  Deno.FsFile.prototype.write = async function (bytes) {
    await write.call(this, bytes.subarray(0, 2));
    throw new Error("disk is full");
  };
  try {
    await assertRejects(() => queue.append(["long\n"]), Error, "disk is full");
  } finally {
    Deno.FsFile.prototype.write = write;
  }
  await queue.append(["b\n"]);
  assertEquals([await sizesIn(folder.state), await takeAll(queue)], [[4], ["a", "b"]] as unknown[]);
});

Deno.test("LineQueue goes on in another file when the one that it writes is emptied under it", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, BOUNDS);
  await queue.append(linesOf("a", "b"));
  await Deno.truncate(`${folder.state}/0000000001.lines`);
  assertEquals(await queue.take(ALL), undefined);
  assertEquals([queue.length, queue.dropped], [0, 2]);
  await queue.append(linesOf("c"));
  assertEquals(await takeAll(queue), ["c"]);
});

Deno.test("LineQueue begins no other file before it is over its bound", async () => {
  await using folder = await tempFolder();
  await using queue = await LineQueue.open(folder.state, { maxBytes: 20, segmentBytes: 20 });
  const ten = ["123456789\n"];
  for (let n = 0; n < 2; n++) await queue.append(ten);
  const names = async () => (await Array.fromAsync(Deno.readDir(folder.state), ({ name }) => name)).sort();
  assertEquals(await names(), ["0000000001.lines", "front"]);
  await queue.append(ten);
  assertEquals(await names(), ["0000000002.lines", "front"]);
});
