import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { parsePolicyFile, type PolicyFile } from "../../../policy/policy_file.ts";
import type { Rule } from "../../../policy/rule.ts";
import { Database } from "../../../store/kv.ts";
import { MAX_COMMIT_ROWS, MAX_RULES_PER_CLIENT } from "../../../store/limits.ts";
import type { State } from "../../../store/state.ts";
import { assertCode, HandClock, openState, rule, ruleRows, secret, tempFolder } from "./support.ts";

const KEEP = { prune: "nothing", isDryRun: false } as const;
const PRUNE = { prune: "clients", isDryRun: false } as const;

/** Reads `name: [host, …]` lines as the clients of a file. */
function fileOf(clients: Readonly<Record<string, readonly string[]>>): PolicyFile {
  const entries = Object.entries(clients).map((
    [name, hosts],
  ) => [name, { allow: hosts.map((host) => ({ host })) }]);
  return parsePolicyFile(JSON.stringify({ version: 1, clients: Object.fromEntries(entries) }), "f");
}

function hosts(rules: readonly Rule[]): string[] {
  return rules.map(({ host }) => host);
}

function contents(state: State): Record<string, string[]> {
  return Object.fromEntries(state.listClients().map(({ name }) => [name, hosts(state.listRules(name))]));
}

/** Makes the commits fail from the `nth` to the `last`, as on a full disk. */
function failCommits(nth: number, last = Infinity): Disposable & { readonly count: number } {
  const original = Database.prototype.commit;
  let count = 0;
  Database.prototype.commit = function (mutations) {
    count++;
    return count >= nth && count <= last
      ? Promise.reject(new Error("disk is full"))
      : original.call(this, mutations);
  };
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: () => {
      Database.prototype.commit = original;
    },
  };
}

Deno.test("applyPolicy() creates clients whose tokens work, and keeps order across restarts", async () => {
  await using folder = await tempFolder();
  const file = fileOf({ "ci-1": ["c.test", "a.test", "b.test"], "ci-2": [] });
  {
    await using state = await openState(folder.state);
    const { plan, created } = await state.applyPolicy(file, KEEP);
    assertEquals(plan.map(({ client, action }) => `${action} ${client}`), ["create ci-1", "create ci-2"]);
    assertEquals(created.map(({ name }) => name), ["ci-1", "ci-2"]);
    for (const { name, token } of created) assertEquals(state.clientByToken(token)?.name, name);
  }
  await using state = await openState(folder.state);
  assertEquals(contents(state), { "ci-1": ["c.test", "a.test", "b.test"], "ci-2": [] });
  await state.addRule("ci-1", rule("last.test"));
  assertEquals(hosts(state.listRules("ci-1")), ["c.test", "a.test", "b.test", "last.test"]);
});

Deno.test("applyPolicy() gives and takes budgets of clients, and what is open under their rules goes on", async () => {
  await using folder = await tempFolder();
  const fileWith = (budget: readonly string[] | undefined) =>
    parsePolicyFile(
      JSON.stringify({ version: 1, clients: { a: { budget, allow: [{ host: "a.test" }] } } }),
      "f",
    );
  {
    await using state = await openState(folder.state);
    await state.applyPolicy(fileWith(["requests=10/h"]), KEEP);
    const before = state.listRules("a");
    const dry = await state.applyPolicy(fileWith(["requests=5/h"]), { prune: "nothing", isDryRun: true });
    assertEquals(dry.plan.map(({ budget, changes }) => [budget, changes]), [[["requests=5/h"], []]]);
    assertEquals(state.getClient("a")?.budget, ["requests=10/h"]);
    await state.applyPolicy(fileWith(["requests=5/h"]), KEEP);
    assertEquals(state.listRules("a"), before);
    assertEquals([...state.presentPolicy().budgets], [["a", ["requests=5/h"]]]);
    const many = Array.from({ length: 17 }, (_, i) => `requests=${i + 1}/d`);
    await assertCode(state.applyPolicy(fileWith(many), KEEP), "limit.reached");
  }
  await using state = await openState(folder.state);
  assertEquals(state.getClient("a")?.budget, ["requests=5/h"]);
  await state.applyPolicy(fileWith(undefined), KEEP);
  assertEquals(state.getClient("a")?.budget, ["requests=5/h"]);
  await state.applyPolicy(fileWith(undefined), PRUNE);
  assertEquals(state.getClient("a")?.budget, undefined);
});

Deno.test("applyPolicy() again changes nothing and tells no listener", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const file = fileOf({ "ci-1": ["a.test", "b.test"] });
  await state.applyPolicy(file, KEEP);
  const before = state.listRules("ci-1");
  let changes = 0;
  state.onChange(() => changes++);
  assertEquals(await state.applyPolicy(file, PRUNE), { plan: [], created: [] });
  assertEquals([changes, state.listRules("ci-1")], [0, before]);
});

