import { assert, assertEquals } from "@std/assert";
import { parseRule, type RuleInput } from "../../../policy/rule.ts";
import { PolicyView } from "../../../store/view.ts";

function viewOf(clientCount: number, rulesPerClient: number, endsAt = 1_000): PolicyView {
  const view = new PolicyView();
  for (let c = 0; c < clientCount; c++) {
    const record = { name: `c${c}`, version: `v${c}`, createdAt: 0 };
    view.setClient({ record, id: `id${c}`, digest: `digest${c}` });
    for (let r = 0; r < rulesPerClient; r++) {
      const rule = {
        ...parseRule({ host: `h${r}.test` }),
        id: `${c}.${r}`,
        client: record.name,
        ...(endsAt === Infinity ? {} : { expiresAt: endsAt + r }),
      };
      view.addRule({ rule, clientId: `id${c}`, sequence: r });
    }
  }
  return view;
}

Deno.test("rulesFor() stays fast with 10,000 rules of 1,000 clients", () => {
  const view = viewOf(1_000, 10);
  const calls = 200_000;
  const start = performance.now();
  let matched = 0;
  for (let i = 0; i < calls; i++) {
    const client = { name: `c${i % 1_000}`, version: `v${i % 1_000}` };
    matched += view.rulesFor(client, `h${i % 20}.test`, () => 0).length;
  }
  const microseconds = (performance.now() - start) * 1_000 / calls;
  assertEquals(matched, calls / 2);
  // An inspected request costs about 160 µs and this about 1. The bound only catches a scan of all rules.
  assert(microseconds < 30, `rulesFor() takes ${microseconds} µs`);
});

Deno.test("takeExpired() removes exactly what has expired, and nextExpiryMs() tells when the next will", () => {
  const view = viewOf(3, 4);
  assertEquals(view.nextExpiryMs(), 1_000);
  assertEquals(view.takeExpired(999), []);
  assertEquals(view.takeExpired(1_001).map(({ rule }) => rule.id), [
    "0.0",
    "0.1",
    "1.0",
    "1.1",
    "2.0",
    "2.1",
  ]);
  assertEquals(view.takeExpired(1_001), []);
  assertEquals(view.nextExpiryMs(), 1_002);
  assertEquals(view.ruleCount, 6);
  assertEquals(view.liveRules("c1", 0).map(({ id }) => id), ["1.2", "1.3"]);
  assertEquals(view.liveRules("c1", 1_002).map(({ id }) => id), ["1.3"]);
  view.takeExpired(2_000);
  assertEquals([view.ruleCount, view.nextExpiryMs()], [0, undefined]);
});

Deno.test("rulesFor() forgets an answer at the instant when a rule in it expires", () => {
  const view = viewOf(1, 1);
  const client = { name: "c0", version: "v0" };
  assertEquals(view.rulesFor(client, "h0.test", () => 999).length, 1);
  assertEquals(Object.isFrozen(view.rulesFor(client, "h0.test", () => 999)), true); // policy/rule_words.ts counts on it
  assertEquals(view.rulesFor(client, "h0.test", () => 1_000).length, 0);
});

Deno.test("a decision looks at the clock only where something of it ends", () => {
  const client = { name: "c0", version: "v0" };
  const looksOf = (view: PolicyView) => {
    let looks = 0;
    const now = () => (looks++, 500);
    const [rule] = view.rulesFor(client, "h0.test", now);
    looks = 0; // the answer for a host is made once
    assertEquals(view.rulesFor(client, "h0.test", now).length, 1);
    assert(rule);
    assertEquals([view.isLive({ client, rule }, now), view.isLost(now)], [true, false]);
    return looks;
  };
  assertEquals(looksOf(viewOf(1, 1, Infinity)), 0);
  assertEquals(looksOf(viewOf(1, 1)), 2);
  const held = viewOf(1, 1, Infinity);
  held.holdUntil(1_000);
  assertEquals(looksOf(held), 3);
});

