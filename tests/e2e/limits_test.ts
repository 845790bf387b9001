/** Every limit of `core/limits.ts` that a peer can run into, just inside and just outside: new work is refused, old work goes on. */
import { setImmediate } from "node:timers";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { readRequest, startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { makeClientHello } from "../support/client_hello.ts";
import { basic, dialRaw, openTlsTunnel, openTunnel, RawPeer } from "../support/raw_peer.ts";
import { askSocks5 } from "../support/socks_client.ts";
import { soon, startSilentPeer, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

const TWO = "token_of_client_two_0000";

/** A request in absolute-form. */
function get(host: string, token = TOKEN, path = "/"): string {
  return `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${
    basic(token)
  }\r\n\r\n`;
}

function connectText(target: string, token = TOKEN): string {
  return `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`;
}

/** Asks for a tunnel, whatever the answer. */
async function askTunnel(
  port: number,
  target: string,
  token = TOKEN,
): Promise<
  { readonly peer: RawPeer; readonly status: number; readonly head: string; readonly body: string }
> {
  const peer = await dialRaw(port);
  await peer.send(connectText(target, token));
  return { peer, ...await soon("an answer", peer.readResponse()) };
}

async function statusOf(peer: RawPeer, request: string): Promise<string> {
  await peer.send(request);
  const { status, head } = await soon("an answer", peer.readResponse());
  const reason = /X-Slicer-Proxy-Reason: (\S+)/.exec(head)?.[1];
  return reason ? `${status} ${reason}` : `${status}`;
}

/** Waits until the proxy has as many connections: accepting is asynchronous. */
async function connections(proxy: TestProxy, count: number): Promise<void> {
  await waitUntil(`there are ${count} connections`, () => proxy.server.counters().connections === count);
}

Deno.test("maxConnections: the one too many is closed, the others go on, a place that is left can be taken", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy({ limits: { maxConnections: 2 } });
  const host = `plain.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  using first = await dialRaw(proxy.httpPort);
  assertEquals(await statusOf(first, get(host)), "200"); // who says nothing would make room for the next
  using second = await dialRaw(proxy.httpPort);
  assertEquals(await statusOf(second, get(host)), "200");
  using third = await dialRaw(proxy.tlsPort); // the limit is for both ports
  assertEquals(await soon("the end", third.isClosed()), true);
  await proxy.waitLine(/^deny client=- reason=overload$/);
  assertEquals([await statusOf(first, get(host)), await statusOf(second, get(host))], ["200", "200"]);
  first[Symbol.dispose]();
  await connections(proxy, 1);
  using fourth = await dialRaw(proxy.httpPort);
  assertEquals(await statusOf(fourth, get(host)), "200");
});

Deno.test("maxConnectionsPerClient: one client's connections do not take another's", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy({ limits: { maxConnectionsPerClient: 2 } });
  const host = `plain.test:${upstream.port}`;
  proxy.policy.addClient("two", TWO);
  for (const client of ["one", "two"]) {
    proxy.policy.allow(client, { host: "plain.test", ports: [upstream.port] });
  }
  using first = await dialRaw(proxy.httpPort);
  using second = await dialRaw(proxy.httpPort);
  using third = await dialRaw(proxy.httpPort);
  using other = await dialRaw(proxy.httpPort);
  assertEquals([await statusOf(first, get(host)), await statusOf(second, get(host))], ["200", "200"]);
  assertEquals(await statusOf(third, get(host)), "429 quota");
  assertEquals([await statusOf(other, get(host, TWO)), await statusOf(first, get(host))], ["200", "200"]);
  await proxy.waitLine(/^deny client=- method=GET .* status=429 reason=quota$/);
  first[Symbol.dispose]();
  await connections(proxy, 3);
  assertEquals(await statusOf(third, get(host)), "200");
});

Deno.test("maxUnauthenticated: who has not said who it is makes room, the oldest first; who has, does not", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy({ limits: { maxUnauthenticated: 2 } });
  const host = `plain.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  using known = await dialRaw(proxy.httpPort);
  assertEquals(await statusOf(known, get(host)), "200");
  using first = await dialRaw(proxy.httpPort);
  assertEquals(await statusOf(first, get(host, "wrong")), "407 auth-invalid"); // which says nothing
  using second = await dialRaw(proxy.tlsPort);
  await connections(proxy, 3);
  using third = await dialRaw(proxy.httpPort);
  assertEquals(await soon("the end", first.isClosed()), true);
  await proxy.waitLine(/^deny client=- reason=quota$/);
  using fourth = await dialRaw(proxy.httpPort);
  assertEquals(await soon("the end", second.isClosed()), true);
  assertEquals([await statusOf(third, get(host)), await statusOf(fourth, get(host))], ["200", "200"]);
  using fifth = await dialRaw(proxy.httpPort);
  assertEquals([await statusOf(fifth, get(host)), await statusOf(known, get(host))], ["200", "200"]);
});

Deno.test("maxConnections: silent ones make room for who comes and says who it is", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy({ limits: { maxConnections: 2 } });
  const host = `plain.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  using silent = await dialRaw(proxy.httpPort);
  await connections(proxy, 1);
  using first = await dialRaw(proxy.httpPort);
  assertEquals(await statusOf(first, get(host)), "200");
  using second = await dialRaw(proxy.httpPort);
  assertEquals(await soon("the end", silent.isClosed()), true);
  assertEquals([await statusOf(second, get(host)), await statusOf(first, get(host))], ["200", "200"]);
  using third = await dialRaw(proxy.httpPort); // both are known
  assertEquals(await soon("the end", third.isClosed()), true);
  await proxy.waitLine(/^deny client=- reason=overload$/);
});

Deno.test("maxWrongTokensPerSourcePerMinute: guessing ends, and nobody with a right long token notices", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  const clock = new FakeClock();
  await using proxy = await startTestProxy({ clock, limits: { maxWrongTokensPerSourcePerMinute: 3 } });
  const host = `plain.test:${upstream.port}`;
  proxy.policy.addClient("pin", "1234");
  for (const client of ["one", "pin"]) {
    proxy.policy.allow(client, { host: "plain.test", ports: [upstream.port] });
  }
  const ask = async (token: string) => {
    using peer = await dialRaw(proxy.httpPort);
    return await statusOf(peer, get(host, token));
  };
  for (let i = 0; i < 3; i++) assertEquals(await ask(`000${i}`), "407 auth-invalid");
  assertEquals([await ask("0004"), await ask("1234")], ["429 auth-throttled", "429 auth-throttled"]);
  assertEquals(await ask(TOKEN), "200");
  await proxy.waitLine(/^deny client=- method=GET .* status=429 reason=auth-throttled$/);
  // SOCKS asks the same count, and lets the same tokens pass.
  for (const [token, answer] of [["1234", 1], [TOKEN, 0]] as const) {
    using socks = await dialRaw(proxy.httpPort);
    await socks.send("\x05\x01\x02");
    assertEquals(await soon("a method", socks.readBytes(2)), "\x05\x02");
    await socks.send(`\x01\x00${String.fromCharCode(token.length)}${token}`);
    assertEquals(await soon("an answer", socks.readBytes(2)), `\x01${String.fromCharCode(answer)}`);
  }
  clock.advance(60_000);
  assertEquals(await ask("1234"), "200");
});

Deno.test("maxPendingDials: per client, per destination and in all; a dial that is over counts no more", async () => {
  await using silent = startSilentPeer();
  await using other = startSilentPeer();
  await using upstream = await startEchoUpstream();
  const limits = { maxPendingDialsPerClient: 2, maxPendingDialsPerDestination: 3, maxPendingDials: 4 };
  await using proxy = await startTestProxy({ limits });
  const tokens = { one: TOKEN, two: TWO, three: "token_of_client_three_00" };
  proxy.policy.addClient("two", TWO);
  proxy.policy.addClient("three", tokens.three);
  const ports = [silent.port, other.port, upstream.port];
  for (const client of Object.keys(tokens)) proxy.policy.allow(client, { host: "up.test", ports });
  const open: RawPeer[] = [];
  const ask = async (client: keyof typeof tokens, port: number) => {
    const tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${port}`, tokens[client], proxy.caPem);
    open.push(tunnel);
    await tunnel.send(`GET / HTTP/1.1\r\nHost: up.test:${port}\r\n\r\n`);
    return tunnel;
  };
  const answer = async (tunnel: RawPeer) => {
    const { status, head } = await soon("an answer", tunnel.readResponse());
    return `${status} ${/X-Slicer-Proxy-Reason: (\S+)/.exec(head)?.[1] ?? ""}`.trim();
  };
  const pending = async (count: number) =>
    await waitUntil(
      `${count} dials are pending`,
      () => silent.accepted.length + other.accepted.length === count,
    );
  await ask("one", silent.port);
  await ask("one", silent.port);
  await pending(2);
  assertEquals(await answer(await ask("one", upstream.port)), "429 quota");
  assertEquals(await answer(await ask("two", upstream.port)), "200"); // and is over
  await ask("two", silent.port);
  await pending(3);
  assertEquals(await answer(await ask("two", silent.port)), "503 overload"); // the destination's
  const last = await ask("two", other.port);
  await pending(4);
  assertEquals(await answer(await ask("three", upstream.port)), "503 overload"); // all
  last[Symbol.dispose]();
  await waitUntil("a place is free", () => proxy.server.counters().connections < open.length);
  const late = await ask("three", upstream.port);
  assertEquals(await answer(late), "200");
  for (const tunnel of open) tunnel[Symbol.dispose]();
});

