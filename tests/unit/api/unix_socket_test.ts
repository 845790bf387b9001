import { assertEquals, assertRejects } from "@std/assert";
import { dirname, join } from "node:path";
import { listenOwned } from "../../../api/unix_socket.ts";
import { ProxyError } from "../../../core/errors.ts";

/** A listener that nobody accepts from is enough: who connects is in its backlog. */
function listen(path: string): AsyncDisposable {
  const listener = Deno.listen({ transport: "unix", path });
  return {
    [Symbol.asyncDispose]() {
      listener.close();
      return Promise.resolve();
    },
  };
}

/** A socket as `kill -9` leaves it. */
async function leaveStale(path: string): Promise<void> {
  const script = `Deno.listen({ transport: "unix", path: ${
    JSON.stringify(path)
  } }); Deno.kill(Deno.pid, "SIGKILL");`;
  await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  assertEquals((await Deno.lstat(path)).isSocket, true);
}

async function inFolder(run: (path: string, dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(join(dir, "api.sock"), dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function namesIn(dir: string): string[] {
  return Array.from(Deno.readDirSync(dir), ({ name }) => name).sort();
}

async function isAnswered(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}

Deno.test("listenOwned() makes a socket of mode 0600, never within reach of others", async () => {
  await inFolder(async (path, dir) => {
    let roomMode: number | undefined;
    const { server, remove } = await listenOwned(path, (at) => {
      roomMode = (Deno.lstatSync(dirname(at)).mode ?? 0) & 0o777;
      return listen(at);
    });
    assertEquals(roomMode, 0o700);
    const info = await Deno.lstat(path);
    assertEquals([info.isSocket, (info.mode ?? 0) & 0o777], [true, 0o600]);
    assertEquals(namesIn(dir), ["api.sock"]);
    assertEquals(await isAnswered(path), true);
    remove();
    assertEquals(namesIn(dir), []);
    await server[Symbol.asyncDispose]();
  });
});

Deno.test("listenOwned() replaces a stale socket", async () => {
  await inFolder(async (path, dir) => {
    await leaveStale(path);
    assertEquals(await isAnswered(path), false);
    const { server, remove } = await listenOwned(path, listen);
    assertEquals(await isAnswered(path), true);
    remove();
    await server[Symbol.asyncDispose]();
    assertEquals(namesIn(dir), []);
  });
});

Deno.test("listenOwned() leaves a live socket alone and says that it is running already", async () => {
  await inFolder(async (path, dir) => {
    await using _live = listen(path);
    const error = await assertRejects(() => listenOwned(path, listen), ProxyError, "already running");
    assertEquals(error.code, "state.locked");
    assertEquals([await isAnswered(path), namesIn(dir)], [true, ["api.sock"]]);
  });
});

Deno.test("listenOwned() refuses what is no socket and never deletes it", async (t) => {
  const rows: [name: string, put: (path: string, dir: string) => Promise<unknown>][] = [
    ["a file", (path) => Deno.writeTextFile(path, "keep me")],
    ["a folder", (path) => Deno.mkdir(path)],
    ["a fifo", (path) => new Deno.Command("mkfifo", { args: [path] }).output()],
    ["a link to a stale socket", async (path, dir) => {
      await leaveStale(join(dir, "other.sock"));
      await Deno.symlink(join(dir, "other.sock"), path);
    }],
    ["a dangling link", (path, dir) => Deno.symlink(join(dir, "nothing"), path)],
  ];
  for (const [name, put] of rows) {
    await t.step(name, () =>
      inFolder(async (path, dir) => {
        await put(path, dir);
        const before = namesIn(dir);
        const error = await assertRejects(() => listenOwned(path, listen), ProxyError, "is not a socket");
        assertEquals([error.code, namesIn(dir)], ["listen.failed", before]);
      }));
  }
});

Deno.test("listenOwned() does not replace what was put there while it started", async () => {
  await inFolder(async (path, dir) => {
    const start = () =>
      listenOwned(path, (at) => {
        Deno.writeTextFileSync(path, "keep me");
        return listen(at);
      });
    await assertRejects(start, ProxyError, "something was put there meanwhile");
    assertEquals([namesIn(dir), await Deno.readTextFile(path)], [["api.sock"], "keep me"]);
  });
});

Deno.test("listenOwned(): what another process put there since is not removed", async () => {
  await inFolder(async (path, dir) => {
    const { server, remove } = await listenOwned(path, listen);
    await Deno.remove(path);
    const other = listen(path);
    remove();
    await server[Symbol.asyncDispose]();
    assertEquals([namesIn(dir), await isAnswered(path)], [["api.sock"], true]);
    await other[Symbol.asyncDispose]();
  });
});

Deno.test("listenOwned() says what is wrong with a folder or a path", async (t) => {
  await inFolder(async (_path, dir) => {
    const longest = (Deno.build.os === "darwin" ? 103 : 107) - `${dir}/`.length;
    const rows: [name: string, path: string][] = [
      ["no folder", join(dir, "none", "api.sock")],
      ["a path of one byte too many", join(dir, "x".repeat(longest + 1))],
    ];
    for (const [name, path] of rows) {
      await t.step(name, async () => {
        const error = await assertRejects(() => listenOwned(path, listen), ProxyError, "Cannot listen on");
        assertEquals(error.code, "listen.failed");
        assertEquals(namesIn(dir), []);
      });
    }
    await t.step("the longest path works", async () => {
      const path = join(dir, "x".repeat(longest));
      const { server, remove } = await listenOwned(path, listen);
      assertEquals(await isAnswered(path), true);
      remove();
      await server[Symbol.asyncDispose]();
    });
  });
});
