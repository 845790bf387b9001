import { assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { loadApiToken } from "../../../api/token_file.ts";
import { ProxyError } from "../../../core/errors.ts";

async function inFolder(run: (path: string, dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(join(dir, "api-token"), dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("loadApiToken() makes 256 random bits with mode 0600, and reads them again", async () => {
  await inFolder(async (path, dir) => {
    const token = await loadApiToken(path);
    assertMatch(token, /^spa_[A-Za-z0-9_-]{43}$/);
    assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o7777, 0o600);
    assertEquals(await Deno.readTextFile(path), `${token}\n`);
    assertEquals(await loadApiToken(path), token);
    assertNotEquals(await loadApiToken(join(dir, "other")), token);
    assertEquals(Array.from(Deno.readDirSync(dir), ({ name }) => name).sort(), ["api-token", "other"]);
  });
});

Deno.test("loadApiToken() gives all who start at once the same token", async () => {
  await inFolder(async (path) => {
    const tokens = await Promise.all(Array.from({ length: 8 }, () => loadApiToken(path)));
    assertEquals(new Set([...tokens, (await Deno.readTextFile(path)).trim()]).size, 1);
  });
});

Deno.test("loadApiToken() takes a file that an operator made, and no other", async (t) => {
  const token = "0123456789abcdef0123456789abcdef";
  const rows: [name: string, text: string, mode: number, says?: string][] = [
    ["32 characters", `${token}\n`, 0o600],
    ["no line end", token, 0o600],
    ["CRLF", `${token}\r\n`, 0o400],
    ["512 characters", "x".repeat(512), 0o600],
    ["31 characters", token.slice(1), 0o600, "is not one line"],
    ["513 characters", "x".repeat(513), 0o600, "is not one line"],
    ["far too long", "x".repeat(100_000), 0o600, "is not one line"],
    ["empty", "", 0o600, "is not one line"],
    ["two lines", `${token}\n${token}\n`, 0o600, "is not one line"],
    ["a space within", `${token} x`, 0o600, "is not one line"],
    ["group may read", token, 0o640, "other users can open it"],
    ["others may read", token, 0o604, "other users can open it"],
    ["others may write", token, 0o602, "other users can open it"],
  ];
  for (const [name, text, mode, says] of rows) {
    await t.step(name, () =>
      inFolder(async (path) => {
        await Deno.writeTextFile(path, text);
        await Deno.chmod(path, mode);
        if (says === undefined) return assertEquals(await loadApiToken(path), text.trim());
        const error = await assertRejects(() => loadApiToken(path), ProxyError, says);
        assertEquals(error.code, "state.unreadable");
        assertEquals(`${error.message}${error.hint}`.includes(token.slice(1)), false);
      }));
  }
});

Deno.test("loadApiToken() refuses what is no file, and a folder that is missing", async () => {
  await inFolder(async (path, dir) => {
    const noFile = await assertRejects(() => loadApiToken(dir), ProxyError, "not a regular file");
    assertEquals(noFile.code, "state.unreadable");
    const noFolder = await assertRejects(
      () => loadApiToken(join(dir, "none", "t")),
      ProxyError,
      "Cannot make",
    );
    assertEquals(noFolder.code, "state.write-failed");
    await new Deno.Command("mkfifo", { args: [path] }).output();
    await assertRejects(() => loadApiToken(path), ProxyError, "not a regular file");
  });
});
