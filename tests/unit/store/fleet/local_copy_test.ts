import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { hostIdOf, loadCopy, LocalCopy } from "../../../../store/fleet/local_copy.ts";
import type { Position } from "../../../../store/postgres/database.ts";
import { encodeBatch } from "../../../../store/postgres/row_batch.ts";
import type { StoreKeys } from "../../../../store/seal.ts";
import { keysOf } from "../memory_engine.ts";
import { assertCode, modeOf, tempFolder } from "../support.ts";

const keys = await keysOf(1);
const ROW = { key: ["client", "one"], value: { id: "x", expiresAt: 7 } };
const AT = 1_000_000;
const GRACE_MS = 60_000;

/** Writes a copy with one row, and when the store last knew of this host. */
async function save(
  dir: string,
  position: Position = { sequence: 7, changeId: "c" },
): Promise<LocalCopy> {
  const copy = new LocalCopy(dir, "default", { keys });
  await copy.save(position, { rows: encodeBatch([ROW, { key: ["client", "gone"] }], 0), keys });
  await copy.saveContact(AT, GRACE_MS);
  return copy;
}

function load(
  dir: string,
  { nowMs = AT, graceMs = GRACE_MS, fleet = "default", candidates = [keys] as StoreKeys[] } = {},
) {
  return loadCopy({ dir, fleet }, candidates, { nowMs, graceMs });
}

Deno.test("loadCopy() gives back what was saved, for its user alone and in no clear", async () => {
  await using folder = await tempFolder();
  await save(folder.path);
  assertEquals(await load(folder.path), {
    sequence: 7,
    changeId: "c",
    rows: [ROW],
    keys,
    heldUntilMs: AT + GRACE_MS,
  });
  await save(folder.path, { sequence: 8, changeId: undefined });
  const { sequence, changeId } = await load(folder.path);
  assertEquals([sequence, changeId], [8, undefined]);
  const names = (await Array.fromAsync(Deno.readDir(folder.path))).map(({ name }) => name).sort();
  assertEquals(names, ["fleet-contact", "fleet-copy"]);
  for (const name of names) assertEquals(await modeOf(`${folder.path}/${name}`), 0o600);
  assertEquals((await Deno.readTextFile(`${folder.path}/fleet-copy`)).includes("one"), false);
});

Deno.test("loadCopy() counts the shorter grace, from the last contact on", async () => {
  await using folder = await tempFolder();
  await save(folder.path);
  const until = async (graceMs: number, nowMs = AT) =>
    (await load(folder.path, { graceMs, nowMs })).heldUntilMs;
  assertEquals([await until(GRACE_MS + 1), await until(5)], [AT + GRACE_MS, AT + 5]);
  assertEquals(await until(GRACE_MS, AT + GRACE_MS - 1), AT + GRACE_MS);
  const says = async (ms: number) => (await assertCode(until(GRACE_MS, AT + ms), "store.away")).message;
  assertStringIncludes(await says(GRACE_MS), "is older than");
  assertStringIncludes(await says(-1), "the clock is behind");
});

Deno.test("loadCopy() takes no copy of another fleet or key, none without its contact, and no damage", async (t) => {
  const rows: readonly (readonly [string, string, (dir: string, copy: LocalCopy) => Promise<unknown>])[] = [
    ["nothing", "there is no copy", (dir) => Deno.remove(`${dir}/fleet-copy`)],
    ["no contact", "there is no copy", (dir) => Deno.remove(`${dir}/fleet-contact`)],
    ["what was forgotten", "there is no copy", (_, copy) => copy.forget()],
    ["what was dropped", "there is no copy", (_, copy) => copy.drop()],
    ["one of another name", "another key", (dir) => Deno.rename(`${dir}/fleet-contact`, `${dir}/fleet-copy`)],
    ["a damaged one", "another key", (dir) => Deno.writeTextFile(`${dir}/fleet-copy`, "x", { append: true })],
    ["what cannot be read", "cannot be read", async (dir) => {
      await Deno.remove(`${dir}/fleet-copy`);
      await Deno.mkdir(`${dir}/fleet-copy`);
    }],
  ];
  for (const [name, says, spoil] of rows) {
    await t.step(name, async () => {
      await using folder = await tempFolder();
      await spoil(folder.path, await save(folder.path));
      assertStringIncludes((await assertCode(load(folder.path), "store.away")).message, says);
    });
  }
  await t.step("keys", async () => {
    await using folder = await tempFolder();
    await save(folder.path);
    const other = await keysOf(2);
    await assertCode(load(folder.path, { candidates: [other] }), "store.away");
    await assertCode(load(folder.path, { candidates: [] }), "store.away");
    await assertCode(load(folder.path, { fleet: "other" }), "store.away");
    assertEquals((await load(folder.path, { candidates: [other, keys] })).keys, keys);
  });
});

