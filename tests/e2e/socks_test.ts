/** SOCKS at the ports: who gets in, to where, how it is answered and logged. */
import { assertEquals, assertMatch } from "@std/assert";
import { RawPeer } from "../support/raw_peer.ts";
import { startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { startTlsWrap } from "../support/forwarder.ts";
import { askSocks4, askSocks5 } from "../support/socks_client.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxyOptions, TOKEN } from "../support/start_proxy.ts";

/** A line echo in clear, and a proxy. */
async function setUp(options: TestProxyOptions = {}) {
  const stack = new AsyncDisposableStack();
  const upstream = stack.use(
    await startRawUpstream(async (peer) => {
      for (;;) await peer.send(await peer.readUntil("\n"));
    }, { names: [] }),
  );
  const proxy = stack.use(await startTestProxy(options));
  return { upstream, proxy, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function echoes(peer: RawPeer): Promise<boolean> {
  await peer.send("hello\n");
  return await soon("the echo", peer.readUntil("\n")) === "hello\n";
}

Deno.test("SOCKS5 with a token: names and addresses, on both ports and inside TLS, whole and byte by byte", async (t) => {
  await using setup = await setUp();
  const { upstream: { port }, proxy } = setup;
  await using wrapped = startTlsWrap(proxy.tlsPort, proxy.caPem);
  proxy.policy.allow("one", { host: "raw.test", ports: [port], passthrough: true });
  proxy.policy.allow("one", { host: "127.0.0.1", ports: [port], passthrough: true });
  const ports = {
    "the plain port": proxy.httpPort,
    "the TLS port in clear": proxy.tlsPort,
    "TLS": wrapped.port,
  };
  for (const [name, proxyPort] of Object.entries(ports)) {
    for (const host of ["raw.test", "127.0.0.1"]) {
      for (const isSlow of [false, true]) {
        await t.step(`${host} through ${name}${isSlow ? ", byte by byte" : ""}`, async () => {
          const known = proxy.lines.length;
          const { peer, method, login, code } = await askSocks5(proxyPort, { host, port }, {
            token: TOKEN,
            isSlow,
          });
          assertEquals([method, login, code], [2, 0, 0]);
          assertEquals(await echoes(peer), true);
          peer[Symbol.dispose]();
          await waitUntil("it is logged", () => proxy.lines.length > known);
          assertMatch(
            proxy.lines[known] ?? "",
            new RegExp(`^passthrough client=one host=${host} port=${port} sent=6 received=6 duration=`),
          );
        });
      }
    }
  }
});

Deno.test("passthrough tunnels let their grants go when they end, and when their dial failed", async () => {
  await using setup = await setUp();
  const { upstream: { port }, proxy } = setup;
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const refusing = closed.addr.port;
  closed.close();
  proxy.policy.allow("one", { host: "raw.test", ports: [port, refusing], passthrough: true });
  for (let i = 0; i < 3; i++) {
    const { peer } = await askSocks5(proxy.httpPort, { host: "raw.test", port }, { token: TOKEN });
    assertEquals(await echoes(peer), true);
    assertEquals(proxy.server.counters().openGrants > 0, true);
    peer[Symbol.dispose]();
    const failed = await askSocks5(proxy.httpPort, { host: "raw.test", port: refusing }, { token: TOKEN });
    assertEquals(failed.code, 5);
    failed.peer[Symbol.dispose]();
  }
  await waitUntil("all is over", () => proxy.server.counters().connections === 0);
  await waitUntil("no grant is held", () => proxy.server.counters().openGrants === 0);
});

Deno.test("SOCKS5 to an IPv6 address", async () => {
  const listener = Deno.listen({ hostname: "::1", port: 0 });
  const { port } = listener.addr;
  const serving = (async () => {
    using peer = new RawPeer(await listener.accept());
    await peer.send(await peer.readUntil("\n"));
  })();
  await using proxy = await startTestProxy({ allowCidrs: ["::1/128"] });
  proxy.policy.allow("one", { host: "::1", ports: [port], passthrough: true });
  const { peer, code } = await askSocks5(proxy.httpPort, { host: "::1", port }, { token: TOKEN });
  assertEquals(code, 0);
  assertEquals(await echoes(peer), true);
  peer[Symbol.dispose]();
  await serving;
  listener.close();
  await proxy.waitLine(/^passthrough client=one host=::1 port=/);
});

Deno.test("SOCKS: an inspected host has TLS ended and its credential injected", async (t) => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  await using wrapped = startTlsWrap(proxy.tlsPort, proxy.caPem);
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "key", paths: ["/v1/*"] });
  for (const [name, port] of [["clear", proxy.httpPort], ["TLS", wrapped.port]] as const) {
    await t.step(name, async () => {
      const { peer, code } = await askSocks5(port, { host: "up.test", port: upstream.port }, {
        token: TOKEN,
      });
      assertEquals(code, 0);
      using tls = new RawPeer(
        await Deno.startTls(peer.conn as Deno.TcpConn, { hostname: "up.test", caCerts: [proxy.caPem] }),
      );
      await tls.send(`GET /v1/a HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nAuthorization: FAKE\r\n\r\n`);
      assertEquals(JSON.parse((await tls.readResponse()).body).headers[1], "Authorization: Bearer REAL");
      await tls.send(`GET /v2 HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
      assertEquals((await tls.readResponse()).status, 403);
    });
  }
  await proxy.waitLine(
    /^deny client=one method=GET scheme=https host=up\.test .* path=\/v2 mode=strict reason=no-rule$/,
  );
});

Deno.test("SOCKS5 with a wrong token is refused, even where none is needed", async () => {
  await using setup = await setUp();
  const { upstream: { port }, proxy } = setup;
  proxy.policy.allow("one", { host: "raw.test", ports: [port], passthrough: true });
  const { peer, method, login, code } = await askSocks5(proxy.httpPort, { host: "raw.test", port }, {
    token: "wrong",
  });
  assertEquals([method, login, code], [2, 1, undefined]);
  assertEquals(await soon("the end", peer.isClosed()), true);
  peer[Symbol.dispose]();
  await proxy.waitLine(/^deny client=- method=SOCKS5 reason=auth-invalid$/);
  assertEquals(setup.upstream.connections, 0);
});

Deno.test("SOCKS without credentials: exactly the passthrough rules of SPEC section 2", async (t) => {
  await using setup = await setUp();
  const { upstream: { port }, proxy } = setup;
  const { policy } = proxy;
  const row = async (name: string, isLetIn: boolean, prepare: () => void, host = "raw.test") => {
    await t.step(name, async () => {
      policy.removeClient("one");
      policy.addClient("one", TOKEN);
      prepare();
      const known = setup.upstream.connections;
      const five = await askSocks5(proxy.httpPort, { host, port });
      const four = await askSocks4(proxy.httpPort, { host, port });
      assertEquals([five.code, four.code], isLetIn ? [0, 0x5a] : [2, 0x5b]);
      if (isLetIn) assertEquals([await echoes(five.peer), await echoes(four.peer)], [true, true]);
      five.peer[Symbol.dispose]();
      four.peer[Symbol.dispose]();
      if (!isLetIn) assertEquals(setup.upstream.connections, known);
    });
  };
  const exact = { host: "raw.test", ports: [port], passthrough: true };
  await row("an exact host and port", true, () => void policy.allow("one", exact));
  await row(
    "an exact address and port",
    true,
    () => void policy.allow("one", { ...exact, host: "127.0.0.1" }),
    "127.0.0.1",
  );
  await row("a wildcard host", false, () => void policy.allow("one", { ...exact, host: "*.test" }));
  await row("any host", false, () => void policy.allow("one", { ...exact, host: "*" }));
  await row("no passthrough", false, () => void policy.allow("one", { host: "raw.test", ports: [port] }));
  await row("another port", false, () => void policy.allow("one", { ...exact, ports: [port + 1] }));
  await row("an earlier rule that inspects", false, () => {
    policy.allow("one", { host: "raw.test", ports: [port], paths: ["/x"] });
    policy.allow("one", exact);
  });
  await row("a later rule that inspects", true, () => {
    policy.allow("one", exact);
    policy.allow("one", { host: "raw.test", ports: [port] });
  });
  await proxy.waitLine(
    new RegExp(
      `^passthrough client=- auth=none rule-owner=one host=raw\\.test port=${port} sent=6 received=6 duration=`,
    ),
  );
  await proxy.waitLine(/^deny client=- auth=none method=SOCKS5 host=raw\.test port=\d+ reason=auth-missing$/);
  await proxy.waitLine(/^deny client=- auth=none method=SOCKS4 host=raw\.test port=\d+ reason=auth-missing$/);
});

Deno.test("SOCKS without credentials reaches no default port", async () => {
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "raw.test", passthrough: true });
  const { peer, code } = await askSocks5(proxy.httpPort, { host: "raw.test", port: 443 });
  assertEquals(code, 2);
  peer[Symbol.dispose]();
});

Deno.test("SOCKS without credentials does not reach where the proxy renews its credentials", async () => {
  await using setup = await setUp();
  const { upstream: { port }, proxy } = setup;
  proxy.policy.allow("one", { host: "raw.test", ports: [port], passthrough: true });
  proxy.policy.isTokenEndpoint = () => true;
  const { peer, code } = await askSocks5(proxy.httpPort, { host: "raw.test", port });
  assertEquals(code, 2);
  peer[Symbol.dispose]();
  await proxy.waitLine(/^deny client=- auth=none method=SOCKS5 .* reason=token-endpoint$/);
  assertEquals(setup.upstream.connections, 0);
});

Deno.test("--socks-auth=required refuses SOCKS without credentials, and nothing else", async () => {
  await using setup = await setUp({ socksAuth: "required" });
  const { upstream: { port }, proxy } = setup;
  proxy.policy.allow("one", { host: "raw.test", ports: [port], passthrough: true });
  const target = { host: "raw.test", port };
  const none = await askSocks5(proxy.httpPort, target);
  assertEquals([none.method, none.code], [255, undefined]);
  const four = await askSocks4(proxy.httpPort, target);
  assertEquals(four.code, 0x5b);
  const named = await askSocks5(proxy.httpPort, target, { token: TOKEN });
  assertEquals(await echoes(named.peer), true);
  for (const { peer } of [none, four, named]) peer[Symbol.dispose]();
  await proxy.waitLine(/^deny client=- method=SOCKS5 reason=auth-missing$/);
  await proxy.waitLine(/^deny client=- method=SOCKS4 reason=auth-missing$/);
});

Deno.test("SOCKS without credentials has a quota of its own, and others go on", async () => {
  await using setup = await setUp({ limits: { maxAnonymousConnections: 2 } });
  const { upstream: { port }, proxy } = setup;
  const target = { host: "raw.test", port };
  proxy.policy.allow("one", { host: "raw.test", ports: [port], passthrough: true });
  const [first, second] = [await askSocks5(proxy.httpPort, target), await askSocks4(proxy.httpPort, target)];
  const third = await askSocks5(proxy.httpPort, target);
  assertEquals([first.code, second.code, third.code], [0, 0x5a, 1]);
  const named = await askSocks5(proxy.httpPort, target, { token: TOKEN });
  assertEquals([await echoes(first.peer), await echoes(second.peer), await echoes(named.peer)], [
    true,
    true,
    true,
  ]);
  await proxy.waitLine(/^deny client=- auth=none method=SOCKS5 host=raw\.test .* reason=quota$/);
  first.peer[Symbol.dispose]();
  await proxy.waitLine(/^passthrough client=- auth=none rule-owner=one /);
  const again = await askSocks5(proxy.httpPort, target);
  assertEquals(again.code, 0);
  for (const { peer } of [second, third, named, again]) peer[Symbol.dispose]();
});

Deno.test("SOCKS without credentials ends with the rule, and with its owner", async (t) => {
  for (const what of ["rule", "owner"]) {
    await t.step(what, async () => {
      await using setup = await setUp();
      const { upstream: { port }, proxy } = setup;
      const rule = proxy.policy.allow("one", { host: "raw.test", ports: [port], passthrough: true });
      const { peer } = await askSocks5(proxy.httpPort, { host: "raw.test", port });
      assertEquals(await echoes(peer), true);
      if (what === "rule") proxy.policy.revoke(rule);
      else proxy.policy.removeClient("one");
      assertEquals(await soon("the end", peer.isClosed()), true);
      peer[Symbol.dispose]();
      await proxy.waitLine(/^passthrough client=- auth=none rule-owner=one .* reason=revoked sent=6 /);
    });
  }
});

Deno.test("SOCKS answers with the code that fits, and logs why", async (t) => {
  await using proxy = await startTestProxy({ allowCidrs: ["127.0.0.0/8", "255.255.255.255/32"] });
  const { policy } = proxy;
  for (const host of ["raw.test", "raw.invalid", "255.255.255.255", "169.254.169.254"]) {
    policy.allow("one", { host, ports: [1], passthrough: true });
  }
  const rows:
    readonly (readonly [string, { host: string; port: number; command?: number }, number, RegExp])[] = [
      ["BIND", { host: "raw.test", port: 1, command: 2 }, 7, /method=SOCKS5 reason=malformed$/],
      ["UDP ASSOCIATE", { host: "0.0.0.0", port: 0, command: 3 }, 7, /method=SOCKS5 reason=malformed$/],
      [
        "no rule",
        { host: "other.test", port: 1 },
        2,
        /client=one method=SOCKS5 host=other\.test port=1 mode=strict reason=no-rule$/,
      ],
      [
        "refused",
        { host: "raw.test", port: 1 },
        5,
        /client=one method=SOCKS5 host=raw\.test port=1 reason=connect-refused$/,
      ],
      [
        "unreachable",
        { host: "255.255.255.255", port: 1 },
        4,
        /host=255\S+ port=1 reason=connect-unreachable$/,
      ],
      ["no such name", { host: "raw.invalid", port: 1 }, 4, /host=raw\.invalid port=1 reason=dns$/],
      [
        "a denied address",
        { host: "169.254.169.254", port: 1 },
        2,
        /host=169\S+ port=1 mode=strict reason=address-denied$/,
      ],
    ];
  for (const [name, target, code, line] of rows) {
    await t.step(name, async () => {
      const answer = await askSocks5(proxy.httpPort, target, { token: TOKEN });
      assertEquals(answer.code, code);
      assertEquals(await soon("the end", answer.peer.isClosed()), true);
      answer.peer[Symbol.dispose]();
      await proxy.waitLine(line);
    });
  }
  await t.step("SOCKS4 BIND", async () => {
    const answer = await askSocks4(proxy.httpPort, { host: "raw.test", port: 1, command: 2 });
    assertEquals(answer.code, 0x5b);
    answer.peer[Symbol.dispose]();
  });
});

Deno.test("SOCKS in audit mode looks into an unknown host, logs its first request and never dials", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({ mode: "audit" });
  const { peer, code } = await askSocks5(proxy.httpPort, { host: "up.test", port: upstream.port }, {
    token: TOKEN,
  });
  assertEquals(code, 0);
  using tls = new RawPeer(
    await Deno.startTls(peer.conn as Deno.TcpConn, { hostname: "up.test", caCerts: [proxy.caPem] }),
  );
  await tls.send(`GET /a HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
  assertEquals((await tls.readResponse()).status, 403);
  await proxy.waitLine(/^deny client=one method=GET .* path=\/a mode=audit reason=no-rule$/);
  assertEquals(upstream.connections, 0);
});

Deno.test("SOCKS: a handshake that stops is ended by its time-out", async (t) => {
  await using proxy = await startTestProxy({ limits: { headTimeoutMs: 150 } });
  for (
    const [name, first] of [["a version", [5]], ["half a request", [5, 1, 0, 5, 1]], ["SOCKS4", [
      4,
      1,
      0,
    ]]] as const
  ) {
    await t.step(name, async () => {
      using peer = new RawPeer(await Deno.connect({ hostname: "127.0.0.1", port: proxy.httpPort }));
      await peer.sendBytes(Uint8Array.from(first));
      await soon("the end", peer.readAll());
    });
  }
  await waitUntil("all are over", () => proxy.server.counters().connections === 0);
});