Deno.test("clientsPassing() finds the owners of exact passthrough rules, by name, after every change", () => {
  const view = viewOf(2, 1);
  const passing = (host: string, port: number) => view.clientsPassing(host, port).map(({ name }) => name);
  const add = (client: string, input: RuleInput, sequence: number) => {
    const rule = { ...parseRule(input), id: `${client}.${sequence}`, client, expiresAt: 2_000 };
    const stored = { rule, clientId: `id${client.slice(1)}`, sequence };
    view.addRule(stored);
    return stored;
  };
  assertEquals(passing("db.test", 22), []);
  const exact = { host: "db.test", ports: [22, 5432], passthrough: true };
  const first = add("c1", exact, 10);
  assertEquals(passing("db.test", 22), ["c1"]);
  add("c0", exact, 10);
  add("c0", { ...exact, ports: [22] }, 11);
  assertEquals(passing("db.test", 22), ["c0", "c1"]);
  assertEquals(passing("db.test", 5432), ["c0", "c1"]);
  assertEquals(passing("db.test", 23), []);
  assertEquals(passing("other.test", 22), []);
  add("c0", { host: "web.test", ports: [22] }, 12);
  add("c0", { host: "*.web.test", ports: [22], passthrough: true }, 13);
  assertEquals(passing("web.test", 22), []);
  assertEquals(passing("a.web.test", 22), []);
  view.deleteRules("c1", [first]);
  assertEquals(passing("db.test", 22), ["c0"]);
  view.deleteClient("c0");
  assertEquals(passing("db.test", 22), []);
  add("c1", exact, 14);
  view.setClient({ record: { name: "c1", version: "new", createdAt: 0 }, id: "id1", digest: "new" });
  assertEquals(view.clientsPassing("db.test", 22).map(({ version }) => version), ["new"]);
  view.takeExpired(2_000);
  assertEquals(passing("db.test", 22), []);
});

Deno.test("clientsPassing() costs anonymous connections no look at every client", () => {
  const view = viewOf(5_000, 2);
  view.clientsPassing("h0.test", 22); // makes the index
  const calls = 20_000;
  const start = performance.now();
  for (let i = 0; i < calls; i++) view.clientsPassing(`h${i % 20}.test`, 22);
  const microseconds = (performance.now() - start) * 1_000 / calls;
  // About 1; a scan of the clients takes thousands.
  assert(microseconds < 100, `clientsPassing() takes ${microseconds} µs`);
});

Deno.test("PolicyView lists by name, and suspends all first", () => {
  const view = new PolicyView();
  for (const name of ["b", "c", "a"]) {
    view.setClient({
      record: { name, version: "1", createdAt: 0, suspendedSince: 5 },
      id: name,
      digest: name,
    });
    const record = { name, host: "a.test", type: "bearer", version: "1", cleartext: false, createdAt: 0 };
    view.setSecret({ record, value: "v" });
    view.setCa({ record: { hostgroup: name, version: "1", certPem: "c", importedAt: 0 }, keyPem: "k" });
  }
  assertEquals(view.clients().map(({ name }) => name), ["a", "b", "c"]);
  assertEquals(view.secrets().map(({ name }) => name), ["a", "b", "c"]);
  assertEquals(view.cas().map(({ hostgroup }) => hostgroup), ["a", "b", "c"]);
  assertEquals(view.suspensions().map(({ client }) => client), ["a", "b", "c"]);
  view.suspendAll(7);
  assertEquals(view.suspensions(), [
    { since: 7 },
    ...["a", "b", "c"].map((client) => ({ client, since: 5 })),
  ]);
  assertEquals([view.clientCount, view.secretCount], [3, 3]);
});

Deno.test("PolicyView gives a token to the client that has it last", () => {
  const view = new PolicyView();
  const set = (name: string, digest: string) =>
    view.setClient({ record: { name, version: "1", createdAt: 0 }, id: name, digest });
  set("a", "one");
  set("a", "two");
  assertEquals([view.clientByDigest("one"), view.clientByDigest("two")?.id], [undefined, "a"]);
  set("b", "two");
  set("a", "three"); // the token of before is another client's by now
  assertEquals([view.clientByDigest("two")?.id, view.clientByDigest("three")?.id], ["b", "a"]);
  view.deleteClient("a");
  assertEquals([view.clientByDigest("two")?.id, view.clientByDigest("three")], ["b", undefined]);
});

