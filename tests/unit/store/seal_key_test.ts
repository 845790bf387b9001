import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  bringNextKey,
  formerKeyPath,
  installNextKey,
  keepKey,
  keptKeyPath,
  loadSealKey,
  makeNextKey,
  nextKeyPath,
  previousKeyPath,
  readFormerKey,
  readNextKey,
  removeFormerKey,
  syncKey,
  withKeyLock,
} from "../../../store/seal_key.ts";
import { assertCode, modeOf, tempFolder } from "./support.ts";

const DIGITS = "00ff".repeat(16);

Deno.test("loadSealKey() makes a key of mode 0600 once and returns the same one afterwards", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/mk`;
  const made = await loadSealKey(path, true);
  assertEquals(made.length, 32);
  assertEquals(await modeOf(path), 0o600);
  assertEquals(await loadSealKey(path, true), made);
  assertEquals(await loadSealKey(path, false), made);
  assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["mk"]); // no temporary file stays
  assertNotEquals(await loadSealKey(`${folder.path}/other`, true), made);
});

Deno.test("loadSealKey() gives both callers one key when they make it at the same time", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/mk`;
  const keys = await Promise.all(Array.from({ length: 8 }, () => loadSealKey(path, true)));
  for (const key of keys) assertEquals(key, keys[0]);
});

Deno.test("loadSealKey() never makes a key where one must exist", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/mk`;
  const error = await assertCode(loadSealKey(path, false), "seal.key-missing");
  assertStringIncludes(error.message, path);
  assertStringIncludes(error.hint ?? "", "--seal-key-file");
  assertEquals([...Deno.readDirSync(folder.path)], []);
});

Deno.test("loadSealKey() reads one line of 64 hex digits and nothing else", async (t) => {
  await using folder = await tempFolder();
  const rows: readonly { name: string; text: string; isKey: boolean }[] = [
    { name: "with a line feed", text: `${DIGITS}\n`, isKey: true },
    { name: "without one", text: DIGITS, isKey: true },
    { name: "upper case, CRLF", text: `${DIGITS.toUpperCase()}\r\n`, isKey: true },
    { name: "63 digits", text: `${DIGITS.slice(1)}\n`, isKey: false },
    { name: "65 digits", text: `${DIGITS}0\n`, isKey: false },
    { name: "another letter", text: `g${DIGITS.slice(1)}\n`, isKey: false },
    { name: "empty", text: "", isKey: false },
    { name: "two lines", text: `${DIGITS}\n${DIGITS}\n`, isKey: false },
    { name: "a blank behind the line", text: `${DIGITS}\r\n `, isKey: false },
    { name: "a blank before", text: ` ${DIGITS}\n`, isKey: false },
  ];
  for (const [i, { name, text, isKey }] of rows.entries()) {
    await t.step(name, async () => {
      const path = `${folder.path}/${i}`;
      await Deno.writeTextFile(path, text, { mode: 0o600 });
      if (isKey) return assertEquals((await loadSealKey(path, false)).slice(0, 3), Uint8Array.of(0, 255, 0));
      const error = await assertCode(loadSealKey(path, true), "seal.key-invalid");
      assertStringIncludes(error.message, path);
      assert(text === "" || !error.message.includes(text.trim()), "the message holds the file's text");
    });
  }
});

Deno.test("loadSealKey() refuses a file that others can open, and what is no file", async (t) => {
  await using folder = await tempFolder();
  const path = `${folder.path}/mk`;
  await Deno.writeTextFile(path, DIGITS, { mode: 0o600 });
  for (
    const [mode, isFine] of [[0o600, true], [0o400, true], [0o640, false], [0o604, false], [
      0o620,
      false,
    ]] as const
  ) {
    await t.step(`mode ${mode.toString(8)}`, async () => {
      await Deno.chmod(path, mode);
      if (isFine) return void await loadSealKey(path, false);
      const error = await assertCode(loadSealKey(path, false), "seal.key-invalid");
      assertStringIncludes(error.hint ?? "", `chmod 600 ${path}`);
    });
  }
  await t.step("a folder", async () => {
    await assertCode(loadSealKey(folder.path, true), "seal.key-invalid");
  });
  await t.step("a FIFO, without waiting for its writer", async () => {
    const fifo = `${folder.path}/fifo`;
    assert((await new Deno.Command("mkfifo", { args: ["-m", "600", fifo] }).output()).success);
    await assertCode(loadSealKey(fifo, true), "seal.key-invalid");
  });
  await t.step("a link to a key, as secret mounts make them", async () => {
    await Deno.chmod(path, 0o600);
    await Deno.symlink(path, `${folder.path}/link`);
    assertEquals(await loadSealKey(`${folder.path}/link`, false), await loadSealKey(path, false));
  });
  await t.step("a place that does not exist", async () => {
    await assertCode(loadSealKey(`${folder.path}/none/mk`, true), "state.write-failed");
  });
});

Deno.test("keepKey() and removeFormerKey() hide no failure of the disk", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/mk`;
  await assertCode(keepKey(path, "id"), "state.write-failed"); // there is none
  await loadSealKey(path, true);
  await keepKey(path, "id");
  await keepKey(path, "id"); // it is kept already
  assertEquals(await Deno.readTextFile(`${path}.id`), await Deno.readTextFile(path));
  await Deno.writeTextFile(`${path}.former`, "x");
  await removeFormerKey(path);
  assertEquals(await readFormerKey(path), undefined);
  await removeFormerKey(path); // there is none
  await Deno.mkdir(`${path}.former/in`, { recursive: true });
  await assertRejects(() => removeFormerKey(path));
});

