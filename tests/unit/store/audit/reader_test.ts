import { assert, assertEquals, assertRejects } from "@std/assert";
import { formatStored, type RecordFilter, type StoredRecord } from "../../../../policy/audit_record.ts";
import type { FilePosition } from "../../../../store/audit/file.ts";
import { readRecords } from "../../../../store/audit/reader.ts";
import { makeRecord as record } from "../../../support/make_record.ts";
import { tempFolder } from "../support.ts";

const MAX_NEWEST_CHARS = 16_777_216;
const BLOCK_BYTES = 65_536;

function line(port: number, more: Partial<StoredRecord> = {}): string {
  return `${formatStored(record(port, more), "json")}\n`;
}

function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => line(from + i)).join("");
}

async function endOf(path: string): Promise<FilePosition> {
  return await Deno.stat(path);
}

async function portsOf(records: AsyncIterable<StoredRecord>): Promise<number[]> {
  return await Array.fromAsync(records, ({ port }) => port ?? 0);
}

/** Counts what is done to files from here on. */
function watchFiles(): Disposable & { opened: number; closed: number; bytes: number } {
  const { open } = Deno;
  const { close, read } = Deno.FsFile.prototype;
  const seen = {
    opened: 0,
    closed: 0,
    bytes: 0,
    [Symbol.dispose]() {
      Deno.open = open;
      Object.assign(Deno.FsFile.prototype, { close, read });
    },
  };
  Deno.open = async (path, options) => {
    const file = await open(path, options);
    seen.opened++;
    return file;
  };
  Deno.FsFile.prototype.close = function () {
    seen.closed++;
    close.call(this);
  };
  Deno.FsFile.prototype.read = async function (buffer) {
    const count = await read.call(this, buffer);
    seen.bytes += count ?? 0;
    return count;
  };
  return seen;
}

/** Three files: ports of 30 to 39 in the newest, 20 to 29 in the one before, 10 to 19 in the oldest. */
async function threeFiles(dir: string): Promise<string> {
  const path = `${dir}/audit.jsonl`;
  await Deno.writeTextFile(path, lines(30, 40));
  await Deno.writeTextFile(`${path}.1`, lines(20, 30));
  await Deno.writeTextFile(`${path}.2`, lines(10, 20));
  return path;
}

Deno.test("readRecords() reads as many old files as there may be, and closes each", async (t) => {
  await using folder = await tempFolder();
  const path = await threeFiles(folder.path);
  const end = await endOf(path);
  const rows: readonly (readonly [kept: number, from: number, opened: number])[] = [
    [0, 30, 1],
    [1, 20, 2],
    [2, 10, 3],
    [9, 10, 3],
  ];
  for (const [kept, from, opened] of rows) {
    for (const limit of [undefined, 100]) {
      await t.step(`${kept} ${limit}`, async () => {
        using seen = watchFiles();
        const ports = await portsOf(readRecords({ path, kept, end }, {}, limit));
        assertEquals([ports.length, ports[0], ports.at(-1)], [40 - from, from, 39]);
        assertEquals([seen.opened, seen.closed], [opened, opened]);
      });
    }
  }
});

Deno.test("readRecords() closes its files when the reader stops, too", async () => {
  await using folder = await tempFolder();
  const path = await threeFiles(folder.path);
  using seen = watchFiles();
  const found: number[] = [];
  for await (const { port = 0 } of readRecords({ path, kept: 2, end: await endOf(path) }, {})) {
    found.push(port);
    if (found.length === 2) break;
  }
  assertEquals([found, seen.opened, seen.closed], [[10, 11], 3, 3]);
});