/** A minute that does not end under a test. */
const MINUTE = {
  now: () => Math.floor(performance.timeOrigin / 60_000) * 60_000,
  monotonic: () => performance.now(),
};

Deno.test("maxMintsPerClientPerMinute: new hosts are refused, known hosts and other clients are not", async () => {
  let now = MINUTE.now();
  const clock = { ...MINUTE, now: () => now };
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({ clock, limits: { maxMintsPerClientPerMinute: 2 } });
  proxy.policy.addClient("two", TWO);
  for (const client of ["one", "two"]) proxy.policy.allow(client, { host: "*", ports: [upstream.port] });
  const open = async (host: string, token = TOKEN) => {
    const { peer, status } = await askTunnel(proxy.httpPort, `${host}:${upstream.port}`, token);
    if (status !== 200) {
      peer[Symbol.dispose]();
      return status;
    }
    using tls = await Deno.startTls(peer.conn as Deno.TcpConn, { hostname: host, caCerts: [proxy.caPem] });
    return await tls.handshake().then(() => 200, () => "no handshake");
  };
  assertEquals([await open("a.test"), await open("b.test"), await open("c.test")], [200, 200, 429]);
  assertEquals([await open("a.test"), await open("c.test", TWO), await open("c.test")], [200, 200, 200]);
  assertEquals(await open("d.test"), 429);
  now += 60_000;
  assertEquals(await open("d.test"), 200);
  await proxy.waitLine(/^deny client=one method=CONNECT host=c\.test port=\d+ status=429 reason=new-hosts$/);
});

