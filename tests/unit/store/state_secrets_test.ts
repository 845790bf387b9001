import { decodeRow, encodeRow } from "../../../store/row_codec.ts";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { MAX_SECRET_VALUE_BYTES, MAX_SOURCE_FILE_BYTES } from "../../../store/limits.ts";
import { assertCode, HandClock, openState, rule, secret, tempFolder } from "./support.ts";

const FORCE = { force: true };
const NEW = { force: false };

async function withKv(dir: string, change: (kv: Deno.Kv) => Promise<unknown>): Promise<void> {
  const kv = await Deno.openKv(`${dir}/state.kv`);
  try {
    await change(kv);
  } finally {
    kv.close();
  }
}

async function valueAt(kv: Deno.Kv, name: string): Promise<Record<string, unknown>> {
  return decodeRow((await kv.get(["secret", name])).value) ?? {};
}

async function setAt(kv: Deno.Kv, name: string, fields: Record<string, unknown>): Promise<void> {
  await kv.set(["secret", name], encodeRow(fields));
}

Deno.test("putSecret() stores every field and value exactly, across a restart", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  const inputs = [
    secret("plain"),
    secret("all", {
      host: "*.Example.COM",
      type: "basic",
      value: "u:p",
      cleartext: true,
      sourceFile: "/etc/k.json",
      env: ["API_KEY"],
    }),
    secret("no-env", { env: [] }),
    secret("json", { value: '{"a":"\\"\n\n\u{1f600}"}\n' }),
    secret("bom", { value: "\ufeffx" }),
  ];
  const records = [];
  {
    await using state = await openState(folder.state, clock);
    for (const input of inputs) records.push(await state.putSecret(input, NEW));
    assertEquals(records[1], {
      name: "all",
      host: "*.example.com",
      type: "basic",
      version: records[1]?.version ?? "",
      cleartext: true,
      createdAt: clock.nowMs,
      sourceFile: "/etc/k.json",
      env: ["API_KEY"],
    });
    assertEquals(records[2]?.env, undefined);
  }
  await using again = await openState(folder.state, clock);
  for (const [i, input] of inputs.entries()) {
    assertEquals(again.secretValue(input.name), { record: records[i], value: input.value });
    assertEquals(again.getSecret(input.name), records[i]);
  }
  assertEquals(again.listSecrets().map(({ name }) => name), ["all", "bom", "json", "no-env", "plain"]);
  assert(!JSON.stringify(again.listSecrets()).includes("sk-planted"));
});

Deno.test("putSecret() replaces only with force, and keeps the creation time and the rules", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  await using state = await openState(folder.state, clock);
  const client = await state.createClient("ci-1");
  const old = await state.putSecret(secret("key"), NEW);
  const added = await state.addRule("ci-1", rule("api.example.com", { secret: "key" }));
  await assertCode(state.putSecret(secret("key", { value: "other" }), NEW), "input.conflict");
  assertEquals(state.secretValue("key")?.value, "sk-planted");
  clock.nowMs += 5_000;
  const replaced = await state.putSecret(
    secret("key", { host: "other.test", type: "basic", value: "a:b" }),
    FORCE,
  );
  assertEquals(replaced, {
    name: "key",
    host: "other.test",
    type: "basic",
    version: replaced.version,
    cleartext: false,
    createdAt: old.createdAt,
    updatedAt: clock.nowMs,
  });
  assertNotEquals(replaced.version, old.version);
  assertEquals(state.secretValue("key"), { record: replaced, value: "a:b" });
  assertEquals(state.rulesFor(client, "api.example.com"), [added]);
  assertEquals(
    state.isLive({ client, rule: added, credential: { secret: "key", version: old.version } }),
    false,
  );
  assertEquals(
    state.isLive({ client, rule: added, credential: { secret: "key", version: replaced.version } }),
    true,
  );
});

Deno.test("deleteSecret() leaves the rules that name the secret in place", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const client = await state.createClient("ci-1");
  const { version } = await state.putSecret(secret("key"), NEW);
  const added = await state.addRule("ci-1", rule("api.example.com", { secret: "key" }));
  await state.deleteSecret("key");
  assertEquals(state.secretValue("key"), undefined);
  assertEquals(state.getSecret("key"), undefined);
  assertEquals(state.listRules("ci-1"), [added]);
  assertEquals(state.isLive({ client, rule: added, credential: { secret: "key", version } }), false);
  assertEquals(state.isLive({ client, rule: added }), true);
  await assertCode(state.deleteSecret("key"), "input.not-found");
});

Deno.test("putSecret() binds a secret to a host or a suffix of two labels and more", async (t) => {
  const rows: readonly (readonly [host: string, canonical: string | undefined])[] = [
    ["api.example.com", "api.example.com"],
    ["API.Example.com.", "api.example.com"],
    ["localhost", "localhost"],
    ["10.0.0.1", "10.0.0.1"],
    ["[2001:DB8::1]", "2001:db8::1"],
    ["*.example.com", "*.example.com"],
    ["*.com", undefined],
    ["*.com.", undefined],
    ["*", undefined],
    ["", undefined],
    ["*.*.example.com", undefined],
    ["api.example.com:443", undefined],
    ["https://api.example.com", undefined],
  ];
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  for (const [host, canonical] of rows) {
    await t.step(JSON.stringify(host), async () => {
      const put = state.putSecret(secret("key", { host }), FORCE);
      if (canonical === undefined) await assertCode(put, "input.invalid");
      else assertEquals((await put).host, canonical);
    });
  }
});

