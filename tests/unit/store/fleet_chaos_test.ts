import { assert, assertEquals } from "@std/assert";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import type { State } from "../../../store/state.ts";
import { PostgresServer } from "../../support/postgres.ts";
import { fleetTest, policyOf, spreadOf, until } from "./fleet_support.ts";
import { rule } from "./support.ts";

/** How often the server is killed; `deno task fleet:soak` has more. */
const KILLS = Number(Deno.env.get("FLEET_KILLS") ?? 3);

/** True when a host would let a request by the rule of that host name. */
function isInForce(state: State, host: string): boolean {
  const client = state.getClient("ci-1");
  return client !== undefined && state.rulesFor(client, host).length > 0;
}

fleetTest("a standby that is promoted is found, with all that was acknowledged", async (stage) => {
  await using standby = await PostgresServer.standbyOf(stage.server);
  // The primary answers when the standby has it: without that, a promotion loses what was on its way.
  await stage.server.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
  await stage.server.query("SELECT pg_reload_conf()");
  const caPem = await Deno.readTextFile(stage.server.caFile) + await Deno.readTextFile(standby.caFile);
  const hosts = `localhost:${standby.port},localhost:${stage.server.port}`; // the standby is passed over
  const address = parseStoreAddress(`postgres://slicer_proxy@${hosts}/slicer_proxy`);
  await using a = await stage.host("host-1", { address, caPem });
  await using b = await stage.host("host-2", { address, caPem });
  for (let i = 0; i < 20; i++) await (i % 2 ? a : b).createClient(`ci-${i}`);
  await stage.server.crash();
  await standby.promote();
  await until("both are back", () => [a, b].every((each) => each.fleet?.status.awaySince === undefined));
  await standby.query("ALTER SYSTEM RESET synchronous_standby_names");
  await standby.query("SELECT pg_reload_conf()");
  let made = false;
  await until("a change is taken", async () => {
    made ||= await a.createClient("after").then(() => true, () => false);
    return made;
  });
  assertEquals(a.listClients().length, 21);
  await until("b has it", () => b.listClients().length === 21);
  assertEquals(policyOf(b), policyOf(a));
});

fleetTest(
  "changes from all hosts while the server is killed and hosts come and go: one policy, nothing acknowledged is lost",
  async (stage) => {
    const names = ["host-1", "host-2", "host-3"];
    const hosts = new Map<string, State>();
    for (const name of names) hosts.set(name, await stage.host(name));
    const acknowledged = new Set<string>();
    const revoked = new Set<string>();
    /** Revocations that were in force on all hosts when their calls returned, and those that were not, in truth. */
    let everywhere = 0;
    const broken: string[] = [];
    let isOver = false;
    try {
      await hosts.get("host-1")?.createClient("ci-1");
      const change = async (name: string) => {
        for (let i = 0; !isOver; i++) {
          const state = hosts.get(name);
          const host = `${name}-${i}.test`;
          const wasAdded = await state?.addRule("ci-1", rule(host)).then(() => true, () => false);
          if (wasAdded) acknowledged.add(host);
          if (wasAdded && i % 3 === 0) {
            let wasRevoked = false;
            const spread = await spreadOf(async () => {
              wasRevoked = await state?.revokeHost("ci-1", host).then(() => true, () => false) ?? false;
            });
            if (spread && !spread.isUnknown && spread.waitingFor.length === 0) {
              everywhere++;
              for (const each of hosts.values()) if (isInForce(each, host)) broken.push(host);
            }
            // When that failed, nobody knows.
            acknowledged.delete(host);
            if (wasRevoked) revoked.add(host);
          }
          await new Promise((resolve) => setTimeout(resolve, wasAdded ? 5 : 100));
        }
      };
      const changing = names.map(change);
      for (let i = 0; i < KILLS; i++) {
        const before = acknowledged.size;
        await until("changes are made", () => acknowledged.size > before + 5, 60_000);
        await stage.server.crash();
        const leaving = i % 2 === 1 ? hosts.get("host-3") : undefined;
        if (leaving) hosts.delete("host-3"); // it decides nothing any more
        await leaving?.[Symbol.asyncDispose]();
        await stage.server.begin();
        if (leaving) hosts.set("host-3", await stage.host("host-3"));
      }
      isOver = true;
      await Promise.all(changing);
      const [first, ...others] = hosts.values();
      assert(first);
      await until("all have the last change", async () => {
        const list = await first.fleet?.list().catch(() => []) ?? [];
        return list.length === 3 && new Set(list.map(({ applied }) => applied)).size === 1;
      });
      for (const other of others) assertEquals(policyOf(other), policyOf(first));
      const present = new Set(first.listRules("ci-1").map(({ host }) => host));
      assertEquals([...acknowledged].filter((host) => !present.has(host)), []);
      assertEquals([...revoked].filter((host) => present.has(host)), []);
      assert(everywhere > 0);
      assertEquals(broken, []);
    } finally {
      isOver = true;
      for (const state of hosts.values()) await state[Symbol.asyncDispose]();
    }
  },
);