Deno.test("maxMintsPerClientPerMinute: the refusal says which limit and when, in HTTP and in SOCKS", async () => {
  await using proxy = await startTestProxy({ clock: MINUTE, limits: { maxMintsPerClientPerMinute: 1 } });
  proxy.policy.allow("one", { host: "*.test", ports: [443] });
  using _first = await openTunnel(proxy.httpPort, "a.test:443", TOKEN);
  const { peer, head, body } = await askTunnel(proxy.httpPort, "b.test:443");
  peer[Symbol.dispose]();
  assertMatch(head, /^HTTP\/1\.1 429 slicer-proxy: new-hosts \(b\.test\)\r\n/);
  assertMatch(head, /\r\nRetry-After: 60\r\n/);
  assertStringIncludes(body, "asked for 1 new hosts in this minute");
  assertStringIncludes(body, "--new-hosts-per-minute");
  const socks = await askSocks5(proxy.httpPort, { host: "c.test", port: 443 }, { token: TOKEN });
  assertEquals(socks.code, 1); // a general failure: the ruleset has nothing against it
  socks.peer[Symbol.dispose]();
  await proxy.waitLine(/^deny client=one method=SOCKS5 host=c\.test port=443 reason=new-hosts$/);
});

Deno.test("maxMintsPerClientPerMinute: hosts with a certificate at hand, and tunnels to one host at once, do not count", async () => {
  const warm = new Set(["warm1.test", "warm2.test"]);
  await using proxy = await startTestProxy({
    clock: MINUTE,
    limits: { maxMintsPerClientPerMinute: 2 },
    certificates: { isWarm: (host) => warm.has(host) },
  });
  proxy.policy.allow("one", { host: "*.test", ports: [443] });
  const statuses = async (...hosts: readonly string[]) => {
    const tunnels = await Promise.all(
      hosts.map((host) => askTunnel(proxy.httpPort, `${host}:443`)),
    );
    for (const { peer } of tunnels) peer[Symbol.dispose]();
    return tunnels.map(({ status }) => status);
  };
  assertEquals(await statuses("a.test", "a.test", "a.test", "a.test"), [200, 200, 200, 200]);
  assertEquals(await statuses("warm1.test", "warm2.test", "b.test"), [200, 200, 200]);
  assertEquals(await statuses("c.test"), [429]);
  assertEquals(await statuses("warm1.test", "a.test"), [200, 200]);
});

