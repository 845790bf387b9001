/** Stopping: no new work, what runs may finish for a bounded time, then everything ends, and every line is written. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { readRequest, startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel, openTunnel } from "../support/raw_peer.ts";
import { settled, soon, startSilentPeer, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

const PLAIN = "plain.test";

function get(port: number, path = "/"): string {
  return `GET http://${PLAIN}:${port}${path} HTTP/1.1\r\nHost: ${PLAIN}:${port}\r\nProxy-Authorization: ${
    basic(TOKEN)
  }\r\n\r\n`;
}

async function stop(proxy: TestProxy): Promise<number> {
  const startedAt = performance.now();
  await proxy.server[Symbol.asyncDispose]();
  return performance.now() - startedAt;
}

Deno.test("a stop refuses new connections and closes idle ones at once", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using secure = await startEchoUpstream();
  await using proxy = await startTestProxy({ limits: { drainTimeoutMs: 20_000 } });
  proxy.policy.allow("one", { host: PLAIN, ports: [upstream.port] });
  proxy.policy.allow("one", { host: "up.test", ports: [secure.port] });
  using fresh = await dialRaw(proxy.httpPort);
  using keptAlive = await dialRaw(proxy.httpPort);
  await keptAlive.send(get(upstream.port));
  assertEquals((await keptAlive.readResponse()).status, 200);
  using silentTunnel = await openTunnel(proxy.httpPort, `up.test:${secure.port}`, TOKEN);
  using tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${secure.port}`, TOKEN, proxy.caPem);
  await tunnel.send(`GET / HTTP/1.1\r\nHost: up.test:${secure.port}\r\n\r\n`);
  assertEquals((await tunnel.readResponse()).status, 200);
  await waitUntil("all are accepted", () => proxy.server.counters().connections === 4);
  const stopping = stop(proxy);
  for (const peer of [fresh, keptAlive, silentTunnel, tunnel]) {
    await soon(
      "the end",
      peer.readAll().catch(() => ""),
    );
  }
  for (const port of [proxy.httpPort, proxy.tlsPort]) {
    assertEquals(await dialRaw(port).then(() => "accepted", () => "refused"), "refused");
  }
  assert(await stopping < 10_000, "idle connections must not be waited for");
  const { connections, idleUpstreams, openGrants } = proxy.server.counters();
  assertEquals({ connections, idleUpstreams, openGrants }, {
    connections: 0,
    idleUpstreams: 0,
    openGrants: 0,
  });
});

Deno.test("a stop lets a request finish, closes after it, and writes its line", async () => {
  const finish = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    begun.resolve();
    await finish.promise;
    await peer.send("world");
  }, { names: [] });
  await using proxy = await startTestProxy({ limits: { drainTimeoutMs: 20_000 } });
  proxy.policy.allow("one", { host: PLAIN, ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(get(upstream.port));
  await begun.promise;
  await peer.readUntil("hello");
  const stopping = stop(proxy);
  await peer.send(get(upstream.port, "/second")); // is not served any more
  finish.resolve();
  assertEquals(await soon("the rest", peer.readAll()), "world");
  assert(await stopping < 10_000);
  await proxy.audit.written();
  assertEquals(proxy.lines.length, 1);
  assertMatch(proxy.lines[0] ?? "", /^allow client=one method=GET .* path=\/ status=200 sent=0 received=10 /);
});

Deno.test("a stop cuts what does not finish in time, wherever it hangs, and logs it", async (t) => {
  type Row = readonly [
    string,
    (proxy: TestProxy, ports: { silent: number; deaf: number }) => Promise<Disposable>,
    RegExp,
  ];
  const rows: readonly Row[] = [
    ["a request without an answer", async (proxy, { silent }) => {
      const peer = await dialRaw(proxy.httpPort);
      await peer.send(get(silent));
      return peer;
    }, /client=one method=GET /],
    ["an upload that the upstream does not read", async (proxy, { deaf }) => {
      const peer = await dialRaw(proxy.httpPort);
      await peer.send(
        get(deaf).replace("GET", "POST").replace(/\r\n\r\n$/, "\r\nContent-Length: 100000000\r\n\r\n"),
      );
      const block = new Uint8Array(1_048_576);
      (async () => {
        for (let i = 0; i < 60; i++) await peer.sendBytes(block);
      })().catch(() => {});
      return peer;
    }, /client=one method=POST /],
    ["a handshake with the upstream", async (proxy, { silent }) => {
      const peer = await openTlsTunnel(proxy.httpPort, `up.test:${silent}`, TOKEN, proxy.caPem);
      await peer.send(`GET / HTTP/1.1\r\nHost: up.test:${silent}\r\n\r\n`);
      return peer;
    }, /client=one method=GET /],
    ["a passthrough tunnel", async (proxy, { silent }) => {
      proxy.policy.allow("one", { host: "raw.test", ports: [silent], passthrough: true });
      return await openTunnel(proxy.httpPort, `raw.test:${silent}`, TOKEN);
    }, /^passthrough client=one host=raw\.test .* reason=shutdown /],
  ];
  for (const [name, begin, line] of rows) {
    await t.step(name, async () => {
      await using silent = startSilentPeer();
      await using proxy = await startTestProxy({ limits: { drainTimeoutMs: 300 } });
      proxy.policy.allow("one", { host: PLAIN, ports: [silent.port] });
      proxy.policy.allow("one", { host: "up.test", ports: [silent.port] });
      using _peer = await begin(proxy, { silent: silent.port, deaf: silent.port });
      await waitUntil("it is under way", () => silent.accepted.length > 0);
      const tookMs = await stop(proxy);
      assert(tookMs >= 290, `it had only ${tookMs} ms`);
      assert(tookMs < 8_000, `it took ${tookMs} ms`);
      assertEquals(proxy.server.counters().connections, 0);
      await proxy.audit.written();
      assertEquals(proxy.lines.length, 1, proxy.lines.join("\n"));
      assertMatch(proxy.lines[0] ?? "", line);
    });
  }
});

Deno.test("a stop during a passthrough dial answers 503 and dials no more", async () => {
  let asked = false;
  let dials = 0;
  const { promise: addresses, resolve: resolveName } = Promise.withResolvers<readonly string[]>();
  await using upstream = await startRawUpstream(() => Promise.resolve(void dials++));
  await using proxy = await startTestProxy({
    limits: { drainTimeoutMs: 100 },
    resolve: () => {
      asked = true;
      return addresses;
    },
  });
  proxy.policy.allow("one", { host: "raw.test", ports: [upstream.port], passthrough: true });
  using peer = await dialRaw(proxy.httpPort);
  const target = `raw.test:${upstream.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  await waitUntil("it resolves", () => asked);
  await stop(proxy);
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 503 /);
  resolveName(["127.0.0.1"]); // too late: nobody dials what it says
  assertEquals(await settled(() => dials), 0);
  await proxy.waitLine(/^deny client=one method=CONNECT host=raw\.test .* reason=shutdown$/);
});

Deno.test("a stop writes the lines that were being coalesced, and a second one does nothing", async () => {
  await using proxy = await startTestProxy();
  using peer = await dialRaw(proxy.httpPort);
  for (let i = 0; i < 9; i++) {
    await peer.send(
      `CONNECT no.test:443 HTTP/1.1\r\nHost: no.test:443\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
    );
    assertEquals((await peer.readResponse()).status, 403);
  }
  await stop(proxy);
  await proxy.audit[Symbol.asyncDispose]();
  assertMatch(proxy.lines.at(-1) ?? "", /reason=no-rule repeated=4$/);
  await stop(proxy);
});
