import { assertEquals } from "@std/assert";
import { parsePolicyFile, type PolicyFile } from "../../../../policy/policy_file.ts";
import { applyPolicy } from "../../../../store/changes/policy.ts";
import type { StoredRule } from "../../../../store/rules.ts";
import type { PolicyView } from "../../../../store/view.ts";
import { makeWriter, MemoryEngine } from "../memory_engine.ts";
import { assertCode, HandClock, rule } from "../support.ts";

// Written out: what the store holds.
const MOST = {
  clients: 10_000,
  rules: 100_000,
  rulesPerClient: 999,
  budgets: 16,
  ruleChars: 32_768,
  atOnce: 1_000,
};
const KEEP = { prune: "nothing", isDryRun: false } as const;
const DRY = { prune: "nothing", isDryRun: true } as const;
const DRY_PRUNE = { prune: "clients", isDryRun: true } as const;
const SPEC = rule("a.test");

interface Wanted {
  readonly budget?: readonly string[];
  readonly allow?: readonly object[];
}

function fileOf(clients: Readonly<Record<string, Wanted>>): PolicyFile {
  const whole = Object.fromEntries(
    Object.entries(clients).map(([name, own]) => [name, { allow: [], ...own }]),
  );
  return parsePolicyFile(JSON.stringify({ version: 1, clients: whole }), "f");
}

function hosts(count: number): object[] {
  return Array.from({ length: count }, (_, i) => ({ host: `h${i}.test` }));
}

function names(prefix: string, count: number): Record<string, Wanted> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}${i}`, {}]));
}

/** Puts a client there with so many rules. */
function addClient(view: PolicyView, name: string, rules = 0): void {
  view.setClient({ record: { name, version: "1", createdAt: 0 }, id: name, digest: name });
  for (let sequence = 0; sequence < rules; sequence++) view.addRule(storedRule(name, sequence));
}

function storedRule(client: string, sequence: number): StoredRule {
  return { rule: { ...SPEC, id: `${client}-${sequence}`, client }, clientId: client, sequence };
}

Deno.test("applyPolicy() takes as many clients as there may be, those that go not counted", async () => {
  await using writer = await makeWriter();
  for (let i = 0; i < MOST.clients - 1; i++) addClient(writer.view, `c${i}`);
  const one = fileOf(names("new", 1));
  const two = fileOf(names("new", 2));
  assertEquals((await applyPolicy(writer, one, DRY)).plan.length, 1);
  await assertCode(applyPolicy(writer, two, DRY), "limit.reached");
  addClient(writer.view, "last");
  await assertCode(applyPolicy(writer, one, DRY), "limit.reached");
  await applyPolicy(writer, fileOf({ last: { allow: hosts(1) } }), DRY); // it is there already
});

Deno.test("applyPolicy() takes a client for one that goes", async () => {
  await using writer = await makeWriter();
  for (let i = 0; i < MOST.clients - 500; i++) addClient(writer.view, `c${i}`);
  const kept = names("c", MOST.clients - 501); // all but one
  const plan = async (made: number) =>
    (await applyPolicy(writer, fileOf({ ...kept, ...names("new", made) }), DRY_PRUNE)).plan.length;
  assertEquals(await plan(501), 502);
  await assertCode(plan(502), "limit.reached");
});

Deno.test("applyPolicy() takes as many rules as there may be, those that it replaces not counted", async () => {
  await using writer = await makeWriter();
  const { view } = writer;
  for (let left = MOST.rules - 10, i = 0; left > 0; left -= 990, i++) {
    addClient(view, `c${i}`, Math.min(990, left));
  }
  assertEquals(view.ruleCount, MOST.rules - 10);
  const plan = (allow: number) => applyPolicy(writer, fileOf({ new: { allow: hosts(allow) } }), DRY);
  assertEquals((await plan(10)).plan.length, 1);
  await assertCode(plan(11), "limit.reached");
  const inPlace = (allow: number) =>
    applyPolicy(writer, fileOf({ c0: { allow: hosts(allow) } }), { prune: "rules", isDryRun: true });
  assertEquals((await inPlace(999)).plan.length, 1);
  addClient(view, "more", 2);
  await assertCode(inPlace(999), "limit.reached");
  assertEquals((await inPlace(998)).plan.length, 1);
});

Deno.test("applyPolicy() takes so many rules and budgets of a client, and rules that are so long", async () => {
  await using writer = await makeWriter();
  const plan = (wanted: Wanted) => applyPolicy(writer, fileOf({ a: wanted }), DRY);
  await plan({ allow: hosts(MOST.rulesPerClient) });
  await assertCode(plan({ allow: hosts(MOST.rulesPerClient + 1) }), "limit.reached");
  const budgets = (count: number) => Array.from({ length: count }, (_, i) => `requests=${i + 1}/d`);
  await plan({ budget: budgets(MOST.budgets) });
  await assertCode(plan({ budget: budgets(MOST.budgets + 1) }), "limit.reached");
  const paths = Array.from({ length: 21 }, (_, i) => `/${i}`.padEnd(1_500, "p"));
  const bare = JSON.stringify(rule("a.test", { paths: [...paths, "/"] })).length;
  const long = (chars: number) => ({
    allow: [{ host: "b.test" }, { host: "a.test", paths: [...paths, "/".padEnd(chars - bare + 1, "q")] }],
  });
  await plan(long(MOST.ruleChars));
  await assertCode(plan(long(MOST.ruleChars + 1)), "input.invalid");
});

Deno.test("applyPolicy() changes so many clients at once", async () => {
  await using writer = await makeWriter();
  assertEquals((await applyPolicy(writer, fileOf(names("c", MOST.atOnce)), DRY)).plan.length, MOST.atOnce);
  await assertCode(applyPolicy(writer, fileOf(names("c", MOST.atOnce + 1)), DRY), "input.invalid");
});

Deno.test("applyPolicy() makes one commit of what fits, and sweeps what it replaced where it does not", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  const apply = (file: PolicyFile) =>
    writer.write(() => applyPolicy(writer, file, { ...KEEP, prune: "rules" }));
  const swept = () => writer.inTurn(() => Promise.resolve());
  await apply(fileOf({ a: { allow: hosts(499) } }));
  assertEquals(db.commits.map(({ length }) => length), [500]);
  await apply(fileOf({ a: { allow: hosts(500) } }));
  await swept();
  assertEquals(
    db.commits.slice(1).map(({ length }) => length),
    [1_000],
    "with the rows that go it is just one",
  );
  await apply(fileOf({ a: { allow: hosts(501) } }));
  await swept();
  assertEquals(db.commits.slice(2).map(({ length }) => length), [501, 1, 500]);
  assertEquals([db.keys.length, writer.view.ruleCount], [502, 501]);
});

Deno.test("applyPolicy() has the clock end a rule that it brought", async () => {
  const clock = new HandClock();
  await using writer = await makeWriter({ clock });
  await writer.write(() =>
    applyPolicy(writer, fileOf({ a: { allow: [{ host: "a.test", ttl: "1m" }] } }), KEEP)
  );
  assertEquals(writer.view.ruleCount, 1);
  clock.nowMs += 60_000;
  await writer.inTurn(() => Promise.resolve());
  assertEquals(writer.view.ruleCount, 0);
});
