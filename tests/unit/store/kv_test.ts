import { assertEquals, assertStringIncludes } from "@std/assert";
import { Database, SCHEMA_VERSION } from "../../../store/kv.ts";
import { encodeRow } from "../../../store/row_codec.ts";
import { mountSmallDisk } from "../../support/small_disk.ts";
import { assertCode, modeOf, openState, rule, secret, tempFolder } from "./support.ts";

/** Closes a state that was opened only to leave its files behind. */
async function makeState(dir: string): Promise<void> {
  await using state = await openState(dir);
  await state.createClient("ci-1");
}

async function withKv(dir: string, change: (kv: Deno.Kv) => Promise<unknown>): Promise<void> {
  const kv = await Deno.openKv(`${dir}/state.kv`);
  try {
    await change(kv);
  } finally {
    kv.close();
  }
}

Deno.test("State.open() gives the folder mode 0700 and every file in it 0600", async () => {
  await using folder = await tempFolder();
  const before = Deno.umask(0); // the widest: only what the program asks for counts
  try {
    await using state = await openState(folder.state);
    await state.createClient("ci-1");
    assertEquals(await modeOf(`${folder.path}/.slicer`), 0o700);
    assertEquals(await modeOf(folder.state), 0o700);
    const names: string[] = [];
    for await (const { name } of Deno.readDir(folder.state)) {
      names.push(name);
      assertEquals(await modeOf(`${folder.state}/${name}`), 0o600, name);
    }
    assertEquals(names.sort(), ["lock", "mk", "state.kv", "state.kv-shm", "state.kv-wal"]);
  } finally {
    Deno.umask(before);
  }
});

Deno.test("State.open() narrows a database file that a restore left wide", async () => {
  await using folder = await tempFolder();
  await makeState(folder.state);
  await Deno.chmod(`${folder.state}/state.kv`, 0o644);
  await using _state = await openState(folder.state);
  assertEquals(await modeOf(`${folder.state}/state.kv`), 0o600);
});

Deno.test("State.open() refuses a folder that others may write to", async (t) => {
  await using folder = await tempFolder();
  await makeState(folder.state);
  for (const [mode, isFine] of [[0o755, true], [0o700, true], [0o720, false], [0o702, false]] as const) {
    await t.step(`mode ${mode.toString(8)}`, async () => {
      await Deno.chmod(folder.state, mode);
      if (isFine) return void await openAndClose(folder.state);
      const error = await assertCode(openState(folder.state), "state.unreadable");
      assertStringIncludes(error.hint ?? "", "chmod 700");
    });
  }
});

async function openAndClose(dir: string): Promise<void> {
  await using _state = await openState(dir);
}

Deno.test("State.open() lets one daemon at a time use a folder", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    const error = await assertCode(openState(folder.state), "state.locked");
    assertStringIncludes(error.message, "already running");
    await state.createClient("ci-1"); // the first is not disturbed
  }
  await using again = await openState(folder.state);
  assertEquals(again.listClients().map(({ name }) => name), ["ci-1"]);
});

Deno.test("State.open() unlocks the folder when it fails", async () => {
  await using folder = await tempFolder();
  await makeState(folder.state);
  await Deno.rename(`${folder.state}/mk`, `${folder.state}/elsewhere`);
  await assertCode(openState(folder.state), "seal.key-missing");
  await Deno.rename(`${folder.state}/elsewhere`, `${folder.state}/mk`);
  await openAndClose(folder.state);
});

Deno.test("State.open() tells damaged, foreign and newer state files apart", async (t) => {
  const rows: readonly {
    name: string;
    damage: (dir: string) => Promise<unknown>;
    code: "state.damaged" | "state.newer";
  }[] = [
    {
      name: "garbage",
      code: "state.damaged",
      damage: (dir) => Deno.writeFile(`${dir}/state.kv`, crypto.getRandomValues(new Uint8Array(8_192))),
    },
    {
      name: "zeros",
      code: "state.damaged",
      damage: (dir) => Deno.writeFile(`${dir}/state.kv`, new Uint8Array(8_192)),
    },
    {
      name: "truncated in the middle",
      code: "state.damaged",
      damage: (dir) => Deno.truncate(`${dir}/state.kv`, 10_000),
    },
    {
      name: "truncated to nothing",
      code: "state.damaged",
      damage: (dir) => Deno.truncate(`${dir}/state.kv`, 0),
    },
    { name: "no meta row", code: "state.damaged", damage: (dir) => withKv(dir, (kv) => kv.delete(["meta"])) },
    {
      name: "a meta row of another shape",
      code: "state.damaged",
      damage: (dir) => withKv(dir, (kv) => kv.set(["meta"], 7)),
    },
    {
      name: "a client row of another shape",
      code: "state.damaged",
      damage: (dir) => withKv(dir, (kv) => kv.set(["client", "ci-1"], encodeRow({ id: 1 }))),
    },
    {
      name: "a newer layout",
      code: "state.newer",
      damage: (dir) =>
        withKv(
          dir,
          (kv) => kv.set(["meta"], encodeRow({ schema: SCHEMA_VERSION + 1, sealCheck: new Uint8Array(1) })),
        ),
    },
  ];
  for (const { name, damage, code } of rows) {
    await t.step(name, async () => {
      await using folder = await tempFolder();
      await makeState(folder.state);
      await damage(folder.state);
      const error = await assertCode(openState(folder.state), code);
      assertEquals(typeof error.hint, "string");
    });
  }
});

