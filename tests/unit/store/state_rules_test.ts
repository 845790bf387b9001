import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import { MAX_DURATION_MS } from "../../../core/duration.ts";
import { ProxyError } from "../../../core/errors.ts";
import type { Rule, RuleSpec } from "../../../policy/rule.ts";
import { MAX_REMEMBERED_HOSTS, MAX_RULES_PER_CLIENT } from "../../../store/limits.ts";
import type { State } from "../../../store/state.ts";
import { PolicyView } from "../../../store/view.ts";
import { assertCode, HandClock, openState, rule, ruleRows, secret, tempFolder } from "./support.ts";

function hosts(rules: readonly Rule[]): string[] {
  return rules.map(({ host }) => host);
}

Deno.test("addRule() keeps declaration order and every field, across restarts", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  let before: Rule[];
  {
    await using state = await openState(folder.state, clock);
    await state.createClient("ci-1");
    await state.createClient("ci-2");
    await state.putSecret(secret("key", { host: "*.example.com" }), { force: false });
    for (let i = 0; i < 12; i++) {
      await state.addRule("ci-1", rule(`h${11 - i}.example.com`));
      await state.addRule("ci-2", rule(`h${i}.example.com`));
    }
    await state.addRule(
      "ci-1",
      rule("*.example.com", { methods: ["get", "POST"], paths: ["/v1/*"], ports: [8443, 80], secret: "key" }),
      { ttlMs: 60_000 },
    );
    await state.addRule("ci-1", rule("db.example.com", { ports: [5432], passthrough: true }));
    const options = { oneRequestPerConnection: true, responseTimeoutMs: 3_600_000 };
    await state.addRule("ci-1", rule("slow.example.com", options));
    before = state.listRules("ci-1");
    assertEquals(hosts(before).slice(0, 3), ["h11.example.com", "h10.example.com", "h9.example.com"]);
    const { id, ...full } = before[12] ?? { id: "" };
    assert(id !== "");
    assertEquals(full, {
      client: "ci-1",
      host: "*.example.com",
      methods: ["GET", "POST"],
      paths: ["/v1/*"],
      ports: [80, 8443],
      secret: "key",
      passthrough: false,
      expiresAt: clock.nowMs + 60_000,
    });
  }
  {
    await using state = await openState(folder.state, clock);
    assertEquals(state.listRules("ci-1"), before);
    await state.addRule("ci-1", rule("last.example.com"));
  }
  await using state = await openState(folder.state, clock);
  assertEquals(hosts(state.listRules("ci-1")), [...hosts(before), "last.example.com"]);
});

Deno.test("addRule() refuses a rule that the client has, whatever its secret, TTL or list order", async (t) => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await state.createClient("ci-1");
  await state.createClient("ci-2");
  await state.putSecret(secret("key"), { force: false });
  const spec = rule("api.example.com", { methods: ["GET", "PUT"], paths: ["/a", "/b"], ports: [80, 443] });
  await state.addRule("ci-1", spec);
  const rows: readonly { name: string; spec: RuleSpec; ttlMs?: number; isNew: boolean }[] = [
    { name: "the same", spec, isNew: false },
    { name: "with a TTL", spec, ttlMs: 1_000, isNew: false },
    { name: "with a secret", spec: { ...spec, secret: "key" }, isNew: false },
    {
      name: "lists in other order",
      spec: rule("API.example.com.", {
        methods: ["put", "get"],
        paths: ["/b", "/a", "/a"],
        ports: [443, 80],
      }),
      isNew: false,
    },
    { name: "another host", spec: { ...spec, host: "b.example.com" }, isNew: true },
    { name: "a method less", spec: { ...spec, methods: ["GET"] }, isNew: true },
    { name: "a path less", spec: { ...spec, paths: ["/a"] }, isNew: true },
    { name: "a port less", spec: { ...spec, ports: [80] }, isNew: true },
    { name: "passthrough", spec: rule("api.example.com", { passthrough: true }), isNew: true },
  ];
  for (const { name, spec, ttlMs, isNew } of rows) {
    await t.step(name, async () => {
      const count = state.listRules("ci-1").length;
      const added = state.addRule("ci-1", spec, { ttlMs });
      if (isNew) await added;
      else await assertCode(added, "input.conflict");
      assertEquals(state.listRules("ci-1").length, count + (isNew ? 1 : 0));
    });
  }
  await t.step("the same for another client", async () => void await state.addRule("ci-2", spec));
});

