import { assert, assertEquals } from "@std/assert";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { startForwarder } from "../../support/forwarder.ts";
import { PostgresServer } from "../../support/postgres.ts";
import { fleetTest, spreadOf, until } from "./fleet_support.ts";
import { rule } from "./support.ts";

const CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'slicer-proxy host-1'";

fleetTest(
  "after a failover, with the old primary still there, a host watches the server that it changes",
  async (stage) => {
    await using standby = await PostgresServer.standbyOf(stage.server);
    const caPem = await Deno.readTextFile(stage.server.caFile) + await Deno.readTextFile(standby.caFile);
    const addressOf = (port: number) =>
      parseStoreAddress(`postgres://slicer_proxy@localhost:${port}/slicer_proxy`);
    /** Where the name of the store leads, and where its next connections lead, whatever that is. */
    let port = stage.server.port;
    const next: number[] = [];
    await using name = startForwarder(() =>
      Deno.connect({ hostname: "127.0.0.1", port: next.shift() ?? port })
    );
    await using a = await stage.host("host-1", { address: addressOf(name.port), caPem });
    const client = await a.createClient("ci-1");
    const [gone] = await a.addRules("ci-1", [rule("gone.test"), rule("kept.test")]);
    assert(gone);
    await until(
      "the standby has it",
      async () => await standby.sql("SELECT count(*) FROM slicer_proxy.changes") === "2",
    );
    await standby.promote();
    await until("it is one no more", async () => await standby.query("SELECT pg_is_in_recovery()") === "f");
    port = standby.port;
    next.push(stage.server.port);
    await stage.server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'slicer_proxy'",
    );

    await using b = await stage.host("host-2", { address: addressOf(standby.port), caPem });
    await b.revokeHost("ci-1", "gone.test");
    await until("the revocation is in force on both", () => !a.isLive({ client, rule: gone }));
    assertEquals([await stage.server.query(CONNECTIONS), await standby.query(CONNECTIONS)], ["0", "2"]);
    assertEquals(await spreadOf(() => a.createClient("ci-2")), { live: 2, waitingFor: [] });
  },
);

fleetTest(
  "after a failover that lost changes, no host counts that has only changes that were lost",
  async (stage) => {
    await using standby = await PostgresServer.standbyOf(stage.server);
    const caPem = await Deno.readTextFile(stage.server.caFile) + await Deno.readTextFile(standby.caFile);
    const address = parseStoreAddress(
      `postgres://slicer_proxy@localhost:${stage.server.port},localhost:${standby.port}/slicer_proxy`,
    );
    await using a = await stage.host("host-1", { address, caPem });
    await a.createClient("ci-1");
    await until(
      "the standby has it",
      async () => await standby.sql("SELECT applied FROM slicer_proxy.hosts") === "1",
    );
    await standby.query("ALTER SYSTEM SET primary_conninfo = ''");
    await standby.query("SELECT pg_reload_conf()");
    await until(
      "it gets nothing more",
      async () => await stage.server.query("SELECT count(*) FROM pg_stat_replication") === "0",
    );
    await a.createClient("ci-2");
    await a.createClient("ci-3");
    await stage.server.crash();
    await standby.promote();
    await until("host-1 finds it", () => stage.lines.some((line) => line.includes("lacks changes")));

    await using b = await stage.host("host-2", { address, caPem });
    assertEquals(await spreadOf(() => b.deleteClient("ci-1")), { live: 2, waitingFor: ["host-1"] });
    assert(!a.isLost() && a.getClient("ci-1"), "the old policy is in force no more: nothing was shown");
    const applied = await standby.sql("SELECT applied FROM slicer_proxy.hosts WHERE name = 'host-1'");
    assertEquals(applied, "1");
  },
);
