import { assertEquals, assertRejects } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import { ProxyError } from "../../../core/errors.ts";
import { State } from "../../../store/state.ts";
import { assertCode, openState, tempFolder } from "./support.ts";

const SECRET = { name: "key", host: "api.example.com", type: "bearer", cleartext: false };

/** Has commits fail while `isFull(n)` of the number of the commit, from 1. */
function failCommits(isFull: (n: number) => boolean): Disposable {
  const commit = Deno.AtomicOperation.prototype.commit;
  let n = 0;
  Deno.AtomicOperation.prototype.commit = function () {
    return isFull(++n) ? Promise.reject(new Error("disk is full")) : commit.call(this);
  };
  return { [Symbol.dispose]: () => void (Deno.AtomicOperation.prototype.commit = commit) };
}

Deno.test("State.rotateSealKey() changes nothing when the rows cannot be written", async () => {
  await using folder = await tempFolder();
  const before = await (async () => {
    await using state = await openState(folder.state);
    await state.putSecret({ ...SECRET, value: "one" }, { force: false });
    const key = await Deno.readTextFile(`${folder.state}/mk`);
    {
      using _ = failCommits((n) => n >= 2);
      const error = await assertRejects(() => state.rotateSealKey(), ProxyError);
      assertEquals(error.code, "state.write-failed");
    }
    await state.putSecret({ ...SECRET, value: "two" }, { force: true });
    return key;
  })();
  await using state = await openState(folder.state);
  assertEquals(state.secretValue("key")?.value, "two");
  assertEquals(await Deno.readTextFile(`${folder.state}/mk`), before);
  await state.rotateSealKey();
  assertEquals(await Deno.readTextFile(`${folder.state}/mk.previous`), before);
});

Deno.test("State.rotateSealKey() seals nothing with a brought key that may be on no disk yet", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const before = (await state.sealKey()).id;
  const brought = `${folder.path}/brought`;
  await Deno.writeTextFile(brought, `${"cd".repeat(32)}\n`, { mode: 0o600 });
  const sync = Deno.FsFile.prototype.sync;
  Deno.FsFile.prototype.sync = () => Promise.reject(new Error("disk is full"));
  try {
    const error = await assertRejects(() => state.rotateSealKey(brought), ProxyError);
    assertEquals(error.code, "state.write-failed");
  } finally {
    Deno.FsFile.prototype.sync = sync;
  }
  assertEquals((await state.sealKey()).id, before);
  assertEquals((await state.rotateSealKey(brought)).formerId, before);
});

Deno.test("State.rotateSealKey() loses no change that comes while its last rows cannot be moved", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    await state.putSecret({ ...SECRET, value: "one" }, { force: false });
    await state.putSecret({ ...SECRET, name: "other", value: "other" }, { force: false });
    {
      using _ = failCommits((n) => n >= 3); // after the rows and the proof
      await state.rotateSealKey();
      const error = await assertRejects(() => state.putSecret({ ...SECRET, value: "lost" }, { force: true }));
      assertEquals(error instanceof ProxyError && error.code, "state.write-failed");
    }
    await state.putSecret({ ...SECRET, value: "two" }, { force: true });
    await state.deleteSecret("other");
  }
  await using state = await openState(folder.state);
  assertEquals(state.listSecrets().map(({ name }) => state.secretValue(name)?.value), ["two"]);
});

Deno.test("State.rotateSealKey() keeps tokens over many rotations, and makes new ones", async () => {
  await using folder = await tempFolder();
  const tokens: string[] = [];
  for (let n = 0; n < 4; n++) {
    await using state = await openState(folder.state);
    tokens.push((await state.createClient(`c${n}`)).token);
    const { formerId, id } = await state.rotateSealKey();
    assertEquals(formerId === id, false);
    tokens.push((await state.createClient(`d${n}`)).token);
    assertEquals(tokens.map((token) => state.clientByToken(token)?.name).length, tokens.length);
  }
  await using state = await openState(folder.state);
  assertEquals(
    tokens.map((token) => state.clientByToken(token)?.name),
    tokens.map((_, i) => `${i % 2 === 0 ? "c" : "d"}${Math.floor(i / 2)}`),
  );
});

Deno.test("State.rotateSealKey() gives up no key in force when the one before could not put it in its place", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    await state.putSecret({ ...SECRET, value: "one" }, { force: false });
    await Deno.mkdir(`${folder.state}/mk.previous`); // so that the rotation ends before its last step
    const error = await assertRejects(() => state.rotateSealKey(), ProxyError);
    assertEquals(error.code, "state.write-failed");
    await Deno.remove(`${folder.state}/mk.previous`);
    using _ = failCommits(() => true);
    await assertRejects(() => state.rotateSealKey(), ProxyError);
  }
  await using state = await openState(folder.state);
  assertEquals(state.secretValue("key")?.value, "one");
});

Deno.test("State.rotateSealKey() makes no key where one is to be brought, and takes not the one in force", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const before = (await state.sealKey()).id;
  const missing = `${folder.path}/none`;
  await assertCode(state.rotateSealKey(missing), "seal.key-missing");
  await assertCode(state.rotateSealKey(`${folder.state}/mk`), "input.conflict");
  assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), [".slicer"]);
  assertEquals((await state.sealKey()).id, before);
});

Deno.test("State.rotateSealKey() with a brought key moves no key, one that is in force under another name too", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await Deno.mkdir(`${folder.state}/mk.previous`); // so that the rotation ends before its last step
  await assertCode(state.rotateSealKey(), "state.write-failed");
  await Deno.remove(`${folder.state}/mk.previous`);
  const brought = `${folder.path}/brought`;
  await Deno.writeTextFile(brought, `${"cd".repeat(32)}\n`, { mode: 0o600 });
  const keys = () => ["mk", "mk.next"].map((name) => Deno.readTextFileSync(`${folder.state}/${name}`)); // throws where there is none
  const before = keys();
  const { keyFile, formerKeyFile } = await state.rotateSealKey(brought);
  assertEquals([keyFile, formerKeyFile, keys()], [brought, undefined, before] as unknown[]);
});

Deno.test("State.rotateSealKey() brings back no secret that went after a try with the same key", async () => {
  await using folder = await tempFolder();
  const sealKeyFile = `${folder.path}/brought`;
  await Deno.writeTextFile(sealKeyFile, `${"cd".repeat(32)}\n`, { mode: 0o600 });
  {
    await using state = await openState(folder.state);
    for (const name of ["kept", "gone"]) {
      await state.putSecret({ ...SECRET, name, value: name }, { force: false });
    }
    {
      using _ = failCommits((n) => n >= 2); // the rows are written, the proof is not
      await assertCode(state.rotateSealKey(sealKeyFile), "state.write-failed");
    }
    await state.deleteSecret("gone");
    await state.rotateSealKey(sealKeyFile);
  }
  await using state = await State.open({ dir: folder.state, clock: systemClock(), sealKeyFile });
  assertEquals(state.listSecrets().map(({ name }) => state.secretValue(name)?.value), ["kept"]);
});
