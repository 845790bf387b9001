/** A host whose network to the store is cut: packets vanish, and no connection ends. */
import { assertEquals, assertMatch } from "@std/assert";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { CutNetwork } from "../support/cut_network.ts";
import { FleetHost, hostsOf } from "../support/fleet_host.ts";
import { fleetTest, spreadOf, until } from "../unit/store/fleet_support.ts";
import { rule } from "../unit/store/support.ts";

const KEPT = "127.0.0.1";
const GONE = "127.0.0.2";

/** Changes after this one take a while to be read: time enough for a request before they are in force. */
const slowToRead = (sequence: number) => `
  CREATE POLICY slow ON slicer_proxy.changes
    USING (sequence <= ${sequence} OR pg_sleep(0.5)::text IS NOT NULL) WITH CHECK (true);
  ALTER TABLE slicer_proxy.changes ENABLE ROW LEVEL SECURITY;
  ALTER TABLE slicer_proxy.changes FORCE ROW LEVEL SECURITY;`;

fleetTest(
  "a host whose network is cut: its grace, then store-lost, and it catches up before it allows",
  async ({ server, dir, host }) => {
    // The server and the second host are in the namespace. The first uses the server's socket, which no cut concerns.
    await using network = await CutNetwork.make();
    const { through } = network;
    await server.crash();
    await server.begin(through);
    const socket = `postgres://slicer_proxy@:${server.port}/slicer_proxy?host=${server.dir}`;
    await using a = await host("host-1", { address: parseStoreAddress(socket) });
    const second = new FleetHost(`${dir}/host-2`, { server, grace: "6s", sealKeyFile: `${dir}/mk`, through });
    await using b = await second.up();
    const { token } = await a.createClient("ci-1");
    await a.addRules("ci-1", [KEPT, GONE].map((address) => rule(address, { ports: [1] })));
    const waiting = () => spreadOf(() => a.createClient(`c-${a.listClients().length}`));
    assertEquals(await waiting(), { live: 2, waitingFor: [] });
    /** Why the second host does not answer; nobody listens at the port that it may ask. */
    const ask = async (address: string) => {
      const proxy = `http://proxy:${token}@127.0.0.1:${b.httpPort}`;
      const text = await network.run("curl", "-sS", "-x", proxy, `http://${address}:1/`);
      return /\((\S+)\)$/m.exec(text)?.[1] ?? text;
    };
    assertEquals([await ask(KEPT), await ask(GONE)], ["connect-refused", "connect-refused"]);

    const mend = await network.cut(server.port);
    const startedAt = performance.now();
    const refused = await second.program.run(["client", "create", "never"]);
    if (performance.now() - startedAt > 10_000) throw new Error("a change waited for the network");
    assertEquals([refused.code, hostsOf(refused)], [1, undefined]);
    assertMatch(refused.stderr, /^error: cannot .*\nhint: nothing was changed/);
    assertEquals(await ask(GONE), "connect-refused"); // it goes on
    const known = a.fleet?.status.sequence ?? 0;
    assertEquals(await spreadOf(() => a.revokeHost("ci-1", GONE)), { live: 2, waitingFor: ["host-2"] });
    await b.waitWords(/the store has been away for longer than --store-grace/);
    assertEquals([await ask(KEPT), await ask(GONE)], ["store-lost", "store-lost"]);

    await server.sql(slowToRead(known));
    await mend();
    const answers = new Set(["store-lost"]);
    await until("it is in force again", async () => {
      answers.add(await ask(GONE));
      return await ask(KEPT) === "connect-refused";
    });
    answers.add(await ask(GONE));
    assertEquals([...answers], ["store-lost", "no-rule"]);
    await server.sql(
      "DROP POLICY slow ON slicer_proxy.changes; ALTER TABLE slicer_proxy.changes DISABLE ROW LEVEL SECURITY",
    );
    assertEquals(await waiting(), { live: 2, waitingFor: [] });
    assertEquals(a.getClient("never"), undefined);
  },
  { missing: CutNetwork.whyNot },
);
