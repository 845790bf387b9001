import { assertEquals, assertRejects } from "@std/assert";
import { formatStored, type StoredRecord } from "../../../../policy/audit_record.ts";
import { besidePath, SplitFile } from "../../../../store/audit/split_file.ts";
import { makeRecord as record } from "../../../support/make_record.ts";
import { assertCode, tempFolder } from "../support.ts";

function known(port: number): StoredRecord {
  return record(port, { client: "c1" });
}

function nobody(port: number): StoredRecord {
  return record(port, { verdict: "deny", client: undefined });
}

function linesOf(records: readonly StoredRecord[]): string[] {
  return records.map((each) => `${formatStored(each, "json")}\n`);
}

async function portsIn(path: string): Promise<number[]> {
  const text = await Deno.readTextFile(path);
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line).port);
}

Deno.test("besidePath() puts the name before the ending of the file, not of a folder", () => {
  const rows = [
    ["/var/log/audit.jsonl", "/var/log/audit-unauthenticated.jsonl"],
    ["audit.log", "audit-unauthenticated.log"],
    ["a/audit", "a/audit-unauthenticated"],
    ["a.d/audit", "a.d/audit-unauthenticated"],
    ["a/.audit", "a/.audit-unauthenticated"],
    [".audit", ".audit-unauthenticated"],
    ["a/x.y.log", "a/x.y-unauthenticated.log"],
    ["a/x.", "a/x-unauthenticated."],
  ] as const;
  for (const [path, beside] of rows) assertEquals(besidePath(path), beside);
});

Deno.test("SplitFile puts denials of nobody beside, in the order of each file", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/audit.jsonl`;
  using file = await SplitFile.open(path);
  const records = [
    known(1),
    nobody(2),
    record(3, { client: undefined, verdict: "allow" }),
    nobody(4),
    known(5),
  ];
  await file.write(records, linesOf(records));
  assertEquals(await portsIn(path), [1, 3, 5]);
  assertEquals(await portsIn(besidePath(path)), [2, 4]);
  const { main, unauthenticated } = file.positions;
  assertEquals(main.size, (await Deno.stat(path)).size);
  assertEquals(unauthenticated?.size, (await Deno.stat(besidePath(path))).size);
});

Deno.test("SplitFile turns no file over for a write that has nothing for it", async () => {
  for (const [own, others] of [[known, nobody], [nobody, known]] as const) {
    await using folder = await tempFolder();
    const path = `${folder.path}/audit.jsonl`;
    using file = await SplitFile.open(path, { main: { maxBytes: 1 }, unauthenticated: { maxBytes: 1 } });
    await file.write([own(1)], linesOf([own(1)]));
    for (const each of [others(2), others(3)]) await file.write([each], linesOf([each]));
    const [full, other] = own === known ? [path, besidePath(path)] : [besidePath(path), path];
    assertEquals([await portsIn(full), await portsIn(other), await portsIn(`${other}.1`)], [[1], [3], [2]]);
  }
});

Deno.test("SplitFile writes nothing twice when only one of its files could be written", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/audit.jsonl`;
  using file = await SplitFile.open(path, { unauthenticated: { maxBytes: 1 } });
  const first = [nobody(1)];
  await file.write(first, linesOf(first));
  await Deno.mkdir(`${besidePath(path)}.new`); // in the way of its next file
  let records = [known(2), nobody(3), nobody(5), known(4)];
  await assertRejects(() => file.write(records, linesOf(records)));
  records = [...records, known(6), nobody(7)];
  await assertRejects(() => file.write(records, linesOf(records)));
  await Deno.remove(`${besidePath(path)}.new`);
  await file.write(records, linesOf(records));
  assertEquals(await portsIn(path), [2, 4, 6]);
  assertEquals(await portsIn(besidePath(path)), [3, 5, 7]);
  await file.write(records, linesOf(records)); // the same records once more are other ones
  assertEquals(await portsIn(path), [2, 4, 6, 2, 4, 6]);
});

Deno.test("SplitFile gives all to what is no file, and makes nothing beside it", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/audit.pipe`;
  await new Deno.Command("mkfifo", { args: [path] }).output();
  const reader = await Deno.open(path, { read: true, write: true }); // so that nobody waits for the other end
  try {
    using file = await SplitFile.open(path);
    const records = [known(1), nobody(2)];
    await file.write(records, linesOf(records));
    const buffer = new Uint8Array(10_000);
    const count = await reader.read(buffer) ?? 0;
    assertEquals(new TextDecoder().decode(buffer.subarray(0, count)), linesOf(records).join(""));
    assertEquals(file.positions.unauthenticated, undefined);
  } finally {
    reader.close();
  }
  assertEquals((await Array.fromAsync(Deno.readDir(folder.path))).length, 1);
});

Deno.test("SplitFile closes both files, and the first when the second cannot be opened", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/audit.jsonl`;
  const { close } = Deno.FsFile.prototype;
  let closed = 0;
  Deno.FsFile.prototype.close = function () {
    closed++;
    close.call(this);
  };
  try {
    (await SplitFile.open(path))[Symbol.dispose]();
    assertEquals(closed, 2);
    await Deno.remove(besidePath(path));
    await Deno.mkdir(besidePath(path));
    await assertCode(SplitFile.open(path), "audit.write-failed");
    assertEquals(closed, 3);
  } finally {
    Deno.FsFile.prototype.close = close;
  }
});
