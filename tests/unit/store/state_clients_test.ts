import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { assertCode, HandClock, openState, rule, tempFolder } from "./support.ts";

const OWN = "own-token:with-colons";

Deno.test("createClient() makes a token that is known once and finds the client", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  let token: string;
  {
    await using state = await openState(folder.state, clock);
    const made = await state.createClient("ci-1");
    token = made.token;
    assertMatch(token, /^spi_[A-Za-z0-9_-]{43}$/);
    assertEquals(made.createdAt, clock.nowMs);
    const { token: _, ...record } = made;
    assertEquals(state.clientByToken(token), record);
    assertEquals(state.getClient("ci-1"), record);
    assertEquals(state.listClients(), [record]);
    assertNotEquals((await state.createClient("ci-2")).token, token);
  }
  await using again = await openState(folder.state, clock);
  assertEquals(again.clientByToken(token)?.name, "ci-1");
});

Deno.test("clientByToken() finds nobody for any other token", async (t) => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const { token } = await state.createClient("ci-1", OWN);
  assertEquals(token, OWN);
  for (
    const wrong of [
      "",
      OWN.slice(1),
      `${OWN}x`,
      OWN.toUpperCase(),
      ` ${OWN}`,
      "x".repeat(100_000),
      "\ud800",
      "ci-1",
    ]
  ) {
    await t.step(
      JSON.stringify(wrong.slice(0, 30)),
      () => assertEquals(state.clientByToken(wrong), undefined),
    );
  }
  assertEquals(state.clientByToken(OWN)?.name, "ci-1");
});

Deno.test("createClient() takes own tokens of 1 to 256 visible ASCII characters", async (t) => {
  const rows: readonly { name: string; token: string; isFine: boolean }[] = [
    { name: "1 character", token: "x", isFine: true },
    { name: "15 characters", token: "x".repeat(15), isFine: true },
    { name: "256 characters", token: "x".repeat(256), isFine: true },
    { name: "257 characters", token: "x".repeat(257), isFine: false },
    { name: "empty", token: "", isFine: false },
    { name: "first and last visible", token: "!".repeat(15) + "~", isFine: true },
    { name: "a colon", token: "user:pass:and:more", isFine: true },
    { name: "a space", token: "sixteen chars ok?!", isFine: false },
    { name: "a line feed", token: "sixteen-chars-ok\n", isFine: false },
    { name: "DEL", token: "sixteen-chars-ok\x7f", isFine: false },
    { name: "beyond ASCII", token: "sechzehn-zeichen-ä", isFine: false },
  ];
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  for (const [i, { name, token, isFine }] of rows.entries()) {
    await t.step(name, async () => {
      if (isFine) {
        await state.createClient(`c${i}`, token);
        return assertEquals(state.clientByToken(token)?.name, `c${i}`);
      }
      const error = await assertCode(state.createClient(`c${i}`, token), "input.invalid");
      assert(
        token === "" || !`${error.message} ${error.hint}`.includes(token),
        "the message holds the token",
      );
      assertEquals(state.getClient(`c${i}`), undefined);
    });
  }
});

Deno.test("createClient() refuses taken names and tokens, and names that are none", async (t) => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await state.createClient("ci-1", OWN);
  await t.step("name", async () => void await assertCode(state.createClient("ci-1"), "input.conflict"));
  await t.step("token", async () => {
    const error = await assertCode(state.createClient("ci-2", OWN), "input.conflict");
    assert(!`${error.message} ${error.hint}`.includes(OWN));
    assertEquals(state.getClient("ci-2"), undefined);
  });
  await t.step("two calls at once for one name", async () => {
    const results = await Promise.allSettled([state.createClient("ci-3"), state.createClient("ci-3")]);
    assertEquals(results.map(({ status }) => status), ["fulfilled", "rejected"]);
  });
  for (const name of ["", ".", "..", "a b", "a/b", "a\nb", "ä", "x".repeat(65)]) {
    await t.step(`name ${JSON.stringify(name.slice(0, 10))}`, async () => {
      await assertCode(state.createClient(name), "input.invalid");
    });
  }
  await t.step("name of 64", async () => void await state.createClient("x".repeat(64)));
});

