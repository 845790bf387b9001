import { assertEquals } from "@std/assert";
import { addRule, addRules, moveRule, revokeHost, revokeRule } from "../../../../store/changes/rules.ts";
import type { PolicyView } from "../../../../store/view.ts";
import type { Writer } from "../../../../store/writer.ts";
import { makeWriter, MemoryEngine } from "../memory_engine.ts";
import { assertCode, HandClock, rule } from "../support.ts";

// Written out: what the store holds.
const MOST = { rules: 100_000, rulesPerClient: 999, ruleChars: 32_768 };
const SPEC = rule("a.test");

function addClient(view: PolicyView, name: string, rules = 0): void {
  view.setClient({ record: { name, version: "1", createdAt: 0 }, id: name, digest: name });
  for (let sequence = 0; sequence < rules; sequence++) {
    const id = `${name}-${sequence}`;
    view.addRule({ rule: { ...SPEC, id, client: name }, clientId: name, sequence });
  }
}

function hosts(writer: Writer): string {
  return writer.view.storedRules("one").map(({ rule }) => rule.host[0]).join("");
}

/** A writer with client `one`, whose rules have these letters for hosts. */
async function writerWith(letters: string, { db = new MemoryEngine(), clock = new HandClock() } = {}) {
  const writer = await makeWriter({ db, clock });
  addClient(writer.view, "one");
  for (const letter of letters) await addRule(writer, { client: "one", spec: rule(`${letter}.test`) });
  return writer;
}

Deno.test("addRules() takes as many rules as there may be", async () => {
  await using writer = await makeWriter();
  const { view } = writer;
  for (let left = MOST.rules - 2, i = 0; left > 0; left -= 990, i++) {
    addClient(view, `c${i}`, Math.min(990, left));
  }
  addClient(view, "one");
  const [a, b, c] = ["a", "b", "c"].map((name) => rule(`${name}.test`));
  if (!a || !b || !c) throw new Error("no rules");
  await assertCode(addRules(writer, { client: "one", specs: [a, b, c], isDryRun: true }), "limit.reached");
  await addRules(writer, { client: "one", specs: [a, b] });
  assertEquals(view.ruleCount, MOST.rules);
  await assertCode(addRules(writer, { client: "one", specs: [c] }), "limit.reached");
});

Deno.test("addRules() takes so many rules of a client, and rules that are so long", async () => {
  await using writer = await makeWriter();
  addClient(writer.view, "one", MOST.rulesPerClient - 2);
  const specs = ["a", "b", "c"].map((name) => rule(`${name}.example`));
  const add = (count: number) =>
    addRules(writer, { client: "one", specs: specs.slice(0, count), isDryRun: true });
  assertEquals((await add(2)).length, 2);
  await assertCode(add(3), "limit.reached");
  const long = (chars: number) => {
    const bare = { ...rule("b.test"), paths: ["/"] };
    return { ...bare, paths: ["/".padEnd(chars - JSON.stringify(bare).length + 1, "p")] };
  };
  await assertCode(addRule(writer, { client: "one", spec: long(MOST.ruleChars + 1) }), "input.invalid");
  await addRule(writer, { client: "one", spec: long(MOST.ruleChars) });
});

Deno.test("addRule() has the clock end a rule, and writes when", async () => {
  const [db, clock] = [new MemoryEngine(), new HandClock()];
  await using writer = await writerWith("a", { db, clock });
  await addRule(writer, { client: "one", spec: rule("b.test"), ttlMs: 10 });
  assertEquals(db.commits.flat().map(({ expireInMs }) => expireInMs), [undefined, 10]);
  clock.nowMs += 10;
  await writer.inTurn(() => Promise.resolve());
  assertEquals(hosts(writer), "a");
});

Deno.test("addRules() that is dry writes nothing", async () => {
  const db = new MemoryEngine();
  await using writer = await writerWith("ab", { db });
  const specs = [rule("x.test"), rule("y.test")];
  assertEquals((await addRules(writer, { client: "one", specs, place: 2, isDryRun: true })).length, 2);
  assertEquals([hosts(writer), db.commits.length], ["ab", 2]);
});

