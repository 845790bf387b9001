import { assert, assertEquals } from "@std/assert";
import { FleetBody, fleetBody, fleetSumsBody } from "../../../api/schemas_fleet.ts";
import type { FleetReport } from "../../../store/fleet/roster.ts";
import type { State } from "../../../store/state.ts";
import { fleetTest, until } from "./fleet_support.ts";

const BUSY = { connections: 5, tunnels: 3, allowed: 10, denied: 2, passedThrough: 1 };

/** What a host says of its fleet; the list may be a second old. */
async function report(host: State): Promise<FleetReport> {
  assert(host.fleet);
  return await host.fleet.report();
}

fleetTest(
  "the list: figures come with a host's signs of life, and a host that stops is gone at once",
  async (stage) => {
    await using a = await stage.host("host-1", { graceMs: 4_000 });
    const b = await stage.host("host-2", { graceMs: 4_000 });
    assert(a.fleet && b.fleet);
    b.fleet.figures = () => BUSY;
    await until("the figures are there", async () => {
      const { roster } = await report(a);
      return roster.hosts[1]?.figures.tunnels === 3;
    });
    await a.createClient("ci-1");
    await until(
      "both are up to date",
      async () => (await report(a)).roster.hosts.every(({ applied }) => applied === 1),
    );
    const seen = await report(a);
    assertEquals([seen.host, seen.sequence, seen.behind, seen.awaySince], ["host-1", 1, 0, undefined]);
    assertEquals(seen.roster.hosts.map(({ name, state, behind }) => [name, state, behind]), [
      ["host-1", "live", 0],
      ["host-2", "live", 0],
    ]);
    assertEquals(
      FleetBody.parse(fleetBody(seen)).hosts.map(({ is_this: isThis }) => isThis),
      [true, false],
    );
    assertEquals(fleetSumsBody(seen).requests, { allow: 10, deny: 2, passthrough: 1 });
    await b[Symbol.asyncDispose]();
    await until("it is gone", async () => (await report(a)).roster.hosts.length === 1);
  },
);

fleetTest(
  "the list: a host that lacks a change, is silent, or denies says so, and is forgotten in the end",
  async (stage) => {
    await using a = await stage.host("host-1", { graceMs: 2_000 });
    await a.createClient("ci-1");
    const row = (id: string, name: string, fields: Record<string, string>) => {
      const columns = {
        fleet: "'default'",
        id: `'${id}'`,
        name: `'${name}'`,
        instance: `'${id}'`,
        version: "'0'",
        ...fields,
      };
      return stage.server.sql(
        `INSERT INTO slicer_proxy.hosts (${Object.keys(columns)}) VALUES (${Object.values(columns)})`,
      );
    };
    const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
    const HOUR = "'1 hour'::interval";
    await row(id(1), "silent", {
      grace_ms: "86400000",
      applied: "1",
      last_seen: "now() - '1 minute'::interval",
    });
    await row(id(2), "behind", { grace_ms: "86400000", applied: "0" });
    await stage.server.sql("UPDATE slicer_proxy.changes SET at = now() - '9 seconds'::interval");
    await row(id(3), "dead", { grace_ms: "1", is_dead: "true", last_seen: `now() - ${HOUR} * 0.9` });
    await row(id(4), "forgotten", { grace_ms: "1", is_dead: "true", last_seen: `now() - ${HOUR} * 1.1` });
    await until("one is forgotten", async () => (await report(a)).roster.hosts.length === 4);
    const { roster: { hosts } } = await report(a);
    assertEquals(hosts.map(({ name, state }) => [name, state]), [
      ["behind", "late"],
      ["dead", "denies"],
      ["host-1", "live"],
      ["silent", "late"],
    ]);
    const [behind] = hosts;
    assert(behind && behind.behind === 1 && behind.behindMs >= 9_000, JSON.stringify(behind));
  },
);

fleetTest(
  "the list: what is written into the database by somebody else stays within bounds",
  async (stage) => {
    await using a = await stage.host("host-1");
    const figures = JSON.stringify({
      tunnels: 1e300,
      denied: -5,
      allowed: "7",
      connections: null,
      other: [],
    });
    await stage.server.sql(
      `INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms, since, last_seen, applied, figures)
     SELECT 'default', gen_random_uuid(), repeat(chr(27) || '[31m', 5000), gen_random_uuid(), repeat('v', 100000), 'Infinity',
       '-infinity', 'infinity', 9223372036854775807, each::jsonb
     FROM (VALUES ('${figures}'), ('{"x": "${"y".repeat(9_000)}"}'), ('[1]'), ('null')) AS rows (each);`,
    );
    await until("they are listed", async () => (await report(a)).roster.hosts.length === 5);
    const seen = await report(a);
    const body = FleetBody.parse(fleetBody(seen));
    for (const { name, version } of body.hosts) assert(name.length <= 64 && version.length <= 64);
    assertEquals(seen.roster.hosts.map(({ figures }) => figures.tunnels).sort(), [0, 0, 0, 0, 1e12]);
    assert(fleetSumsBody(seen).requests.deny === 0);
  },
);

fleetTest(
  "the list: while the store hangs it is what was last known, and nobody waits for long",
  async (stage) => {
    await using a = await stage.host("host-1", { graceMs: 3_600_000 });
    await until("it is listed", async () => (await report(a)).roster.hosts.length === 1);
    const resume = await stage.server.pause();
    try {
      await until(
        "it is older",
        async () => (await report(a)).roster.readAt !== undefined && (await report(a)).behindMs > 2_500,
      );
      const startedAt = performance.now();
      const seen = await report(a);
      assert(performance.now() - startedAt < 10_000, "it waited for the store");
      assertEquals(
        seen.roster.hosts.map(({ name }) => name),
        ["host-1"],
      );
    } finally {
      resume();
    }
    await until("it goes on", async () => (await report(a)).behindMs < 2_500);
  },
);
