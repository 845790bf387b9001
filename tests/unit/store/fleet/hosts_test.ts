import { assertEquals, assertStringIncludes } from "@std/assert";
import { NO_FIGURES } from "../../../../store/fleet/host_figures.ts";
import { Hosts, type OwnHost } from "../../../../store/fleet/hosts.ts";
import type { Answer } from "../../../../store/postgres/link.ts";
import { answeringStore } from "./answers.ts";

const OWN: OwnHost = { id: "m", instance: "own", name: "me", version: "1", graceMs: 60_000 };
const GRACE_MS = 60_000;
/** Its grace by the slowest clock, and the margin. */
const DENIES_AFTER_MS = GRACE_MS * 1.002 + 5_000;
const MARKED = [{ "?column?": 1 }];

function other(name: string, more: Answer = {}): Answer {
  return { live: 3, id: name, name, instance: `${name}-1`, grace_ms: GRACE_MS, beats: 1, ...more };
}

/** Hosts on a store that answers in turn, at a time that is set by hand. */
function stage() {
  const store = answeringStore();
  const time = { ms: 0 };
  const hosts = new Hosts(OWN, () => store.db, () => time.ms);
  return { ...store, time, hosts };
}

Deno.test("Hosts: a beat says whether this process is still the host's", async () => {
  const { hosts, answers, asked } = stage();
  answers.push([{}], [], [{}], []);
  assertEquals([await hosts.beat(NO_FIGURES), await hosts.beat(NO_FIGURES)], [true, false]);
  assertEquals([await hosts.isTaken(), await hosts.isTaken()], [true, false]);
  assertEquals(asked[0]?.parameters, ["default", "m", "own", JSON.stringify(NO_FIGURES)]);
  assertEquals(asked[2]?.parameters, ["default", "m"]);
});

Deno.test("Hosts: what is said to the store is of this process", async () => {
  const { hosts, asked } = stage();
  await hosts.sayHello();
  await hosts.sayApplied({ sequence: 4, changeId: "c" });
  await hosts.sayApplied({ sequence: 0, changeId: undefined });
  await hosts.sayGoodbye();
  assertEquals(asked.map(({ parameters }) => parameters), [
    ["default", "m", "me", "own", "1", "60000"],
    ["default", "m", "own", "4", "c"],
    ["default", "m", "own", "0", null],
    ["default", "m", "own"],
  ]);
});

Deno.test("Hosts.waitingFor() names who lacks a change, and counts who lives", async () => {
  const { hosts, answers, asked } = stage();
  answers.push([other("a"), other("b\n")], [{ live: 5, id: null }]);
  assertEquals(await hosts.waitingFor(9), { live: 3, names: ["a", "?"] });
  assertEquals(await hosts.waitingFor(9, false), { live: 5, names: [] });
  assertEquals(asked.map(({ parameters }) => parameters), [["default", "9", "10000"], [
    "default",
    "9",
    "100",
  ]]);
});

Deno.test("Hosts.waitingFor() waits for no host that has been silent for its grace and a margin", async () => {
  const { hosts, answers, asked, time } = stage();
  const own = other("me", { instance: "own" });
  answers.push([other("a"), own]);
  await hosts.waitingFor(9);
  time.ms = DENIES_AFTER_MS - 1;
  answers.push([other("a"), own]);
  assertEquals((await hosts.waitingFor(9)).names, ["a", "me"]);
  time.ms = DENIES_AFTER_MS;
  answers.push([other("a"), own], MARKED);
  assertEquals(await hosts.waitingFor(9), { live: 2, names: ["me"] }, "never itself");
  assertEquals(asked.at(-1)?.parameters, ["default", "a", "a-1", "1"]);
  answers.push([other("a")], []);
  assertEquals(await hosts.waitingFor(9), { live: 3, names: ["a"] }, "it has just told that it lives");
});

Deno.test("Hosts.waitingFor() counts a silence from the last beat of one process, on one connection", async () => {
  const { hosts, answers, time } = stage();
  const names = async (row: Answer) => {
    answers.push([row]);
    return (await hosts.waitingFor(9)).names;
  };
  await names(other("a"));
  time.ms = DENIES_AFTER_MS - 1;
  await names(other("a", { beats: 2 }));
  time.ms += DENIES_AFTER_MS - 1;
  assertEquals(await names(other("a", { beats: 2 })), ["a"]);
  time.ms += 1;
  assertEquals(await names(other("a", { instance: "a-2", beats: 2 })), ["a"], "another process of it");
  const again = answeringStore([[other("a", { instance: "a-2", beats: 2 })]]);
  time.ms += DENIES_AFTER_MS;
  let db = again.db;
  const moved = new Hosts(OWN, () => db, () => time.ms);
  await moved.waitingFor(9);
  time.ms += DENIES_AFTER_MS;
  const other2 = answeringStore([[other("a", { instance: "a-2", beats: 2 })]]);
  db = other2.db; // another server may count again
  assertEquals((await moved.waitingFor(9)).names, ["a"]);
  assertEquals(other2.asked.length, 1);
});

Deno.test("Hosts.waitingFor() looks again when all that it read have just been marked", async () => {
  const { hosts, answers, time } = stage();
  const many = Array.from({ length: 100 }, (_, i) => other(`h${i}`));
  answers.push(many);
  await hosts.waitingFor(9, false);
  time.ms = DENIES_AFTER_MS;
  answers.push(many, ...many.map(() => MARKED), [other("later")]);
  assertEquals((await hosts.waitingFor(9, false)).names, ["later"]);
  answers.push(many.slice(1), ...many.slice(1).map(() => MARKED), [other("never")]);
  assertEquals(await hosts.waitingFor(9, false), { live: 3 - 99, names: [] }, "there were no more");
  answers.length = 0;
  answers.push([]);
  assertEquals((await hosts.waitingFor(9, false)).names, []);
});

Deno.test("Hosts.look() keeps when a host was seen for as long as it is watched", async () => {
  const { hosts, answers, time, asked } = stage();
  const look = async (...rows: Answer[]) => {
    const from = asked.length;
    answers.push(rows);
    await hosts.look();
    return asked.slice(from + 1).map(({ parameters }) => parameters);
  };
  await look(other("a"), other("b"));
  time.ms = DENIES_AFTER_MS - 1;
  await look(other("a"));
  time.ms += 1;
  assertEquals(await look(other("a"), other("b")), [["default", "a", "a-1", "1"], ["default", "m", "m"]]);
});

Deno.test("Hosts.look() forgets the long dead up to the last that it watches, and all where it watches all", async () => {
  const { hosts, answers, asked } = stage();
  const look = async (ids: readonly string[]) => {
    answers.push(ids.map((id) => other(id)));
    await hosts.look();
    assertEquals(asked.at(-2)?.parameters, ["default", "m"]);
    const { sql, parameters } = asked.at(-1) ?? { sql: "", parameters: [] };
    assertStringIncludes(sql, "DELETE FROM slicer_proxy.hosts");
    return [parameters.at(-1), sql.includes("id > $2 AND id <= $3")];
  };
  assertEquals(await look(["n", "o", "p", "q", "r", "s", "t", "u"]), ["u", true]);
  assertEquals(await look(["n", "o", "p", "q", "r", "s", "t", "b"]), ["b", false]);
  assertEquals(await look(["n", "o", "p", "q", "r", "s", "t"]), ["m", false]);
  assertEquals(await look([]), ["m", false]);
});
