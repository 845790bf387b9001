/** TLS inside tunnels: what clients may say in their handshake, what upstreams may show in theirs, and what is said about it. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { makeClientHello } from "../support/client_hello.ts";
import { startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { startForwarder } from "../support/forwarder.ts";
import { hasFullBacklog, startFullBacklog } from "../support/full_backlog.ts";
import { freePort, hasProgram, runProgram, waitForPort } from "../support/programs.ts";
import { openTlsTunnel, openTunnel, RawPeer } from "../support/raw_peer.ts";
import { settledSockets, soon, startSilentPeer, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { makeAuthority, proxyAuthority, upstreamAuthority } from "../support/test_authority.ts";

const DAY = 86_400_000;

Deno.test("the SNI must be the CONNECT target, and anything else is told apart in the log", async (t) => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({ limits: { handshakeTimeoutMs: 1_000 } });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  proxy.policy.allow("one", { host: "127.0.0.1", ports: [upstream.port] });
  const hello = makeClientHello;
  const rows: readonly (readonly [string, host: string, Uint8Array, string])[] = [
    ["another host", "up.test", hello({ serverName: "evil.test" }), "host-mismatch"],
    [
      "another host behind 8 KiB of key share",
      "up.test",
      hello({ serverName: "evil.test", paddingBytes: 8_192 }),
      "host-mismatch",
    ],
    [
      "another host over many records",
      "up.test",
      hello({ serverName: "evil.test", recordBytes: 11 }),
      "host-mismatch",
    ],
    ["a host below", "up.test", hello({ serverName: "a.up.test" }), "host-mismatch"],
    ["a host for an address", "127.0.0.1", hello({ serverName: "up.test" }), "host-mismatch"],
    [
      "another handshake message",
      "up.test",
      Uint8Array.of(22, 3, 1, 0, 4, 2, 0, 0, 0),
      "tls-no-client-hello",
    ],
    [
      "a ClientHello without an end",
      "up.test",
      hello({ serverName: "up.test" }).subarray(0, 50),
      "tls-no-client-hello",
    ],
  ];
  for (const [name, host, bytes, reason] of rows) {
    await t.step(name, async () => {
      using tunnel = await openTunnel(proxy.httpPort, `${host}:${upstream.port}`, TOKEN);
      await tunnel.sendBytes(bytes);
      const answer = await soon("the end", tunnel.readAll());
      // A TLS alert for the name, else nothing: never a ServerHello.
      assertEquals(answer.charCodeAt(0), reason === "host-mismatch" ? 0x15 : NaN);
      await proxy.waitLine(
        new RegExp(`^deny client=one method=CONNECT host=${host} .* mode=strict reason=${reason}$`),
      );
    });
  }
  assertEquals(upstream.connections, 0);
});

Deno.test("handshakes that clients break off are logged with the reason", async (t) => {
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "*", ports: [443] });
  const rows: readonly (readonly [string, host: string, (conn: Deno.TcpConn) => Promise<unknown>, string])[] =
    [
      ["the CA is not trusted", "a.test", async (conn) => {
        using tls = await Deno.startTls(conn, { hostname: "a.test" });
        await tls.handshake().catch(() => {});
      }, "tls-untrusted-ca"],
      ["a ClientHello that is cut", "c.test", async (conn) => {
        const hello = makeClientHello({ serverName: "c.test" });
        await conn.write(hello.subarray(0, hello.length - 9)).catch(() => {}); // cut in its last extension
        await conn.closeWrite();
      }, "tls-no-client-hello"],
    ];
  for (const [name, host, act, reason] of rows) {
    await t.step(name, async () => {
      using tunnel = await openTunnel(proxy.httpPort, `${host}:443`, TOKEN);
      await act(tunnel.conn as Deno.TcpConn);
      await proxy.waitLine(
        new RegExp(`^deny client=one method=CONNECT host=${host.replace(".", "\\.")} .* reason=${reason}$`),
      );
    });
  }
  await t.step({
    name: "a client of TLS 1.1",
    ignore: !hasProgram("openssl"),
    fn: async () => {
      await using forwarder = startForwarder(async () =>
        (await openTunnel(proxy.httpPort, "d.test:443", TOKEN)).conn
      );
      await runProgram("openssl", [
        ...["s_client", "-connect", `127.0.0.1:${forwarder.port}`, "-servername", "d.test"],
        ...["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
      ]);
      await proxy.waitLine(/^deny client=one method=CONNECT host=d\.test .* reason=tls-version$/);
    },
  });
});

Deno.test("a tunnel of another protocol is logged, and its client does not wait", async (t) => {
  await using proxy = await startTestProxy();
  const line = (host: string, how: string) =>
    proxy.waitLine(
      new RegExp(`^deny client=one ${how} host=${host.replace(".", "\\.")} .*reason=tls-no-client-hello$`),
    );
  proxy.policy.allow("one", { host: "*", ports: [22] });
  const refused: readonly (readonly [host: string, bytes: Uint8Array])[] = [
    ["ssh.test", new TextEncoder().encode("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")],
    ["postgres.test", Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47)],
    ["utf8.test", new TextEncoder().encode("ü")],
  ];
  for (const [host, bytes] of refused) {
    await t.step(host, async () => {
      using tunnel = await openTunnel(proxy.httpPort, `${host}:22`, TOKEN);
      await tunnel.sendBytes(bytes);
      assertEquals(await soon("the end", tunnel.readAll()), "");
      await line(host, "method=CONNECT");
    });
  }
  await t.step("what could have become HTTP", async () => {
    {
      using tunnel = await openTunnel(proxy.httpPort, "redis.test:22", TOKEN);
      await tunnel.send("*1\r\n$4\r\nPING\r\n");
    }
    await line("redis.test", "method=CONNECT");
  });
  await t.step("the same in HTTP is answered", async () => {
    using tunnel = await openTunnel(proxy.httpPort, "http.test:22", TOKEN);
    await tunnel.send("SSH / HTTP/2.0\r\n\r\n");
    assertMatch(await soon("the answer", tunnel.readAll()), /^HTTP\/1\.1 400 /);
  });
});

Deno.test("a real ClientHello that comes byte by byte is served", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  await using slow = startForwarder(
    async () => (await openTunnel(proxy.httpPort, target, TOKEN)).conn,
    { isSlow: true },
  );
  using tls = new RawPeer(
    await Deno.startTls(await Deno.connect({ hostname: "127.0.0.1", port: slow.port }), {
      hostname: "up.test",
      caCerts: [proxy.caPem],
    }),
  );
  await tls.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  assertEquals((await soon("an answer", tls.readResponse(), 20_000)).status, 200);
});

Deno.test("addresses are intercepted with a certificate for the address", async (t) => {
  for (const host of ["127.0.0.1", "::1"]) {
    await t.step(host, async () => {
      await using proxy = await startTestProxy({ allowCidrs: ["127.0.0.0/8", "::1/128"] });
      const { certPem, keyPem } = await (await upstreamAuthority()).issue([host]);
      using listener = Deno.listenTls({ hostname: host, port: 0, cert: certPem, key: keyPem });
      const { port } = listener.addr as Deno.NetAddr;
      const serving = (async () => {
        using peer = new RawPeer(await listener.accept());
        await peer.readHead();
        await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      })();
      proxy.policy.allow("one", { host, ports: [port] });
      const authority = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
      using tunnel = await openTlsTunnel(proxy.httpPort, authority, TOKEN, proxy.caPem);
      await tunnel.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
      assertEquals((await soon("an answer", tunnel.readResponse())).status, 200);
      await serving;
    });
  }
});

Deno.test("a request inside a tunnel must be for the tunnel's host", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "*", ports: [upstream.port] });
  using tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await tunnel.send(`GET / HTTP/1.1\r\nHost: evil.test:${upstream.port}\r\n\r\n`);
  const { status, head } = await tunnel.readResponse();
  assertMatch(`${status}`, /^40[03]$/);
  assertStringIncludes(head, "X-Slicer-Proxy-Reason: host-mismatch");
  assertEquals(upstream.connections, 0);
});

Deno.test("a host's certificate is minted once for all who ask at the same time", async () => {
  const ca = await proxyAuthority();
  const minted: string[] = [];
  await using proxy = await startTestProxy({
    certificates: {
      forHost: async (host) => {
        minted.push(host);
        return await ca.issue([host]);
      },
    },
  });
  proxy.policy.allow("one", { host: "*.test", ports: [443] });
  const hosts = Array.from({ length: 30 }, (_, i) => `h${i % 3}.test`);
  const tunnels = await Promise.all(
    hosts.map((host) => openTlsTunnel(proxy.httpPort, `${host}:443`, TOKEN, proxy.caPem)),
  );
  assertEquals(minted.sort(), ["h0.test", "h1.test", "h2.test"]);
  for (const tunnel of tunnels) tunnel[Symbol.dispose]();
});

Deno.test("tunnels that end in every way leave no descriptor behind", async () => {
  await using upstream = await startEchoUpstream();
  await using silent = startSilentPeer();
  const before = await settledSockets();
  {
    await using proxy = await startTestProxy({ limits: { handshakeTimeoutMs: 200, headTimeoutMs: 200 } });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port, silent.port] });
    const target = `up.test:${upstream.port}`;
    const served = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
    await served.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    assertEquals((await served.readResponse()).status, 200);
    served[Symbol.dispose]();
    (await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem))[Symbol.dispose]();
    (await openTunnel(proxy.httpPort, target, TOKEN))[Symbol.dispose]();
    const half = await openTunnel(proxy.httpPort, target, TOKEN);
    await half.sendBytes(makeClientHello({ serverName: "up.test" }).subarray(0, 30));
    await soon("the end", half.readAll());
    half[Symbol.dispose]();
    using waiting = await openTlsTunnel(proxy.httpPort, `up.test:${silent.port}`, TOKEN, proxy.caPem);
    await waiting.send(`GET / HTTP/1.1\r\nHost: up.test:${silent.port}\r\n\r\n`);
    assertEquals((await soon("an answer", waiting.readResponse())).status, 504);
  }
  assertEquals(await settledSockets(), before + silent.accepted.length);
});

/** Sends one request through a tunnel and returns what it was answered. */
async function ask(proxy: TestProxy, port: number, host = "up.test") {
  using tunnel = await openTlsTunnel(proxy.httpPort, `${host}:${port}`, TOKEN, proxy.caPem);
  await tunnel.send(`GET / HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
  const { status, head, body } = await soon("an answer", tunnel.readResponse());
  return { status, reason: /X-Slicer-Proxy-Reason: (\S+)/.exec(head)?.[1], body };
}

async function assertFailure(
  proxy: TestProxy,
  port: number,
  expected: readonly [number, string, string],
): Promise<void> {
  const [status, reason, words] = expected;
  const answer = await ask(proxy, port);
  assertEquals([answer.status, answer.reason], [status, reason]);
  assertStringIncludes(answer.body, words);
  assertStringIncludes(answer.body, "The proxy allowed this request; the upstream could not be used.");
  await proxy.waitLine(new RegExp(`^allow client=one method=GET .* port=${port} path=/ .*reason=${reason} `));
}

/** Ends every connection after its handshake. Disposing closes the listener. */
function acceptAll(listener: Deno.TlsListener): AsyncDisposable & { readonly count: number } {
  let count = 0;
  const accepting = (async () => {
    try {
      for (;;) {
        const conn = await listener.accept();
        count++;
        await conn.handshake().catch(() => {});
        conn.close();
      }
    } catch {
      // closed
    }
  })();
  return {
    get count() {
      return count;
    },
    [Symbol.asyncDispose]: () => {
      listener.close();
      return accepting;
    },
  };
}

Deno.test("an upstream's TLS that cannot be trusted is 502, and the answer says how", async (t) => {
  const [own, upstreamCa, stranger] = [
    await proxyAuthority(),
    await upstreamAuthority(),
    await makeAuthority("stranger"),
  ];
  await using proxy = await startTestProxy();
  type Certificate = { readonly certPem: string; readonly keyPem: string };
  const rows: readonly (readonly [string, Promise<Certificate>, string, string])[] = [
    ["expired", upstreamCa.issue(["up.test"], Date.now() - 30 * DAY), "tls-expired", "certificate ended on"],
    [
      "not yet valid",
      upstreamCa.issue(["up.test"], Date.now() + 45 * DAY),
      "tls-not-yet-valid",
      "is not valid before",
    ],
    ["another name", upstreamCa.issue(["other.test"]), "tls-wrong-name", "is for another name"],
    [
      "an unknown issuer",
      stranger.issue(["up.test"]),
      "tls-unknown-issuer",
      "which is not trusted here (see --upstream-ca)",
    ],
    ["the proxy's own CA", own.issue(["up.test"]), "tls-unknown-issuer", "not trusted here"],
  ];
  for (const [name, certificate, reason, words] of rows) {
    await t.step(name, async () => {
      const { certPem, keyPem } = await certificate;
      const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem });
      await using accepting = acceptAll(listener);
      const { port } = listener.addr as Deno.NetAddr;
      proxy.policy.allow("one", { host: "up.test", ports: [port] });
      await assertFailure(proxy, port, [502, reason, words]);
      assertEquals(accepting.count, reason === "tls-wrong-name" ? 1 : 2); // the second to see the certificates
    });
  }
  for (const [name, basic] of [["self-signed", "CA:FALSE"], ["self-signed as a CA", "CA:TRUE"]] as const) {
    await t.step({
      name,
      ignore: !hasProgram("openssl"),
      fn: async () => {
        const { stdout } = await runProgram("openssl", [
          ...[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "-",
          ],
          ...["-subj", "/CN=up.test", "-days", "2", "-addext", "subjectAltName=DNS:up.test"],
          ...["-addext", `basicConstraints=critical,${basic}`],
        ]);
        const cert = /-----BEGIN CERT[^]*END CERTIFICATE-----/.exec(stdout)?.[0] ?? "";
        const key = /-----BEGIN PRIV[^]*END PRIVATE KEY-----/.exec(stdout)?.[0] ?? "";
        const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
        await using _accepting = acceptAll(listener);
        const { port } = listener.addr as Deno.NetAddr;
        proxy.policy.allow("one", { host: "up.test", ports: [port] });
        await assertFailure(proxy, port, [502, "tls-self-signed", "not trusted here"]);
      },
    });
  }
});

Deno.test("an upstream that cannot be reached or does not speak TLS is 502 or 504, and the answer says how", async (t) => {
  await using proxy = await startTestProxy({
    limits: { handshakeTimeoutMs: 300, connectTimeoutMs: 300, resolveTimeoutMs: 200 },
    resolve: (host) => {
      if (host === "slow.test") return new Promise(() => {});
      return host === "up.test" ? Promise.resolve(["127.0.0.1"]) : Promise.reject(new Error("ENOTFOUND"));
    },
  });
  const { policy } = proxy;
  await t.step("plain HTTP", async () => {
    await using upstream = await startRawUpstream(async (peer) => {
      await peer.readBytes(20);
      await peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    }, { names: [] });
    policy.allow("one", { host: "up.test", ports: [upstream.port] });
    await assertFailure(proxy, upstream.port, [
      502,
      "tls-protocol",
      "does not speak TLS 1.2 or 1.3 on this port",
    ]);
  });
  await t.step("closes in the handshake", async () => {
    await using upstream = await startRawUpstream(async (peer) => void await peer.readBytes(20), {
      names: [],
    });
    policy.allow("one", { host: "up.test", ports: [upstream.port] });
    await assertFailure(proxy, upstream.port, [
      502,
      "upstream-closed",
      "closed the connection in the TLS handshake",
    ]);
  });
  await t.step("silent", async () => {
    await using silent = startSilentPeer();
    policy.allow("one", { host: "up.test", ports: [silent.port] });
    await assertFailure(proxy, silent.port, [504, "connect-timeout", "the TLS handshake took too long"]);
  });
  await t.step("refused", async () => {
    policy.allow("one", { host: "up.test", ports: [1] });
    await assertFailure(proxy, 1, [502, "connect-refused", "connection refused"]);
  });
  await t.step({
    name: "connect time-out",
    ignore: !hasFullBacklog,
    fn: async () => {
      await using full = await startFullBacklog();
      policy.allow("one", { host: "up.test", ports: [full.port] });
      await assertFailure(proxy, full.port, [504, "connect-timeout", "the connect timed out"]);
    },
  });
  for (
    const [host, words] of [["none.test", "the name has no address"], [
      "slow.test",
      "did not answer in time",
    ]] as const
  ) {
    await t.step(words, async () => {
      policy.allow("one", { host, ports: [443] });
      const { status, reason, body } = await ask(proxy, 443, host);
      assertEquals([status, reason], [host === "slow.test" ? 504 : 502, "dns"]);
      assertStringIncludes(body, words);
    });
  }
  await t.step({
    name: "TLS 1.1 only",
    ignore: !hasProgram("openssl"),
    fn: async () => {
      const dir = await Deno.makeTempDir({ prefix: "slicer-test-tls11-" });
      const { certPem, keyPem } = await (await upstreamAuthority()).issue(["up.test"]);
      await Deno.writeTextFile(`${dir}/cert.pem`, certPem);
      await Deno.writeTextFile(`${dir}/key.pem`, keyPem);
      const port = freePort();
      const child = new Deno.Command("openssl", {
        args: [
          ...[
            "s_server",
            "-accept",
            `127.0.0.1:${port}`,
            "-cert",
            `${dir}/cert.pem`,
            "-key",
            `${dir}/key.pem`,
          ],
          ...["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-quiet"],
        ],
        stdout: "null",
        stderr: "null",
        stdin: "null",
      }).spawn();
      try {
        await waitForPort(port);
        policy.allow("one", { host: "up.test", ports: [port] });
        await assertFailure(proxy, port, [502, "tls-protocol", "does not speak TLS 1.2 or 1.3 on this port"]);
      } finally {
        child.kill("SIGKILL");
        await child.status;
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
  await waitUntil("all are over", () => proxy.server.counters().connections === 0);
});
