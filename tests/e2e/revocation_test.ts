/** What is admitted under a client, rule or secret ends with it, at once, wherever it is (SPEC sections 1 and 9.4). */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { formatRecord } from "../../policy/audit_record.ts";
import { parseRule } from "../../policy/rule.ts";
import { startProxy } from "../../proxy/server.ts";
import { hasNativeCalls } from "../../core/native.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { parseCidr } from "../../core/cidr.ts";
import type { Client, Grant } from "../../proxy/policy_source.ts";
import { State } from "../../store/state.ts";
import { readRequest, startEchoUpstream, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel, openTunnel, type RawPeer } from "../support/raw_peer.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { settled, soon, startSilentPeer, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, type TestProxyOptions, TOKEN } from "../support/start_proxy.ts";
import { proxyAuthority, upstreamAuthority } from "../support/test_authority.ts";
import { TestPolicy } from "../support/test_policy.ts";
import type { Rule } from "../../policy/rule.ts";

/** What an operator does, by name. */
type Change =
  | "rule revoked"
  | "client deleted"
  | "client rotated"
  | "client suspended"
  | "secret replaced"
  | "secret deleted";
const ALL: readonly Change[] = [
  "rule revoked",
  "client deleted",
  "client rotated",
  "client suspended",
  "secret replaced",
  "secret deleted",
];
const WITHOUT_SECRET = ALL.slice(0, 4);

function apply(change: Change, { policy }: TestProxy, rule: Rule): void {
  if (change === "rule revoked") policy.revoke(rule);
  else if (change === "client deleted") policy.removeClient("one");
  else if (change === "client rotated") policy.addClient("one", "another token");
  else if (change === "client suspended") policy.suspend("one");
  else if (change === "secret deleted") policy.removeCredential("key");
  else policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer NEW"]] });
}

/** A proxy with one inspected host that has a secret. */
async function setUp(upstream: Upstream, options: TestProxyOptions = {}) {
  const proxy = await startTestProxy(options);
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer OLD"]] });
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "key" });
  const target = `up.test:${upstream.port}`;
  const open = () => openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  return { proxy, rule, target, open };
}

/** A secret takes only the request with it; the others take the tunnel. */
async function assertRevoked(change: Change, tunnel: RawPeer): Promise<void> {
  if (!change.startsWith("secret")) return assert(await isCut(tunnel));
  const { status, head } = await soon("an answer", tunnel.readResponse());
  assertEquals(status, 403);
  assertMatch(head, /X-Slicer-Proxy-Reason: revoked/);
}

/** Runs `body` once for every change. */
async function forEach(
  t: Deno.TestContext,
  changes: readonly Change[],
  body: (change: Change) => Promise<void>,
): Promise<void> {
  for (const change of changes) await t.step(change, () => body(change));
}

async function isCut(peer: RawPeer): Promise<boolean> {
  return await soon("the end of the connection", peer.readAll().then(() => true, () => true));
}

Deno.test("revocation ends an idle inspected tunnel", async (t) => {
  await forEach(t, WITHOUT_SECRET, async (change) => {
    await using upstream = await startEchoUpstream();
    const { proxy, rule, open, target } = await setUp(upstream);
    await using _ = proxy;
    using tunnel = await open();
    await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    assertEquals((await tunnel.readResponse()).status, 200);
    apply(change, proxy, rule);
    assert(await isCut(tunnel));
  });
});

Deno.test("revocation ends a tunnel in which nothing was sent, and a handshake under way", async (t) => {
  for (const isInHandshake of [false, true]) {
    await t.step(isInHandshake ? "handshake" : "silent", async () => {
      await using upstream = await startEchoUpstream();
      const { proxy, rule, target } = await setUp(upstream);
      await using _ = proxy;
      using tunnel = await openTunnel(proxy.httpPort, target, TOKEN);
      if (isInHandshake) await tunnel.sendBytes(Uint8Array.of(0x16, 3, 1, 0, 200, 1));
      proxy.policy.revoke(rule);
      assert(await isCut(tunnel));
      await proxy.waitLine(/^deny client=one method=CONNECT host=up\.test .* reason=revoked$/);
    });
  }
});