Deno.test("State.open() goes on where a first start was interrupted", async (t) => {
  for (const left of [["state.kv.new"], ["state.kv.new", "state.kv"], ["state.kv.new", "state.kv", "lock"]]) {
    await t.step(`left behind: ${left.join(", ")}`, async () => {
      await using folder = await tempFolder();
      await Deno.mkdir(folder.state, { recursive: true, mode: 0o700 });
      for (const name of left) await Deno.writeTextFile(`${folder.state}/${name}`, "", { mode: 0o600 });
      await makeState(folder.state);
      await using state = await openState(folder.state);
      assertEquals(state.listClients().length, 1);
    });
  }
  await t.step("after the meta row, before the marker was removed", async () => {
    await using folder = await tempFolder();
    await makeState(folder.state);
    await Deno.writeTextFile(`${folder.state}/state.kv.new`, "");
    await using state = await openState(folder.state);
    assertEquals(state.listClients().length, 1);
  });
});

Deno.test("State.open() refuses empty paths and a file in the place of the folder", async () => {
  await using folder = await tempFolder();
  await assertCode(openState(""), "input.invalid");
  await Deno.writeTextFile(`${folder.path}/file`, "");
  await assertCode(openState(`${folder.path}/file`), "state.write-failed");
});

Deno.test("a write is refused when the state file was removed or replaced while it was open", async (t) => {
  for (const how of ["removed", "replaced"] as const) {
    await t.step(how, async () => {
      await using folder = await tempFolder();
      await using state = await openState(folder.state);
      await state.createClient("before");
      const file = `${folder.state}/state.kv`;
      if (how === "removed") await Deno.remove(file);
      else {
        await Deno.copyFile(file, `${folder.path}/copy`);
        await Deno.rename(`${folder.path}/copy`, file);
      }
      const error = await assertCode(state.createClient("after"), "state.write-failed");
      assertStringIncludes(error.message, how);
      assertEquals(state.listClients().map(({ name }) => name), ["before"]);
    });
  }
});

Deno.test("Database.commit() applies all mutations or none", async () => {
  await using folder = await tempFolder();
  using db = await Database.open(folder.state);
  await db.initialise(new Uint8Array(1));
  const tooLarge = { bytes: new Uint8Array(70_000) };
  await assertCode(
    db.commit([{ key: ["x", 1], value: { a: 1 } }, { key: ["x", 2], value: tooLarge }]),
    "state.write-failed",
  );
  assertEquals(await Array.fromAsync(db.rows(["x"])), []);
  await db.commit([{ key: ["x", 1], value: { a: 1 } }, { key: ["x", 2], value: { a: 2 } }, {
    key: ["x", 1],
  }]);
  assertEquals(await Array.fromAsync(db.rows(["x"])), [{ key: ["x", 2], value: { a: 2 } }]);
});

Deno.test("State reports a full disk at the call and loses nothing that it acknowledged", async (t) => {
  await using folder = await tempFolder();
  const disk = `${folder.path}/disk`;
  await using mounted = await mountSmallDisk(disk, "1m");
  if (!mounted) {
    await t.step({ name: "skipped: only root may mount a small tmpfs", ignore: true, fn: () => {} });
    return;
  }
  const dir = `${disk}/state`;
  const acknowledged: string[] = [];
  {
    await using state = await openState(dir);
    await state.createClient("ci-1");
    const kept = await state.addRule("ci-1", rule("kept.example.com"));
    for (;;) {
      const name = `big-${acknowledged.length}`;
      const put = state.putSecret(secret(name, { value: "x".repeat(40_000) }), { force: false });
      const isStored = await put.then(() => true, () => false);
      if (!isStored) {
        await assertCode(put, "state.write-failed");
        assertEquals(state.getSecret(name), undefined);
        break;
      }
      acknowledged.push(name);
    }
    assertEquals(state.listRules("ci-1"), [kept]); // reads go on
  }
  await using again = await openState(dir);
  assertEquals(again.listSecrets().map(({ name }) => name).sort(), acknowledged.sort());
  assertEquals(again.listRules("ci-1").map(({ host }) => host), ["kept.example.com"]);
});