Deno.test("rotateClient() ends the old token and everything admitted under it, and keeps the rules", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const old = await state.createClient("ci-1");
  const added = await state.addRule("ci-1", rule("api.example.com"));
  const fresh = await state.rotateClient("ci-1");
  assertNotEquals(fresh.token, old.token);
  assertNotEquals(fresh.version, old.version);
  assertEquals(fresh.createdAt, old.createdAt);
  assertEquals(state.clientByToken(old.token), undefined);
  assertEquals(state.clientByToken(fresh.token)?.version, fresh.version);
  assertEquals(state.isLive({ client: old, rule: added }), false);
  assertEquals(state.isLive({ client: fresh, rule: added }), true);
  assertEquals(state.rulesFor(old, "api.example.com"), []);
  assertEquals(state.rulesOf(old), []);
  assertEquals(state.rulesFor(fresh, "api.example.com"), [added]);
  await assertCode(state.rotateClient("ci-2"), "input.not-found");
});

Deno.test("deleteClient() revokes the token and drops the rules for good", async () => {
  await using folder = await tempFolder();
  let second: { token: string; version: string; name: string };
  {
    await using state = await openState(folder.state);
    const first = await state.createClient("ci-1");
    const added = await state.addRule("ci-1", rule("api.example.com"));
    await state.deleteClient("ci-1");
    assertEquals(state.clientByToken(first.token), undefined);
    assertEquals(state.isLive({ client: first, rule: added }), false);
    assertEquals(state.rulesFor(first, "api.example.com"), []);
    await assertCode(state.deleteClient("ci-1"), "input.not-found");
    second = await state.createClient("ci-1");
    assertNotEquals(second.version, first.version);
    assertEquals(state.listRules("ci-1"), []);
    assertEquals(state.isLive({ client: second, rule: added }), false);
  }
  await using again = await openState(folder.state);
  assertEquals(again.listRules("ci-1"), []);
  assertEquals(again.clientByToken(second.token)?.version, second.version);
});

Deno.test("a rule row that a deleted client left behind does not come back with its name", async () => {
  await using folder = await tempFolder();
  const rows: { key: Deno.KvKey; value: unknown }[] = [];
  const copy = async (write: (kv: Deno.Kv) => Promise<unknown>) => {
    const kv = await Deno.openKv(`${folder.state}/state.kv`);
    await write(kv);
    kv.close();
  };
  {
    await using state = await openState(folder.state);
    await state.createClient("ci-1");
    await state.addRule("ci-1", rule("*"));
  }
  await copy(async (kv) => {
    for await (const { key, value } of kv.list({ prefix: ["rule"] })) rows.push({ key, value });
  });
  assertEquals(rows.length, 1);
  {
    await using state = await openState(folder.state);
    await state.deleteClient("ci-1");
    await state.createClient("ci-1");
  }
  // As if the client's row had gone first and the process had been killed before the rules went.
  await copy(async (kv) => {
    for (const { key, value } of rows) await kv.set(key, value);
  });
  {
    await using state = await openState(folder.state);
    assertEquals(state.listRules("ci-1"), []);
  }
  await copy(async (kv) => assertEquals(await Array.fromAsync(kv.list({ prefix: ["rule"] })), []));
});

Deno.test("listClients() lists by name, before and after a restart", async () => {
  await using folder = await tempFolder();
  const names = ["b", "B", "a.1", "_", "a-1", "a"];
  const expected = [...names].sort();
  {
    await using state = await openState(folder.state);
    for (const name of names) await state.createClient(name);
    assertEquals(state.listClients().map(({ name }) => name), expected);
  }
  await using again = await openState(folder.state);
  assertEquals(again.listClients().map(({ name }) => name), expected);
});

Deno.test("onChange() tells of every change after it is in force, until it is stopped", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const seen: number[] = [];
  const stop = state.onChange(() => seen.push(state.listClients().length));
  await state.createClient("a");
  await state.createClient("b");
  await state.deleteClient("a");
  await assertCode(state.createClient("b"), "input.conflict");
  stop();
  await state.createClient("c");
  assertEquals(seen, [1, 2, 1]);
});

Deno.test("a disposed state finishes the writes it was asked for and refuses later ones", async () => {
  await using folder = await tempFolder();
  const state = await openState(folder.state);
  const pending = Promise.all(["a", "b", "c"].map((name) => state.createClient(name)));
  await state[Symbol.asyncDispose]();
  assertEquals((await pending).length, 3);
  const late = await state.createClient("d").then(() => undefined, (error) => error);
  assert(late instanceof TypeError);
  await using again = await openState(folder.state);
  assertEquals(again.listClients().map(({ name }) => name), ["a", "b", "c"]);
});