Deno.test("revocation cuts a slow download", async (t) => {
  await forEach(t, ALL, async (change) => {
    const upstreamEnd = Promise.withResolvers<void>();
    await using upstream = await startRawUpstream(async (peer) => {
      await readRequest(peer);
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst");
      await peer.readAll().catch(() => {});
      upstreamEnd.resolve();
    });
    const { proxy, rule, open, target } = await setUp(upstream);
    await using _ = proxy;
    using tunnel = await open();
    await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    await tunnel.readHead();
    assertEquals(await tunnel.readBytes(5), "first");
    apply(change, proxy, rule);
    assert(await isCut(tunnel));
    await soon("the upstream's end", upstreamEnd.promise);
    await proxy.waitLine(/^allow client=one method=GET .* status=200 .*reason=revoked .*received=5 /);
  });
});

Deno.test("revocation cuts an upload: the upstream never sees it complete", async (t) => {
  await forEach(t, ALL, async (change) => {
    const got = Promise.withResolvers<string>();
    const begun = Promise.withResolvers<void>();
    await using upstream = await startRawUpstream(async (peer) => {
      await peer.readHead();
      const first = await peer.readBytes(4);
      begun.resolve();
      got.resolve(first + await peer.readAll().catch(() => ""));
    });
    const { proxy, rule, open, target } = await setUp(upstream);
    await using _ = proxy;
    using tunnel = await open();
    await tunnel.send(`POST / HTTP/1.1\r\nHost: ${target}\r\nContent-Length: 100\r\n\r\nhalf`);
    await soon("the upload", begun.promise);
    apply(change, proxy, rule);
    const answer = await soon("an answer", tunnel.readAll().catch(() => ""));
    assertMatch(answer, /^(HTTP\/1\.1 403 [^]*\r\nX-Slicer-Proxy-Reason: revoked\r\n[^]*)?$/);
    assertEquals(await soon("the upstream's end", got.promise), "half");
    await proxy.waitLine(/client=one method=POST .*reason=revoked/);
  });
});