/** A folder with a key `mk` in it. */
async function keyFolder() {
  const folder = await tempFolder();
  const path = `${folder.path}/mk`;
  return {
    path,
    key: await loadSealKey(path, true),
    names: () => [...Deno.readDirSync(folder.path)].map(({ name }) => name).sort(),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

Deno.test("a key's other files stand beside it", () => {
  assertEquals(
    [nextKeyPath("/k/mk"), previousKeyPath("/k/mk"), formerKeyPath("/k/mk"), keptKeyPath("/k/mk", "ab")],
    ["/k/mk.next", "/k/mk.previous", "/k/mk.former", "/k/mk.ab"],
  );
});

Deno.test("makeNextKey() gives up the next key of before, and touches not the one in force", async () => {
  await using folder = await keyFolder();
  const { path, key, names } = folder;
  assertEquals(await readNextKey(path), undefined);
  const first = await makeNextKey(path);
  assertEquals([await readNextKey(path), await modeOf(nextKeyPath(path))], [first, 0o600] as unknown[]);
  const second = await makeNextKey(path);
  assertNotEquals(second, first);
  assertEquals([await readNextKey(path), await loadSealKey(path, false)], [second, key]);
  assertEquals(names(), ["mk", "mk.next"]);
});

Deno.test("bringNextKey() copies the key that is brought, unless it is there already, and leaves it where it is", async () => {
  await using folder = await keyFolder();
  const { path, names } = folder;
  const brought = `${path}-brought`;
  const key = await loadSealKey(brought, true);
  const inode = async () => (await Deno.stat(nextKeyPath(path))).ino;
  assertEquals([await bringNextKey(path, brought), await readNextKey(path)], [key, key]);
  {
    using _held = await Deno.open(nextKeyPath(path)); // so that no other file gets its number
    const before = await inode();
    assertEquals(await bringNextKey(path, brought), key);
    assertEquals(await bringNextKey(path, nextKeyPath(path)), key);
    assertEquals(await inode(), before);
  }
  await makeNextKey(path);
  assertEquals([await bringNextKey(path, brought), await readNextKey(path)], [key, key]);
  await Deno.writeTextFile(nextKeyPath(path), "no key");
  assertEquals([await bringNextKey(path, brought), await readNextKey(path)], [key, key]);
  assertEquals(names(), ["mk", "mk-brought", "mk.next"]);
  await assertCode(bringNextKey(path, `${path}-none`), "seal.key-missing");
});

Deno.test("installNextKey() has the next key in the place of the one in force, which is kept", async (t) => {
  for (const keptAs of [undefined, "mk.former"]) {
    await t.step(`kept as ${keptAs ?? "mk.previous"}`, async () => {
      await using folder = await keyFolder();
      const { path, key, names } = folder;
      const kept = keptAs === undefined ? previousKeyPath(path) : formerKeyPath(path);
      for (const left of [kept, `${kept}.tmp`]) await Deno.writeTextFile(left, "of an earlier time");
      const next = await makeNextKey(path);
      await installNextKey(path, ...(keptAs === undefined ? [] : [kept]));
      assertEquals([await loadSealKey(path, false), await loadSealKey(kept, false)], [next, key]);
      assertEquals(names(), ["mk", keptAs ?? "mk.previous"]);
    });
  }
});

Deno.test("a key that cannot be replaced is told with what to do, and stays", async (t) => {
  await using folder = await keyFolder();
  const { path, key } = folder;
  const rows: readonly (readonly [string, () => Promise<unknown>])[] = [
    ["there is none to install", () => installNextKey(path)],
    ["there is none in force", () => installNextKey(`${path}-none`)],
    ["the next one cannot be removed", async () => {
      await Deno.mkdir(`${nextKeyPath(path)}/in`, { recursive: true });
      await makeNextKey(path);
    }],
    ["nor for one that is brought", () => bringNextKey(path, path)],
  ];
  for (const [name, replace] of rows) {
    await t.step(name, async () => {
      const error = await assertCode(replace(), "state.write-failed");
      assertStringIncludes(error.message, `Cannot replace the seal key ${path}`);
      assertStringIncludes(error.hint ?? "", "its folder must be writable");
      assertEquals(await loadSealKey(path, false), key);
    });
  }
});

Deno.test("syncKey() resolves for a key and for a link to one, and tells of one that may not be on the disk", async () => {
  await using folder = await keyFolder();
  await syncKey(folder.path);
  await Deno.symlink(folder.path, `${folder.path}-link`);
  await syncKey(`${folder.path}-link`);
  const error = await assertCode(syncKey(`${folder.path}-none`), "state.write-failed");
  assertStringIncludes(error.message, "may not be on the disk");
});

Deno.test("syncKey() has the folders of the name and of the file that it leads to on the disk", async () => {
  await using folder = await tempFolder();
  const [inside, outside] = [`${folder.path}/real`, `${folder.path}/mount`];
  for (const each of [inside, outside]) await Deno.mkdir(each);
  await loadSealKey(`${inside}/mk`, true);
  await Deno.symlink(`${inside}/mk`, `${outside}/mk`);
  const opened: string[] = [];
  const { open } = Deno;
  Deno.open = (path, options) => {
    opened.push(String(path));
    return open(path, options);
  };
  try {
    await syncKey(`${outside}/mk`);
  } finally {
    Deno.open = open;
  }
  assertEquals(opened, [`${outside}/mk`, outside, await Deno.realPath(inside)]);
});

Deno.test("withKeyLock() lets in one at a time", async () => {
  await using folder = await keyFolder();
  const { path } = folder;
  const seen: string[] = [];
  const isIn = Promise.withResolvers<void>();
  const mayGo = Promise.withResolvers<void>();
  const first = withKeyLock(path, async () => {
    isIn.resolve();
    await mayGo.promise;
    seen.push("first");
    return 1;
  });
  await isIn.promise;
  const second = withKeyLock(path, () => Promise.resolve(seen.push("second")));
  // As long as any number of operations on the disk take.
  for (let turn = 0; turn < 20; turn++) await Deno.stat(path);
  assertEquals(seen, []);
  mayGo.resolve();
  assertEquals([await first, await second, seen], [1, 2, ["first", "second"]] as unknown[]);
});

Deno.test("loadSealKey() makes no key on a disk that has no links, and leaves nothing there", async () => {
  await using folder = await tempFolder();
  const { link } = Deno;
  Deno.link = () => Promise.reject(new Deno.errors.NotSupported("no links here"));
  try {
    const error = await assertCode(loadSealKey(`${folder.path}/mk`, true), "state.write-failed");
    assertStringIncludes(error.message, "Cannot make the seal key");
    assertStringIncludes(error.message, "no links here");
  } finally {
    Deno.link = link;
  }
  assertEquals([...Deno.readDirSync(folder.path)], []);
});

Deno.test("loadSealKey() leaves no digits in the memory that it read them into", async () => {
  await using folder = await keyFolder();
  const { decode } = TextDecoder.prototype;
  const read: Uint8Array[] = [];
  TextDecoder.prototype.decode = function (input, options) {
    if (input instanceof Uint8Array) read.push(input);
    return decode.call(this, input, options);
  };
  try {
    assertEquals(await loadSealKey(folder.path, false), folder.key);
  } finally {
    TextDecoder.prototype.decode = decode;
  }
  const digits = read.filter(({ length }) => length === 65);
  assertEquals(digits.map((bytes) => bytes.every((byte) => byte === 0)), [true]);
});

Deno.test("loadSealKey() says of a path through a file that it cannot be read", async () => {
  await using folder = await keyFolder();
  const error = await assertCode(loadSealKey(`${folder.path}/in/it`, true), "seal.key-invalid");
  assertStringIncludes(error.message, "Cannot read the seal key");
});

Deno.test("a key is on the disk, and its name too, before a call that made or moved it returns", async (t) => {
  const rows: readonly (readonly [string, (path: string) => Promise<unknown>, syncs: number])[] = [
    ["made", (path) => loadSealKey(`${path}-other`, true), 2],
    ["the next one made", (path) => makeNextKey(path), 2],
    ["brought", (path) => bringNextKey(path, path), 2],
    ["read", (path) => loadSealKey(path, true), 0],
    ["kept", (path) => keepKey(path, "id"), 1],
    ["its former one removed", (path) => removeFormerKey(path), 1],
    ["made sure of", (path) => syncKey(path), 2],
  ];
  const { sync } = Deno.FsFile.prototype;
  const syncsOf = async (work: () => Promise<unknown>) => {
    let syncs = 0;
    Deno.FsFile.prototype.sync = function () {
      syncs++;
      return sync.call(this);
    };
    try {
      await work();
    } finally {
      Deno.FsFile.prototype.sync = sync;
    }
    return syncs;
  };
  for (const [name, work, syncs] of rows) {
    await t.step(name, async () => {
      await using folder = await keyFolder();
      assertEquals(await syncsOf(() => work(folder.path)), syncs);
    });
  }
  await t.step("installed", async () => {
    await using folder = await keyFolder();
    await makeNextKey(folder.path);
    assertEquals(await syncsOf(() => installNextKey(folder.path)), 1);
  });
});

Deno.test("loadSealKey() says of a key that the disk does not give that it cannot be read", async () => {
  await using folder = await keyFolder();
  const { open } = Deno;
  Deno.open = () => Promise.reject(new Deno.errors.PermissionDenied("not yours"));
  try {
    const { message } = await assertCode(loadSealKey(folder.path, true), "seal.key-invalid");
    assertEquals(message, `Cannot read the seal key ${folder.path}: not yours`);
  } finally {
    Deno.open = open;
  }
});