Deno.test("readRecords() sees nothing behind its end, neither in that file nor in newer ones", async () => {
  await using folder = await tempFolder();
  const path = await threeFiles(folder.path);
  const { dev, ino } = await Deno.stat(`${path}.1`);
  using seen = watchFiles();
  for (const limit of [undefined, 100]) {
    const end = { dev, ino, size: lines(20, 25).length };
    assertEquals(await portsOf(readRecords({ path, kept: 2, end }, {}, limit)), [
      ...[10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
      ...[20, 21, 22, 23, 24],
    ]);
  }
  assertEquals([seen.opened, seen.closed], [6, 6]);
});

Deno.test("readRecords() takes files that are gone for rotated away, and none for nothing", async (t) => {
  await using folder = await tempFolder();
  const path = await threeFiles(folder.path);
  const end = await endOf(path);
  await t.step("one in the middle", async () => {
    await Deno.remove(`${path}.1`);
    const ports = await portsOf(readRecords({ path, kept: 2, end }, {}));
    assertEquals([ports.length, ports[0], ports.at(-1)], [20, 10, 39]);
  });
  await t.step("the newest", async () => {
    using seen = watchFiles();
    await Deno.remove(path);
    assertEquals((await portsOf(readRecords({ path, kept: 2, end }, {}))).length, 10);
    assertEquals(seen.closed, seen.opened);
  });
  await t.step("all", async () => {
    await Deno.remove(`${path}.2`);
    for (const limit of [undefined, 5]) {
      assertEquals(await portsOf(readRecords({ path, kept: 2, end }, {}, limit)), []);
    }
  });
});

Deno.test("readRecords() looks again while its newest file is another one, and not for ever", async () => {
  await using folder = await tempFolder();
  const path = await threeFiles(folder.path);
  const end = await endOf(path);
  const { stat } = Deno;
  for (const restless of [0, 1, 99, 1_000]) {
    let looks = 0;
    using seen = watchFiles();
    Deno.stat = async (name) => {
      const info = await stat(name);
      return ++looks <= restless ? { ...info, ino: -1 } : info;
    };
    try {
      assertEquals((await portsOf(readRecords({ path, kept: 2, end }, {}))).length, 30);
    } finally {
      Deno.stat = stat;
    }
    assertEquals(looks, Math.min(restless + 1, 100));
    assertEquals([seen.opened, seen.closed], [3 * looks, 3 * looks]);
  }
});

Deno.test("readRecords() that meets a file it cannot look at closes those it has", async (t) => {
  await using folder = await tempFolder();
  const path = await threeFiles(folder.path);
  const end = await endOf(path);
  await t.step("that it cannot open", async () => {
    using seen = watchFiles();
    const open = Deno.open;
    Deno.open = (name, options) =>
      String(name).endsWith(".2")
        ? Promise.reject(new Deno.errors.PermissionDenied("no"))
        : open(name, options);
    await assertRejects(() => portsOf(readRecords({ path, kept: 2, end }, {})), Deno.errors.PermissionDenied);
    assertEquals([seen.opened, seen.closed], [2, 2]);
  });
  await t.step("of which it learns nothing", async () => {
    using seen = watchFiles();
    const { stat } = Deno.FsFile.prototype;
    let asked = 0;
    Deno.FsFile.prototype.stat = function () {
      return ++asked === 2 ? Promise.reject(new Error("input/output error")) : stat.call(this);
    };
    try {
      await assertRejects(() => portsOf(readRecords({ path, kept: 2, end }, {})), Error, "input/output");
    } finally {
      Deno.FsFile.prototype.stat = stat;
    }
    assertEquals([seen.opened, seen.closed], [2, 2]);
  });
});

Deno.test("readRecords() holds so many characters of the newest, and one record more", async (t) => {
  const long = MAX_NEWEST_CHARS / 4;
  const bare = line(10, { path: "" }).trimEnd().length;
  const rows: readonly (readonly [name: string, last: number, found: number])[] = [
    ["just as many", long, 5],
    ["a character more", long + 1, 4],
  ];
  for (const [name, last, found] of rows) {
    await t.step(name, async () => {
      await using folder = await tempFolder();
      const path = `${folder.path}/audit.jsonl`;
      // Lines of more than a MiB are passed over: so each of the four is sixteen.
      const sizes = [last - long, 0, 0, 0].flatMap((more) => [...Array(15).fill(0), more]);
      const text = sizes.map((more) => line(10, { path: "p".repeat(long / 16 + more - bare) })).join("");
      await Deno.writeTextFile(path, line(11) + text);
      const ports = await portsOf(readRecords({ path, kept: 0, end: await endOf(path) }, {}, 1_000));
      assertEquals(ports.length, found === 5 ? 65 : 64);
    });
  }
});

Deno.test("readRecords() begins in the file in which a time is", async () => {
  await using folder = await tempFolder();
  const path = await threeFiles(folder.path);
  const end = await endOf(path);
  for (const port of [0, 10, 15, 20, 29, 30, 39]) {
    for (const limit of [undefined, 100]) {
      const ports = await portsOf(
        readRecords({ path, kept: 2, end }, { sinceMs: record(port).timeMs }, limit),
      );
      const first = Math.max(port, 10);
      assertEquals([ports.length, ports[0], ports.at(-1)], [40 - first, first, 39]);
    }
  }
});

Deno.test("readRecords() reads little of a long file when it is asked for what is new", async (t) => {
  await using folder = await tempFolder();
  const path = `${folder.path}/audit.jsonl`;
  await Deno.writeTextFile(path, lines(10_000, 20_000)); // 18 blocks
  await Deno.writeTextFile(`${path}.1`, lines(1_000, 10_000));
  const end = await endOf(path);
  const since = (port: number) => ({ sinceMs: record(port).timeMs });
  assert(end.size > 15 * BLOCK_BYTES);
  const rows: readonly (readonly [
    name: string,
    filter: RecordFilter,
    limit: number | undefined,
    found: number,
    blocks: number,
  ])[] = [
    ["the newest", {}, 10, 10, 1],
    ["the newest since a time", since(19_990), 1_000, 10, 1],
    ["all since a time", since(19_990), undefined, 10, 10],
    ["all since later", since(20_001), undefined, 0, 10],
  ];
  for (const [name, filter, limit, found, blocks] of rows) {
    await t.step(name, async () => {
      using seen = watchFiles();
      assertEquals((await portsOf(readRecords({ path, kept: 1, end }, filter, limit))).length, found);
      assert(seen.bytes <= blocks * BLOCK_BYTES, `${seen.bytes / BLOCK_BYTES} blocks`);
    });
  }
});

Deno.test("readRecords() parses no line that cannot match", async (t) => {
  await using folder = await tempFolder();
  const path = `${folder.path}/audit.jsonl`;
  await Deno.writeTextFile(path, lines(0, 30)); // each second a denial, each third of c1, each fifth for the API
  const end = await endOf(path);
  const rows: readonly (readonly [filter: RecordFilter, parsed: number])[] = [
    [{}, 31], // what stands behind the last line end among them
    [{ host: "*" }, 31],
    [{ denied: true }, 15],
    [{ client: "c1" }, 10],
    [{ host: "api.example.com" }, 6],
    [{ host: "*.example.com" }, 6],
    [{ denied: true, client: "c1", host: "*.example.com" }, 1],
  ];
  const { parse } = JSON;
  for (const [filter, parsed] of rows) {
    await t.step(JSON.stringify(filter), async () => {
      let count = 0;
      JSON.parse = (text, reviver) => {
        count++;
        return parse(text, reviver);
      };
      try {
        await portsOf(readRecords({ path, kept: 0, end }, filter, 100));
      } finally {
        JSON.parse = parse;
      }
      assertEquals(count, parsed);
    });
  }
});
