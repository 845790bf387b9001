/** A host that is stopped in the middle of a change, with the fleet's lock. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { FleetHost, hostsOf } from "../support/fleet_host.ts";
import { fleetTest, spreadOf, until } from "../unit/store/fleet_support.ts";

/** A change of host-2 waits in the middle of its transaction, until the gate is open. */
const GATE = `
  CREATE TABLE slicer_proxy.gate AS SELECT 1;
  GRANT SELECT ON slicer_proxy.gate TO slicer_proxy;
  CREATE FUNCTION slicer_proxy.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    WHILE EXISTS (SELECT FROM slicer_proxy.gate) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NULL; END $$;
  CREATE TRIGGER wait AFTER INSERT ON slicer_proxy.changes FOR EACH ROW WHEN (NEW.host = 'host-2')
    EXECUTE FUNCTION slicer_proxy.wait();`;

/** Opens it as soon as somebody waits for a lock. */
const OPEN = `DO $$ BEGIN
  WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP PERFORM pg_sleep(0.01); END LOOP;
  DELETE FROM slicer_proxy.gate; END $$`;

fleetTest(
  "a host that is stopped within a change holds the others for a moment alone, and its change is not made",
  async (stage) => {
    const { server, dir } = stage;
    await using a = await stage.host("host-1");
    const second = new FleetHost(`${dir}/host-2`, { server, grace: "20s", sealKeyFile: `${dir}/mk` });
    await using b = await second.up();
    await server.sql(GATE);
    const isWithin = () => server.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    const refused = second.program.run(["client", "create", "late"]);
    await until("it is within", async () => await isWithin() === "1");
    b.child.kill("SIGSTOP");
    try {
      const startedAt = performance.now();
      // When the other waits for the lock, the first gets its answer and does nothing.
      const [spread] = await Promise.all([spreadOf(() => a.createClient("ci-1")), server.sql(OPEN)]);
      assertEquals(spread, { live: 2, waitingFor: ["host-2"] });
      assert(performance.now() - startedAt < 10_000);
      assert(!stage.lines.some((line) => line.includes("is away")), "it is not the store that is away");
    } finally {
      b.child.kill("SIGCONT");
    }
    const { code, stderr } = await refused;
    assertEquals(code, 1);
    assertMatch(stderr, /^error: .*\nhint: /);
    assertEquals(a.getClient("late"), undefined);
    await b.waitWords(/the store is back/);
    const again = await second.program.run(["client", "create", "late"]);
    assertEquals([again.code, hostsOf(again)], [0, "2 of 2"]);
    assertEquals(a.listClients().map(({ name }) => name).sort(), ["ci-1", "late"]);
    assertEquals(a.fleet?.status.sequence, 2);
  },
);
