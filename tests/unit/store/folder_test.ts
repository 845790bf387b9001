import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { lockStateFolder, StateFolder } from "../../../store/folder.ts";
import { assertCode, modeOf, tempFolder } from "./support.ts";

/** A folder with a complete database of these bytes. */
async function complete(dir: string, text = "rows"): Promise<void> {
  using folder = await StateFolder.open(dir);
  await Deno.writeTextFile(folder.dbPath, text);
  await folder.markComplete();
}

async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).sort();
}

Deno.test("StateFolder.open() makes a folder and files for its user alone, new until they are complete", async () => {
  await using temp = await tempFolder();
  const dir = temp.state;
  {
    using folder = await StateFolder.open(dir);
    assertEquals([folder.isNew, folder.dbPath], [true, `${dir}/state.kv`] as unknown[]);
    assertEquals(await namesIn(dir), ["lock", "state.kv", "state.kv.new"]);
    assertEquals(await modeOf(dir), 0o700);
    for (const name of await namesIn(dir)) assertEquals(await modeOf(`${dir}/${name}`), 0o600);
  }
  {
    using again = await StateFolder.open(dir); // what a crash left
    assertEquals(again.isNew, true);
    await Deno.writeTextFile(again.dbPath, "rows");
    await again.markComplete();
    assertEquals(again.isNew, false);
    await again.markComplete();
  }
  using full = await StateFolder.open(dir);
  assertEquals([full.isNew, await namesIn(dir)], [false, ["lock", "state.kv"]] as unknown[]);
});

Deno.test("StateFolder.open() takes a folder that one process uses at a time, however it ended", async () => {
  await using temp = await tempFolder();
  const first = await StateFolder.open(temp.state);
  await assertCode(StateFolder.open(temp.state), "state.locked");
  await assertCode(lockStateFolder(temp.state), "state.locked");
  first[Symbol.dispose]();
  (await lockStateFolder(temp.state))[Symbol.dispose]();
  using _ = await lockStateFolder(temp.state);
  await assertCode(StateFolder.open(temp.state), "state.locked");
});

Deno.test("StateFolder.open() says what is wrong, and lets go of the folder", async (t) => {
  const rows: readonly (readonly [
    string,
    (dir: string) => Promise<unknown>,
    code: Parameters<typeof assertCode>[1],
  ])[] = [
    ["an empty database", (dir) => Deno.truncate(`${dir}/state.kv`), "state.damaged"],
    ["a folder in its place", async (dir) => {
      await Deno.remove(`${dir}/state.kv`);
      await Deno.mkdir(`${dir}/state.kv`);
    }, "state.unreadable"],
    ["a link in its place", async (dir) => {
      await Deno.rename(`${dir}/state.kv`, `${dir}/elsewhere`);
      await Deno.symlink(`${dir}/elsewhere`, `${dir}/state.kv`);
    }, "state.unreadable"],
    ["no place for the mark of a new one", async (dir) => {
      await Deno.remove(`${dir}/state.kv`);
      await Deno.mkdir(`${dir}/state.kv.new`);
    }, "state.write-failed"],
    ["a folder in the place of the lock", async (dir) => {
      await Deno.remove(`${dir}/lock`);
      await Deno.mkdir(`${dir}/lock`);
    }, "state.unreadable"],
    ["a folder that its group may write to", (dir) => Deno.chmod(dir, 0o720), "state.unreadable"],
    ["a folder that all may write to", (dir) => Deno.chmod(dir, 0o702), "state.unreadable"],
  ];
  for (const [name, spoil, code] of rows) {
    await t.step(name, async () => {
      await using temp = await tempFolder();
      await complete(temp.state);
      await spoil(temp.state);
      await assertCode(StateFolder.open(temp.state), code);
      await assertCode(StateFolder.open(temp.state), code); // and not that it is locked
    });
  }
  await t.step("no name", async () => {
    await assertCode(StateFolder.open(""), "input.invalid");
    await assertCode(lockStateFolder(""), "input.invalid");
  });
  await t.step("a file", async () => {
    await using temp = await tempFolder();
    await Deno.writeTextFile(`${temp.path}/file`, "");
    await assertCode(StateFolder.open(`${temp.path}/file`), "state.write-failed");
    await assertCode(lockStateFolder(`${temp.path}/file`), "state.write-failed");
  });
});

Deno.test("StateFolder.open() takes the rights of others away, and minds no others that read the folder", async () => {
  await using temp = await tempFolder();
  await complete(temp.state);
  await Deno.chmod(temp.state, 0o755);
  for (const mode of [0o644, 0o601, 0o610, 0o400]) {
    await Deno.chmod(`${temp.state}/state.kv`, mode);
    (await StateFolder.open(temp.state))[Symbol.dispose]();
    assertEquals(await modeOf(`${temp.state}/state.kv`), mode === 0o400 ? 0o400 : 0o600);
  }
});

Deno.test("StateFolder.checkFile() knows the file that it opened from any other", async () => {
  await using temp = await tempFolder();
  await complete(temp.state);
  using folder = await StateFolder.open(temp.state);
  await folder.checkFile();
  await Deno.writeTextFile(folder.dbPath, "more rows");
  await folder.checkFile();
  await Deno.rename(folder.dbPath, `${folder.dbPath}.old`);
  assertStringIncludes((await assertCode(folder.checkFile(), "state.write-failed")).message, "was removed");
  await Deno.writeTextFile(folder.dbPath, "rows");
  assertStringIncludes((await assertCode(folder.checkFile(), "state.write-failed")).message, "was replaced");
  await Deno.rename(`${folder.dbPath}.old`, folder.dbPath);
  await folder.checkFile();
});

Deno.test("StateFolder.sizeBytes() is that of the database and its log", async () => {
  await using temp = await tempFolder();
  await complete(temp.state, "1234");
  using folder = await StateFolder.open(temp.state);
  assertEquals(await folder.sizeBytes(), 4);
  await Deno.writeTextFile(`${folder.dbPath}-wal`, "56789");
  assertEquals(await folder.sizeBytes(), 9);
  await Deno.remove(folder.dbPath);
  assertEquals(await folder.sizeBytes(), 5);
  const { lstat } = Deno;
  Deno.lstat = () => Promise.reject(new Error("input/output error"));
  try {
    await assertRejects(() => folder.sizeBytes(), Error, "input/output");
  } finally {
    Deno.lstat = lstat;
  }
});