Deno.test("moveRule() puts each rule at each place", async () => {
  const expected: Record<string, string> = {
    ...{ "1 1": "abc", "1 2": "abc", "1 3": "bac", "1 end": "bca" },
    ...{ "2 1": "bac", "2 2": "abc", "2 3": "abc", "2 end": "acb" },
    ...{ "3 1": "cab", "3 2": "acb", "3 3": "abc", "3 end": "abc" },
  };
  for (const [move, order] of Object.entries(expected)) {
    const db = new MemoryEngine();
    await using writer = await writerWith("abc", { db });
    const [from, before] = move.split(" ").map(Number);
    const place = before === undefined || Number.isNaN(before) ? {} : { before };
    const moved = await moveRule(writer, "one", { from: from ?? 0, ...place });
    assertEquals([move, hosts(writer)], [move, order]);
    assertEquals(moved.host[0], "abc"[(from ?? 0) - 1]);
    const stored = writer.view.storedRules("one").map(({ sequence }) => `rule one ${sequence}`);
    assertEquals(db.keys, stored.sort(), "a row for each, at the place that memory has");
  }
});

Deno.test("moveRule() counts no rule that has expired, and refuses places that are not there", async () => {
  const clock = new HandClock();
  await using writer = await writerWith("", { clock });
  await addRule(writer, { client: "one", spec: rule("x.test"), ttlMs: 10 });
  for (const letter of "abc") await addRule(writer, { client: "one", spec: rule(`${letter}.test`) });
  clock.nowMs += 10;
  for (const from of [0, 4, -1]) await assertCode(moveRule(writer, "one", { from }), "input.not-found");
  for (const before of [0, 4]) {
    await assertCode(moveRule(writer, "one", { from: 1, before }), "input.invalid");
  }
  await moveRule(writer, "one", { from: 1, before: 3 });
  assertEquals(hosts(writer), "xbac");
});

Deno.test("revokeHost() and revokeRule() remove rows and rules, and say what is not there", async () => {
  const db = new MemoryEngine();
  await using writer = await writerWith("abc", { db });
  await addRule(writer, { client: "one", spec: rule("a.test", { paths: ["/x"] }) });
  await revokeRule(writer, "one", rule("a.test"));
  assertEquals([hosts(writer), db.keys.length], ["bca", 3]);
  await assertCode(revokeRule(writer, "one", rule("a.test")), "input.not-found");
  await assertCode(revokeRule(writer, "one", rule("z.test", { paths: ["/x"] })), "input.not-found");
  await addRule(writer, { client: "one", spec: rule("a.test") });
  assertEquals((await revokeHost(writer, "one", "a.test")).length, 2);
  assertEquals([hosts(writer), db.keys.length], ["bc", 2]);
  await assertCode(revokeHost(writer, "one", "a.test"), "input.not-found");
});

Deno.test("changes of rules say that a client is unknown, and not that it has no such rule", async () => {
  await using writer = await makeWriter();
  const changes = [
    ["move a rule of", () => moveRule(writer, "none", { from: 1 })],
    ["revoke a rule of", () => revokeHost(writer, "none", "a.test")],
    ["revoke a rule of", () => revokeRule(writer, "none", SPEC)],
  ] as const;
  for (const [verb, change] of changes) {
    const { message } = await assertCode(change(), "input.not-found");
    assertEquals(message, `Cannot ${verb} client "none": unknown client`);
  }
  const { message, hint } = await assertCode(
    addRule(writer, { client: "none", spec: SPEC }),
    "input.invalid",
  );
  assertEquals([message, hint], ['Cannot add a rule: unknown client "none"', "create the client first"]);
});

Deno.test("addRule() takes a time from a millisecond up to ten years, and refuses any other", async () => {
  const clock = new HandClock();
  await using writer = await writerWith("", { clock });
  const tenYears = 315_360_000_000;
  for (const [i, ttlMs] of [1, 2, tenYears].entries()) {
    const { expiresAt } = await addRule(writer, { client: "one", spec: rule(`h${i}.test`), ttlMs });
    assertEquals(expiresAt, clock.nowMs + ttlMs);
  }
  for (const ttlMs of [0, -1, 1.5, NaN, Infinity, tenYears + 1]) {
    await assertCode(addRule(writer, { client: "one", spec: rule("z.test"), ttlMs }), "input.invalid");
  }
});

Deno.test("addRule() gives no rule the place of another, however many are put between two", async () => {
  for (
    const [name, placeOf] of [["right behind one", () => 3], [
      "right before one",
      (n: number) => n + 3,
    ]] as const
  ) {
    const db = new MemoryEngine();
    await using writer = await writerWith("abc", { db });
    let added = 0;
    const fill = async () => {
      for (; added < 100; added++) {
        const options = { client: "one", spec: rule(`h${added}.test`), place: placeOf(added) };
        await addRule(writer, options);
      }
    };
    await assertCode(fill(), "input.invalid");
    assertEquals(new Set(db.keys).size, added + 3, name);
    assertEquals(
      new Set(writer.view.storedRules("one").map(({ sequence }) => sequence)).size,
      added + 3,
      name,
    );
  }
});
