/** The audit logs of three hosts as one, with the real program over the network, and hosts that do not answer as they should. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Collected, type Daemon, freePorts } from "../support/program.ts";
import { FleetHost } from "../support/fleet_host.ts";
import { postgresMissing, PostgresServer } from "../support/postgres.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";

interface RunningHost {
  readonly name: string;
  readonly host: FleetHost;
  readonly apiPort: number;
  daemon: Daemon;
}

/** Three hosts, their API on all addresses and told to the others as `127.0.0.1`. */
class Stage implements AsyncDisposable {
  readonly hosts: RunningHost[] = [];
  token = "";

  private constructor(readonly dir: string, readonly server: PostgresServer) {}

  static async start(): Promise<Stage> {
    const dir = await Deno.makeTempDir({ prefix: "slicer-fleet-logs-" });
    const stage = new Stage(dir, await PostgresServer.start());
    try {
      for (const name of ["host-1", "host-2", "host-3"]) {
        const [apiPort] = freePorts();
        const host = new FleetHost(`${dir}/${name}`, {
          server: stage.server,
          grace: "4s",
          sealKeyFile: `${dir}/mk`,
        });
        stage.hosts.push({ name, host, apiPort, daemon: await stage.up(host, apiPort) });
      }
      stage.token = await stage.at(0).host.program.ok(["client", "create", "ci-1"]);
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  up(host: FleetHost, apiPort: number): Promise<Daemon> {
    return host.up(["--api-bind", `0.0.0.0:${apiPort}`, "--api-advertise", "127.0.0.1"]);
  }

  at(index: number): RunningHost {
    const host = this.hosts[index];
    if (!host) throw new Error("there is no such host");
    return host;
  }

  /** `logs --fleet` on the first host: `host/path` of records, and stderr. */
  async logs(...args: readonly string[]): Promise<{ readonly paths: string[]; readonly stderr: string }> {
    const { code, stdout, stderr } = await this.at(0).host.program.run(["logs", "--fleet", ...args]);
    assertEquals(code, 0, stderr);
    return { paths: pathsIn(stdout), stderr };
  }

  /** Waits until the first host knows how to read the logs of so many others. */
  async untilAnswered(): Promise<void> {
    const endAt = performance.now() + 30_000;
    for (;;) {
      const { stderr } = await this.logs("--limit", "1");
      if (stderr === "") return;
      if (performance.now() > endAt) throw new Error(`not in time: ${stderr}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.hosts.map(({ daemon }) => daemon.end("SIGTERM")));
    await this.server[Symbol.asyncDispose]();
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** One request that is denied; waits until it is logged. */
async function request({ daemon }: RunningHost, token: string, path: string, host = "a.test"): Promise<void> {
  using peer = await dialRaw(daemon.httpPort);
  await peer.send(
    `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
  );
  await peer.readResponse();
  await daemon.waitLine(new RegExp(` path=${path} `));
}

function pathsIn(text: string): string[] {
  return [...text.matchAll(/^\S+ (host-\d) deny .* path=(\S+) /gm)].map(([, host, path]) => `${host}${path}`);
}

async function fleetTest(t: Deno.TestContext, run: (stage: Stage) => Promise<void>): Promise<void> {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using stage = await Stage.start();
  await run(stage);
}

Deno.test("logs --fleet: the records of all hosts by time, filters, -f, and hosts that come and go", (t) =>
  fleetTest(t, async (stage) => {
    const [one, two, three] = [stage.at(0), stage.at(1), stage.at(2)];
    await stage.untilAnswered();
    for (const [host, path] of [[two, "/a"], [one, "/b"], [three, "/c"], [two, "/d"], [one, "/e"]] as const) {
      await request(host, stage.token, path);
    }
    await request(three, "wrong", "/nobody");
    await request(two, stage.token, "/other", "b.test");
    const all = ["host-2/a", "host-1/b", "host-3/c", "host-2/d", "host-1/e", "host-3/nobody", "host-2/other"];
    assertEquals(await stage.logs(), { paths: all, stderr: "" });
    assertEquals((await stage.logs("--limit", "3")).paths, all.slice(-3));
    assertEquals((await stage.logs("--client", "-")).paths, ["host-3/nobody"]);
    assertEquals((await stage.logs("--host", "b.test", "--since", "1h", "--denied")).paths, ["host-2/other"]);
    assertEquals((await stage.logs("--proxy-port", String(three.daemon.httpPort))).paths, [
      "host-3/c",
      "host-3/nobody",
    ]);
    const lines = (await one.host.program.ok(["logs", "--fleet", "--json"])).split("\n").map((line) =>
      JSON.parse(line)
    );
    assertEquals(lines.map(({ fleet_host: host, path }) => `${host}${path}`), all);

    const child = one.host.program.spawn(["logs", "-f", "--fleet", "--limit", "2"]);
    const shown = new Collected(child.stdout);
    const said = new Collected(child.stderr);
    await shown.wait(/\/other /, 30_000);
    for (const [host, path] of [[three, "/f"], [two, "/g"], [one, "/h"]] as const) {
      await request(host, stage.token, path);
    }
    await shown.wait(/\/h /, 30_000);
    await two.daemon.end("SIGKILL");
    await said.wait(/host-2 is missing from here on: /, 30_000);
    await request(three, stage.token, "/i");
    await shown.wait(/\/i /, 30_000);
    two.daemon = await stage.up(two.host, two.apiPort);
    await request(two, stage.token, "/j"); // before it is asked again, or after: it comes once
    await said.wait(/host-2 answers: its records are shown from here on/, 60_000);
    await shown.wait(/\/j /, 30_000);
    child.kill("SIGINT");
    await child.stdin.close();
    assertEquals((await child.status).code, 0);
    await Promise.all([shown.ended, said.ended]);
    assertEquals(
      pathsIn(shown.text),
      [...all.slice(-2), ..."fghij"].map((path) =>
        path.length > 1
          ? path
          : `${{ f: "host-3", g: "host-2", h: "host-1", i: "host-3", j: "host-2" }[path]}/${path}`
      ),
    );
  }));

Deno.test("logs --fleet: hosts that are down, hang or are forged are named, and the token opens no more", (t) =>
  fleetTest(t, async (stage) => {
    const [one, two, three] = [stage.at(0), stage.at(1), stage.at(2)];
    await stage.untilAnswered();
    for (const host of stage.hosts) await request(host, stage.token, `/${host.name}`);
    const SET = "UPDATE slicer_proxy.log_ways w SET";
    const OF_TWO = "FROM slicer_proxy.hosts h WHERE h.id = w.id AND h.name = 'host-2'";

    await t.step("a host that is stopped in the middle of everything", async () => {
      three.daemon.child.kill("SIGSTOP");
      const { paths, stderr } = await stage.logs();
      three.daemon.child.kill("SIGCONT");
      assertEquals(paths, ["host-1/host-1", "host-2/host-2"]);
      assertMatch(stderr, /host-3 is missing from here on: no answer within 5 s/);
    });
    await t.step("another place in the database, whoever listens there gets nothing", async () => {
      using trap = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      let dials = 0;
      const waiting = trap.accept().then((conn) => (dials++, conn.close()), () => {});
      await stage.server.sql(`${SET} origin = 'https://127.0.0.1:${trap.addr.port}' ${OF_TWO}`);
      const { paths, stderr } = await stage.logs();
      trap.close();
      await waiting;
      assertEquals([paths, dials], [["host-1/host-1", "host-3/host-3"], 0]);
      assertMatch(
        stderr,
        /host-2 is missing from here on: where the store says .* was not written by a host/,
      );
    });
    await t.step("a host with a loopback API says so, one that is down is named", async () => {
      await two.daemon.end("SIGKILL");
      two.daemon = await two.host.up();
      await three.daemon.end("SIGKILL");
      const { paths, stderr } = await stage.logs("--limit", "1");
      assertEquals(paths, ["host-1/host-1"]);
      assertMatch(
        stderr,
        /host-2 is missing from here on: its API is not open to other hosts \(up --api-bind\)/,
      );
      assertMatch(stderr, /host-3 is missing from here on: connection refused/);
    });
    await t.step("flags that could do nothing are refused, and a host alone has no fleet", async () => {
      const alone = await one.host.program.run([
        "up",
        "--api-bind",
        "0.0.0.0:9",
        "--api-advertise",
        "a.test",
      ]);
      assertEquals(alone.code, 2);
      assertMatch(alone.stderr, /--api-advertise without --store and an --api-bind beyond loopback/);
      const none = await one.host.program.run(["up", "--api-advertise", "0.0.0.0"]);
      assertMatch(none.stderr, /it is no host, nor host and port/);
    });
    await t.step("no token of the fleet is in a log or an answer", () => {
      for (const { daemon } of stage.hosts) {
        assert(!daemon.stderr.text.includes("spf_") && !daemon.stdout.text.includes("spf_"));
      }
    });
  }));