Deno.test("maxMintsPerClientPerMinute: --explain=inside denies at CONNECT what it has no certificate for", async () => {
  await using proxy = await startTestProxy({
    clock: MINUTE,
    explain: "inside",
    limits: { maxMintsPerClientPerMinute: 1 },
  });
  const first = await askTunnel(proxy.httpPort, "a.test:443");
  first.peer[Symbol.dispose]();
  const second = await askTunnel(proxy.httpPort, "b.test:443");
  second.peer[Symbol.dispose]();
  assertEquals([first.status, second.status], [200, 403]);
  await proxy.waitLine(/^deny client=one method=CONNECT host=b\.test port=443 mode=strict reason=no-rule$/);
});

Deno.test("maxTlsListeners: the one unused for longest is closed, sessions in it live on, and it comes back", async () => {
  await using upstream = await startEchoUpstream({
    names: ["a.test", "b.test", "c.test", "d.test", "e.test", "f.test"],
  });
  await using proxy = await startTestProxy({ limits: { maxTlsListeners: 3 } });
  proxy.policy.allow("one", { host: "*.test", ports: [upstream.port] });
  const tunnels: RawPeer[] = [];
  for (const name of ["a", "b", "c", "d", "e", "f"]) {
    tunnels.push(await openTlsTunnel(proxy.httpPort, `${name}.test:${upstream.port}`, TOKEN, proxy.caPem));
    assert(proxy.server.counters().tlsListeners <= 3);
  }
  for (const [i, name] of ["a", "b", "c", "d", "e", "f"].entries()) {
    const peer = tunnels[i];
    await peer?.send(`GET / HTTP/1.1\r\nHost: ${name}.test:${upstream.port}\r\n\r\n`);
    assertEquals((await peer?.readResponse())?.status, 200);
  }
  tunnels.push(await openTlsTunnel(proxy.httpPort, `a.test:${upstream.port}`, TOKEN, proxy.caPem));
  for (const tunnel of tunnels) tunnel[Symbol.dispose]();
});

Deno.test("many more hosts at once than maxTlsListeners all get through", async () => {
  await using proxy = await startTestProxy({
    limits: { maxTlsListeners: 2, maxMintsPerClientPerMinute: 40 },
  });
  proxy.policy.allow("one", { host: "*.test", ports: [443] });
  const tunnels = await soon(
    "all tunnels",
    Promise.all(
      Array.from(
        { length: 20 },
        (_, i) => openTlsTunnel(proxy.httpPort, `h${i}.test:443`, TOKEN, proxy.caPem),
      ),
    ),
    30_000,
  );
  assert(proxy.server.counters().tlsListeners <= 2);
  for (const tunnel of tunnels) tunnel[Symbol.dispose]();
});

Deno.test("headTimeoutMs: silence, and a head that takes too long", async (t) => {
  await using proxy = await startTestProxy({ limits: { headTimeoutMs: 200 } });
  for (const port of [proxy.httpPort, proxy.tlsPort]) {
    await t.step("silence", async () => {
      using peer = await dialRaw(port);
      assertEquals(await soon("the end", peer.isClosed()), true);
    });
  }
  await t.step("slowloris", async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send("GET http://plain.test/ HTTP/1.1\r\nHost: plain");
    assertMatch(await soon("an answer", peer.readAll()), /^HTTP\/1\.1 408 /);
    await proxy.waitLine(/^deny client=- status=408 reason=idle-timeout$/);
  });
  await t.step("silence in a tunnel", async () => {
    proxy.policy.allow("one", { host: "up.test", ports: [443] });
    using tunnel = await openTunnel(proxy.httpPort, "up.test:443", TOKEN);
    assertEquals(await soon("the end", tunnel.isClosed()), true);
    await proxy.waitLine(/^deny client=one method=CONNECT host=up\.test .* reason=tls-no-client-hello$/);
  });
});