Deno.test("addRule() checks client, secret, the secret's host and the TTL", async (t) => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await state.createClient("ci-1");
  await state.putSecret(secret("exact", { host: "api.example.com" }), { force: false });
  await state.putSecret(secret("suffix", { host: "*.example.com" }), { force: false });
  await state.putSecret(secret("segment", { host: "bot.test", type: "path" }), { force: false });
  const rows: readonly {
    name: string;
    client?: string;
    host: string;
    secret?: string;
    paths?: readonly string[];
    ttlMs?: number;
    says?: string;
  }[] = [
    { name: "unknown client", client: "nobody", host: "a.test", says: "unknown client" },
    { name: "unknown secret", host: "a.test", secret: "none", says: "unknown secret" },
    { name: "the secret's own host", host: "api.example.com", secret: "exact" },
    { name: "another host", host: "b.example.com", secret: "exact", says: "bound to api.example.com" },
    { name: "wider than the secret", host: "*.example.com", secret: "exact", says: "bound to" },
    { name: "below the suffix", host: "x.y.example.com", secret: "suffix" },
    { name: "the suffix itself", host: "*.example.com", secret: "suffix" },
    { name: "a narrower suffix", host: "*.y.example.com", secret: "suffix" },
    { name: "the apex", host: "example.com", secret: "suffix", says: "bound to" },
    { name: "a look-alike", host: "evilexample.com", secret: "suffix", says: "bound to" },
    { name: "any host", host: "*", secret: "suffix", says: "bound to" },
    { name: "a path's secret without a path", host: "bot.test", secret: "segment", says: "do not say where" },
    {
      name: "one path without a place",
      host: "bot.test",
      secret: "segment",
      paths: ["/bot{}/*", "/x"],
      says: "do",
    },
    {
      name: "a place twice",
      host: "bot.test",
      secret: "segment",
      paths: ["/{}/{}"],
      says: "do not say where",
    },
    {
      name: "a place in each path",
      host: "bot.test",
      secret: "segment",
      paths: ["/bot{}/*", "/f/bot%7b%7d/*"],
    },
    { name: "TTL of a minute", host: "t1.test", ttlMs: 60_000 },
    { name: "TTL of zero", host: "t2.test", ttlMs: 0, says: "TTL" },
    { name: "TTL below zero", host: "t2.test", ttlMs: -1, says: "TTL" },
    { name: "TTL in parts", host: "t2.test", ttlMs: 1.5, says: "TTL" },
    { name: "TTL of no number", host: "t2.test", ttlMs: NaN, says: "TTL" },
    { name: "TTL of ten years", host: "t3.test", ttlMs: MAX_DURATION_MS },
    { name: "TTL beyond ten years", host: "t4.test", ttlMs: MAX_DURATION_MS + 1, says: "TTL" },
  ];
  for (const { name, client = "ci-1", host, secret, paths, ttlMs, says } of rows) {
    await t.step(name, async () => {
      const added = state.addRule(client, rule(host, { secret, paths }), { ttlMs });
      if (says === undefined) return void await added;
      assertStringIncludes((await assertCode(added, "input.invalid")).message, says);
    });
  }
});

Deno.test("listRules(), revokeHost() and revokeRule() do not know an unknown client", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await assertCode((async () => await state.listRules("nobody"))(), "input.not-found");
  await assertCode(state.revokeHost("nobody", "a.test"), "input.not-found");
  await assertCode(state.revokeRule("nobody", rule("a.test")), "input.not-found");
});

Deno.test("revokeHost() removes every rule with exactly that host, for good", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    const client = await state.createClient("ci-1");
    const first = await state.addRule("ci-1", rule("a.test", { paths: ["/x"] }));
    await state.addRule("ci-1", rule("*.test"));
    await state.addRule("ci-1", rule("*"));
    const second = await state.addRule("ci-1", rule("a.test"));
    assertEquals(state.rulesFor(client, "a.test").length, 4);
    assertEquals(await state.revokeHost("ci-1", "A.TEST."), [first, second]);
    assertEquals(state.isLive({ client, rule: first }), false);
    assertEquals(hosts(state.rulesFor(client, "a.test")), ["*.test", "*"]);
    await assertCode(state.revokeHost("ci-1", "a.test"), "input.not-found");
    assertEquals(hosts(await state.revokeHost("ci-1", "*")), ["*"]);
    await assertCode(state.revokeHost("ci-1", ""), "input.invalid");
  }
  await using again = await openState(folder.state);
  assertEquals(hosts(again.listRules("ci-1")), ["*.test"]);
});