Deno.test("putSecret() refuses what it cannot keep as it is", async (t) => {
  const rows: readonly { name: string; more: Parameters<typeof secret>[1]; isFine: boolean }[] = [
    { name: "largest value", more: { value: '"'.repeat(MAX_SECRET_VALUE_BYTES) }, isFine: true },
    { name: "a byte more", more: { value: "x".repeat(MAX_SECRET_VALUE_BYTES + 1) }, isFine: false },
    {
      name: "largest in two-byte letters",
      more: { value: "ä".repeat(MAX_SECRET_VALUE_BYTES / 2) },
      isFine: true,
    },
    { name: "a letter more", more: { value: "ä".repeat(MAX_SECRET_VALUE_BYTES / 2 + 1) }, isFine: false },
    { name: "half a surrogate pair", more: { value: "\ud800" }, isFine: false },
    {
      name: "largest of both",
      more: { value: "x".repeat(MAX_SECRET_VALUE_BYTES), sourceFile: "\\".repeat(MAX_SOURCE_FILE_BYTES) },
      isFine: true,
    },
    {
      name: "source file a byte longer",
      more: { sourceFile: "/".repeat(MAX_SOURCE_FILE_BYTES + 1) },
      isFine: false,
    },
    { name: "source file empty", more: { sourceFile: "" }, isFine: false },
    { name: "source file with NUL", more: { sourceFile: "/a\0b" }, isFine: false },
    { name: "name", more: { name: "a/b" }, isFine: false },
  ];
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  for (const { name, more, isFine } of rows) {
    await t.step(name, async () => {
      const put = state.putSecret(secret("key", more), FORCE);
      if (!isFine) return void await assertCode(put, "input.invalid");
      await put;
      assertEquals(state.secretValue("key")?.value, more?.value);
    });
  }
});

Deno.test("State.open() refuses a secret's row that was changed or moved", async (t) => {
  const rows: readonly { name: string; damage: (kv: Deno.Kv) => Promise<unknown> }[] = [
    { name: "moved to another name", damage: async (kv) => setAt(kv, "b", await valueAt(kv, "a")) },
    {
      name: "swapped with another",
      damage: async (kv) => {
        const [a, b] = [await valueAt(kv, "a"), await valueAt(kv, "b")];
        await setAt(kv, "a", { ...a, sealed: b.sealed });
      },
    },
    {
      name: "aimed at another host",
      damage: async (kv) => setAt(kv, "a", { ...await valueAt(kv, "a"), host: "evil.example" }),
    },
    {
      name: "turned into another type",
      damage: async (kv) => setAt(kv, "a", { ...await valueAt(kv, "a"), type: "header" }),
    },
    {
      name: "one bit of the value",
      damage: async (kv) => {
        const a = await valueAt(kv, "a");
        assert(a.sealed instanceof Uint8Array);
        a.sealed[30] = (a.sealed[30] ?? 0) ^ 1;
        await setAt(kv, "a", a);
      },
    },
  ];
  for (const { name, damage } of rows) {
    await t.step(name, async () => {
      await using folder = await tempFolder();
      {
        await using state = await openState(folder.state);
        await state.putSecret(secret("a"), NEW);
        await state.putSecret(secret("b", { value: "sk-other" }), NEW);
      }
      await withKv(folder.state, damage);
      const error = await assertCode(openState(folder.state), "seal.row-damaged");
      assert(!error.message.includes("sk-"));
    });
  }
});

Deno.test("cleartext and the source file cannot be changed in the state file", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    await state.putSecret(secret("a", { sourceFile: "/right" }), NEW);
  }
  await withKv(folder.state, async (kv) => {
    await setAt(kv, "a", { ...await valueAt(kv, "a"), cleartext: true, sourceFile: "/wrong" });
  });
  await using state = await openState(folder.state);
  assertEquals(state.getSecret("a")?.cleartext, false);
  assertEquals(state.getSecret("a")?.sourceFile, "/right");
});

Deno.test("State.open() tells a wrong seal key from a missing one, and never makes a new one", async (t) => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    await state.putSecret(secret("a"), NEW);
  }
  const key = `${folder.state}/mk`;
  const right = await Deno.readTextFile(key);
  await t.step("wrong", async () => {
    await Deno.writeTextFile(key, "ab".repeat(32));
    await assertCode(openState(folder.state), "seal.key-wrong");
  });
  await t.step("missing", async () => {
    await Deno.remove(key);
    await assertCode(openState(folder.state), "seal.key-missing");
    assertEquals([...Deno.readDirSync(folder.state)].some(({ name }) => name === "mk"), false);
  });
  await t.step("in another place", async () => {
    const sealKeyFile = `${folder.path}/elsewhere`;
    await Deno.writeTextFile(sealKeyFile, right, { mode: 0o600 });
    const clock = new HandClock();
    const { State } = await import("../../../store/state.ts");
    await assertCode(State.open({ dir: folder.state, sealKeyFile: "", clock }), "input.invalid");
    await using state = await State.open({ dir: folder.state, sealKeyFile, clock });
    assertEquals(state.secretValue("a")?.value, "sk-planted");
  });
});