Deno.test("headTimeoutMs does not cut a head that comes in time", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy({ limits: { headTimeoutMs: 5_000 } });
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  const text = get(`plain.test:${upstream.port}`);
  for (const letter of text.slice(0, -4)) await peer.send(letter);
  assertEquals(await statusOf(peer, text.slice(-4)), "200");
});

Deno.test("keepAliveTimeoutMs: an idle connection is closed, one that is used is not", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy({ limits: { keepAliveTimeoutMs: 2_000 } });
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  for (const until = performance.now() + 3_000; performance.now() < until;) {
    assertEquals(await statusOf(peer, get(`plain.test:${upstream.port}`)), "200");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const restedAt = performance.now();
  assertEquals(await soon("the end", peer.isClosed()), true);
  assert(performance.now() - restedAt > 1_000);
});

Deno.test("handshakeTimeoutMs: half a ClientHello, on the TLS port and in a tunnel", async (t) => {
  await using proxy = await startTestProxy({ limits: { handshakeTimeoutMs: 200 } });
  proxy.policy.allow("one", { host: "up.test", ports: [443] });
  const half = makeClientHello({ serverName: "up.test" }).subarray(0, 40);
  await t.step("TLS port", async () => {
    using peer = await dialRaw(proxy.tlsPort);
    await peer.sendBytes(half);
    assertEquals(await soon("the end", peer.isClosed()), true);
    await proxy.waitLine(/^deny client=- reason=tls-handshake$/);
  });
  await t.step("tunnel", async () => {
    using tunnel = await openTunnel(proxy.httpPort, "up.test:443", TOKEN);
    await tunnel.sendBytes(half);
    assertEquals(await soon("the end", tunnel.isClosed()), true);
    await proxy.waitLine(/^deny client=one method=CONNECT .* reason=tls-no-client-hello$/);
  });
  await t.step("tunnel, after the ClientHello", async () => {
    using tunnel = await openTunnel(proxy.httpPort, "up.test:443", TOKEN);
    await tunnel.conn.write(await realClientHello("up.test"));
    await soon("the end", tunnel.readAll());
    await proxy.waitLine(/^deny client=one method=CONNECT .* reason=tls-handshake$/);
  });
  await waitUntil("all are over", () => proxy.server.counters().connections === 0);
});

Deno.test("responseTimeoutMs: 504; bodyIdleTimeoutMs: the body is cut, or the request answered 408", async (t) => {
  const held = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream(async (peer) => {
    if ((await peer.readHead()).includes("/body")) {
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    }
    await held.promise;
  }, { names: [] });
  await using proxy = await startTestProxy({ limits: { responseTimeoutMs: 300, bodyIdleTimeoutMs: 200 } });
  const host = `plain.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  await t.step("no response", async () => {
    using peer = await dialRaw(proxy.httpPort);
    assertEquals(await statusOf(peer, get(host)), "504 upstream-timeout");
  });
  await t.step("half a response body", async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send(get(host, TOKEN, "/body"));
    assertStringIncludes(await soon("the end", peer.readAll()), "\r\n\r\nhalf");
    await proxy.waitLine(/^allow client=one method=GET .* status=200 reason=upstream-timeout /);
  });
  await t.step("half a request body", async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send(
      `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${
        basic(TOKEN)
      }\r\nContent-Length: 9\r\n\r\nhalf`,
    );
    const answer = await soon("an answer", peer.readAll());
    assertMatch(answer, /^HTTP\/1\.1 408 /);
  });
  held.resolve();
});

Deno.test("responseTimeoutMs of a rule counts in the place of the proxy's", async (t) => {
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    await peer.isClosed();
  });
  const rows: readonly { readonly proxyMs: number; readonly ruleMs?: number }[] = [
    { proxyMs: 100 },
    { proxyMs: 600_000, ruleMs: 1_000 },
  ];
  for (const { proxyMs, ruleMs } of rows) {
    await t.step(`${proxyMs} ms, of the rule ${ruleMs}`, async () => {
      await using proxy = await startTestProxy({ limits: { responseTimeoutMs: proxyMs } });
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], responseTimeoutMs: ruleMs });
      using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
      await peer.send(`GET / HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
      assertEquals((await peer.readResponse()).status, 504);
    });
  }
});

