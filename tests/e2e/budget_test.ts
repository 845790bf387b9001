/** Budgets of clients and rules: what is counted, what is said when one is used up, and what ends then. Days, not hours: fewer of them end in a test. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { readRequest, startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { openHttp2 } from "../support/http2_client.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel, openTunnel, type RawPeer } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

async function get(tunnel: RawPeer, target: string, path = "/v1") {
  await tunnel.send(`GET ${path} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  return await soon("an answer", tunnel.readResponse());
}

/** However the proxy ends it. */
async function bytesUntilEnd(peer: RawPeer): Promise<number> {
  let count = 0;
  try {
    for (;; count += 1_000) await peer.readBytes(1_000);
  } catch {
    return count;
  }
}

Deno.test("a rule's requests: those beyond get 429 and when it is free again, others go on, one line warns", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  const target = `up.test:${upstream.port}`;
  const ports = [upstream.port];
  proxy.policy.allow("one", { host: "up.test", ports, paths: ["/v1"], budget: ["requests=5/d"] });
  proxy.policy.allow("one", { host: "up.test", ports });
  using tunnel = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  for (let i = 0; i < 5; i++) assertEquals((await get(tunnel, target)).status, 200);
  const refused = await get(tunnel, target);
  assertEquals(refused.status, 429);
  assertMatch(refused.head, /X-Slicer-Proxy-Reason: budget/);
  const seconds = Number(/Retry-After: (\d+)/.exec(refused.head)?.[1]);
  assert(seconds >= 1 && seconds <= 86_400, refused.head);
  assertMatch(
    refused.body,
    /the budget of its rule for up\.test, requests=5\/d, is used up; it is free again at \d{4}-\d\d-\d\dT00:00:00Z/,
  );
  assertEquals((await get(tunnel, target, "/other")).status, 200);
  assertEquals(upstream.seen.length, 6);
  await proxy.waitLine(/^deny client=one method=GET .* path=\/v1 status=429 reason=budget$/);
  assertEquals(proxy.lines.filter((line) => line.startsWith("change")), [
    "change client=one method=BUDGET host=up.test budget=requests=5/d",
  ]);
  assertEquals(proxy.audit.totals.budgetWarnings, 1);
});

Deno.test("a client's requests: tunnels that are passed through count like one", async () => {
  await using upstream = await startEchoUpstream();
  await using clear = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["requests=3/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  proxy.policy.allow("one", { host: "raw.test", ports: [clear.port], passthrough: true });
  const target = `up.test:${upstream.port}`;
  using first = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  assertEquals((await get(first, target)).status, 200);
  assertEquals((await get(first, target)).status, 200);
  using raw = await openTunnel(proxy.httpPort, `raw.test:${clear.port}`, TOKEN);
  assertEquals((await get(raw, "raw.test")).status, 200);
  assertEquals((await get(raw, "raw.test")).status, 200); // inside it nobody counts
  assertEquals((await get(first, target)).status, 429);
  const refused = await openTunnel(proxy.httpPort, `raw.test:${clear.port}`, TOKEN).then(() => "", String);
  assertStringIncludes(refused, "429");
});

Deno.test("bytes down: an answer that goes over the budget ends, and nothing new begins", async () => {
  const piece = "x".repeat(20_000);
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    await peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i < 2_000; i++) await peer.send(`${piece.length.toString(16)}\r\n${piece}\r\n`);
  });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], budget: ["bytes-down=1M/d"] });
  const target = `up.test:${upstream.port}`;
  using tunnel = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  assert(await soon("the end", bytesUntilEnd(tunnel)) < 2_000_000);
  const line = await proxy.waitLine(/^allow client=one method=GET .* status=200 reason=budget /);
  const received = Number(/received=(\d+)/.exec(line)?.[1]);
  assert(received >= 700_000 && received < 2_000_000, line);
  using again = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  assertEquals((await get(again, target)).status, 429);
});

Deno.test("bytes up: an upload that goes over the budget is answered with 429", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.readAll();
  });
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["bytes-up=100K/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  using tunnel = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await tunnel.send(`POST / HTTP/1.1\r\nHost: ${target}\r\nContent-Length: 900000\r\n\r\n`);
  const sending = tunnel.send("y".repeat(900_000)).catch(() => {});
  const answer = await soon("an answer", tunnel.readResponse());
  assertEquals(answer.status, 429);
  await sending;
  await proxy.waitLine(
    /^deny client=one method=POST .*reason=budget|^allow client=one method=POST .*reason=budget/,
  );
});

