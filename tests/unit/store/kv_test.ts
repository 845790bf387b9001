import { assertEquals, assertStringIncludes } from "@std/assert";
import type { ErrorCode } from "../../../core/errors.ts";
import { Database, SCHEMA_VERSION } from "../../../store/kv.ts";
import { decodeRow, encodeRow } from "../../../store/row_codec.ts";
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

Deno.test("Database.open() tells what SQLite says apart, with what to do, and unlocks the folder", async (t) => {
  const rows: readonly (readonly [text: string, code: ErrorCode, hint: string])[] = [
    ["file is not a database", "state.damaged", "restore the state folder from a backup"],
    ["database disk image is malformed", "state.damaged", "restore the state folder from a backup"],
    ["database or disk is full", "state.write-failed", "make room on the disk, and make the folder and"],
    ["disk I/O error", "state.write-failed", "make room on the disk"],
    ["attempt to write a readonly database", "state.write-failed", "make room on the disk"],
    ["a read-only database", "state.write-failed", "make room on the disk"],
    [
      "unable to open database file",
      "state.unreadable",
      "check that the folder and its files belong to this user",
    ],
  ];
  await using folder = await tempFolder();
  const { get } = Deno.Kv.prototype;
  for (const [text, code, hint] of rows) {
    await t.step(text, async () => {
      Deno.Kv.prototype.get = () => Promise.reject(new Error(text));
      try {
        const error = await assertCode(Database.open(folder.state), code);
        assertEquals(error.message, `Cannot open ${folder.state}/state.kv: ${text}`);
        assertStringIncludes(error.hint ?? "", hint);
      } finally {
        Deno.Kv.prototype.get = get;
      }
    });
  }
  (await Database.open(folder.state))[Symbol.dispose]();
});

Deno.test("Database.commit() tells what SQLite says of a write, and of a commit that is not taken", async (t) => {
  await using folder = await tempFolder();
  using db = await Database.open(folder.state);
  await db.initialise(new Uint8Array(1));
  const { commit } = Deno.AtomicOperation.prototype;
  const rows: readonly (readonly [string, () => ReturnType<typeof commit>, ErrorCode, said: string])[] = [
    ["damaged", () => Promise.reject(new Error("disk image is malformed")), "state.damaged", "malformed"],
    ["anything", () => Promise.reject(new Error("interrupted")), "state.write-failed", "interrupted"],
    ["not taken", () => Promise.resolve({ ok: false }), "state.write-failed", "the commit was not taken"],
  ];
  for (const [name, answer, code, said] of rows) {
    await t.step(name, async () => {
      Deno.AtomicOperation.prototype.commit = answer;
      try {
        const error = await assertCode(db.commit([{ key: ["x"], value: {} }]), code);
        assertStringIncludes(error.message, `Cannot write ${folder.state}/state.kv: `);
        assertStringIncludes(error.message, said);
      } finally {
        Deno.AtomicOperation.prototype.commit = commit;
      }
    });
  }
  assertEquals(await Array.fromAsync(db.rows(["x"])), []);
});

Deno.test("Database.rows() says of rows that cannot be read that the file is damaged", async () => {
  await using folder = await tempFolder();
  await makeState(folder.state);
  using db = await Database.open(folder.state);
  const { list } = Deno.Kv.prototype;
  Deno.Kv.prototype.list = () => {
    throw new Error("interrupted");
  };
  try {
    const error = await assertCode(Array.fromAsync(db.rows(["x"])), "state.damaged");
    assertEquals(error.message, `Cannot read ${folder.state}/state.kv: interrupted`);
  } finally {
    Deno.Kv.prototype.list = list;
  }
});

