/** The audit log of the real program: what was logged is there after restarts and kills, and can be followed. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { formatStored, parseRecord } from "../../policy/audit_record.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { Collected, type Daemon, freePorts, Program } from "../support/program.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";

const STORE = ".slicer/proxy/audit.jsonl";
const SOCKET = ".slicer/proxy/api.sock";

async function withProgram(work: (program: Program) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-logs-" });
  try {
    await work(new Program(dir));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** One plain request through the proxy; waits until it is logged, as stdout shows. */
async function request(daemon: Daemon, token: string, host: string, path: string): Promise<void> {
  using peer = await dialRaw(daemon.httpPort);
  await peer.send(
    `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
  );
  await peer.readResponse();
  await daemon.waitLine(new RegExp(` path=${path} `));
}

function curl(program: Program, args: readonly string[]): { child: Deno.ChildProcess; stdout: Collected } {
  const child = new Deno.Command("curl", {
    args: ["-sN", "--unix-socket", `${program.dir}/${SOCKET}`, ...args],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  return { child, stdout: new Collected(child.stdout) };
}

/** Paths of the records in lines of JSON. */
function pathsIn(text: string): (string | undefined)[] {
  return text.trim().split("\n").map((line) => parseRecord(line)?.path);
}

Deno.test("logs shows what was logged, after a restart, a kill and half a line", () =>
  withProgram(async (program) => {
    await using upstream = await startEchoUpstream({ names: [] });
    const host = `127.0.0.1:${upstream.port}`;
    const up = ["--allow-cidr", "127.0.0.0/8"];
    let token: string;
    {
      await using daemon = await program.up(up);
      token = await program.ok(["client", "create", "ci-1"]);
      await program.ok(["allow", "ci-1", "--host", "127.0.0.1", "--port", String(upstream.port)]);
      await request(daemon, token, host, "/one");
      await request(daemon, token, "denied.test", "/two");
    }
    {
      const daemon = await program.up(up);
      await request(daemon, token, host, "/three");
      await daemon.end("SIGKILL");
    }
    await Deno.writeTextFile(`${program.dir}/${STORE}`, '{"v":1,"time":"2026-', { append: true });
    await using daemon = await program.up(up);
    await request(daemon, token, "denied.test", "/four");

    assertEquals(pathsIn(await program.ok(["logs", "--json"])), ["/one", "/two", "/three", "/four"]);
    assertEquals(pathsIn(await program.ok(["logs", "--json", "--denied", "--client", "ci-1"])), [
      "/two",
      "/four",
    ]);
    assertEquals(pathsIn(await program.ok(["logs", "--json", "--host", "127.0.0.1", "--since", "1h"])), [
      "/one",
      "/three",
    ]);
    const text = await program.ok(["logs", "--limit", "1"]);
    assertMatch(text, /^\S+ deny client=ci-1 method=GET scheme=http host=denied\.test port=80 path=\/four /);
    assert(!text.includes("\x1b"), "colours in a pipe");
    // The documented log has the same lines, and the store's file is for the owner alone.
    const log = await Deno.readTextFile(`${program.dir}/.slicer/proxy/audit.log`);
    const stored = (await Deno.readTextFile(`${program.dir}/${STORE}`)).split("\n").map(parseRecord);
    assertEquals(log, stored.flatMap((each) => each ? [`${formatStored(each, "text")}\n`] : []).join(""));
    assertEquals(((await Deno.stat(`${program.dir}/${STORE}`)).mode ?? 0) & 0o777, 0o600);
  }));

Deno.test("the audit log is followed live, as lines, as events and by logs -f, until the proxy stops", () =>
  withProgram(async (program) => {
    const daemon = await program.up();
    const token = await program.ok(["client", "create", "ci-1"]);
    await request(daemon, token, "a.test", "/before");
    const url = "http://localhost/proxy/v1/audit?follow=1";
    const lines = curl(program, [`${url}&limit=1`]);
    const events = curl(program, ["-H", "Accept: text/event-stream", `${url}&since=1h`]);
    const child = program.spawn(["logs", "-f"]);
    const shown = new Collected(child.stdout);
    const said = new Collected(child.stderr);
    await Promise.all([lines.stdout, events.stdout, shown].map((each) => each.wait(/\/before/, 20_000)));
    await request(daemon, token, "b.test", "/after");
    await Promise.all([lines.stdout, events.stdout, shown].map((each) => each.wait(/\/after/, 20_000)));

    const startedAt = performance.now();
    assertEquals((await daemon.end()).code, 0);
    assert(performance.now() - startedAt < 2_500, "followers held the proxy up");
    assertEquals((await lines.child.status).code, 0); // whole: curl would say that it was cut
    assertEquals((await events.child.status).code, 0);
    await child.stdin.close();
    assertEquals((await child.status).code, 1);
    await Promise.all([lines.stdout.ended, events.stdout.ended, shown.ended, said.ended]);
    assertEquals(pathsIn(lines.stdout.text), ["/before", "/after"]);
    assertEquals(events.stdout.text.match(/^id: \d+-1\ndata: \{"v":1,/gm)?.length, 2);
    assertEquals(shown.text.trimEnd().split("\n").map((line) => / path=(\S+) /.exec(line)?.[1]), [
      "/before",
      "/after",
    ]);
    assertStringIncludes(said.text, "the proxy has stopped");
  }));

Deno.test("logs -f ends with 0 on Ctrl-C and when its reader goes away", async (t) => {
  await withProgram(async (program) => {
    await using daemon = await program.up();
    const token = await program.ok(["client", "create", "ci-1"]);
    await request(daemon, token, "a.test", "/first");
    await t.step("SIGINT", async () => {
      const child = program.spawn(["logs", "-f"]);
      const [stdout, stderr] = [new Collected(child.stdout), new Collected(child.stderr)];
      await stdout.wait(/\/first/, 20_000);
      child.kill("SIGINT");
      await child.stdin.close();
      assertEquals((await child.status).code, 0);
      await Promise.all([stdout.ended, stderr.ended]);
      assertEquals(stderr.text, "");
    });
    await t.step("a closed pipe", async () => {
      const child = program.spawn(["logs", "-f"]);
      const stderr = new Collected(child.stderr);
      const reader = child.stdout.getReader();
      await reader.read();
      await reader.cancel();
      await request(daemon, token, "a.test", "/second");
      await child.stdin.close();
      assertEquals((await child.status).code, 0);
      await stderr.ended;
      assertEquals(stderr.text, "");
    });
  });
});

Deno.test("a stdout that nobody reads holds up no request, and no stop", () =>
  withProgram(async (program) => {
    const [httpPort, httpsPort] = freePorts();
    const child = program.spawn(["up", "--http-port", String(httpPort), "--https-port", String(httpsPort)]);
    const stderr = new Collected(child.stderr);
    await stderr.wait(/ listening on /, 30_000);
    // Each line is longer than the one before could be: nothing is coalesced. A pipe holds 64 KiB.
    for (let i = 0; i < 60; i++) {
      using peer = await dialRaw(httpPort);
      await peer.send(`GET http://a.test/${i}${"x".repeat(5_000)} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
      assertEquals((await peer.readResponse()).status, 407);
    }
    assertEquals((await program.ok(["logs", "--json"])).split("\n").length, 60);
    child.kill("SIGTERM");
    await child.stdin.close();
    assertEquals((await child.status).code, 0);
    await Promise.all([stderr.ended, child.stdout.cancel()]);
  }));
