/** Where hosts' audit logs are read, as their store has it, and what whoever writes to the store cannot make of it. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { FLEET_LOG_LIMITS } from "../../../core/limits.ts";
import type { LogHost } from "../../../store/fleet/log_ways.ts";
import type { State } from "../../../store/state.ts";
import { fleetTest, until } from "./fleet_support.ts";

const CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

async function hostsSeenBy(state: State): Promise<Record<string, LogHost>> {
  assert(state.fleet);
  const { hosts } = await state.fleet.logWays.list();
  return Object.fromEntries(hosts.map((host) => [host.label, host]));
}

/** Says where a host's log is read. */
function open(state: State, origin: string): void {
  assert(state.fleet);
  state.fleet.logWays.own = () => ({ origin, caPem: CA });
}

async function untilSeen(by: State, label: string, origin: string): Promise<void> {
  await until(`${label} is at ${origin}`, async () => (await hostsSeenBy(by))[label]?.way?.origin === origin);
}

fleetTest(
  "log ways: each host learns where the others are, and its token is for that host alone",
  async (stage) => {
    await using a = await stage.host("host-1");
    await using b = await stage.host("host-2");
    open(b, "https://b.test:1");
    await untilSeen(a, "host-2", "https://b.test:1");
    const seen = await hostsSeenBy(a);
    assertEquals(seen["host-2"]?.way?.caPem, CA);
    assertEquals(seen["host-2"]?.way?.token, b.fleet?.logWays.token());
    assertNotEquals(seen["host-2"]?.way?.token, a.fleet?.logWays.token());
    assertEquals([seen["host-1"]?.isOwn, seen["host-1"]?.way, seen["host-1"]?.whyNot], [
      true,
      undefined,
      undefined,
    ]);
    const { whyNot } = (await hostsSeenBy(b))["host-1"] ?? {};
    assertEquals(whyNot, "its API is not open to other hosts (up --api-bind)");
    open(b, "https://b.test:2");
    await untilSeen(a, "host-2", "https://b.test:2");
    // Neither the tokens nor what they are made with are in the database.
    const rows = await stage.server.sql("SELECT origin, ca, proof FROM slicer_proxy.log_ways");
    assert(rows.includes("https://b.test:2"));
    assertEquals(rows.includes(b.fleet?.logWays.token().slice(4, 24) ?? ""), false);
    assertEquals(stage.lines.filter((line) => line.includes("spf_")), []);
  },
);

fleetTest("log ways: what a host did not write itself is never dialled", async (stage, t) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  await using c = await stage.host("host-3");
  open(b, "https://b.test:1");
  open(c, "https://c.test:1");
  await untilSeen(a, "host-2", "https://b.test:1");
  await untilSeen(a, "host-3", "https://c.test:1");
  const SET = "UPDATE slicer_proxy.log_ways AS w SET";
  const OF_B = "FROM slicer_proxy.hosts h WHERE h.id = w.id AND h.name = 'host-2'";
  const rows: [what: string, sql: string][] = [
    ["another place", `${SET} origin = 'https://evil.test:1' ${OF_B}`],
    ["another CA", `${SET} ca = '${CA}x' ${OF_B}`],
    ["no proof", `${SET} proof = '' ${OF_B}`],
    ["a proof of bytes that are none", `${SET} proof = '\u{1F600}' ${OF_B}`],
    [
      "the way of another host",
      `UPDATE slicer_proxy.log_ways w SET (origin, ca, proof) = (SELECT o.origin, o.ca, o.proof FROM slicer_proxy.log_ways o
         WHERE o.origin = 'https://c.test:1') ${OF_B}`,
    ],
    ["an endless place", `${SET} origin = repeat('x', 100000) ${OF_B}`],
    ["an endless CA", `${SET} ca = repeat('x', 1000000) ${OF_B}`],
  ];
  const before = (await stage.server.sql(
    `SELECT origin || '|' || proof FROM slicer_proxy.log_ways w ${
      OF_B.replace("FROM", "JOIN").replace("WHERE", "ON")
    }`,
  )).trim().split("|");
  for (const [what, sql] of rows) {
    await t.step(what, async () => {
      await stage.server.sql(sql);
      const { way, whyNot = "" } = (await hostsSeenBy(a))["host-2"] ?? {};
      assertEquals([way, whyNot.includes("was not written by a host")], [undefined, true]);
      await stage.server.sql(`${SET} origin = '${before[0]}', proof = '${before[1]}', ca = '${CA}' ${OF_B}`);
      assertEquals((await hostsSeenBy(a))["host-2"]?.way?.origin, "https://b.test:1");
    });
  }
  await t.step("its name for another host's", async () => {
    await stage.server.sql("UPDATE slicer_proxy.hosts SET name = 'host-9' WHERE name = 'host-2'");
    assertEquals((await hostsSeenBy(a))["host-9"]?.way, undefined);
    await stage.server.sql("UPDATE slicer_proxy.hosts SET name = 'host-2' WHERE name = 'host-9'");
  });
  await t.step("what an earlier process of it wrote", async () => {
    await stage.server.sql(`${SET} instance = gen_random_uuid() ${OF_B}`);
    assertEquals((await hostsSeenBy(a))["host-2"]?.way, undefined);
  });
});