Deno.test("revokeRule() removes exactly the rule with this identity, whatever secret is given", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const client = await state.createClient("ci-1");
  await state.putSecret(secret("key"), { force: false });
  const wide = await state.addRule("ci-1", rule("api.example.com"));
  const narrow = await state.addRule("ci-1", rule("api.example.com", { paths: ["/x"], secret: "key" }));
  await assertCode(state.revokeRule("ci-1", rule("api.example.com", { paths: ["/y"] })), "input.not-found");
  assertEquals(
    await state.revokeRule("ci-1", rule("api.example.com", { paths: ["/x"], secret: "other" })),
    narrow,
  );
  assertEquals(await state.revokeRule("ci-1", rule("api.example.com", { secret: "key" })), wide);
  assertEquals(state.listRules("ci-1"), []);
  const again = await state.addRule("ci-1", rule("api.example.com"));
  assertNotEquals(again.id, wide.id);
  assertEquals(state.isLive({ client, rule: wide }), false);
});

/** What is known of one rule in all the places where it could show. */
function seenEverywhere(state: State, client: { name: string; version: string }, added: Rule): boolean[] {
  return [
    state.rulesFor(client, added.host).some(({ id }) => id === added.id),
    state.rulesOf(client).some(({ id }) => id === added.id),
    state.listRules(client.name).some(({ id }) => id === added.id),
    state.isLive({ client, rule: added }),
  ];
}

Deno.test("a rule is absent everywhere from the instant of its expiry, even when the clock steps back", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  const start = clock.nowMs;
  let client;
  let added: Rule;
  {
    await using state = await openState(folder.state, clock);
    client = await state.createClient("ci-1");
    await state.addRule("ci-1", rule("*"));
    added = await state.addRule("ci-1", rule("a.test"), { ttlMs: 10_000 });
    assertEquals(added.expiresAt, start + 10_000);
    clock.nowMs = start + 9_999;
    assertEquals(seenEverywhere(state, client, added), [true, true, true, true]);
    clock.nowMs = start + 10_000;
    assertEquals(seenEverywhere(state, client, added), [false, false, false, false]);
    clock.nowMs = start;
    assertEquals(seenEverywhere(state, client, added), [false, false, false, false]);
    await assertCode(state.revokeRule("ci-1", rule("a.test")), "input.not-found");
    await assertCode(state.revokeHost("ci-1", "a.test"), "input.not-found");
    const again = await state.addRule("ci-1", rule("a.test")); // no 409
    assertEquals(hosts(state.listRules("ci-1")), ["*", "a.test"]);
    await state.revokeRule("ci-1", again);
  }
  assertEquals(await ruleRows(folder.state), 1); // the row went with the next write, so no restart finds it
  await using state = await openState(folder.state, clock);
  assertEquals(hosts(state.listRules("ci-1")), ["*"]);
});

Deno.test("a rule that expired while the daemon was down is removed at start and stays removed", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  {
    await using state = await openState(folder.state, clock);
    await state.createClient("ci-1");
    await state.addRule("ci-1", rule("gone.test"), { ttlMs: 10_000 });
    await state.addRule("ci-1", rule("kept.test"), { ttlMs: 10_001 });
  }
  clock.nowMs += 10_000;
  {
    await using state = await openState(folder.state, clock);
    assertEquals(hosts(state.listRules("ci-1")), ["kept.test"]);
  }
  clock.nowMs -= 10_000;
  await using state = await openState(folder.state, clock);
  assertEquals(hosts(state.listRules("ci-1")), ["kept.test"]);
});

Deno.test("listeners hear of an expiry when it happens, without any call", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state, systemClock());
    const client = await state.createClient("ci-1");
    const later = await state.addRule("ci-1", rule("later.test"), { ttlMs: 3_600_000 });
    const soon = await state.addRule("ci-1", rule("soon.test"), { ttlMs: 30 });
    const keepAlive = setInterval(() => {}, 1_000); // the state's own timer keeps no process running
    await new Promise<void>((resolve) => state.onChange(resolve));
    clearInterval(keepAlive);
    assertEquals(state.isLive({ client, rule: soon }), false);
    assertEquals(state.isLive({ client, rule: later }), true);
  }
  assertEquals(await ruleRows(folder.state), 1);
});