Deno.test("tunnelIdleTimeoutMs and halfCloseTimeoutMs end a WebSocket", async (t) => {
  for (
    const [name, limits, ends] of [
      ["idle", { tunnelIdleTimeoutMs: 250 }, false],
      ["half-closed", { halfCloseTimeoutMs: 250 }, true],
    ] as const
  ) {
    await t.step(name, async () => {
      const held = Promise.withResolvers<void>();
      await using upstream = await startRawUpstream(async (peer) => {
        await peer.readHead();
        await peer.send(
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        );
        await held.promise;
      }, { names: [] });
      await using proxy = await startTestProxy({ limits });
      proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
      const host = `plain.test:${upstream.port}`;
      using peer = await dialRaw(proxy.httpPort);
      await peer.send(
        `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${
          basic(TOKEN)
        }\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      );
      assertMatch(await peer.readHead(), /^HTTP\/1\.1 101 /);
      if (ends) await peer.conn.closeWrite();
      assertEquals(await soon("the end", peer.isClosed()), true);
      await proxy.waitLine(/^allow .* status=101 reason=idle-timeout /);
      held.resolve();
    });
  }
});

Deno.test("repeated denials are coalesced into one line that counts them", async () => {
  const lines: string[] = [];
  {
    await using proxy = await startTestProxy();
    using peer = await dialRaw(proxy.httpPort);
    for (let i = 0; i < 40; i++) {
      assertEquals(await statusOf(peer, connectText("no.test:443")), "403 no-rule");
    }
    for (let i = 0; i < 3; i++) {
      assertEquals(await statusOf(peer, connectText("other.test:443")), "403 no-rule");
    }
    await proxy.server[Symbol.asyncDispose]();
    await proxy.audit[Symbol.asyncDispose]();
    lines.push(...proxy.lines);
  }
  const of = (host: string) => lines.filter((line) => line.includes(`host=${host}`));
  assertEquals(of("no.test").length, 6);
  assertMatch(of("no.test").at(-1) ?? "", /^deny client=one method=CONNECT .* reason=no-rule repeated=35$/);
  assertEquals(of("other.test").length, 3);
});

Deno.test("a client that holds all it may does not keep another from working", async () => {
  await using silent = startSilentPeer();
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({
    limits: { maxConnectionsPerClient: 8, maxPendingDialsPerClient: 4, maxMintsPerClientPerMinute: 4 },
  });
  proxy.policy.addClient("two", TWO);
  proxy.policy.allow("one", { host: "*", ports: [silent.port] });
  proxy.policy.allow("two", { host: "up.test", ports: [upstream.port] });
  const greedy: RawPeer[] = [];
  for (let i = 0; i < 12; i++) {
    const peer = await dialRaw(proxy.httpPort);
    greedy.push(peer);
    await peer.send(get(`h${i}.test:${silent.port}`));
  }
  await waitUntil("it has all it may", () => silent.accepted.length === 8);
  using tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TWO, proxy.caPem);
  for (let i = 0; i < 20; i++) {
    await tunnel.send(`GET / HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
    assertEquals((await soon("an answer", tunnel.readResponse())).status, 200);
  }
  for (const peer of greedy) peer[Symbol.dispose]();
});

/** What a TLS library sends first, and then nothing. */
async function realClientHello(hostname: string): Promise<Uint8Array<ArrayBuffer>> {
  await using silent = startSilentPeer();
  const tls = await Deno.startTls(await Deno.connect({ hostname: "127.0.0.1", port: silent.port }), {
    hostname,
  });
  const handshake = tls.handshake().catch(() => {});
  await waitUntil("it is connected", () => silent.accepted.length === 1);
  const buffer = new Uint8Array(16_384);
  const count = await silent.accepted[0]?.read(buffer) ?? 0;
  silent.accepted[0]?.close();
  await handshake;
  tls.close();
  return buffer.slice(0, count);
}

Deno.test("of thousands of requests in one write a few are served in a turn", async () => {
  await using proxy = await startTestProxy();
  const count = 2_000;
  const served = () => proxy.audit.totals.denials["no-rule"];
  let most = 0;
  let last = 0;
  let isOver = false;
  const look = () => {
    most = Math.max(most, served() - last);
    last = served();
    if (!isOver) setImmediate(look);
  };
  using peer = await dialRaw(proxy.httpPort);
  look();
  await peer.send(get("nowhere.test").repeat(count));
  for (let i = 0; i < count; i++) await peer.readResponse();
  isOver = true;
  assertEquals(served(), count);
  assert(most <= 32, `${most} in a turn`);
});