fleetTest(
  "log ways: hosts of one name are told apart, and one that stops is gone with its way",
  async (stage) => {
    await using a = await stage.host("host-1");
    const b = await stage.host("b", { hostName: "twin" });
    await using c = await stage.host("c", { hostName: "twin" });
    open(b, "https://b.test:1");
    open(c, "https://c.test:1");
    await until("both are there", async () => {
      const twins = Object.entries(await hostsSeenBy(a)).filter(([label]) =>
        /^twin\/[0-9a-f]{8}$/.test(label)
      );
      return twins.length === 2 && twins.every(([, { way }]) => way !== undefined);
    });
    await b[Symbol.asyncDispose]();
    await untilSeen(a, "twin", "https://c.test:1");
    assertEquals(
      await stage.server.sql("SELECT count(*) FROM slicer_proxy.log_ways").then((n) => n.trim()),
      "1",
    );
  },
);

fleetTest("log ways: no more CAs are read than hosts are asked, and the rest is counted", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  open(b, "https://b.test:1");
  await untilSeen(a, "host-2", "https://b.test:1");
  const addHosts = (from: number, to: number) =>
    stage.server.sql(
      `WITH added AS (
         INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms)
         SELECT fleet, gen_random_uuid(), 'a-' || n, gen_random_uuid(), version, grace_ms
         FROM slicer_proxy.hosts, generate_series(${from}, ${to}) n WHERE name = 'host-2'
         RETURNING fleet, id, instance)
       INSERT INTO slicer_proxy.log_ways (fleet, id, instance, origin, ca, proof)
       SELECT fleet, id, instance, 'https://evil.test:1', repeat('x', 32768), '' FROM added`,
    );
  const { maxHosts } = FLEET_LOG_LIMITS;
  await addHosts(1, maxHosts);
  assertEquals((await hostsSeenBy(a))["host-2"]?.way?.caPem, CA);
  await addHosts(maxHosts + 1, maxHosts + 1);
  const listed = await a.fleet?.logWays.list();
  assertEquals([listed?.unread, listed?.hosts.length], [1, maxHosts + 3]);
  const { way, whyNot } = listed?.hosts.find(({ label }) => label === "host-2") ?? {};
  assertEquals([way, whyNot], [undefined, undefined]);
});

fleetTest("log ways: while the store is away they are as they were", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  open(b, "https://b.test:1");
  await untilSeen(a, "host-2", "https://b.test:1");
  await stage.server.crash();
  await until("the store is away", async () => (await a.fleet?.logWays.list())?.asOf !== undefined);
  assertEquals((await hostsSeenBy(a))["host-2"]?.way?.origin, "https://b.test:1");
});

fleetTest("log ways: the tables of an older program are brought up, and its hosts go on", async (stage) => {
  await using a = await stage.host("host-1");
  await stage.server.sql("DROP TABLE slicer_proxy.log_ways; UPDATE slicer_proxy.layout SET version = 1");
  open(a, "https://a.test:1");
  await until(
    "it says that it cannot tell",
    () => stage.lines.some((line) => line.includes("are not told how")),
  );
  await a.createClient("ci-1"); // which is more
  await using b = await stage.host("host-2");
  await untilSeen(b, "host-1", "https://a.test:1");
  assertEquals(stage.lines.filter((line) => line.includes("are not told how")).length, 1);
  assertEquals(await stage.server.sql("SELECT oldest FROM slicer_proxy.layout").then((n) => n.trim()), "1");
});
