/** Hosts of a fleet as processes, with the real permissions: one policy, what is open on another host, and a store that goes away. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startRawUpstream } from "../support/echo_upstream.ts";
import { postgresMissing, PostgresServer } from "../support/postgres.ts";
import { FleetHost, hostsOf } from "../support/fleet_host.ts";
import { basic, dialRaw, openTunnel } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { until } from "../unit/store/fleet_support.ts";

async function withHosts(
  grace: string,
  run: (stage: { server: PostgresServer; host: (name: string) => FleetHost }) => Promise<void>,
): Promise<void> {
  await using server = await PostgresServer.start();
  const root = await Deno.makeTempDir({ prefix: "slicer-fleet-" });
  try {
    await run({
      server,
      host: (name) => new FleetHost(`${root}/${name}`, { server, grace, sealKeyFile: `${root}/seal.key` }),
    });
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

function fleetTest(name: string, run: () => Promise<void>): void {
  Deno.test(name, async (t) => {
    const missing = await postgresMissing();
    if (missing === undefined) return await run();
    await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  });
}

/** Sends back what it gets. */
function startMirror() {
  return startRawUpstream(async (peer) => {
    for (;;) await peer.send(await peer.readUntil("\n"));
  }, { names: [] });
}

async function echoes(
  tunnel: { send(text: string): Promise<void>; readUntil(mark: string): Promise<string> },
) {
  await tunnel.send("hello\n");
  return await soon("an echo", tunnel.readUntil("\n"));
}

fleetTest(
  "a revocation on one host ends the tunnel on another before its call returns",
  () =>
    withHosts("60s", async ({ host }) => {
      await using mirror = await startMirror();
      const [first, second, third] = [host("host-1"), host("host-2"), host("host-3")];
      await using _a = await first.up();
      await using b = await second.up();
      const target = `localhost:${mirror.port}`;
      const allow = ["one", "--host", "localhost", "--port", String(mirror.port), "--passthrough"];
      const { stdout: token, stderr } = await first.program.run(["client", "create", "one"]);
      assertEquals(hostsOf({ stderr }), "2 of 2");
      await first.program.ok(["allow", ...allow]);
      {
        using tunnel = await openTunnel(b.httpPort, target, token.trim());
        assertEquals(await echoes(tunnel), "hello\n");
        const revoked = await first.program.run(["revoke", ...allow]);
        assertEquals([revoked.code, hostsOf(revoked)], [0, "2 of 2"]);
        await soon("the end of the tunnel", tunnel.isClosed());
      }
      // The third joins, and has what there is.
      await second.program.ok(["allow", ...allow]);
      const c = await third.up();
      {
        using tunnel = await openTunnel(c.httpPort, target, token.trim());
        assertEquals(await echoes(tunnel), "hello\n");
      }
      // Each host says what it does, with its next sign of life.
      await until("the tunnel is told of", async () => {
        const { hosts } = JSON.parse(await first.program.ok(["fleet", "--json"]));
        return hosts[2]?.requests.passthrough === 1 && hosts[1].requests.passthrough === 1;
      });
      const table = (await first.program.ok(["fleet"])).split("\n").map((line) =>
        line.split(/ {3,}/).slice(0, 3)
      );
      assertEquals(table, [
        ["HOST", "STATE", "POLICY"],
        ["host-1 (this)", "live", "4"],
        ["host-2", "live", "4"],
        ["host-3", "live", "4"],
      ]);
      const status = await first.program.ok(["status"]);
      assertMatch(status, /^fleet +default, this is host-1; 3 live$/m);
      assertMatch(status, /^all its hosts +.*, 2 passed through$/m);
      assertEquals(JSON.parse(await first.program.ok(["status", "--json"])).requests.passthrough, 0);
      // A host that dies is waited for, by name; one that comes back with its folder is whole again at once.
      await c.end("SIGKILL");
      const late = await first.program.run(["client", "create", "two"]);
      assertEquals([late.code, hostsOf(late)], [0, "2 of 3, waiting for host-3"]);
      {
        await using _c = await third.up();
        assertStringIncludes(await third.program.ok(["client", "list"]), "two");
        assertEquals(hostsOf(await first.program.run(["client", "create", "three"])), "3 of 3");
      }
      // One that is stopped says goodbye.
      assertEquals(hostsOf(await first.program.run(["client", "create", "four"])), "2 of 2");
    }),
);

