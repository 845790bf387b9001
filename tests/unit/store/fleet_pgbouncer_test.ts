import { assertEquals } from "@std/assert";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { freePorts } from "../../support/program.ts";
import { fleetTest, policyOf, spreadOf, until } from "./fleet_support.ts";
import { rule } from "./support.ts";

const PROGRAM = "/usr/sbin/pgbouncer";

fleetTest("a fleet works through pgbouncer in session mode", async (stage, t) => {
  if (!await Deno.stat(PROGRAM).then(() => true, () => false)) {
    return void await t.step({ name: `skipped: there is no ${PROGRAM}`, ignore: true, fn: () => {} });
  }
  const [port] = freePorts();
  const { dir, port: serverPort } = stage.server;
  const settings = `[databases]
slicer_proxy = host=${dir} port=${serverPort} user=slicer_proxy
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${dir}/users
pool_mode = session
`;
  await Deno.writeTextFile(`${dir}/users`, '"slicer_proxy" ""\n');
  await Deno.writeTextFile(`${dir}/pgbouncer.ini`, settings);
  const user = Deno.uid() === 0 ? ["-u", "postgres"] : [];
  const child = new Deno.Command(PROGRAM, {
    args: [...user, `${dir}/pgbouncer.ini`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await until("pgbouncer listens", async () => {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        return true;
      } catch {
        return false;
      }
    });
    const address = parseStoreAddress(
      `postgres://slicer_proxy@127.0.0.1:${port}/slicer_proxy?sslmode=disable`,
    );
    await using a = await stage.host("host-1", { address });
    await using b = await stage.host("host-2"); // straight to the server
    await a.createClient("ci-1");
    for (let i = 0; i < 10; i++) {
      const spread = await spreadOf(() => (i % 2 ? a : b).addRule("ci-1", rule(`h${i}.test`)));
      assertEquals(spread, { live: 2, waitingFor: [] });
    }
    assertEquals(policyOf(b), policyOf(a));
  } finally {
    child.kill("SIGTERM");
    await child.status;
  }
});
