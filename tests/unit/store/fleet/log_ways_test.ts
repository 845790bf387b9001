import { assertEquals, assertRejects } from "@std/assert";
import { logToken, type LogWay, proveWay } from "../../../../store/fleet/log_proof.ts";
import { LogWays } from "../../../../store/fleet/log_ways.ts";
import type { Answer } from "../../../../store/postgres/link.ts";
import { keysOf } from "../memory_engine.ts";
import { answeringStore, keptLog } from "./answers.ts";

const OWN = { id: "id-own", instance: "p", name: "me", version: "1", graceMs: 1_000 };
const WAY: LogWay = { origin: "https://a.test:1", caPem: "CA" };
const keys = await keysOf(1);

function stage() {
  const store = answeringStore();
  const log = keptLog();
  const time = { ms: 5 };
  const ways = new LogWays({
    own: OWN,
    keys: () => keys,
    fleet: "default",
    db: () => store.db,
    now: () => time.ms,
    log,
  });
  return { ...store, log, time, ways };
}

/** A host's row, whose way it has proven itself. */
function row(id: string, name: string, more: Answer = {}): Answer {
  const proof = proveWay(keys, { fleet: "default", id, instance: "i", name }, WAY);
  const { origin, caPem: ca } = WAY;
  return {
    id,
    name,
    instance: "i",
    has_way: true,
    is_current: true,
    is_unread: false,
    origin,
    ca,
    proof,
    ...more,
  };
}

Deno.test("LogWays.say() tells the store what has changed, and nothing twice", async () => {
  const { ways, asked } = stage();
  const verbs = () => asked.splice(0).map(({ sql }) => sql.trim().split(" ")[0]);
  await ways.say();
  assertEquals(verbs(), ["DELETE"]);
  await ways.say();
  assertEquals(verbs(), []);
  ways.own = () => WAY;
  await ways.say();
  const proof = proveWay(keys, { fleet: "default", ...OWN }, WAY);
  assertEquals(asked[0]?.parameters, ["default", "id-own", "p", WAY.origin, WAY.caPem, proof]);
  assertEquals(verbs(), ["INSERT"]);
  await ways.say();
  assertEquals(verbs(), []);
  ways.forget();
  await ways.say();
  assertEquals(verbs(), ["INSERT"]);
  ways.own = () => undefined;
  await ways.say();
  assertEquals(asked[0]?.parameters, ["default", "id-own"]);
});

Deno.test("LogWays.say() says once what fails, tries again, and never rejects", async () => {
  const { ways, answers, asked, log } = stage();
  answers.push(new Error("one"), new Error("one"), new Error("two"), [], new Error("two"));
  for (let n = 0; n < 4; n++) await ways.say();
  assertEquals([log.lines.length, asked.length], [2, 4]);
  ways.forget();
  await ways.say();
  assertEquals(log.lines.map((line) => line.slice(-3)), ["one", "two", "two"]);
});

Deno.test("LogWays.token() is for this host's log alone", () => {
  const { ways } = stage();
  assertEquals(ways.token(), logToken(keys, { fleet: "default", id: "id-own" }));
});

Deno.test("LogWays.list() gives the ways that their hosts have proven, and says why there is none", async () => {
  const { ways, answers } = stage();
  const noWay = "its API is not open to other hosts (up --api-bind)";
  const noProof = "where the store says that its API is was not written by a host with this host's seal key";
  answers.push([
    row("a", "a"),
    row("id-own", "me"),
    row("b", "b", { has_way: false }),
    row("c", "c", { is_current: false }),
    row("d", "d", { is_unread: true }),
    row("e", "e", { proof: "x" }),
    row("f", "f", { ca: "other" }),
    row("g", "g", { name: "h" }),
    row("0123456789", "twin"),
    row("9876543210", "twin"),
  ]);
  const { hosts, isCut, unread, asOf } = await ways.list();
  assertEquals([isCut, unread, asOf], [false, 1, undefined]);
  const of = (id: string) => {
    const { label, isOwn, way, whyNot } = hosts.find((host) => host.id === id) ?? {};
    return [label, isOwn, way?.token, whyNot];
  };
  const token = (id: string) => logToken(keys, { fleet: "default", id });
  assertEquals(hosts[0]?.way, { ...WAY, token: token("a") });
  assertEquals(of("a"), ["a", false, token("a"), undefined]);
  assertEquals(of("id-own"), ["me", true, undefined, undefined]);
  assertEquals([of("b"), of("c")], [["b", false, undefined, noWay], ["c", false, undefined, noWay]]);
  assertEquals(of("d"), ["d", false, undefined, undefined]);
  assertEquals([of("e")[3], of("f")[3], of("g")[3]], [noProof, noProof, noProof]);
  assertEquals([of("0123456789")[0], of("9876543210")[0]], ["twin/01234567", "twin/98765432"]);
});

Deno.test("LogWays.list() lists a thousand, and says that there are more", async () => {
  for (const [count, isCut] of [[1_000, false], [1_001, true]] as const) {
    const { ways, answers } = stage();
    answers.push(Array.from({ length: count }, (_, i) => row(`i${i}`, `n${i}`, { has_way: false })));
    const list = await ways.list();
    assertEquals([list.hosts.length, list.isCut], [1_000, isCut]);
  }
});

Deno.test("LogWays.list() is as it was while the store is away, and rejects when it never was", async () => {
  const { ways, answers, time } = stage();
  answers.push(new Error("away"), [row("a", "a")], new Error("away"), [row("b", "b")], new Error("away"));
  await assertRejects(() => ways.list(), Error, "away");
  await ways.list();
  time.ms = 9;
  const last = await ways.list();
  assertEquals([last.hosts.map(({ id }) => id), last.asOf], [["a"], 5]);
  assertEquals((await ways.list()).asOf, undefined);
  assertEquals((await ways.list()).asOf, 9);
});

Deno.test("LogWays.list() asks for its own fleet, and reads no more of what is not proven yet than its bounds", async () => {
  const { ways, answers, asked } = stage();
  answers.push([row("a", "a", { is_unread: true }), row("b", "b", { is_unread: true }), row("id-own", "me")]);
  assertEquals((await ways.list()).unread, 2);
  const [{ sql = "", parameters = [] } = {}] = asked;
  assertEquals(parameters, ["default"]);
  const numbers = [...sql.matchAll(/(?:ways (?:>|<=)|\(ca\) <=|origin,|proof,|LIMIT) (\d+)/g)].map(([said]) =>
    said
  );
  assertEquals(numbers, [
    ...["ways > 101", "ways <= 101", "(ca) <= 32768"],
    ...["origin, 300", "proof, 64", "LIMIT 1001"],
  ]);
});