Deno.test("revocation ends a WebSocket", async (t) => {
  await forEach(t, ALL, async (change) => {
    const upstreamEnd = Promise.withResolvers<void>();
    await using upstream = await startRawUpstream(async (peer) => {
      await peer.readHead();
      await peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi",
      );
      await peer.readAll().catch(() => {});
      upstreamEnd.resolve();
    });
    const { proxy, rule, open, target } = await setUp(upstream);
    await using _ = proxy;
    using tunnel = await open();
    await tunnel.send(
      `GET / HTTP/1.1\r\nHost: ${target}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    );
    assertMatch(await tunnel.readHead(), /^HTTP\/1\.1 101 /);
    assertEquals(await tunnel.readBytes(2), "hi");
    apply(change, proxy, rule);
    assert(await isCut(tunnel));
    await soon("the upstream's end", upstreamEnd.promise);
  });
});

Deno.test("revocation ends a passthrough tunnel", async (t) => {
  await forEach(t, WITHOUT_SECRET, async (change) => {
    const upstreamEnd = Promise.withResolvers<void>();
    await using upstream = await startRawUpstream(async (peer) => {
      await peer.send("banner");
      await peer.readAll().catch(() => {});
      upstreamEnd.resolve();
    }, { names: [] });
    await using proxy = await startTestProxy();
    const rule = proxy.policy.allow("one", { host: "raw.test", ports: [upstream.port], passthrough: true });
    using tunnel = await openTunnel(proxy.httpPort, `raw.test:${upstream.port}`, TOKEN);
    assertEquals(await tunnel.readBytes(6), "banner");
    apply(change, proxy, rule);
    assert(await isCut(tunnel));
    await soon("the upstream's end", upstreamEnd.promise);
    await proxy.waitLine(/^passthrough client=one .* reason=revoked sent=0 received=6 /);
  });
});

Deno.test("a client that is deleted or rotated loses its idle keep-alive connection to the proxy port", async (t) => {
  await forEach(t, ["client deleted", "client rotated"], async (change) => {
    await using upstream = await startEchoUpstream({ names: [] });
    await using proxy = await startTestProxy();
    const rule = proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
    proxy.policy.addClient("two", "token of two");
    const other = proxy.policy.allow("two", { host: "plain.test", ports: [upstream.port] });
    const get = (token: string) =>
      `GET http://plain.test:${upstream.port}/ HTTP/1.1\r\nHost: plain.test:${upstream.port}\r\nProxy-Authorization: ${
        basic(token)
      }\r\n\r\n`;
    using peer = await dialRaw(proxy.httpPort);
    using bystander = await dialRaw(proxy.httpPort);
    await peer.send(get(TOKEN));
    assertEquals((await peer.readResponse()).status, 200);
    await bystander.send(get("token of two"));
    assertEquals((await bystander.readResponse()).status, 200);
    await waitUntil("both upstream connections rest", () => proxy.server.counters().idleUpstreams === 2);
    apply(change, proxy, rule);
    assertEquals(await soon("the end", peer.isClosed()), true);
    assertEquals(proxy.server.counters().idleUpstreams, 1);
    await bystander.send(get("token of two"));
    assertEquals((await bystander.readResponse()).status, 200);
    proxy.policy.revoke(other); // a revoked rule ends what it opened upstream; the next request is decided anew
    assertEquals(proxy.server.counters().idleUpstreams, 0);
  });
});

Deno.test("a request under way on the proxy port is answered when its client goes, and is the last", async () => {
  await using silent = startSilentPeer();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "plain.test", ports: [silent.port] });
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `GET http://plain.test:${silent.port}/ HTTP/1.1\r\nHost: plain.test:${silent.port}\r\nProxy-Authorization: ${
      basic(TOKEN)
    }\r\n\r\n`,
  );
  await waitUntil("it is under way", () => silent.accepted.length === 1);
  proxy.policy.removeClient("one");
  const { status, head } = await soon("an answer", peer.readResponse());
  assertEquals(status, 403);
  assertMatch(head, /\r\nX-Slicer-Proxy-Reason: revoked\r\n/);
  assertEquals(await soon("the end", peer.isClosed()), true);
});

Deno.test("revocation closes a pooled upstream connection, and a new secret goes over a new one", async (t) => {
  await forEach(t, ALL, async (change) => {
    const ended: number[] = [];
    await using upstream = await startRawUpstream(async (peer, index) => {
      while (await readRequest(peer)) await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      ended.push(index);
    });
    const { proxy, rule, open, target } = await setUp(upstream);
    await using _ = proxy;
    using tunnel = await open();
    await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    assertEquals((await tunnel.readResponse()).status, 200);
    await waitUntil("it is pooled", () => proxy.server.counters().idleUpstreams === 1);
    apply(change, proxy, rule);
    assertEquals(proxy.server.counters().idleUpstreams, 0);
    await waitUntil("the upstream sees the end", () => ended.length === 1);
    if (!change.startsWith("secret")) return;
    await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    const { status, head } = await tunnel.readResponse();
    if (change === "secret replaced") assertEquals([status, upstream.connections], [200, 2]);
    else assertMatch(head, /^HTTP\/1\.1 403 [^]*X-Slicer-Proxy-Reason: secret-missing/);
  });
});

Deno.test("revocation during the look-up: no byte of the request goes upstream", async (t) => {
  await forEach(t, ALL, async (change) => {
    await using upstream = await startEchoUpstream();
    const resolving = Promise.withResolvers<string[]>();
    let asked = false;
    const resolve = () => {
      asked = true;
      return resolving.promise;
    };
    const { proxy, rule, open, target } = await setUp(upstream, { resolve });
    await using _ = proxy;
    using tunnel = await open();
    await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    await waitUntil("it resolves", () => asked);
    apply(change, proxy, rule);
    await assertRevoked(change, tunnel);
    resolving.resolve(["127.0.0.1"]);
    await proxy.waitLine(/client=one method=GET .*reason=revoked/);
    assertEquals([upstream.connections, upstream.seen.length], [0, 0]);
  });
});

Deno.test({
  // Without native calls the connection ends when the upstream ends it (SPEC section 9.10).
  ignore: !hasNativeCalls(),
  name: "revocation during the upstream's handshake: no byte of the request goes upstream",
}, async (t) => {
  await forEach(t, ALL, async (change) => {
    await using silent = startSilentPeer();
    await using proxy = await startTestProxy();
    proxy.policy.setCredential({
      secret: "key",
      host: "up.test",
      headers: [["Authorization", "Bearer OLD"]],
    });
    const rule = proxy.policy.allow("one", { host: "up.test", ports: [silent.port], secret: "key" });
    using tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${silent.port}`, TOKEN, proxy.caPem);
    await tunnel.send(`GET / HTTP/1.1\r\nHost: up.test:${silent.port}\r\n\r\n`);
    await waitUntil("it is connected", () => silent.accepted.length === 1);
    apply(change, proxy, rule);
    await assertRevoked(change, tunnel);
    const [conn] = silent.accepted;
    let bytes = 0;
    const buffer = new Uint8Array(65_536);
    for (let count = await conn?.read(buffer); count; count = await conn?.read(buffer)) bytes += count;
    assert(bytes < 2_000, `${bytes} bytes are more than a ClientHello`);
    await proxy.waitLine(/client=one method=GET .*reason=revoked/);
  });
});

