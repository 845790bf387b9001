import { LAYOUT } from "../../../store/postgres/schema.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { fleetTest, spreadOf, until } from "./fleet_support.ts";
import { assertCode, rule } from "./support.ts";

fleetTest(
  "a wrong seal key, a missing one, a wrong password and a taken folder stop the start",
  async (stage) => {
    await using _a = await stage.host("host-1");
    const other = `${stage.dir}/other`;
    await Deno.writeTextFile(other, `${"ab".repeat(32)}\n`, { mode: 0o600 });
    await assertCode(stage.host("host-2", { sealKeyFile: other }), "seal.key-wrong");
    await assertCode(stage.host("host-2", { sealKeyFile: `${stage.dir}/none` }), "seal.key-missing");
    await assertCode(stage.host("host-1"), "state.locked");
    await assertCode(stage.host("host-2", { password: () => Promise.resolve("wrong") }), "store.refused");
    await using separate = await stage.host("host-2", { fleet: "other", sealKeyFile: other });
    await separate.createClient("ci-1"); // fleets of one database know nothing of each other
    assertEquals((await separate.fleet?.list())?.length, 1);
  },
);

fleetTest("a store that comes back without a change that is in force is not followed", async (stage) => {
  await using a = await stage.host("host-1", { graceMs: 3_000 });
  await a.createClient("ci-1");
  await a.addRule("ci-1", rule("gone.test"));
  await a.revokeHost("ci-1", "gone.test");
  await stage.server.sql(`BEGIN;
    UPDATE slicer_proxy.fleets SET sequence = 2,
      last_change = (SELECT id FROM slicer_proxy.changes WHERE sequence = 2);
    DELETE FROM slicer_proxy.changes WHERE sequence > 2;
    COMMIT;`);
  await until("it denies", () => a.isLost());
  assertStringIncludes(stage.lines.join("\n"), "the store lacks changes that are in force on this host");
  const error = await assertCode(a.createClient("ci-2"), "store.refused");
  assertStringIncludes(error.message, "the store lacks changes that are in force on this host");
  assertEquals(a.listRules("ci-1"), []);
});

fleetTest("a store that has gone on from another past is not followed", async (stage) => {
  await using a = await stage.host("host-1", { graceMs: 3_000 });
  await a.createClient("ci-1");
  await stage.server.sql(`BEGIN;
    UPDATE slicer_proxy.changes SET id = gen_random_uuid() WHERE sequence = 1;
    INSERT INTO slicer_proxy.changes (fleet, sequence, id, host, mutations)
      VALUES ('default', 2, gen_random_uuid(), 'host-2', '[]');
    UPDATE slicer_proxy.fleets SET sequence = 2,
      last_change = (SELECT id FROM slicer_proxy.changes WHERE sequence = 2);
    COMMIT;`);
  await until("it denies", () => a.isLost());
  assertStringIncludes(stage.lines.join("\n"), "the store lacks changes that are in force on this host");
});

fleetTest("a host's name in the store that is none is not passed on", async (stage) => {
  await using a = await stage.host("host-1");
  await stage.server.sql(`INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms)
    VALUES ('default', gen_random_uuid(), E'\\x1b[2J\r\nx', gen_random_uuid(), '0', 20000)`);
  assertEquals(await spreadOf(() => a.createClient("ci-1")), { live: 2, waitingFor: ["?"] });
  assertEquals((await a.fleet?.list())?.map(({ name }) => name).sort(), ["?", "host-1"]);
});

fleetTest("a rule with a word that this version does not know is not read as a wider one", async (stage) => {
  await using a = await stage.host("host-1", { graceMs: 3_000 });
  await using b = await stage.host("host-2", { graceMs: 3_000 });
  const client = await a.createClient("ci-1");
  await a.addRule("ci-1", { ...rule("a.test"), moon: "full" } as never);
  await until("b denies, since it cannot know", () => b.isLost());
  assertEquals(b.rulesFor(client, "a.test"), []);
  assertStringIncludes(stage.lines.join("\n"), "a newer slicer-proxy wrote it");
  await assertCode(stage.host("host-3"), "state.newer");
  await a.deleteClient("ci-1");
  await until("b goes on", () => !b.isLost() && b.getClient("ci-1") === undefined);
});

fleetTest("an older program does not use tables that a newer one has changed beyond it", async (stage) => {
  await using a = await stage.host("host-1", { graceMs: 2_000 });
  await stage.server.sql(`UPDATE slicer_proxy.layout SET version = ${LAYOUT + 1}`);
  await a.createClient("ci-1"); // side by side
  await stage.server.sql(`UPDATE slicer_proxy.layout SET oldest = ${LAYOUT + 1}`);
  await until("it denies", () => a.isLost());
  await assertCode(stage.host("host-2"), "state.newer");
});

fleetTest(
  "a commit that is not answered in time is told as that, and memory follows what became of it",
  async (stage) => {
    await using a = await stage.host("host-1", { graceMs: 4_000 });
    await stage.server.sql(`
    CREATE FUNCTION slicer_proxy.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON slicer_proxy.changes
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slicer_proxy.late();`);
    const error = await assertCode(a.createClient("ci-1"), "store.away");
    assertStringIncludes(error.message, "Cannot say whether the change was made");
    await until("it is there", () => a.getClient("ci-1") !== undefined);
  },
);

fleetTest("no connection is left for a host: it says so, and goes on when there is one", async (stage) => {
  await using a = await stage.host("host-1");
  await stage.server.sql("ALTER ROLE slicer_proxy CONNECTION LIMIT 2");
  const error = await assertCode(stage.host("host-2"), "store.away");
  assertStringIncludes(`${stage.lines.join("\n")} ${error.message}`, "too many connections for role");
  await stage.server.sql("ALTER ROLE slicer_proxy CONNECTION LIMIT 10");
  await using b = await stage.host("host-2");
  await a.createClient("ci-1");
  assertEquals(b.listClients().length, 1);
});
