/** What the state itself answers, beside what is changed in it (`state_clients_test.ts` and those beside it). */
import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { ViewChange } from "../../../store/view.ts";
import { State } from "../../../store/state.ts";
import { assertCode, HandClock, openState, rule, secret, tempFolder } from "./support.ts";

Deno.test("State.sealKey() says which key is in force and where, and a lone host has no next one to give up", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const { id, ...more } = await state.sealKey();
  assertEquals(more, { file: `${folder.state}/mk` });
  const error = await assertCode(state.cancelSealKey(), "input.not-found");
  assertStringIncludes(error.message, "this host is in no fleet");
  const rotated = await state.rotateSealKey();
  assertEquals(
    [rotated.formerId, await state.sealKey()],
    [id, { id: rotated.id, file: `${folder.state}/mk` }] as unknown[],
  );
  const brought = `${folder.path}/brought`;
  await Deno.writeTextFile(brought, `${"cd".repeat(32)}\n`, { mode: 0o600 });
  await state.rotateSealKey(brought);
  assertEquals((await state.sealKey()).file, brought);
  assertNotEquals((await state.sealKey()).id, rotated.id);
});

Deno.test("State.open() takes the seal key where it is said to be", async () => {
  await using folder = await tempFolder();
  await Deno.mkdir(folder.state, { recursive: true, mode: 0o700 });
  const sealKeyFile = `${folder.path}/elsewhere`;
  const options = { dir: folder.state, clock: new HandClock(), sealKeyFile };
  {
    await using state = await State.open(options);
    assertEquals((await state.sealKey()).file, sealKeyFile);
    assertEquals(state.fleet, undefined);
  }
  await assertRejects(() => Deno.stat(`${folder.state}/mk`), Deno.errors.NotFound);
  await assertCode(openState(folder.state), "seal.key-missing");
  await using _again = await State.open(options); // the folder is free
});

Deno.test("State: an expired rule does not come back when the clock goes back", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  await using state = await openState(folder.state, clock);
  const client = await state.createClient("one");
  const added = await state.addRule("one", rule("a.test"), { ttlMs: 1_000 });
  const answers = () => [
    state.listRules("one").length,
    state.rulesOf(client).length,
    state.rulesFor(client, "a.test").length,
    state.judgeRules("one").length,
    state.isLive({ client, rule: added }) ? 1 : 0,
    state.snapshot().filter(({ kind }) => kind === "rule").length,
    state.presentPolicy().clients.get("one")?.length,
  ];
  clock.nowMs += 999;
  assertEquals(answers(), Array(7).fill(1));
  clock.nowMs += 1;
  assertEquals(answers(), Array(7).fill(0));
  clock.nowMs -= 500;
  assertEquals(answers(), Array(7).fill(0));
});

Deno.test("State.judgeRules() has each rule with what is wrong with it, and figures() counts them", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await assertNotFound(() => state.judgeRules("one"));
  await assertNotFound(() => state.listRules("one"));
  await state.createClient("one");
  await state.createClient("two");
  await state.putSecret(secret("key"), { force: false });
  await state.addRule("one", rule("api.example.com", { secret: "key" }));
  await state.addRule("one", rule("b.test"));
  await state.deleteSecret("key");
  const judged = state.judgeRules("one");
  assertEquals(judged.map(({ rule: { host }, warnings }) => [host, warnings.length > 0]), [
    ["api.example.com", true],
    ["b.test", false],
  ]);
  await state.suspend("two");
  const { rules, rulesWithWarnings, suspendedClients } = await state.figures();
  assertEquals([rules, rulesWithWarnings, suspendedClients], [2, 1, 1]);
  await state.suspend(undefined);
  assertEquals((await state.figures()).suspendedClients, 2);
});

async function assertNotFound(ask: () => unknown): Promise<void> {
  await assertCode((async () => await ask())(), "input.not-found");
}

Deno.test("State tells of a switch of the mode and of a suspension when they are in force, and of nothing refused", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  await using state = await openState(folder.state, clock);
  await state.createClient("one");
  const told: unknown[] = [];
  state.onModeSwitch = (made) => told.push([made, state.modeOf("one")]);
  state.onSuspension = (made) => told.push([made, state.isSuspended("one")]);
  await assertCode(state.switchMode({ mode: "audit", client: "none" }), "input.not-found");
  await state.switchMode({ mode: "audit", ttlMs: 10 });
  assertEquals(
    [state.modeSwitches(), state.modeOf(undefined)],
    [[{ mode: "audit", untilMs: clock.nowMs + 10 }], "audit"] as unknown[],
  );
  await state.suspend(undefined);
  await state.suspend(undefined);
  await state.resume(undefined);
  await state.resume(undefined);
  assertEquals(told, [
    [{ mode: "audit", ttlMs: 10 }, "audit"],
    [{ client: undefined, isSuspended: true }, true],
    [{ client: undefined, isSuspended: false }, false],
  ]);
  clock.nowMs += 10;
  assertEquals([state.modeSwitches(), state.modeOf("one")], [[], undefined] as unknown[]);
});

Deno.test("State.onChange() tells of every change until it is stopped", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  let told = 0;
  const stop = state.onChange(() => told++);
  await state.createClient("one");
  await state.addRule("one", rule("a.test"));
  assertEquals(told, 2);
  stop();
  await state.deleteClient("one");
  assertEquals(told, 2);
});

Deno.test("State.keepCopies() has each change made elsewhere before its call resolves, without values of secrets", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const copied: ViewChange[] = [];
  state.keepCopies(async (changes) => {
    await Promise.resolve();
    copied.push(...changes);
  });
  await state.createClient("one");
  await state.putSecret(secret("key"), { force: false });
  assertEquals(copied.map(({ kind }) => kind), ["client", "secret"]);
  assertEquals(JSON.stringify(copied).includes("sk-planted"), false);
  assertEquals(state.secretValue("key")?.value, "sk-planted");
  assertEquals(state.snapshot().map(({ kind }) => kind), ["client", "secret"]);
});

Deno.test("State knows a client by its token, in its present version, and by the ports that it passes", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const { token } = await state.createClient("one");
  const before = state.clientByToken(token);
  assert(before);
  assertEquals(
    [before.name, state.clientByToken(`${token}x`), state.isLost()],
    ["one", undefined, false] as unknown[],
  );
  await state.addRule("one", rule("db.test", { ports: [22], passthrough: true }));
  assertEquals(state.clientsPassing("db.test", 22).map(({ name }) => name), ["one"]);
  assertEquals(state.clientsPassing("db.test", 23), []);
  assertEquals(state.rulesOf(before).length, 1);
  const rotated = await state.rotateClient("one");
  assertEquals([state.clientByToken(token), state.clientByToken(rotated.token)?.name], [undefined, "one"]);
  assertEquals([state.rulesOf(before), state.isLive({ client: before })], [[], false] as unknown[]);
  assertEquals(state.tokenKey.length, 32);
});

Deno.test("State finishes what was asked for when it is closed, and takes nothing more", async () => {
  await using folder = await tempFolder();
  const state = await openState(folder.state);
  const made = state.createClient("one");
  const closed = state[Symbol.asyncDispose]();
  await made;
  await closed;
  await assertRejects(() => Promise.resolve(state.createClient("two")), TypeError);
  await using again = await openState(folder.state);
  assertEquals(again.listClients().map(({ name }) => name), ["one"]);
});