Deno.test("LocalCopy: a copy is sealed with the keys of its rows, and keeps the key of tokens", async () => {
  await using folder = await tempFolder();
  const other = { ...await keysOf(2), token: keys.token };
  const copy = new LocalCopy(folder.path, "default", { keys });
  await copy.save({ sequence: 1, changeId: undefined }, { rows: encodeBatch([], 0), keys: other });
  await copy.saveContact(AT, GRACE_MS);
  await assertCode(load(folder.path), "store.away");
  const found = await load(folder.path, { candidates: [keys, await keysOf(2)] });
  assertEquals([found.keys.id, found.keys.token], [other.id, keys.token]);
});

Deno.test("LocalCopy.drop() looks for a copy of before once, and for its own each time", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/fleet-copy`;
  await save(folder.path);
  const copy = new LocalCopy(folder.path, "default", { keys });
  await copy.drop();
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
  const { remove } = Deno;
  let removals = 0;
  Deno.remove = (name, options) => {
    removals++;
    return remove(name, options);
  };
  try {
    await copy.drop();
    assertEquals(removals, 0);
    await copy.save({ sequence: 1, changeId: undefined }, { rows: encodeBatch([], 0), keys });
    await copy.drop();
  } finally {
    Deno.remove = remove;
  }
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
});

Deno.test("LocalCopy writes over what a crash left, and hides no failure of the disk", async () => {
  await using folder = await tempFolder();
  await Deno.writeTextFile(`${folder.path}/fleet-copy.new`, "left");
  const copy = await save(folder.path);
  assertEquals((await load(folder.path)).sequence, 7);
  await Deno.mkdir(`${folder.path}/fleet-contact.new/in`, { recursive: true });
  await assertRejects(() => copy.saveContact(AT, GRACE_MS));
  await Deno.remove(`${folder.path}/fleet-copy`);
  await Deno.mkdir(`${folder.path}/fleet-copy/in`, { recursive: true });
  await assertRejects(() => copy.drop());
  await assertRejects(() => copy.drop(), Error, undefined, "it is still there");
});

Deno.test("LocalCopy has what it removes gone for good", async () => {
  await using folder = await tempFolder();
  const copy = await save(folder.path);
  const { sync } = Deno.FsFile.prototype;
  let synced = 0;
  Deno.FsFile.prototype.sync = function () {
    synced++;
    return sync.call(this);
  };
  try {
    await copy.drop();
    assertEquals(synced, 1);
    await copy.forget();
    assertEquals(synced, 2);
  } finally {
    Deno.FsFile.prototype.sync = sync;
  }
});

Deno.test("hostIdOf() is made once for a folder, and anew when it is none", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/fleet-host`;
  const id = await hostIdOf(folder.path);
  assertEquals([await hostIdOf(folder.path), await Deno.readTextFile(path), await modeOf(path)], [
    id,
    `${id}\n`,
    0o600,
  ]);
  for (const text of ["", id, `${id}0\n`, `${id.slice(1)}\n`]) {
    await Deno.writeTextFile(path, text);
    const made = await hostIdOf(folder.path);
    assertEquals(await hostIdOf(folder.path), made);
    if (made === id) throw new Error(`${JSON.stringify(text)} was taken for an id`);
  }
  await Deno.remove(path);
  await Deno.mkdir(path);
  await assertRejects(() => hostIdOf(folder.path));
});