Deno.test("revocation during the dial of a passthrough tunnel is answered 403, without a 200", async () => {
  await using silent = startSilentPeer();
  const resolving = Promise.withResolvers<string[]>();
  let asked = false;
  await using proxy = await startTestProxy({
    resolve: () => {
      asked = true;
      return resolving.promise;
    },
  });
  const rule = proxy.policy.allow("one", { host: "raw.test", ports: [silent.port], passthrough: true });
  using peer = await dialRaw(proxy.httpPort);
  const target = `raw.test:${silent.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  await waitUntil("it resolves", () => asked);
  proxy.policy.revoke(rule);
  const { status, head } = await soon("an answer", peer.readResponse());
  assertEquals(status, 403);
  assertMatch(head, /X-Slicer-Proxy-Reason: revoked/);
  resolving.resolve(["127.0.0.1"]);
  assertEquals(silent.accepted.length, 0);
});

Deno.test("what has expired during the dial counts, also before anyone was told", async (t) => {
  for (const passthrough of [true, false]) {
    await t.step(passthrough ? "passthrough" : "request", async () => {
      await using upstream = await startEchoUpstream({ names: [] });
      const resolving = Promise.withResolvers<string[]>();
      let asked = false;
      await using proxy = await startTestProxy({
        resolve: () => {
          asked = true;
          return resolving.promise;
        },
      });
      proxy.policy.allow("one", { host: "raw.test", ports: [upstream.port], passthrough });
      using peer = await dialRaw(proxy.httpPort);
      const target = `raw.test:${upstream.port}`;
      await peer.send(
        `${passthrough ? `CONNECT ${target}` : `GET http://${target}/`} HTTP/1.1\r\nHost: ${target}\r\n` +
          `Proxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
      );
      await waitUntil("it resolves", () => asked);
      proxy.policy.isLive = () => false;
      resolving.resolve(["127.0.0.1"]);
      const { status, head } = await soon("an answer", peer.readResponse());
      assertEquals(status, 403);
      assertMatch(head, /X-Slicer-Proxy-Reason: revoked/);
      assertEquals(upstream.seen.length, 0);
    });
  }
});