Deno.test("Database.open() moves what a rotation of the seal key left to its place, and removes what is of another", async () => {
  await using folder = await tempFolder();
  const many = Array.from({ length: 1_201 }, (_, i) => i);
  {
    using db = await Database.open(folder.state);
    await db.initialise(new Uint8Array(1), "ours");
  }
  await withKv(folder.state, async (kv) => {
    for (let at = 0; at < many.length; at += 400) {
      const atomic = kv.atomic();
      for (const i of many.slice(at, at + 400)) {
        atomic.set(["resealed", "ours", "x", i], encodeRow({ i })).set(
          ["resealed", "other", "x", i],
          encodeRow({}),
        );
      }
      await atomic.commit();
    }
  });
  using db = await Database.open(folder.state);
  assertEquals(await Array.fromAsync(db.rows(["resealed"])), []);
  const rows = await Array.fromAsync(db.rows(["x"]));
  assertEquals(rows, many.map((i) => ({ key: ["x", i], value: { i } })));
});

Deno.test("Database.reseal() exchanges rows of any number and size, and is of the layout that needs it", async () => {
  await using folder = await tempFolder();
  const big = "x".repeat(50_000);
  const rows = [
    ...Array.from({ length: 1_100 }, (_, i) => ({ key: ["x", i], value: { i } })),
    ...Array.from({ length: 20 }, (_, i) => ({ key: ["big", i], value: { big } })),
  ];
  {
    using db = await Database.open(folder.state);
    await db.initialise(Uint8Array.of(1), "before");
    await db.commit([{ key: ["x", 1], value: { old: 1 } }]);
    await db.reseal({ sealCheck: Uint8Array.of(2), sealKeyId: "after" }, rows);
    assertEquals([db.sealCheck, db.sealKeyId], [Uint8Array.of(2), "after"] as unknown[]);
    assertEquals(await Array.fromAsync(db.rows(["resealed"])), []);
  }
  await withKv(folder.state, async (kv) => {
    const { value } = await kv.get(["meta"]);
    assertEquals(decodeRow(value), { schema: 2, sealCheck: Uint8Array.of(2), sealKeyId: "after" });
  });
  using db = await Database.open(folder.state);
  assertEquals([db.sealCheck, db.sealKeyId], [Uint8Array.of(2), "after"] as unknown[]);
  assertEquals((await Array.fromAsync(db.rows(["x"]))).length, 1_100);
  assertEquals(
    (await Array.fromAsync(db.rows(["big"]))).map(({ value }) => value),
    rows.slice(1_100).map(({ value }) => value),
  );
});

Deno.test("Database.open() reads the layouts up to the second, and a new file is of the first", async () => {
  await using folder = await tempFolder();
  {
    using db = await Database.open(folder.state);
    assertEquals([db.sealCheck, db.sealKeyId], [undefined, undefined]);
    await db.initialise(Uint8Array.of(1));
  }
  await withKv(folder.state, async (kv) => {
    assertEquals(decodeRow((await kv.get(["meta"])).value), {
      schema: 1,
      sealCheck: Uint8Array.of(1),
      sealKeyId: "",
    });
    await kv.set(["meta"], encodeRow({ schema: 2, sealCheck: Uint8Array.of(1), sealKeyId: "" }));
  });
  {
    using db = await Database.open(folder.state);
    assertEquals([db.sealCheck, db.sealKeyId], [Uint8Array.of(1), undefined] as unknown[]);
  }
  await withKv(folder.state, (kv) => kv.set(["meta"], encodeRow({ schema: 3, sealCheck: Uint8Array.of(1) })));
  for (let n = 0; n < 2; n++) { // the folder is unlocked
    const error = await assertCode(Database.open(folder.state), "state.newer");
    assertStringIncludes(error.message, "layout 3, this one reads 2");
  }
});

Deno.test("Database says how much one commit takes, and takes so much", async () => {
  await using folder = await tempFolder();
  using db = await Database.open(folder.state);
  assertEquals(db.commitBounds, { rows: 1_000, chars: 524_288 });
  await db.commit(Array.from({ length: 1_000 }, (_, i) => ({
    key: ["secret", "n".repeat(60) + i],
    value: { t: "x".repeat(516) }, // 524 characters as JSON
  })));
  assertEquals((await Array.fromAsync(db.rows(["secret"]))).length, 1_000);
});