fleetTest(
  "a host that was stopped for longer than its grace decides nothing by what it knew",
  () =>
    withHosts("3s", async ({ host }) => {
      await using mirror = await startMirror();
      const [first, second] = [host("host-1"), host("host-2")];
      await using _a = await first.up();
      await using b = await second.up();
      const target = `localhost:${mirror.port}`;
      const allow = ["one", "--host", "localhost", "--port", String(mirror.port), "--passthrough"];
      const token = await first.program.ok(["client", "create", "one"]);
      await first.program.ok(["allow", ...allow]);
      using tunnel = await openTunnel(b.httpPort, target, token);
      assertEquals(await echoes(tunnel), "hello\n");
      b.child.kill("SIGSTOP");
      try {
        const revoked = await first.program.run(["revoke", ...allow]);
        assertEquals(hostsOf(revoked), "1 of 2, waiting for host-2");
        const endAt = performance.now() + 60_000;
        for (let i = 0; hostsOf(await first.program.run(["client", "create", `c-${i}`])) !== "1 of 1"; i++) {
          if (performance.now() > endAt) throw new Error("host-2 is still waited for");
        }
        // The first thing that it finds when it goes on.
        using peer = await dialRaw(b.httpPort);
        await peer.send(
          `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
        );
        b.child.kill("SIGCONT");
        const { status, head } = await soon("an answer", peer.readResponse());
        assert([403, 503].includes(status), head);
        await soon("the end of the tunnel", tunnel.isClosed());
      } finally {
        b.child.kill("SIGCONT");
      }
      await b.waitWords(/the policy is in force again/);
      assertEquals(hostsOf(await first.program.run(["client", "create", "after"])), "2 of 2");
      assertStringIncludes(await second.program.ok(["client", "list"]), "after");
    }),
);

fleetTest(
  "a store that stays away: the same policy for the grace, then store-lost, and back",
  () =>
    withHosts("4s", async ({ server, host }) => {
      await using mirror = await startMirror();
      const only = host("host-1");
      await using a = await only.up();
      const target = `localhost:${mirror.port}`;
      const token = await only.program.ok(["client", "create", "one"]);
      await only.program.ok([
        "allow",
        "one",
        "--host",
        "localhost",
        "--port",
        String(mirror.port),
        "--passthrough",
      ]);
      using tunnel = await openTunnel(a.httpPort, target, token);
      assertEquals(await echoes(tunnel), "hello\n");
      await server.crash();
      await a.waitWords(/the store is away/);
      assertEquals(await echoes(tunnel), "hello\n");
      const refused = await only.program.run(["client", "create", "two"]);
      assertEquals(refused.code, 1);
      assertMatch(
        refused.stderr,
        /^error: cannot change anything: the store at localhost:\d+ is away for \d+ s\nhint: /,
      );
      await a.waitWords(/the store has been away for longer than --store-grace/);
      await soon("the end of the tunnel", tunnel.isClosed());
      using peer = await dialRaw(a.httpPort);
      await peer.send(
        `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
      );
      const denied = await soon("an answer", peer.readResponse());
      assertEquals(denied.status, 503);
      assertMatch(denied.head, /X-Slicer-Proxy-Reason: store-lost/);
      const explained = await only.program.run(["explain", "one", "GET", `https://${target}/`]);
      assertMatch(explained.stdout + explained.stderr, /not heard from the fleet's store/);
      await server.begin();
      await a.waitWords(/the policy is in force again/);
      using again = await openTunnel(a.httpPort, target, token);
      assertEquals(await echoes(again), "hello\n");
      assert(!(await only.program.ok(["client", "list"])).includes("two"));
    }),
);

fleetTest(
  "a host that is started while the store is away goes on from its copy",
  () =>
    withHosts("60s", async ({ server, host }) => {
      const only = host("host-1");
      const file = `${only.program.dir}/policy.json`;
      const policyOf = (host: string) =>
        Deno.writeTextFile(file, JSON.stringify({ version: 1, clients: { two: { allow: [{ host }] } } }));
      await policyOf("before.test");
      {
        await using a = await only.up(["--policy", file]);
        await only.program.ok(["client", "create", "one"]);
        const copyFile = `${only.program.dir}/.slicer/proxy/fleet-copy`;
        const endAt = performance.now() + 60_000;
        while (!await Deno.stat(copyFile).then(() => true, () => false)) {
          if (performance.now() > endAt) throw new Error("no copy is written");
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        await server.crash();
        await a.end("SIGKILL");
      }
      await policyOf("after.test");
      await using again = await only.up(["--policy", file]);
      assertMatch(again.stderr.text, /the policy of before is in force until the store takes this one/);
      assertStringIncludes(await only.program.ok(["client", "list"]), "one");
      assertStringIncludes(await only.program.ok(["rules", "two"]), "before.test");
      await server.begin();
      await again.waitWords(/policy\.json is in force now/);
      assertStringIncludes(await only.program.ok(["rules", "two"]), "after.test");
    }),
);