Deno.test("PolicyView counts until it is held, and from then on nothing of it", () => {
  const view = viewOf(1, 1, Infinity);
  const client = { name: "c0", version: "v0" };
  assertEquals([view.heldUntilMs, view.isLost(() => 1e15)], [Infinity, false] as unknown[]);
  assertEquals(view.snapshot(0).some(({ kind }) => kind === "held"), false);
  view.holdUntil(10);
  assertEquals(view.snapshot(0).at(-1), { kind: "held", untilMs: 10 });
  for (const [at, isLost] of [[9, false], [10, true]] as const) {
    assertEquals(view.isLost(() => at), isLost);
    assertEquals(view.isLive({ client }, () => at), !isLost);
    assertEquals(view.rulesFor(client, "h0.test", () => at).length, isLost ? 0 : 1);
  }
});

Deno.test("PolicyView forgets the switch of a client that goes", () => {
  const view = viewOf(1, 1);
  view.switchMode({ client: "c0", mode: "audit" });
  view.deleteClient("c0");
  view.deleteClient("c0"); // there is none
  assertEquals([view.modeSwitches(0), view.ruleCount, view.nextExpiryMs()], [[], 0, undefined] as unknown[]);
});

Deno.test("PolicyView answers anew for a host after every change of its client's rules", () => {
  const view = viewOf(1, 1, Infinity);
  const client = { name: "c0", version: "v0" };
  const ids = () => view.rulesFor(client, "h0.test", () => 0).map(({ id }) => id).join(" ");
  const [first] = view.storedRules("c0");
  assert(first);
  const own = ids();
  const more = { ...first, rule: { ...first.rule, id: "more" }, sequence: 1_000 };
  view.addRule(more);
  assertEquals(ids(), `${own} more`);
  view.moveRule({ ...more, sequence: -1_000 });
  assertEquals(ids(), `more ${own}`);
  view.deleteRules("c0", [more]);
  assertEquals(ids(), own);
  view.deleteRules("none", [first]);
  assertEquals(ids(), own);
});

Deno.test("isLive() needs all rules that admitted a stream, and its credential in that version", () => {
  const view = viewOf(2, 2, Infinity);
  const client = { name: "c0", version: "v0" };
  const [one, two] = view.storedRules("c0").map(({ rule }) => rule);
  const [foreign] = view.storedRules("c1").map(({ rule }) => rule);
  assert(one && two && foreign);
  const isLive = (admission: object) => view.isLive({ client, ...admission }, () => 0);
  const record = {
    name: "key",
    host: "a.test",
    type: "bearer",
    version: "7",
    cleartext: false,
    createdAt: 0,
  };
  view.setSecret({ record, value: "v" });
  assertEquals([isLive({}), isLive({ rule: one }), isLive({ rule: one, others: [two] })], [true, true, true]);
  assertEquals([isLive({ others: [two] }), isLive({ others: [foreign] })], [true, false]);
  assertEquals([isLive({ rule: foreign }), isLive({ rule: one, others: [foreign] })], [false, false]);
  const credential = { secret: "key", version: "7" };
  assertEquals([isLive({ credential }), isLive({ credential: { ...credential, version: "6" } })], [
    true,
    false,
  ]);
  view.deleteRules("c0", view.storedRules("c0").slice(1));
  assertEquals([isLive({ rule: one }), isLive({ rule: one, others: [two] }), isLive({ others: [two] })], [
    true,
    false,
    false,
  ]);
  view.deleteSecret("key");
  assertEquals(isLive({ credential }), false);
  assertEquals(view.isLive({ client: { ...client, version: "v1" } }, () => 0), false);
});