Deno.test("rulesFor() matches host patterns, forgets with every change, and remembers boundedly", async (t) => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const client = await state.createClient("ci-1");
  for (const host of ["a.example.com", "*.example.com", "10.0.0.1", "2001:db8::1"]) {
    await state.addRule("ci-1", rule(host));
  }
  const rows: readonly (readonly [host: string, matched: readonly string[]])[] = [
    ["a.example.com", ["a.example.com", "*.example.com"]],
    ["x.y.example.com", ["*.example.com"]],
    ["example.com", []],
    ["evilexample.com", []],
    ["10.0.0.1", ["10.0.0.1"]],
    ["2001:db8::1", ["2001:db8::1"]],
  ];
  for (const [host, matched] of rows) {
    await t.step(host, () => {
      assertEquals(hosts(state.rulesFor(client, host)), matched);
      assertEquals(state.rulesFor(client, host), state.rulesFor(client, host));
    });
  }
  await t.step("more hosts than are remembered", () => {
    for (let i = 0; i < 3 * MAX_REMEMBERED_HOSTS; i++) {
      assertEquals(hosts(state.rulesFor(client, `h${i}.example.com`)), ["*.example.com"]);
    }
  });
  await t.step("a rule added and revoked after the host was asked for", async () => {
    await state.addRule("ci-1", rule("*"));
    assertEquals(hosts(state.rulesFor(client, "a.example.com")), ["a.example.com", "*.example.com", "*"]);
    await state.revokeHost("ci-1", "*.example.com");
    assertEquals(hosts(state.rulesFor(client, "a.example.com")), ["a.example.com", "*"]);
  });
  await t.step("a version that was never valid", () => {
    assertEquals(state.rulesFor({ name: "ci-1", version: "old" }, "a.example.com"), []);
    assertEquals(state.rulesFor({ name: "nobody", version: client.version }, "a.example.com"), []);
  });
});

Deno.test("isLive() takes a rule only from its own client", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const one = await state.createClient("ci-1");
  const two = await state.createClient("ci-2");
  const added = await state.addRule("ci-1", rule("a.test"));
  assertEquals(state.isLive({ client: one, rule: added }), true);
  assertEquals(state.isLive({ client: two, rule: added }), false);
  assertEquals(state.isLive({ client: one, rule: { id: "none" } }), false);
});

Deno.test("addRule() takes as many rules per client as deleteClient() can drop in one commit", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await state.createClient("ci-1");
  const specs = Array.from({ length: MAX_RULES_PER_CLIENT }, (_, i) => rule(`h${i}.test`));
  await Promise.all(specs.map((spec) => state.addRule("ci-1", spec)));
  assertEquals(hosts(state.listRules("ci-1")), specs.map(({ host }) => host)); // in the order of the calls
  await assertCode(state.addRule("ci-1", rule("one.more.test")), "limit.reached");
  await state.deleteClient("ci-1");
  assertEquals(state.getClient("ci-1"), undefined);
});

Deno.test("addRule() puts a rule before another, in memory, in copies and after a new start", async () => {
  await using folder = await tempFolder();
  const expected = ["first.test", "a.test", "between.test", "b.test", "last.test"];
  {
    await using state = await openState(folder.state, new HandClock());
    await state.createClient("ci-1");
    for (const host of ["a.test", "b.test"]) await state.addRule("ci-1", rule(host));
    const copy = new PolicyView();
    for (const change of state.snapshot()) copy.apply(change);
    state.keepCopies((changes) => {
      for (const change of changes) copy.apply(change);
      return Promise.resolve();
    });
    await state.addRule("ci-1", rule("between.test"), { place: 2 });
    await state.addRule("ci-1", rule("first.test"), { place: 1 });
    await state.addRule("ci-1", rule("last.test"));
    assertEquals(hosts(state.listRules("ci-1")), expected);
    assertEquals(copy.storedRules("ci-1").map(({ rule }) => rule.host), expected);
  }
  await using state = await openState(folder.state, new HandClock());
  assertEquals(hosts(state.listRules("ci-1")), expected);
  await state.addRule("ci-1", rule("new.test"));
  assertEquals(hosts(state.listRules("ci-1")), [...expected, "new.test"]);
});

