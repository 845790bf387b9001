import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { keepKey, loadSealKey, readFormerKey, removeFormerKey } from "../../../store/seal_key.ts";
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
