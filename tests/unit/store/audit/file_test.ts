import { assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { AuditFile } from "../../../../store/audit/file.ts";

/** An empty folder that goes away. */
async function makeFolder(): Promise<
  AsyncDisposable & { readonly path: string; list(): Promise<Record<string, string>> }
> {
  const path = await Deno.makeTempDir({ prefix: "slicer-test-audit-" });
  return {
    path,
    list: async () => {
      const names = (await Array.fromAsync(Deno.readDir(path))).filter(({ isFile }) => isFile).map((
        { name },
      ) => name);
      const entries = names.sort().map(async (name) =>
        [name, await Deno.readTextFile(`${path}/${name}`)] as const
      );
      return Object.fromEntries(await Promise.all(entries));
    },
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

Deno.test("AuditFile appends to what is there, readable by nobody else", async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/audit.log`;
  for (const line of ["a\n", "b\n"]) {
    const file = await AuditFile.open(path);
    await file.write(line);
    file.close();
  }
  assertEquals(await folder.list(), { "audit.log": "a\nb\n" });
  assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
});

Deno.test("AuditFile turns to a new file when the next lines would not fit, and keeps so many old ones", async () => {
  await using folder = await makeFolder();
  const file = await AuditFile.open(`${folder.path}/audit.log`, { maxBytes: 6, kept: 2 });
  for (const line of ["1\n", "2\n", "3\n", "4\n", "55555555\n", "6\n", "7\n"]) await file.write(line);
  file.close();
  assertEquals(await folder.list(), {
    "audit.log": "6\n7\n",
    "audit.log.1": "55555555\n", // longer than a file may be: whole all the same
    "audit.log.2": "4\n",
  });
});

Deno.test("AuditFile fills a file to just its limit", async () => {
  await using folder = await makeFolder();
  const file = await AuditFile.open(`${folder.path}/audit.log`, { maxBytes: 4, kept: 2 });
  for (const line of ["1\n", "2\n"]) await file.write(line);
  assertEquals(await folder.list(), { "audit.log": "1\n2\n" });
  await file.write("3\n");
  file.close();
  assertEquals(await folder.list(), { "audit.log": "3\n", "audit.log.1": "1\n2\n" });
});

Deno.test("AuditFile counts what a file held when it was opened", async () => {
  await using folder = await makeFolder();
  await Deno.writeTextFile(`${folder.path}/audit.log`, "old\n");
  const file = await AuditFile.open(`${folder.path}/audit.log`, { maxBytes: 5, kept: 1 });
  await file.write("new\n");
  file.close();
  assertEquals(await folder.list(), { "audit.log": "new\n", "audit.log.1": "old\n" });
});

Deno.test("AuditFile loses no old file while a new one cannot be made, however often it is tried", async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/audit.log`;
  const file = await AuditFile.open(path, { maxBytes: 2, kept: 3 });
  for (const line of ["1\n", "2\n", "3\n"]) await file.write(line);
  const before = await folder.list();
  await Deno.mkdir(`${path}.new`); // in the way of the next file
  for (let i = 0; i < 5; i++) await assertRejects(() => file.write("4\n"));
  assertEquals(await folder.list(), before);
  await Deno.remove(`${path}.new`);
  await file.write("4\n");
  file.close();
  assertEquals(await folder.list(), {
    "audit.log": "4\n",
    "audit.log.1": "3\n",
    "audit.log.2": "2\n",
    "audit.log.3": "1\n",
  });
});

Deno.test("AuditFile.open() says what to do when it cannot", async () => {
  await using folder = await makeFolder();
  const error = await assertRejects(() => AuditFile.open(`${folder.path}/none/audit.log`), ProxyError);
  assertEquals(error.code, "audit.write-failed");
  assertEquals(error.hint, "its folder must exist and be writable");
});

Deno.test("AuditFile ends the half line that an earlier run left, in whatever file it is", async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/audit.log`;
  await Deno.writeTextFile(path, "one\ntw");
  const file = await AuditFile.open(path);
  await file.write("three\n");
  await file.write("four\n");
  assertEquals(await folder.list(), { "audit.log": "one\ntw\nthree\nfour\n" });
  assertEquals(file.position.size, "one\ntw\nthree\nfour\n".length);
  file.close();
  const rotated = await AuditFile.open(path, { maxBytes: 1, kept: 1 });
  await rotated.write("five\n");
  rotated.close();
  assertEquals((await folder.list())["audit.log"], "five\n");
});

Deno.test("AuditFile.position is the file itself, whatever it is called by now", async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/audit.log`;
  const file = await AuditFile.open(path, { maxBytes: 2, kept: 1 });
  await file.write("1\n");
  const first = file.position;
  await file.write("2\n");
  file.close();
  assertEquals([first.ino, first.size], [(await Deno.stat(`${path}.1`)).ino, 2]);
  assertEquals(file.position.ino, (await Deno.stat(path)).ino);
});

Deno.test("AuditFile leaves what is no file where it is, however much it writes", async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/stdout`;
  await Deno.symlink("/dev/null", path);
  const file = await AuditFile.open(path, { maxBytes: 2, kept: 2 });
  for (const line of ["1\n", "2\n", "3\n"]) await file.write(line);
  file.close();
  assertEquals((await Array.fromAsync(Deno.readDir(folder.path))).map(({ name }) => name), ["stdout"]);
});

Deno.test("AuditFile turns to a file of its own, not to one that somebody laid in its way", async (t) => {
  for (const kind of ["a link", "a file that all can read"]) {
    await t.step(kind, async () => {
      await using folder = await makeFolder();
      const path = `${folder.path}/audit.log`;
      await Deno.writeTextFile(`${folder.path}/theirs`, "");
      if (kind === "a link") await Deno.symlink(`${folder.path}/theirs`, `${path}.new`);
      else await Deno.writeTextFile(`${path}.new`, "x", { mode: 0o644 });
      const file = await AuditFile.open(path, { maxBytes: 2, kept: 1 });
      for (const line of ["1\n", "2\n"]) await file.write(line);
      file.close();
      assertEquals(await folder.list(), { "audit.log": "2\n", "audit.log.1": "1\n", "theirs": "" });
      assertEquals(((await Deno.lstat(path)).mode ?? 0) & 0o777, 0o600);
    });
  }
});

/** Has writes of files do `write`, the first one with `this` being the file. */
function insteadOfWrites(write: (this: Deno.FsFile, bytes: Uint8Array) => Promise<number>): Disposable {
  const { write: original } = Deno.FsFile.prototype;
  Deno.FsFile.prototype.write = write;
  return { [Symbol.dispose]: () => void (Deno.FsFile.prototype.write = original) };
}

Deno.test("AuditFile.write() rejects when only a part fits, and leaves nothing of it", async () => {
  await using folder = await makeFolder();
  const file = await AuditFile.open(`${folder.path}/audit.log`);
  await file.write("one\n");
  const { write } = Deno.FsFile.prototype;
  {
    let calls = 0;
    using _ = insteadOfWrites(function (bytes) {
      return ++calls === 1
        ? write.call(this, bytes.subarray(0, 2))
        : Promise.reject(new Error("disk is full"));
    });
    await assertRejects(() => file.write("two\n"), Error, "disk is full");
    assertEquals(calls, 2);
  }
  assertEquals(await folder.list(), { "audit.log": "one\n" });
  assertEquals(file.position.size, 4);
  await file.write("two\n");
  file.close();
  assertEquals(await folder.list(), { "audit.log": "one\ntwo\n" });
});

Deno.test("AuditFile.write() begins a new line where half a line could not be taken back", async () => {
  await using folder = await makeFolder();
  const file = await AuditFile.open(`${folder.path}/audit.log`);
  const { write, truncate } = Deno.FsFile.prototype;
  {
    let calls = 0;
    using _ = insteadOfWrites(function (bytes) {
      return ++calls === 1
        ? write.call(this, bytes.subarray(0, 2))
        : Promise.reject(new Error("disk is full"));
    });
    Deno.FsFile.prototype.truncate = () => Promise.reject(new Error("no"));
    try {
      await assertRejects(() => file.write("two\n"), Error, "disk is full");
    } finally {
      Deno.FsFile.prototype.truncate = truncate;
    }
  }
  assertEquals(file.position.size, 2);
  for (const line of ["two\n", "three\n"]) await file.write(line);
  assertEquals(file.position.size, 13);
  file.close();
  assertEquals(await folder.list(), { "audit.log": "tw\ntwo\nthree\n" });
});

Deno.test("AuditFile does not turn over an empty file, however long the first line is", async () => {
  await using folder = await makeFolder();
  const file = await AuditFile.open(`${folder.path}/audit.log`, { maxBytes: 2, kept: 2 });
  await file.write("12345\n");
  file.close();
  assertEquals(await folder.list(), { "audit.log": "12345\n" });
});

Deno.test("AuditFile turns a file of one byte over", async () => {
  await using folder = await makeFolder();
  await Deno.writeTextFile(`${folder.path}/audit.log`, "\n");
  const file = await AuditFile.open(`${folder.path}/audit.log`, { maxBytes: 2, kept: 2 });
  await file.write("12345\n");
  file.close();
  assertEquals(await folder.list(), { "audit.log": "12345\n", "audit.log.1": "\n" });
});

Deno.test("AuditFile holds the file of before, and no other, while the old ones cannot be moved", async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/audit.log`;
  const file = await AuditFile.open(path, { maxBytes: 2, kept: 1 });
  await file.write("1\n");
  await Deno.mkdir(`${path}.1/in`, { recursive: true }); // in the way
  const files = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = Deno.build.os === "linux" ? files() : 0;
  for (let n = 0; n < 3; n++) await assertRejects(() => file.write("2\n"));
  if (Deno.build.os === "linux") assertEquals(files(), before);
  await Deno.remove(`${path}.1`, { recursive: true });
  await file.write("2\n");
  file.close();
  assertEquals(await folder.list(), { "audit.log": "2\n", "audit.log.1": "1\n" });
});

Deno.test("AuditFile turns over at 64 MiB and keeps five old files, when nothing else is said", async () => {
  await using folder = await makeFolder();
  const path = `${folder.path}/audit.log`;
  for (let n = 0; n < 7; n++) {
    await Deno.writeTextFile(path, "");
    await Deno.truncate(path, 64 * 1_048_576 - 3); // of holes: it takes no disk
    const file = await AuditFile.open(path);
    await file.write("x\n"); // the end of half a line, and this: just full
    assertEquals((await Deno.stat(path)).size, 64 * 1_048_576);
    await file.write("y\n");
    file.close();
    assertEquals((await Deno.stat(path)).size, 2);
  }
  const names = [...Deno.readDirSync(folder.path)].map(({ name }) => name).sort();
  assertEquals(names, ["audit.log", ...[1, 2, 3, 4, 5].map((n) => `audit.log.${n}`)]);
});
