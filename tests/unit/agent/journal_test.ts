import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Change, Journal, undoFile, undoFolder } from "../../../agent/journal.ts";
import { ProxyError } from "../../../core/errors.ts";
import { withFolder } from "./support.ts";

async function undoAll(journal: Journal, dir: string): Promise<void> {
  for (const change of journal.changes.toReversed()) {
    if (change.change === "file") await undoFile(change, dir);
    if (change.change === "folder") await undoFolder(change.path);
  }
}

Deno.test("Journal restores what was there, whatever it was", async (t) => {
  const rows = [
    { name: "a file", make: (path: string) => Deno.writeTextFile(path, "old\n", { mode: 0o640 }) },
    { name: "an empty file", make: (path: string) => Deno.writeTextFile(path, "", { mode: 0o600 }) },
    { name: "a link", make: (path: string) => Deno.symlink("/nowhere/at/all", path) },
    { name: "nothing", make: () => Promise.resolve() },
  ];
  for (const { name, make } of rows) {
    await t.step(name, () =>
      withFolder(async (dir) => {
        const path = `${dir}/file`;
        await make(path);
        const before = await describe(path);
        await Deno.mkdir(`${dir}/state`);
        const journal = await Journal.open(`${dir}/state`);
        await journal.writeFile(path, "new\n");
        await journal.writeFile(path, "newer\n");
        assertEquals(await Deno.readTextFile(path), "newer\n");
        assert(!(await Deno.lstat(path)).isSymlink);
        const again = await Journal.open(`${dir}/state`);
        assertEquals(again.changes, journal.changes);
        await undoAll(again, `${dir}/state`);
        assertEquals(await describe(path), before);
        await undoAll(again, `${dir}/state`);
        assertEquals(await describe(path), before, "undoing twice does no harm");
        assertEquals(
          [...Deno.readDirSync(dir)].length,
          name === "nothing" ? 1 : 2,
          "nothing is left beside it",
        );
      }));
  }
});

Deno.test("Journal.writeFile() keeps owner and permissions, and takes a mode", () =>
  withFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/file`, "old", { mode: 0o640 });
    const journal = await Journal.open(dir);
    await journal.writeFile(`${dir}/file`, "new");
    assertEquals(((await Deno.stat(`${dir}/file`)).mode ?? 0) & 0o777, 0o640);
    await journal.writeFile(`${dir}/file`, "new", 0o644);
    assertEquals(((await Deno.stat(`${dir}/file`)).mode ?? 0) & 0o777, 0o644);
    await assertRejects(() => journal.writeFile(dir, "new"), ProxyError, "it is no file");
  }));

Deno.test("undoFile() keeps what somebody else has written since", () =>
  withFolder(async (dir) => {
    const path = `${dir}/file`;
    await Deno.writeTextFile(path, "old");
    const journal = await Journal.open(dir);
    await journal.writeFile(path, "ours");
    await Deno.writeTextFile(path, "theirs");
    const [change] = journal.changes;
    assertEquals(
      await undoFile(change as Extract<Change, { change: "file" }>, dir),
      "restored-beside-changed",
    );
    assertEquals(await Deno.readTextFile(path), "old");
    assertEquals(await Deno.readTextFile(`${path}.before-uninstall`), "theirs");
  }));

Deno.test("Journal.makeFolder() notes only what is new, and a used folder stays", () =>
  withFolder(async (dir) => {
    const journal = await Journal.open(dir);
    await journal.writeFile(`${dir}/a/b/file`, "new");
    assertEquals(
      journal.changes.map((each) => [each.change, "path" in each ? each.path : ""]),
      [["folder", `${dir}/a`], ["folder", `${dir}/a/b`], ["file", `${dir}/a/b/file`]],
    );
    await Deno.writeTextFile(`${dir}/a/other`, "");
    await undoAll(journal, dir);
    assertEquals([...Deno.readDirSync(`${dir}/a`)].map(({ name }) => name), ["other"]);
  }));

Deno.test("Journal.open() ignores a last line that is cut short, and refuses a damaged one", () =>
  withFolder(async (dir) => {
    const journal = await Journal.open(dir);
    await journal.add({ change: "trust-store" });
    assert(!journal.isComplete);
    await journal.add({ change: "complete" });
    assert(journal.isComplete);
    await Deno.writeTextFile(`${dir}/journal.jsonl`, '{"change":"und', { append: true });
    const cut = await Journal.open(dir);
    assertEquals(cut.changes.length, 2);
    assert(cut.isComplete);
    await cut.add({ change: "undoing" });
    assertEquals((await Journal.open(dir)).changes.map(({ change }) => change), [
      "trust-store",
      "complete",
      "undoing",
    ]);
    await Deno.writeTextFile(`${dir}/journal.jsonl`, "oing\n", { append: true });
    const error = await assertRejects(() => Journal.open(dir), ProxyError);
    assertEquals(error.code, "state.damaged");
  }));

Deno.test("Journal is not complete once undoing has begun", () =>
  withFolder(async (dir) => {
    const journal = await Journal.open(dir);
    await journal.add({ change: "complete" });
    await journal.add({ change: "undoing" });
    assert(!(await Journal.open(dir)).isComplete);
  }));

async function describe(path: string): Promise<unknown> {
  try {
    const { isSymlink, mode, mtime, size } = await Deno.lstat(path);
    if (isSymlink) return await Deno.readLink(path);
    return { mode, mtime: mtime?.getTime(), size, text: await Deno.readTextFile(path) };
  } catch {
    return "absent";
  }
}