Deno.test("applyPolicy() leaves rules that stay in force, with their ids and what they admitted", async () => {
  await using folder = await tempFolder();
  let after: Rule[];
  {
    await using state = await openState(folder.state);
    const { token } = await state.createClient("ci-1");
    for (const host of ["a.test", "b.test", "c.test"]) await state.addRule("ci-1", rule(host));
    const client = state.clientByToken(token);
    assert(client);
    const [a, b, c] = state.listRules("ci-1");
    assert(a && b && c);
    const isLive = (rule: Rule) => state.isLive({ client, rule });
    let listened: boolean[] = [];
    state.onChange(() => listened = [a, b, c].map(isLive));
    await state.applyPolicy(fileOf({ "ci-1": ["c.test", "new.test", "a.test"] }), PRUNE);
    assertEquals(listened, [true, false, true]);
    after = state.listRules("ci-1");
    assertEquals([after[0], after[2]], [c, a]);
    assertNotEquals(after[1]?.id, b.id);
    assertEquals(state.clientByToken(token), client);
    assertEquals(hosts(state.rulesFor(client, "new.test")), ["new.test"]);
    assertEquals(hosts(state.rulesFor(client, "b.test")), []);
  }
  await using state = await openState(folder.state);
  assertEquals(state.listRules("ci-1"), after);
});

Deno.test("applyPolicy() ends a rule by its new end, here and after a restart", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  const file = (lifetime: object) =>
    parsePolicyFile(
      JSON.stringify({ version: 1, clients: { "ci-1": { allow: [{ host: "a.test", ...lifetime }] } } }),
      "f",
    );
  {
    await using state = await openState(folder.state, clock);
    await state.applyPolicy(file({}), KEEP);
    const [before] = state.listRules("ci-1");
    await state.applyPolicy(file({ ttl: "1m" }), KEEP);
    const [after] = state.listRules("ci-1");
    assertEquals([after?.id, after?.expiresAt], [before?.id, clock.nowMs + 60_000]);
    clock.nowMs += 59_999;
    assertEquals((await state.applyPolicy(file({ ttl: "1m" }), KEEP)).plan, []);
    assertEquals(state.listRules("ci-1").length, 1);
    clock.nowMs += 1;
    assertEquals(state.listRules("ci-1").length, 0);
    const { plan } = await state.applyPolicy(file({ ttl: "1m" }), KEEP);
    assertEquals(plan[0]?.changes.map(({ action }) => action), ["add"]);
  }
  clock.nowMs += 60_000;
  await using state = await openState(folder.state, clock);
  assertEquals(state.listRules("ci-1"), []);
});

Deno.test("applyPolicy() tells listeners when a rule of the file ends", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const expires = new Date(Date.now() + 100).toISOString();
  const allow = [{ host: "a.test", expires }];
  await state.applyPolicy(
    parsePolicyFile(JSON.stringify({ version: 1, clients: { a: { allow } } }), "f"),
    KEEP,
  );
  const [before] = state.listRules("a");
  assertEquals(before?.expiresAt, Date.parse(expires));
  const keepAlive = setInterval(() => {}, 1_000); // the state's own timer keeps no process running
  await new Promise<void>((resolve) => state.onChange(resolve));
  clearInterval(keepAlive);
  assertEquals(state.listRules("a"), []);
});

Deno.test("applyPolicy() prunes clients with their tokens and rules", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    const { token } = await state.createClient("old");
    await state.addRule("old", rule("a.test"));
    await state.applyPolicy(fileOf({ "ci-1": ["a.test"] }), KEEP);
    assertEquals(contents(state), { "ci-1": ["a.test"], old: ["a.test"] });
    await state.applyPolicy(fileOf({ "ci-1": ["a.test"] }), PRUNE);
    assertEquals([contents(state), state.clientByToken(token)], [{ "ci-1": ["a.test"] }, undefined]);
  }
  assertEquals(await ruleRows(folder.state), 1);
});

Deno.test("applyPolicy() says what a dry run would change, and changes nothing", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await state.createClient("old");
  const { plan, created } = await state.applyPolicy(fileOf({ "ci-1": ["a.test"] }), {
    ...PRUNE,
    isDryRun: true,
  });
  assertEquals(plan.map(({ client, action }) => `${action} ${client}`), ["create ci-1", "delete old"]);
  assertEquals([created, contents(state)], [[], { old: [] }]);
});

