import { assert, assertEquals } from "@std/assert";
import { countOf } from "../../../core/histogram.ts";
import { assertCode, HandClock, openState, rule, secret, tempFolder } from "./support.ts";

Deno.test("figures() says what the state holds, and counts every commit", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  await using state = await openState(folder.state, clock);
  await state.createClient("a");
  await state.createClient("b");
  await state.putSecret(secret("s"), { force: false });
  await state.addRule("a", rule("x.example"));
  await state.addRule("a", rule("y.example"), { ttlMs: 1_000 });
  await state.addRule("b", rule("x.example"));
  const full = await state.figures();
  assertEquals([full.clients, full.secrets, full.rules], [2, 1, 3]);
  assertEquals([countOf(full.writeDuration), full.writeFailures], [6, 0]);
  const sizes = await Promise.all(
    ["state.kv", "state.kv-wal"].map(async (name) => (await Deno.stat(`${folder.state}/${name}`)).size),
  );
  assertEquals(full.databaseBytes, sizes.reduce((sum, size) => sum + size));
  assert(sizes.every((size) => size > 0) && sizes[0] !== sizes[1], `${sizes}`);

  clock.nowMs += 1_000;
  await state.deleteClient("b"); // and sweeps the rule that has expired
  await state.createClient("c");
  const { clients, rules, writeDuration } = await state.figures();
  assertEquals([clients, rules, countOf(writeDuration)], [2, 1, 9]);
});

Deno.test("figures() counts commits that fail, and what changed nothing not at all", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await state.createClient("a");
  await assertCode(state.createClient("a"), "input.conflict");
  await Deno.remove(`${folder.state}/state.kv`);
  await assertCode(state.createClient("b"), "state.write-failed");
  const { clients, writeDuration, writeFailures } = await state.figures();
  assertEquals([clients, countOf(writeDuration), writeFailures], [1, 2, 1]);
});
