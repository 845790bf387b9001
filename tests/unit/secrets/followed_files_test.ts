/** Static secrets that follow a file which somebody else writes. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Rig } from "./support.ts";

interface Stage extends AsyncDisposable {
  readonly rig: Rig;
  readonly dir: string;
  readonly file: string;
  /** Writes the file as careful writers do: beside it, and then in its place. */
  write(text: string, mode?: number): Promise<void>;
  /** Lets the time of one look pass. */
  look(): void;
  readonly value: () => string | undefined;
  readonly error: () => string | undefined;
}

async function startStage(text = "planted-1", { type = "bearer" } = {}): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-followed-" }));
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const rig = stack.use(await Rig.start());
  const file = `${dir}/key`;
  const write = async (content: string, mode = 0o600) => {
    await Deno.writeTextFile(`${dir}/.new`, content);
    await Deno.chmod(`${dir}/.new`, mode);
    await Deno.rename(`${dir}/.new`, file);
  };
  await write(text);
  await rig.adopt(type, text, { sourceFile: file });
  return {
    ...{ rig, dir, file, write },
    look: () => rig.clock.advance(2_000),
    value: () => rig.state.secretValue("login")?.value,
    error: () => rig.state.getSecret("login")?.error,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

Deno.test("a file that changes is a new version of its secret, as with --force", async () => {
  await using stage = await startStage();
  const { rig, look, value } = stage;
  const before = await rig.credential();
  assertEquals([before.isFollowed, before.generation], [true, undefined]);
  await stage.write("planted-2\n");
  look();
  await rig.until(() => value() === "planted-2", "the new value");
  const after = await rig.credential();
  assertEquals(after.headers, [["Authorization", "Bearer planted-2"]]);
  assert(after.version !== before.version);
  assert(rig.state.getSecret("login")?.updatedAt !== undefined);
  await stage.write("planted-3");
  look();
  await rig.until(() => value() === "planted-3", "the value after that");
  assertEquals(rig.credentials.outcomes().adopted, 2);
  assert(!rig.log.join().includes("planted"));
});

Deno.test("what cannot be used keeps the old value, and is said until it is good again", async (t) => {
  const rows: readonly (readonly [name: string, spoil: (stage: Stage) => Promise<void>, words: RegExp])[] = [
    ["empty", ({ write }) => write(""), /it is empty$/],
    ["of a wrong shape", ({ write }) => write("planted\nplanted"), /line breaks or control characters$/],
    ["gone", ({ file }) => Deno.remove(file), /there is no such file$/],
    ["writable by others", ({ write }) => write("planted-2", 0o602), /others can write to it/],
    ["a folder", async ({ file }) => {
      await Deno.remove(file);
      await Deno.mkdir(file);
    }, /it is no regular file$/],
    ["a link out of its folder", async ({ file }) => {
      await Deno.remove(file);
      await Deno.symlink("/etc/hostname", file);
    }, /it is a link out of its folder$/],
    ["a link up", async ({ file }) => {
      await Deno.remove(file);
      await Deno.symlink("../x", file);
    }, /it is a link out of its folder$/],
    ["a link to itself", async ({ file }) => {
      await Deno.remove(file);
      await Deno.symlink("key", file);
    }, /a link to a link/],
  ];
  for (const [name, spoil, words] of rows) {
    await t.step(name, async () => {
      await using stage = await startStage();
      const { rig, look, value, error } = stage;
      const version = rig.state.getSecret("login")?.version;
      await spoil(stage);
      look();
      await rig.until(() => error() !== undefined, "an error");
      assertMatch(error() ?? "", words);
      assertStringIncludes(error() ?? "", "the value of before is used");
      assertEquals([value(), rig.state.getSecret("login")?.version], ["planted-1", version]);
      assertEquals(rig.log.length, 1);
      assertEquals(rig.credentials.outcomes().failed, 1);
      assert(!(error() ?? "").includes("planted") && !rig.log.join().includes("planted"));
      await Deno.remove(stage.file, { recursive: true }).catch(() => {});
      await stage.write("planted-9");
      look();
      await rig.until(() => value() === "planted-9", "the good value");
      assertEquals(error(), undefined);
    });
  }
});

Deno.test("a Kubernetes volume is followed from one folder to the next", async () => {
  await using stack = new AsyncDisposableStack();
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-followed-" }));
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const rig = stack.use(await Rig.start());
  const swap = async (moment: string, text: string) => {
    await Deno.mkdir(`${dir}/..${moment}`);
    await Deno.writeTextFile(`${dir}/..${moment}/key`, text, { mode: 0o644 });
    await Deno.symlink(`..${moment}`, `${dir}/..data_tmp`);
    await Deno.rename(`${dir}/..data_tmp`, `${dir}/..data`);
  };
  await swap("2026_1", "planted-1");
  await Deno.symlink("..data/key", `${dir}/key`);
  await rig.adopt("bearer", "planted-1", { sourceFile: `${dir}/key` });
  await swap("2026_2", "planted-2");
  await Deno.remove(`${dir}/..2026_1`, { recursive: true });
  rig.clock.advance(2_000);
  await rig.until(() => rig.state.secretValue("login")?.value === "planted-2", "the new value");
});

Deno.test("an upstream's 401 has the file read at once, and not as often as a client likes", async () => {
  await using stage = await startStage();
  const { rig, value } = stage;
  const credential = await rig.credential();
  await stage.write("planted-2");
  assertEquals(await rig.credentials.rejected(credential, { status: 403 }), undefined);
  assertEquals(await rig.credentials.rejected(credential, { status: 401 }), undefined);
  await rig.until(() => value() === "planted-2", "the new value without a look");
  const next = await rig.credential();
  const { lstat } = Deno;
  let readings = 0;
  Deno.lstat = (path) => {
    if (path === stage.file) readings++;
    return lstat(path);
  };
  try {
    for (let i = 0; i < 100; i++) await rig.credentials.rejected(next, { status: 401 });
    await rig.credentials.rejected(credential, { status: 401 }); // long gone
    await rig.until(() => readings > 0, "one more reading");
    await stage.write("planted-3");
    stage.look();
    await rig.until(() => value() === "planted-3", "the value of the next look");
    // Two readings, which look at it twice, and those that found it being written and were made again.
    assert(readings <= 10, `${readings} looks at the file`);
  } finally {
    Deno.lstat = lstat;
  }
});

Deno.test("nothing is followed that was not on this machine, nor what was replaced by hand", async () => {
  await using stage = await startStage();
  const { rig } = stage;
  await rig.adopt("bearer", "planted-a", { name: "away", sourceFile: `${stage.dir}/nowhere` });
  assertEquals((await rig.credential(undefined, "away")).isFollowed, undefined);
  await rig.adopt("bearer", "planted-b", { force: true });
  await stage.write("planted-2");
  stage.look();
  await rig.adopt("bearer", "planted-c", { name: "later", sourceFile: stage.file });
  await rig.until(() => {
    rig.clock.advance(2_000);
    return rig.state.secretValue("later")?.value === "planted-2";
  }, "another secret's look");
  assertEquals(stage.value(), "planted-b");
  assertEquals(rig.state.getSecret("away")?.error, undefined);
});

Deno.test("what was written while the proxy was down is used after its start", async () => {
  await using stage = await startStage();
  await stage.rig.close();
  await stage.write("planted-2");
  await using rig = await Rig.start({ dir: stage.rig.dir });
  await rig.until(() => rig.state.secretValue("login")?.value === "planted-2", "the new value");
});
