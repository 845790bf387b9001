import { assertEquals, assertNotEquals } from "@std/assert";
import { createClient, deleteClient, rotateClient, setBudget } from "../../../../store/changes/clients.ts";
import { addRule } from "../../../../store/changes/rules.ts";
import { digestToken } from "../../../../store/clients.ts";
import type { Writer } from "../../../../store/writer.ts";
import { makeWriter, MemoryEngine } from "../memory_engine.ts";
import { assertCode, HandClock, rule } from "../support.ts";

function byToken(writer: Writer, token: string): string | undefined {
  return writer.view.clientByDigest(digestToken(writer.keys.token, token))?.record.name;
}

Deno.test("createClient() takes ten thousand clients", async () => {
  await using writer = await makeWriter();
  for (let i = 0; i < 9_999; i++) {
    const name = `c${i}`;
    writer.view.setClient({ record: { name, version: "1", createdAt: 0 }, id: name, digest: name });
  }
  await createClient(writer, "last");
  await assertCode(createClient(writer, "more"), "limit.reached");
});

Deno.test("createClient() has no name and no token twice", async () => {
  const [db, clock] = [new MemoryEngine(), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  const { token, ...made } = await createClient(writer, "one", "own-token");
  assertEquals([token, made.name, made.createdAt], ["own-token", "one", clock.nowMs]);
  await assertCode(createClient(writer, "one"), "input.conflict");
  await assertCode(createClient(writer, "two", "own-token"), "input.conflict");
  await assertCode(createClient(writer, "a b"), "input.invalid");
  await assertCode(createClient(writer, "two", ""), "input.invalid");
  assertEquals([db.keys, byToken(writer, "own-token")], [["client one"], "one"]);
  assertNotEquals((await createClient(writer, "two")).token, (await createClient(writer, "three")).token);
});

Deno.test("rotateClient() ends the token before, and keeps the rules", async () => {
  await using writer = await makeWriter();
  const made = await createClient(writer, "one");
  await addRule(writer, { client: "one", spec: rule("a.test") });
  const rotated = await rotateClient(writer, "one");
  assertEquals([byToken(writer, made.token), byToken(writer, rotated.token)], [undefined, "one"]);
  assertNotEquals(rotated.version, made.version);
  assertEquals(writer.view.storedRules("one").length, 1);
  await assertCode(rotateClient(writer, "none"), "input.not-found");
});

Deno.test("deleteClient() takes the rows of the client and of its rules in one commit", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  for (const name of ["one", "two"]) {
    await createClient(writer, name);
    await addRule(writer, { client: name, spec: rule("a.test") });
  }
  const before = db.commits.length;
  await deleteClient(writer, "one");
  assertEquals([db.commits.length - before, db.keys.length, writer.view.clientCount], [1, 2, 1]);
  await assertCode(deleteClient(writer, "one"), "input.not-found");
});

Deno.test("setBudget() gives sixteen budgets, and takes them with none", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  await createClient(writer, "one");
  const budgets = (count: number) => Array.from({ length: count }, (_, i) => `requests=${i + 1}/d`);
  await setBudget(writer, "one", budgets(16));
  assertEquals(writer.view.client("one")?.record.budget?.length, 16);
  await assertCode(setBudget(writer, "one", budgets(17)), "limit.reached");
  await assertCode(setBudget(writer, "none", []), "input.not-found");
  await setBudget(writer, "one", []);
  assertEquals(Object.hasOwn(writer.view.client("one")?.record ?? {}, "budget"), false);
  assertEquals(Object.hasOwn(db.commits.at(-1)?.[0]?.value ?? {}, "budget"), false);
});