Deno.test("applyPolicy() refuses a file whose secrets are not there, and changes nothing", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const file = parsePolicyFile(
    "version: 1\nsecrets: { gh: { host: api.example.com } }\nclients: { a: { allow: [{ host: api.example.com, secret: gh }] } }",
    "f",
  );
  await assertCode(state.applyPolicy(file, KEEP), "input.invalid");
  assertEquals(contents(state), {});
  await state.putSecret(secret("gh"), { force: false });
  await state.applyPolicy(file, KEEP);
  assertEquals(state.listRules("a")[0]?.secret, "gh");
});

Deno.test("applyPolicy() puts thousands of rules in force by one commit, or none of them", async (t) => {
  const hostsOf = (prefix: string) => Array.from({ length: 900 }, (_, i) => `${prefix}${i}.test`);
  const before = { a: hostsOf("a"), b: hostsOf("b") };
  const after = { a: hostsOf("a").reverse(), b: hostsOf("x"), c: hostsOf("c") };
  await using folder = await tempFolder();
  let commits = 0;
  {
    await using state = await openState(folder.state);
    await state.applyPolicy(fileOf(before), KEEP);
    {
      using counted = failCommits(Infinity);
      await state.applyPolicy(fileOf(after), { ...PRUNE, isDryRun: true });
      assertEquals(counted.count, 0);
    }
  }
  // The commits of one application: the rules, and then the one that counts. Sweeping comes after.
  for (let nth = 1; commits === 0; nth++) {
    await t.step(`the disk is full at commit ${nth}`, async () => {
      {
        await using state = await openState(folder.state);
        using _ = failCommits(nth);
        const failed = await state.applyPolicy(fileOf(after), PRUNE).then(() => false, () => true);
        assertEquals(contents(state), failed ? before : after);
        if (!failed) commits = nth;
      }
      await using state = await openState(folder.state);
      assertEquals(contents(state), commits === 0 ? before : after);
    });
  }
  assert(commits > 3, `it took more than one commit, and ${commits - 1} here`);
  assertEquals(await ruleRows(folder.state), 2_700, "what is left of the old rules is gone");
});

Deno.test("applyPolicy() sweeps what it replaced while it runs", async () => {
  await using folder = await tempFolder();
  const many = (prefix: string) => Array.from({ length: 700 }, (_, i) => `${prefix}${i}.test`);
  {
    await using state = await openState(folder.state);
    await state.applyPolicy(fileOf({ a: many("a") }), KEEP);
    await state.applyPolicy(fileOf({ a: many("b") }), PRUNE);
  }
  assertEquals(await ruleRows(folder.state), 700);
});

Deno.test("applyPolicy() that failed leaves nothing on the disk", async () => {
  await using folder = await tempFolder();
  const many = Array.from({ length: 900 }, (_, i) => `h${i}.test`);
  {
    await using state = await openState(folder.state);
    using _ = failCommits(2, 2);
    await state.applyPolicy(fileOf({ a: many, b: many }), KEEP).then(() => assert(false), () => {});
    assertEquals(contents(state), {});
  }
  assertEquals(await ruleRows(folder.state), 0);
});

Deno.test("applyPolicy() takes as much as the store holds, and no more", async (t) => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const many = (count: number) => Array.from({ length: count }, (_, i) => `h${i}.test`);
  await t.step("rules of a client", async () => {
    await state.applyPolicy(fileOf({ a: many(MAX_RULES_PER_CLIENT) }), KEEP);
    await assertCode(state.applyPolicy(fileOf({ a: many(MAX_RULES_PER_CLIENT + 1) }), KEEP), "limit.reached");
    await assertCode(state.applyPolicy(fileOf({ a: ["x.test"] }), KEEP), "limit.reached");
  });
  await t.step("clients at once", async () => {
    const clients = (count: number) =>
      fileOf(Object.fromEntries(many(count).map((name) => [name.padEnd(64, "x"), []])));
    await assertCode(state.applyPolicy(clients(MAX_COMMIT_ROWS + 1), KEEP), "input.invalid");
    const { created } = await state.applyPolicy(clients(MAX_COMMIT_ROWS), KEEP);
    assertEquals(created.length, MAX_COMMIT_ROWS);
  });
  await t.step("long rules", async () => {
    const paths = (count: number) =>
      Array.from({ length: count }, (_, i) => `/${String(i).padStart(4, "0")}${"a".repeat(2_000)}`);
    const file = (count: number) =>
      parsePolicyFile(
        JSON.stringify({
          version: 1,
          clients: {
            a: { allow: Array.from({ length: 30 }, (_, i) => ({ host: `h${i}.test`, paths: paths(count) })) },
          },
        }),
        "f",
      );
    await assertCode(state.applyPolicy(file(17), { prune: "rules", isDryRun: false }), "input.invalid");
    await state.applyPolicy(file(15), { prune: "rules", isDryRun: false });
    assertEquals(state.listRules("a").length, 30);
  });
});
