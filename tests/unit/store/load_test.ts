import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Mutation } from "../../../store/engine.ts";
import { checkSeal, loadState, openKeys, sweepLeftovers } from "../../../store/load.ts";
import { writeClient } from "../../../store/clients.ts";
import { writeMode } from "../../../store/modes.ts";
import { writeRule } from "../../../store/rules.ts";
import { makeProof } from "../../../store/seal_proof.ts";
import { keysOf, MemoryEngine } from "./memory_engine.ts";
import { assertCode, rule, tempFolder } from "./support.ts";

const NOW = 1_000;
const keys = await keysOf(1);

function client(name: string): Mutation {
  return writeClient({ record: { name, version: "1", createdAt: 0 }, id: name, digest: name });
}

function ruleOf(clientId: string, sequence: number, expiresAt?: number): Mutation {
  const end = expiresAt === undefined ? {} : { expiresAt };
  return writeRule({
    rule: { ...rule("a.test"), id: `${clientId}${sequence}`, client: "", ...end },
    clientId,
    sequence,
  }, 0);
}

async function load(...rows: Mutation[]) {
  const db = new MemoryEngine();
  await db.commit(rows);
  return await loadState(db, keys, NOW);
}

Deno.test("loadState() has rules of clients that are there and time that is left, and names all other rows", async () => {
  const loaded = await load(
    client("one"),
    ruleOf("one", 0),
    ruleOf("one", 1, NOW),
    ruleOf("one", 2, NOW + 1),
    ruleOf("gone", 9),
  );
  assertEquals(loaded.view.storedRules("one").map(({ sequence }) => sequence), [0, 2]);
  assertEquals(loaded.leftovers, [{ key: ["rule", "one", 1] }, { key: ["rule", "gone", 9] }]);
  assertEquals(loaded.nextSequence, 3);
});

Deno.test("loadState() refuses a rule with a word of a newer version, without which it would be wider", async () => {
  const { key, value } = ruleOf("one", 0);
  const newer = load(client("one"), { key, value: { ...value, newWord: "x" } });
  await assertCode(newer, "state.newer");
});

Deno.test("loadState() has the next rule behind all rows of rules, the expired ones too", async () => {
  const next = async (...rows: Mutation[]) => (await load(client("one"), ...rows)).nextSequence;
  assertEquals(await next(), 0);
  assertEquals(await next(ruleOf("one", 0)), 1);
  assertEquals(await next(ruleOf("one", 4), ruleOf("one", 2)), 5);
  assertEquals(await next(ruleOf("one", 6.5)), 7);
  assertEquals(await next(ruleOf("one", 8, NOW)), 9);
});

Deno.test("loadState() has switches of the mode for all, and of clients that are there", async () => {
  const { view } = await load(
    client("one"),
    writeMode({ mode: "audit" }, 0),
    writeMode({ mode: "strict", client: "one" }, 0),
    writeMode({ mode: "strict", client: "gone" }, 0),
  );
  assertEquals(view.modeSwitches(NOW).map(({ client }) => client), [undefined, "one"]);
});

Deno.test("sweepLeftovers() takes them off in commits of five hundred", async () => {
  const { view, nextSequence } = await load();
  for (const [count, commits] of [[0, []], [500, [500]], [501, [500, 1]]] as const) {
    const db = new MemoryEngine();
    const leftovers = Array.from({ length: count }, (_, i) => ({ key: ["rule", "x", i] }));
    await sweepLeftovers(db, { view, nextSequence, leftovers });
    assertEquals(db.commits.map(({ length }) => length), [...commits]);
    assertEquals(db.commits.flat(), leftovers);
  }
});

Deno.test("checkSeal() names both keys where it can", async () => {
  const [sealCheck, other] = [await makeProof(keys), await keysOf(2)];
  assertEquals((await checkSeal({ sealCheck, sealKeyId: keys.id }, keys)).id, keys.id);
  const says = async (sealKeyId: string | undefined) =>
    (await assertCode(checkSeal({ sealCheck, sealKeyId }, other, " /mk"), "seal.key-wrong")).message;
  assertStringIncludes(
    await says(keys.id),
    `the seal key /mk is not the one that it was sealed with (its key is ${keys.id}, and this one ${other.id})`,
  );
  assertEquals((await says(undefined)).includes("("), false);
  await assertCode(checkSeal({ sealCheck: undefined, sealKeyId: undefined }, keys), "seal.key-wrong");
});

Deno.test("openKeys() makes a key for a new database only, and takes the next one where a rotation was cut off", async () => {
  await using folder = await tempFolder();
  const file = `${folder.path}/mk`;
  const made: (Uint8Array | string | undefined)[] = [];
  const db = (sealCheck?: Uint8Array<ArrayBuffer>) => ({
    sealCheck,
    sealKeyId: undefined,
    initialise: (check: Uint8Array, id?: string) => Promise.resolve(void made.push(check, id)),
  });
  await assertCode(openKeys(db(), ""), "input.invalid");
  await assertCode(openKeys(db(await makeProof(keys)), file), "seal.key-missing");
  const { id } = await openKeys(db(), file);
  assertEquals([made.length, made[1]], [2, id] as unknown[]);
  await assertCode(openKeys(db(await makeProof(keys)), file), "seal.key-wrong");
  await Deno.writeTextFile(`${file}.next`, `${"01".repeat(32)}\n`, { mode: 0o600 });
  assertEquals((await openKeys(db(await makeProof(keys)), file)).id, keys.id);
  assertEquals(await Deno.readTextFile(file), `${"01".repeat(32)}\n`);
  assertEquals(made.length, 2);
});
