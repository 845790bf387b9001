/** A login and the source file that a host CLI shares with it. */
import { assert, assertEquals } from "@std/assert";
import { digestOf } from "../../../secrets/source_login.ts";
import { ENDED, HOUR, NOW, REFUSED, Stage, type StageOptions, type TestLogin } from "./live_login_stage.ts";

/** A login that was adopted from a file, and that file. */
async function stageWithFile(text: string, options: StageOptions = {}) {
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-login-" }));
  const sourceFile = `${dir}/login`;
  const write = (content: string) => Deno.writeTextFile(sourceFile, content, { mode: 0o600 });
  await write(text);
  const sourceUid = Deno.uid();
  const stage = new Stage({
    ...options,
    record: { sourceFile, ...(sourceUid === null ? {} : { sourceUid }), ...options.record },
  });
  const close = async () => {
    await stage[Symbol.asyncDispose]();
    await Deno.remove(dir, { recursive: true });
  };
  return { stage, write, dir, [Symbol.asyncDispose]: close };
}

Deno.test("a source file: what is newer there is adopted before the provider is asked", async (t) => {
  const theirs = { access_token: "theirs", refresh_token: "r5" };
  const rows:
    readonly (readonly [name: string, found: TestLogin, header: string, outcomes: readonly string[]])[] = [
      ["newer", { ...theirs, expires_at: NOW + HOUR }, "theirs", ["adopted"]],
      ["good for more than a minute", { ...theirs, expires_at: NOW + 60_001 }, "theirs", ["adopted"]],
      ["good for a minute: it is renewed", { ...theirs, expires_at: NOW + 60_000 }, "new", [
        "adopted",
        "renewed",
      ]],
      ["without an end", theirs, "theirs", ["adopted"]],
      ["as it was", ENDED, "new", ["renewed"]],
      ["no newer than ours", { ...theirs, expires_at: NOW }, "new", ["renewed"]],
      ["without a token", { refresh_token: "r5" }, "new", ["adopted", "renewed"]],
      ["another account", { ...theirs, account: "b" }, "new", ["renewed"]],
    ];
  for (const [name, found, header, outcomes] of rows) {
    await t.step(name, async () => {
      const login = name === "another account" ? { ...ENDED, account: "a" } : ENDED;
      await using file = await stageWithFile(JSON.stringify(found), { login });
      const { stage } = file;
      assertEquals(await stage.header(), header);
      assertEquals(stage.outcomes, outcomes);
      assertEquals(
        stage.log,
        name === "another account"
          ? ["secret s: its source file holds another account or endpoint, and is not used"]
          : [],
      );
      const [first] = stage.updates;
      if (outcomes[0] === "adopted") {
        assertEquals(first, {
          ifVersion: "v1",
          ifValue: JSON.stringify(login),
          value: JSON.stringify({ ...found, source_digest: digestOf(found) }),
          adoptedAt: NOW,
          refreshingSince: null,
          error: null,
        });
        assertEquals(JSON.parse(stage.value).source_digest, digestOf(found));
      }
    });
  }
});

Deno.test("a source file that cannot be used is told, and the provider is asked", async () => {
  await using file = await stageWithFile("{");
  const { stage } = file;
  stage.clock.advance(HOUR);
  await stage.settle();
  assertEquals(await stage.header(), "new");
  assert(stage.log[0]?.startsWith("secret s: "), stage.log.join());
  assertEquals(stage.outcomes, ["renewed"]);
});

Deno.test("a refusal with a source file is asked about every 30 s, and an older login there is taken then", async () => {
  await using file = await stageWithFile(JSON.stringify(ENDED), { login: ENDED });
  const { stage, write } = file;
  stage.renewals.push(REFUSED);
  await stage.refusal();
  assertEquals(stage.clock.due, [NOW + 30_000]);
  stage.clock.advance(30_000);
  await stage.refusal(); // the file has what was refused
  assertEquals(stage.outcomes, ["refused", "refused"]);
  const older = { access_token: "older", refresh_token: "r0", expires_at: NOW - 1 };
  await write(JSON.stringify(older));
  stage.clock.advance(30_000);
  assertEquals(await stage.header(), "new");
  assertEquals([stage.outcomes, stage.record.error], [
    ["refused", "refused", "adopted", "renewed"],
    undefined,
  ]);
});

Deno.test("what a host CLI has written while the provider refused is taken, and the refusal is none", async () => {
  await using file = await stageWithFile(JSON.stringify(ENDED), { login: ENDED });
  const { stage, dir } = file;
  const fresh = JSON.stringify({ access_token: "theirs", refresh_token: "r5", expires_at: NOW + HOUR });
  stage.renewals.push(() => {
    Deno.writeTextFileSync(`${dir}/login`, fresh);
    throw REFUSED;
  });
  assertEquals(await stage.header(), "theirs");
  assertEquals([stage.outcomes, stage.record.error, stage.log], [["adopted"], undefined, []]);
});

Deno.test("a login without a refresh token is looked for in its source file when its token ends", async () => {
  const { refresh_token: _, ...login } = ENDED;
  await using file = await stageWithFile(JSON.stringify({ access_token: "theirs", expires_at: NOW + HOUR }), {
    login,
  });
  assertEquals(await file.stage.header(), "theirs");
});