Deno.test("PolicyView tells of every step, each by what it is", () => {
  const view = viewOf(1, 1, Infinity);
  const told: string[] = [];
  view.onStep = ({ kind }) => told.push(kind);
  const [stored] = view.storedRules("c0");
  const client = view.client("c0");
  assert(stored && client);
  view.setClient(client);
  view.moveRule(stored);
  view.deleteRules("c0", [stored]);
  const record = {
    name: "key",
    host: "a.test",
    type: "bearer",
    version: "7",
    cleartext: false,
    createdAt: 0,
  };
  view.setSecret({ record, value: "v" });
  view.deleteSecret("key");
  view.setCa({ record: { hostgroup: "g", version: "1", certPem: "c", importedAt: 0 }, keyPem: "k" });
  view.deleteCa("g");
  view.switchMode({ mode: "audit" });
  view.suspendAll(1);
  view.holdUntil(1);
  view.deleteClient("c0");
  assertEquals(told, [
    ...["client", "rule", "rules-gone", "secret", "secret-gone", "ca", "ca-gone"],
    ...["mode", "all-suspended", "held", "client-gone"],
  ]);
});

Deno.test("isSuspended() is true for a client that is suspended by itself, or with all", () => {
  const view = viewOf(2, 1);
  const client = view.client("c0");
  assert(client);
  view.setClient({ ...client, record: { ...client.record, suspendedSince: 1 } });
  const who = () => ["c0", "c1", "none"].map((name) => view.isSuspended(name));
  assertEquals(who(), [true, false, false]);
  view.suspendAll(2);
  assertEquals(who(), [true, true, true]);
  view.suspendAll(undefined);
  assertEquals(who(), [true, false, false]);
});

Deno.test("PolicyView.snapshot() makes an empty view the same, and holds no value and no key", () => {
  const view = viewOf(2, 1);
  const record = {
    name: "key",
    host: "a.test",
    type: "bearer",
    version: "1",
    cleartext: false,
    createdAt: 0,
  };
  view.setSecret({ record, value: "planted" });
  view.setCa({ record: { hostgroup: "g", version: "1", certPem: "c", importedAt: 0 }, keyPem: "planted" });
  view.switchMode({ mode: "audit", untilMs: 10 });
  view.switchMode({ client: "c0", mode: "strict" });
  view.suspendAll(7);
  view.holdUntil(2_000);
  const steps = view.snapshot(9);
  assertEquals(steps.map(({ kind }) => kind), [
    ...["client", "rule", "client", "rule", "secret", "ca"],
    ...["mode", "mode", "all-suspended", "held"],
  ]);
  assertEquals(JSON.stringify(steps).includes("planted"), false);
  const copy = new PolicyView();
  for (const each of steps) copy.apply(each);
  assertEquals(copy.snapshot(9), steps);
  assertEquals(copy.suspensions(), [{ since: 7 }]);
  assertEquals([copy.modeOf("c0", 9), copy.modeOf("c1", 9), copy.modeOf("c1", 10)], [
    "strict",
    "audit",
    undefined,
  ]);
  assertEquals([copy.secret("key")?.value, copy.ca("g")?.keyPem], ["", ""]);
});

Deno.test("rulesFor() remembers its answers for 64 hosts of a client, however many it asks for", () => {
  const view = viewOf(1, 1, Infinity);
  const ask = (host: number) => view.rulesFor({ name: "c0", version: "v0" }, `h${host}.test`, () => 0);
  const first = ask(0);
  for (let host = 1; host < 64; host++) ask(host);
  assertEquals(ask(0) === first, true);
  ask(64);
  assertEquals([ask(0) === first, ask(0)], [false, first]);
});

Deno.test("PolicyView has no rules for a client of another version, and no CA that was deleted", () => {
  const view = viewOf(1, 2);
  const rulesOf = (version: string, name = "c0") => view.rulesOf({ name, version }, 0).length;
  assertEquals([rulesOf("v0"), rulesOf("v1"), rulesOf("v0", "none")], [2, 0, 0]);
  for (const hostgroup of ["a", "b"]) {
    view.setCa({ record: { hostgroup, version: "1", certPem: "c", importedAt: 0 }, keyPem: "k" });
  }
  view.deleteCa("a");
  assertEquals([view.ca("a"), view.cas().map(({ hostgroup }) => hostgroup)], [undefined, ["b"]] as unknown[]);
});
