import { assert, assertEquals } from "@std/assert";
import { Hosts } from "../../../store/fleet/hosts.ts";
import { RosterReader } from "../../../store/fleet/roster.ts";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { type Position, PostgresDatabase } from "../../../store/postgres/database.ts";
import { type FleetStage, fleetTest } from "./fleet_support.ts";

const GRACE_MS = 60_000;
/** Longer than a host's grace and the margin, after which a silence is certain. */
const LONG_MS = GRACE_MS + 10_000;

/** The store, and what this host has read from it: rows of answers. */
async function openStore({ server }: FleetStage) {
  const db = await PostgresDatabase.open({
    address: parseStoreAddress(server.url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(server.caFile),
    timeoutMs: 20_000,
    name: "slicer-proxy test",
    fleet: "default",
    host: "host-1",
    now: Date.now,
  });
  if (db.sealCheck === undefined) await db.initialise(new Uint8Array([1]), "id");
  const read = { rows: 0 };
  const query = db.link.query.bind(db.link);
  db.link.query = async (...asked) => {
    const answer = await query(...asked);
    read.rows += answer.length;
    return answer;
  };
  return { db, read };
}

/** Makes a change: the first one there is. */
function changeOn(db: PostgresDatabase): Promise<Position> {
  return db.inTurn(({ commit }) => commit([]));
}

/** Puts hosts into the store that never say anything again. */
async function addSilent({ server }: FleetStage, count: number): Promise<void> {
  await server.sql(`INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms)
    SELECT 'default', gen_random_uuid(), 'silent-' || i, gen_random_uuid(), '0', ${GRACE_MS} FROM generate_series(1, ${count}) AS i`);
}

function ownHost() {
  return {
    id: crypto.randomUUID(),
    instance: crypto.randomUUID(),
    name: "host-1",
    version: "test",
    graceMs: GRACE_MS,
  };
}

fleetTest("Hosts.look() reads a few rows however many hosts there are", async (stage) => {
  const { db, read } = await openStore(stage);
  await using _ = db;
  const hosts = new Hosts(ownHost(), () => db, () => 0);
  await hosts.sayHello();
  await addSilent(stage, 500);
  read.rows = 0;
  await hosts.look();
  assert(read.rows <= 10, `one look read ${read.rows} rows`);
  read.rows = 0;
  const { live, names } = await hosts.waitingFor(1, false);
  assert(names.length > 0 && read.rows <= 150, `one look of a call that waits read ${read.rows} rows`);
  assertEquals(live, 501);
  assertEquals((await hosts.waitingFor(1)).names.length, 501); // its own name too: it has not said that it has it
});

fleetTest("Hosts.look() finds every host that died, neighbours one after the other", async (stage) => {
  const { db } = await openStore(stage);
  await using _ = db;
  let nowMs = 0;
  const hosts = new Hosts(ownHost(), () => db, () => nowMs);
  await hosts.sayHello();
  await hosts.sayApplied(await changeOn(db));
  await addSilent(stage, 20);
  const lives =
    async () => (await stage.server.sql("SELECT count(*) FROM slicer_proxy.hosts WHERE NOT is_dead"));
  const seen: string[] = [];
  for (let i = 0; i < 4; i++) {
    await hosts.look();
    nowMs += LONG_MS - 20_000;
    await hosts.look();
    seen.push(await lives()); // not for its whole grace
    nowMs += 20_000;
    await hosts.look();
    seen.push(await lives());
  }
  assertEquals(seen, ["21", "13", "13", "5", "5", "1", "1", "1"]);
  assertEquals(await hosts.waitingFor(1), { live: 1, names: [] });
});

fleetTest("Hosts.waitingFor() never says nobody where it has not looked at all", async (stage) => {
  const { db } = await openStore(stage);
  await using _ = db;
  let nowMs = 0;
  const hosts = new Hosts(ownHost(), () => db, () => nowMs);
  await hosts.sayHello();
  await hosts.sayApplied(await changeOn(db));
  await addSilent(stage, 250);
  await hosts.waitingFor(1, false);
  nowMs += LONG_MS;
  const { live, names } = await hosts.waitingFor(1, false);
  assertEquals(live, 151); // those that were read have been marked
  assert(names.length > 0, "150 hosts may still act on what was, and a call was told that none does");
});

fleetTest("Hosts: a silence counts on one connection only", async (stage) => {
  const first = await openStore(stage);
  const second = await openStore(stage);
  await using _ = first.db;
  await using __ = second.db;
  let nowMs = 0;
  let db = first.db;
  const hosts = new Hosts(ownHost(), () => db, () => nowMs);
  await hosts.sayHello();
  await hosts.sayApplied(await changeOn(db));
  await addSilent(stage, 1);
  await hosts.look();
  // A server that was restored from a backup counts its beats again: the same number is no silence.
  db = second.db;
  nowMs += LONG_MS;
  assertEquals(await hosts.waitingFor(1), { live: 2, names: ["silent-1"] });
  nowMs += LONG_MS;
  assertEquals(await hosts.waitingFor(1), { live: 1, names: [] });
});

fleetTest(
  "Hosts.sayApplied() is not taken by a server that lacks the change, or has another in its place",
  async (stage) => {
    const { db } = await openStore(stage);
    await using _ = db;
    const hosts = new Hosts(ownHost(), () => db, () => 0);
    await hosts.sayHello();
    const lost = { sequence: 1, changeId: crypto.randomUUID() };
    await hosts.sayApplied(lost);
    const made = await changeOn(db);
    assertEquals(await hosts.waitingFor(1), { live: 1, names: ["host-1"] });
    await hosts.sayApplied(lost);
    assertEquals(await hosts.waitingFor(1), { live: 1, names: ["host-1"] });
    await hosts.sayApplied(made);
    assertEquals(await hosts.waitingFor(1), { live: 1, names: [] });
  },
);

Deno.test("RosterReader reads many hosts less often: what all hosts read grows as their number", async () => {
  const host = {
    ...{ id: "1", name: "a", version: "0", since: 0, lastSeen: 0, state: "live" as const },
    ...{ applied: 0, behind: 0, behindMs: 0 },
    figures: { connections: 0, tunnels: 0, allowed: 0, denied: 0, passedThrough: 0 },
  };
  const readsIn = async (hosts: number, seconds: number) => {
    let reads = 0;
    let nowMs = 0;
    const list = { sequence: 1, hosts: Array.from({ length: hosts }, () => host), isCut: false };
    const reader = new RosterReader(() => (reads++, Promise.resolve(list)), {
      now: () => nowMs,
      monotonic: () => nowMs,
    });
    for (; nowMs < seconds * 1_000; nowMs += 250) await reader.get();
    return reads;
  };
  assertEquals([await readsIn(20, 60), await readsIn(1_000, 60)], [60, 3]);
});

fleetTest(
  "Hosts.look() gives a host with a long grace the time by which its clock may be slow",
  async (stage) => {
    const { db } = await openStore(stage);
    await using _ = db;
    let nowMs = 0;
    const hosts = new Hosts(ownHost(), () => db, () => nowMs);
    await hosts.sayHello();
    const dayMs = 86_400_000;
    await stage.server.sql(`INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms)
    VALUES ('default', gen_random_uuid(), 'slow', gen_random_uuid(), '0', ${dayMs})`);
    const liveAt = async (ms: number) => {
      nowMs = ms;
      await hosts.look();
      return (await hosts.waitingFor(1)).live;
    };
    assertEquals(await liveAt(0), 2);
    assertEquals(await liveAt(dayMs + 100_000), 2);
    assertEquals(await liveAt(dayMs * 1.002 + 5_001), 1);
  },
);