Deno.test("a WebSocket and a tunnel that is passed through end with the piece that finds the budget used up", async () => {
  const flood = async (peer: RawPeer) => {
    for (let i = 0; i < 1_000; i++) await peer.send("z".repeat(10_000));
  };
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    await peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    await flood(peer);
  });
  await using clear = await startRawUpstream(flood, { names: [] });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], budget: ["bytes-down=300K/d"] });
  proxy.policy.allow("one", { host: "raw.test", ports: [clear.port], passthrough: true });
  const target = `up.test:${upstream.port}`;
  using socket = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await socket.send(
    `GET /ws HTTP/1.1\r\nHost: ${target}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  assert(await soon("the end", bytesUntilEnd(socket)) < 2_000_000);
  await proxy.waitLine(/^allow client=one .* path=\/ws status=101 reason=budget /);

  proxy.policy.setBudget("one", ["bytes-down=1M/d"]); // what was used before it was given counts for nothing
  using raw = await openTunnel(proxy.httpPort, `raw.test:${clear.port}`, TOKEN);
  assert(await soon("the end", bytesUntilEnd(raw)) < 3_000_000);
  await proxy.waitLine(/^passthrough client=one host=raw\.test .* reason=budget /);
});

Deno.test("HTTP/2: each stream is a request, and one that is refused leaves the others alone", async () => {
  await using upstream = await startHttp2Upstream();
  await using proxy = await startTestProxy();
  const { port } = upstream;
  proxy.policy.allow("one", {
    host: "up.test",
    ports: [port],
    paths: ["/counted"],
    budget: ["requests=2/d"],
  });
  proxy.policy.allow("one", { host: "up.test", ports: [port] });
  await using client = await openHttp2(proxy, `up.test:${port}`);
  const statuses = [];
  for (const path of ["/counted", "/counted", "/counted", "/free"]) {
    statuses.push((await client.ask(path)).status);
  }
  assertEquals(statuses, [200, 200, 429, 200]);
});

for (const workers of [1, 2]) {
  Deno.test({
    name:
      `up --workers=${workers}: a budget is one for all threads, is kept over a restart, and can be lifted`,
    ignore: workers > 1 && Deno.build.os !== "linux",
    fn: async () => {
      await using upstream = await startEchoUpstream({ names: ["localhost"] });
      const dir = await Deno.makeTempDir({ prefix: "slicer-budget-" });
      try {
        const program = new Program(dir);
        await Deno.writeTextFile(`${dir}/roots.crt`, (await upstreamAuthority()).caPem);
        const flags = [`--workers=${workers}`, "--allow-cidr=127.0.0.0/8,::1/128", "--upstream-ca=system"];
        const env = { SSL_CERT_FILE: `${dir}/roots.crt` };
        const port = `${upstream.port}`;
        const target = `localhost:${port}`;
        let token = "";
        const askMany = async (httpPort: number, count: number) => {
          const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
          const statuses = await Promise.all(Array.from({ length: 8 }, async () => {
            using tunnel = await openTlsTunnel(httpPort, target, token, caPem);
            const some: number[] = [];
            for (let i = 0; i < count / 8; i++) some.push((await get(tunnel, target)).status);
            return some;
          }));
          const all = statuses.flat();
          return [
            all.filter((status) => status === 200).length,
            all.filter((status) => status === 429).length,
          ];
        };
        {
          await using daemon = await program.up(flags, env);
          token = await program.ok(["client", "create", "one"]);
          await program.ok([
            "allow",
            "one",
            "--host",
            "localhost",
            "--port",
            port,
            "--budget",
            "bytes-down=1G/d",
          ]);
          await program.ok(["client", "budget", "one", "--requests", "50/d"]);
          assertEquals(await askMany(daemon.httpPort, 80), [50, 30]);
          const shown = await program.ok(["client", "budget", "one"]);
          assertMatch(shown, /^client +requests=50\/d +50 +\d{4}-\d\d-\d\dT00:00:00\.000Z$/m);
          assertMatch(shown, /^rule localhost +bytes-down=1G\/d +[1-9]\d* +/m);
          assertEquals((await daemon.end("SIGTERM")).code, 0, daemon.stderr.text);
          const warnings = daemon.stdout.text.split("\n").filter((line) => line.startsWith("change"));
          assertEquals(warnings, ["change client=one method=BUDGET host=localhost budget=requests=50/d"]);
        }
        await using daemon = await program.up(flags, env);
        assertEquals(await askMany(daemon.httpPort, 8), [0, 8]);
        await program.ok(["client", "budget", "one", "--requests", "54/d"]); // goes on from what is used
        assertEquals(await askMany(daemon.httpPort, 8), [4, 4]);
        await program.ok(["client", "budget", "one", "--none"]);
        assertEquals(await askMany(daemon.httpPort, 8), [8, 0]);
        assertEquals((await program.run(["client", "budget", "one", "--requests", "many"])).code, 2);
        assertEquals((await program.run(["client", "budget", "two", "--requests", "1/h"])).code, 1);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}