Deno.test("a new rule counts for the next request on an open tunnel", async (t) => {
  for (const mode of ["strict", "audit"] as const) {
    await t.step(mode, async () => {
      await using upstream = await startEchoUpstream();
      await using proxy = await startTestProxy({ mode });
      // In strict mode the tunnel needs a rule; what it allows is another path.
      if (mode === "strict") {
        proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/old"] });
      }
      using tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
      const get = async () => {
        await tunnel.send(`GET /new HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
        return (await tunnel.readResponse()).status;
      };
      assertEquals(await get(), 403);
      const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/new"] });
      assertEquals(await get(), 200);
      proxy.policy.revoke(rule);
      assertEquals(await get(), 403);
    });
  }
});

/** The real state's clients and rules. */
class StatePolicy extends TestPolicy {
  readonly #state: State;

  constructor(state: State) {
    super();
    this.#state = state;
  }

  override clientByToken(token: string) {
    return this.#state.clientByToken(token);
  }

  override clients() {
    return this.#state.listClients();
  }

  override clientsPassing(host: string, port: number) {
    return this.#state.clientsPassing(host, port);
  }

  override rulesFor(client: Client, host: string) {
    return this.#state.rulesFor(client, host);
  }

  override rulesOf(client: Client) {
    return this.#state.rulesOf(client);
  }

  override isLive(grant: Grant) {
    return this.#state.isLive(grant);
  }

  override onChange(listener: () => void) {
    return this.#state.onChange(listener);
  }
}

Deno.test("expiry in the real state ends a tunnel and a request under way", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-expiry-" });
  const [ca, upstreamCa] = [await proxyAuthority(), await upstreamAuthority()];
  try {
    await using upstream = await startRawUpstream(async (peer) => {
      await readRequest(peer);
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst");
      await peer.readAll().catch(() => {});
    });
    const clock = new FakeClock();
    await using state = await State.open({ dir: `${dir}/state`, clock });
    const { token } = await state.createClient("one");
    const lines: string[] = [];
    await using proxy = startProxy({
      listen: [{ hostname: "127.0.0.1", port: 0 }],
      policy: new StatePolicy(state),
      certificates: {
        forHost: (host) => ca.issue([host]),
        isWarm: () => false,
        forProxy: () => ca.issue(["localhost"]),
        forTrust: () => Promise.resolve(ca.caPem),
      },
      mode: "strict",
      socksAuth: "optional",
      cleartextSecrets: "private",
      explain: "connect",
      onEcho: "mask",
      limits: { ...DEFAULT_LIMITS, drainTimeoutMs: 300 },
      clock,
      resolve: () => Promise.resolve(["127.0.0.1"]),
      denyCidrs: [],
      allowCidrs: [parseCidr("127.0.0.0/8")],
      caCertsFor: () => [upstreamCa.caPem],
      ownPorts: () => [],
      audit: {
        isWritable: true,
        write: (record) => lines.push(formatRecord(record, "text", 0)),
      },
      logQuery: false,
      reportBug: (error) => {
        throw error;
      },
    });
    const port = proxy.addresses[0]?.port ?? 0;
    const target = `up.test:${upstream.port}`;
    await state.addRule("one", parseRule({ host: "up.test", ports: [upstream.port] }), { ttlMs: 300 });
    using idle = await openTlsTunnel(port, target, token, ca.caPem);
    using busy = await openTlsTunnel(port, target, token, ca.caPem);
    await busy.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    await busy.readHead();
    assertEquals(await busy.readBytes(5), "first");
    clock.advance(299);
    await settled(() => lines.length);
    assertEquals(proxy.counters().openTunnels, 2);
    clock.advance(1);
    assert(await isCut(idle));
    assert(await isCut(busy));
    await waitUntil(
      "it is logged",
      () => lines.some((line) => /^allow .* status=200 reason=revoked /.test(line)),
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
