import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { startRawUpstream } from "../../../support/echo_upstream.ts";
import { basic, dialRaw, dialTls, openTunnel } from "../../../support/raw_peer.ts";
import { soon, startSilentPeer, waitUntil } from "../../../support/sockets.ts";
import { startTestProxy, TOKEN } from "../../../support/start_proxy.ts";

Deno.test("a tunnel that is ended is cut: its client, over TLS, does not take that for the end of the data", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.send("half");
    await peer.readAll();
  }, { names: [] });
  await using proxy = await startTestProxy();
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  const target = `up.test:${upstream.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 200/);
  assertEquals(await soon("its words", peer.readBytes(4)), "half");
  proxy.policy.revoke(rule);
  await assertRejects(() => soon("the cut", peer.readAll()));
  await proxy.waitLine(/^passthrough client=one .* reason=revoked sent=0 received=4 /);
});

/** For how long the machine has been up: longer than any tunnel. */
const LONG_MS = 1e9;

Deno.test("a tunnel on which nothing moves ends in time, with what was counted", async () => {
  await using upstream = startSilentPeer();
  await using proxy = await startTestProxy({
    limits: { tunnelIdleTimeoutMs: 100 },
    clock: { now: () => Date.now(), monotonic: () => performance.now() + LONG_MS },
  });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  using peer = await openTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN);
  await peer.send("abc");
  await soon("the end", peer.readAll().catch(() => ""));
  await proxy.waitLine(/^passthrough client=one .* reason=idle-timeout sent=3 received=0 /);
  const [record] = proxy.records;
  for (const ms of [record?.setupMs, record?.durationMs]) {
    assertEquals(ms !== undefined && ms >= 0 && ms < LONG_MS, true, `${ms}`);
  }
});

Deno.test("a tunnel gives back its place, whoever ends it", async () => {
  await using upstream = await startRawUpstream(async (peer) => void await peer.readAll(), { names: [] });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  for (let at = 0; at < 2; at++) {
    using peer = await openTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN);
    await waitUntil("it is counted", () => proxy.server.counters().openTunnels === 1);
    await peer.conn.closeWrite?.();
    await soon("the end", peer.readAll());
    await waitUntil("it is given back", () => proxy.server.counters().openTunnels === 0);
  }
});

Deno.test("a tunnel that is refused when it has been dialled tells nobody that it is open", async () => {
  await using upstream = startSilentPeer();
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using proxy = await startTestProxy({
    resolve: async () => {
      await wait;
      return ["127.0.0.1"];
    },
  });
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  using peer = await dialRaw(proxy.httpPort);
  const target = `up.test:${upstream.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  await waitUntil("it is asked for", () => proxy.server.counters().connections === 1);
  await new Promise((next) => setTimeout(next, 20));
  proxy.policy.revoke(rule);
  go();
  assertMatch(await soon("the refusal", peer.readHead()), /^HTTP\/1\.1 403/);
  await proxy.waitLine(/^deny client=one method=CONNECT .* reason=revoked/);
});