Deno.test("moveRule() refuses a place behind the list, where nothing is that it could stand before", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  await state.createClient("ci-1");
  for (const host of ["a.test", "b.test", "c.test"]) await state.addRule("ci-1", rule(host));
  for (const before of [4, 99]) {
    await assertCode(state.moveRule("ci-1", { from: 1, before }), "input.invalid");
  }
  assertEquals(hosts(state.listRules("ci-1")), ["a.test", "b.test", "c.test"]);
  await state.moveRule("ci-1", { from: 1, before: 3 });
  assertEquals(hosts(state.listRules("ci-1")), ["b.test", "a.test", "c.test"]);
  await state.moveRule("ci-1", { from: 1 });
  assertEquals(hosts(state.listRules("ci-1")), ["a.test", "c.test", "b.test"]);
});

Deno.test("addRule() at the place of a rule that has just expired outlives a restart", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  {
    await using state = await openState(folder.state, clock);
    await state.createClient("ci-1");
    await state.addRule("ci-1", rule("last.test"));
    await state.addRule("ci-1", rule("old.test"), { ttlMs: 60_000, place: 1 });
    clock.nowMs += 60_000; // as after a sleep: the write finds it before the timer does
    await state.addRule("ci-1", rule("new.test", { deny: true }), { place: 1 });
    assertEquals(hosts(state.listRules("ci-1")), ["new.test", "last.test"]);
  }
  await using state = await openState(folder.state, clock);
  assertEquals(hosts(state.listRules("ci-1")), ["new.test", "last.test"]);
});

Deno.test("addRule() refuses a place that the list does not have, and one where nothing fits any more", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state, new HandClock());
  await state.createClient("ci-1");
  await assertRejects(
    () => state.addRule("ci-1", rule("a.test"), { place: 1 }),
    ProxyError,
    "the client has 0",
  );
  await state.addRule("ci-1", rule("a.test"));
  await state.addRule("ci-1", rule("b.test"));
  await assertRejects(
    () => state.addRule("ci-1", rule("c.test"), { place: 3 }),
    ProxyError,
    "the client has 2",
  );
  const fill = async () => {
    for (let i = 0; i < 100; i++) await state.addRule("ci-1", rule(`h${i}.test`), { place: i + 2 });
  };
  await assertRejects(fill, ProxyError, "too many were put there");
  const listed = hosts(state.listRules("ci-1"));
  assertEquals([listed[0], listed[1], listed.at(-1)], ["a.test", "h0.test", "b.test"]);
});

Deno.test("judgeRules() knows which secrets are there, and the figures count what is wrong", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state, new HandClock());
  await state.createClient("ci-1");
  await state.putSecret(secret("key", { host: "a.test" }), { force: false });
  await state.addRule("ci-1", rule("a.test", { secret: "key" }));
  assertEquals((await state.figures()).rulesWithWarnings, 0);
  await state.deleteSecret("key");
  assertEquals(state.judgeRules("ci-1").map(({ warnings }) => warnings.length), [1]);
  assertEquals((await state.figures()).rulesWithWarnings, 1);
});

Deno.test("addRules() adds all of them in order at a place, or none", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  {
    await using state = await openState(folder.state, clock);
    await state.createClient("ci-1");
    for (const host of ["a.test", "b.test"]) await state.addRule("ci-1", rule(host));
    const three = ["x.test", "y.test", "z.test"].map((host) => rule(host));
    const shown = await state.addRules("ci-1", three, { place: 2, ttlMs: 1_000, isDryRun: true });
    assertEquals(hosts(shown), ["x.test", "y.test", "z.test"]);
    assertEquals(hosts(state.listRules("ci-1")), ["a.test", "b.test"]);
    const added = await state.addRules("ci-1", three, { place: 2, ttlMs: 1_000 });
    assertEquals(added.map(({ expiresAt }) => expiresAt), Array(3).fill(clock.nowMs + 1_000));
    const again = [rule("new.test"), rule("y.test")];
    const error = await assertRejects(() => state.addRules("ci-1", again), ProxyError);
    assertEquals(error.code, "input.conflict");
    assertStringIncludes(error.message, "as rule 3 for y.test");
    const unknown = [rule("new.test"), rule("other.test", { secret: "none" })];
    await assertRejects(() => state.addRules("ci-1", unknown), ProxyError);
    await assertRejects(() => state.addRules("ci-1", [rule("new.test")], { place: 9 }), ProxyError);
  }
  await using state = await openState(folder.state, clock);
  assertEquals(hosts(state.listRules("ci-1")), ["a.test", "x.test", "y.test", "z.test", "b.test"]);
});
