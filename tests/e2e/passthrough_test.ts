/** Passthrough over CONNECT: the bytes of a tunnel, untouched, in both directions, and what is refused before. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { makeClientHello } from "../support/client_hello.ts";
import { startForwarder } from "../support/forwarder.ts";
import { freePort, hasProgram, runProgram, waitForPort } from "../support/programs.ts";
import { readRequest, startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { hasFullBacklog, startFullBacklog } from "../support/full_backlog.ts";
import { basic, dialRaw, openTunnel, RawPeer } from "../support/raw_peer.ts";
import { askSocks5 } from "../support/socks_client.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, type TestProxyOptions, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

/** An upstream in clear, and a proxy with a passthrough rule for it. */
async function setUp(handle: (peer: RawPeer) => Promise<void>, options: TestProxyOptions = {}) {
  const stack = new AsyncDisposableStack();
  const upstream = stack.use(await startRawUpstream(handle, { names: [] }));
  const proxy = stack.use(await startTestProxy(options));
  const rule = proxy.policy.allow("one", { host: "raw.test", ports: [upstream.port], passthrough: true });
  const open = () => openTunnel(proxy.httpPort, `raw.test:${upstream.port}`, TOKEN);
  return { upstream, proxy, rule, open, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Every byte value in an order that repeats late. */
function noise(length: number): string {
  let state = 1;
  return Array.from({ length }, () => String.fromCharCode((state = (state * 16_807) % 2_147_483_647) & 255))
    .join("");
}

async function answerTo(
  proxy: TestProxy,
  target: string,
): Promise<{ status: number; head: string; body: string }> {
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  return await soon("an answer to CONNECT", peer.readResponse());
}

Deno.test("passthrough: every byte value arrives as sent, both ways, and the line counts them", async () => {
  const [there, back] = [noise(300_001), noise(200_003)];
  let arrived = "";
  await using setup = await setUp(async (peer) => {
    arrived = await peer.readBytes(there.length);
    await peer.send(back);
  });
  using tunnel = await setup.open();
  await tunnel.send(there);
  assert(await tunnel.readAll() === back, "the reply changed on its way");
  assert(arrived === there, "the request changed on its way");
  tunnel[Symbol.dispose]();
  const line = await setup.proxy.waitLine(/^passthrough /);
  assertMatch(
    line,
    /^passthrough client=one host=raw\.test port=\d+ sent=300001 received=200003 duration=[\d.]+m?s$/,
  );
});

Deno.test("passthrough: a client that ends first gets its whole reply", async () => {
  const reply = noise(500_000);
  await using setup = await setUp(async (peer) => {
    assertEquals(await peer.readAll(), "question");
    await peer.send(reply);
  });
  using tunnel = await setup.open();
  await tunnel.send("question");
  await tunnel.conn.closeWrite();
  assert(await soon("the reply", tunnel.readAll()) === reply);
  await setup.proxy.waitLine(/^passthrough .* sent=8 received=500000 /);
});

Deno.test("passthrough: a server that ends first still gets what the client sends", async () => {
  const upload = noise(500_000);
  const got = Promise.withResolvers<string>();
  await using setup = await setUp(async (peer) => {
    await peer.send("220 ready\r\n");
    await peer.conn.closeWrite();
    got.resolve(await peer.readAll());
  });
  using tunnel = await setup.open();
  assertEquals(await tunnel.readAll(), "220 ready\r\n"); // and its end
  await tunnel.send(upload);
  await tunnel.conn.closeWrite();
  assert(await soon("the upload", got.promise) === upload);
  await setup.proxy.waitLine(/^passthrough .* sent=500000 received=11 /);
});

Deno.test("passthrough: a server that speaks first is heard before the client says anything", async () => {
  await using setup = await setUp(async (peer) => {
    await peer.send("SSH-2.0-test\r\n");
    await peer.send(await peer.readUntil("\n"));
  });
  using tunnel = await setup.open();
  assertEquals(await soon("the banner", tunnel.readUntil("\n")), "SSH-2.0-test\r\n");
  await tunnel.send("SSH-2.0-client\r\n");
  assertEquals(await tunnel.readAll(), "SSH-2.0-client\r\n");
});

Deno.test("passthrough: bytes that came together with CONNECT are the tunnel's", async () => {
  await using setup = await setUp(async (peer) => await peer.send(await peer.readUntil("\n")));
  using peer = await dialRaw(setup.proxy.httpPort);
  const target = `raw.test:${setup.upstream.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\nat once\n`,
  );
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 200 Connection Established\r\n\r\n$/);
  assertEquals(await peer.readAll(), "at once\n");
});

Deno.test("passthrough: TLS is the upstream's own, end to end", async () => {
  const { caPem } = await upstreamAuthority();
  await using upstream = await startRawUpstream(async (peer) => {
    const request = await readRequest(peer);
    await peer.send(`${request?.requestLine}|${request?.headers.join("|")}`);
  });
  await using proxy = await startTestProxy();
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  const tunnel = await openTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN);
  using tls = new RawPeer(
    await Deno.startTls(tunnel.conn as Deno.TcpConn, { hostname: "up.test", caCerts: [caPem] }),
  );
  await tls.send("GET / HTTP/1.1\r\nHost: other.test\r\nproxy-x: kept\r\n\r\n");
  assertEquals(await tls.readAll(), "GET / HTTP/1.1|Host: other.test|proxy-x: kept");
});

Deno.test("passthrough: a ClientHello must name the target", async (t) => {
  /** `before` bytes pass before the fault. */
  type Row = readonly [string, host: string, first: Uint8Array, reason: string | undefined, before?: number];
  const hello = makeClientHello;
  const rows: readonly Row[] = [
    ["the target", "raw.test", hello({ serverName: "raw.test" }), undefined],
    ["the target in another case", "raw.test", hello({ serverName: "RAW.Test" }), undefined],
    [
      "the target behind 8 KiB of key share",
      "raw.test",
      hello({ serverName: "raw.test", paddingBytes: 8_192 }),
      undefined,
    ],
    [
      "the target over several records",
      "raw.test",
      hello({ serverName: "raw.test", recordBytes: 37 }),
      undefined,
    ],
    ["another host", "raw.test", hello({ serverName: "evil.test" }), "sni-mismatch"],
    [
      "another host behind 8 KiB",
      "raw.test",
      hello({ serverName: "evil.test", paddingBytes: 8_192 }),
      "sni-mismatch",
    ],
    ["a host below", "raw.test", hello({ serverName: "a.raw.test" }), "sni-mismatch"],
    ["no host", "raw.test", hello({}), "sni-missing"],
    ["no host for an address", "127.0.0.1", hello({}), undefined],
    ["a host for an address", "127.0.0.1", hello({ serverName: "evil.test" }), "sni-mismatch"],
    [
      "no ClientHello in a handshake record",
      "raw.test",
      Uint8Array.of(22, 3, 1, 0, 4, 2, 0, 0, 0),
      "tls-no-client-hello",
    ],
    [
      "another protocol",
      "raw.test",
      new TextEncoder().encode("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
      undefined,
    ],
    ["a TLS alert", "raw.test", Uint8Array.of(21, 3, 3, 0, 2, 1, 0), "tls-no-client-hello"],
    [
      // Go's servers skip it, whatever its version.
      "a warning before another host's ClientHello",
      "raw.test",
      Uint8Array.of(21, 2, 0, 0, 2, 1, 0, ...hello({ serverName: "evil.test" })),
      "tls-no-client-hello",
    ],
    [
      "application data before another host's ClientHello",
      "raw.test",
      Uint8Array.of(23, 3, 3, 0, 1, 0, ...hello({ serverName: "evil.test" })),
      "tls-no-client-hello",
    ],
    [
      // OpenSSL's servers answer it with TLS 1.2, for the host that they have first.
      "a ClientHello in the format of SSL 2.0",
      "raw.test",
      Uint8Array.of(0x80, 44, 1, 3, 3, 0, 3, 0, 0, 0, 32, 0, 0xc0, 0x2f, ...new Array(32).fill(7)),
      "tls-no-client-hello",
    ],
    [
      "a second ClientHello for another host, sent without waiting",
      "raw.test",
      Uint8Array.of(...hello({ serverName: "raw.test" }), ...hello({ serverName: "evil.test" })),
      "sni-mismatch",
      hello({ serverName: "raw.test" }).length,
    ],
    [
      "a second one behind early data",
      "raw.test",
      Uint8Array.of(
        ...hello({ serverName: "raw.test" }),
        ...[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 4, 22, 3, 1, 0],
        ...hello({ serverName: "evil.test" }),
      ),
      "sni-mismatch",
      hello({ serverName: "raw.test" }).length + 15,
    ],
    [
      "a second one without a name",
      "raw.test",
      Uint8Array.of(...hello({ serverName: "raw.test" }), ...hello({})),
      "sni-missing",
      hello({ serverName: "raw.test" }).length,
    ],
    [
      "a second one for the target",
      "raw.test",
      Uint8Array.of(
        ...hello({ serverName: "raw.test" }),
        ...hello({ serverName: "raw.test", recordBytes: 9 }),
      ),
      undefined,
    ],
    [
      "what follows in TLS 1.2",
      "raw.test",
      Uint8Array.of(...hello({ serverName: "raw.test" }), ...[
        22,
        3,
        3,
        0,
        5,
        16,
        0,
        0,
        1,
        9,
        20,
        3,
        3,
        0,
        1,
        1,
      ]),
      undefined,
    ],
    [
      "a MySQL login of 278 bytes",
      "raw.test",
      Uint8Array.of(22, 1, 0, 1, ...new Array(278).fill(0x85)),
      undefined,
    ],
  ];
  for (const [name, host, first, reason, before = 0] of rows) {
    for (const isSlow of [false, true]) {
      if (isSlow && first.length > 1_000) continue;
      await t.step(`${name}${isSlow ? ", byte by byte" : ""}`, async () => {
        let seen = 0;
        await using setup = await setUp(async (peer) => {
          seen = (reason ? await peer.readAll() : await peer.readBytes(first.length)).length;
          await peer.send("fine");
        });
        const { proxy, upstream } = setup;
        proxy.policy.allow("one", { host: "127.0.0.1", ports: [upstream.port], passthrough: true });
        using tunnel = await openTunnel(proxy.httpPort, `${host}:${upstream.port}`, TOKEN);
        try {
          if (!isSlow) await tunnel.sendBytes(first);
          else for (const byte of first) await tunnel.sendBytes(Uint8Array.of(byte));
        } catch {
          // refused while we sent
        }
        const answer = await soon("an end", tunnel.readAll()).catch(() => "");
        assertEquals(answer, reason ? "" : "fine");
        assertEquals(seen, reason ? before : first.length);
        tunnel[Symbol.dispose]();
        await proxy.waitLine(
          reason
            ? new RegExp(`^deny client=one host=${host} port=\\d+ reason=${reason} sent=${before} `)
            : /^passthrough client=one host=\S+ port=\d+ sent=/,
        );
      });
    }
  }
});

/** `openssl s_server` as the upstream, with a group that `s_client` does not begin with: it asks for a second ClientHello. */
async function startRetryingServer() {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-hrr-" });
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["raw.test"]);
  await Deno.writeTextFile(`${dir}/cert.pem`, certPem);
  await Deno.writeTextFile(`${dir}/key.pem`, keyPem);
  const port = freePort();
  const child = new Deno.Command("openssl", {
    args: [
      ...["s_server", "-accept", `127.0.0.1:${port}`, "-cert", `${dir}/cert.pem`, "-key", `${dir}/key.pem`],
      ...["-tls1_3", "-groups", "P-384", "-www", "-quiet"],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await waitForPort(port);
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

Deno.test({
  ignore: !hasProgram("openssl"),
  name: "passthrough: the ClientHello after a HelloRetryRequest must name the target too",
}, async (t) => {
  await using server = await startRetryingServer();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "raw.test", ports: [server.port], passthrough: true });
  for (const second of ["raw.test", "bad.test"]) {
    await t.step(second, async () => {
      let hellos = 0;
      const openTo = () => openTunnel(proxy.httpPort, `raw.test:${server.port}`, TOKEN);
      // From the second ClientHello on the name is another one of the same length.
      const rename = (bytes: Uint8Array) => {
        const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
        const at = text.indexOf("raw.test");
        if (at >= 0 && ++hellos === 2) bytes.set(new TextEncoder().encode(second), at);
      };
      await using forwarder = startForwarder(async () => (await openTo()).conn, { change: rename });
      const { stdout } = await runProgram("openssl", [
        ...["s_client", "-connect", `127.0.0.1:${forwarder.port}`, "-servername", "raw.test", "-tls1_3"],
        ...["-groups", "X25519:P-384", "-ign_eof"],
      ], { input: "GET / HTTP/1.0\r\n\r\n" });
      assertEquals(hellos, 2); // or it was no HelloRetryRequest
      if (second === "raw.test") {
        assertStringIncludes(stdout, "HTTP/1.0 200");
        await proxy.waitLine(/^passthrough client=one host=raw\.test /);
      } else {
        await proxy.waitLine(/^deny client=one host=raw\.test .* reason=sni-mismatch sent=\d{3} /);
      }
    });
  }
});

Deno.test("passthrough: half a ClientHello is given up after the handshake time-out", async () => {
  await using setup = await setUp(async (peer) => void await peer.readAll(), {
    limits: { handshakeTimeoutMs: 150 },
  });
  using tunnel = await setup.open();
  await tunnel.sendBytes(makeClientHello({ serverName: "raw.test" }).subarray(0, 60));
  assertEquals(await soon("the end", tunnel.isClosed()), true);
  await setup.proxy.waitLine(/^deny client=one .* reason=tls-no-client-hello sent=0 received=0 /);
});

Deno.test("passthrough: a failed dial is answered before any 200", async (t) => {
  await using proxy = await startTestProxy({
    allowCidrs: ["127.0.0.0/8", "255.255.255.255/32"],
    limits: { connectTimeoutMs: 400 },
  });
  const { policy } = proxy;
  const rows: readonly (readonly [string, string, number, number, string])[] = [
    ["refused", "raw.test", 1, 502, "connect-refused"],
    ["unreachable", "255.255.255.255", 9, 502, "connect-unreachable"],
    ["no such name", "raw.invalid", 443, 502, "dns"],
  ];
  for (const [name, host, port, status, reason] of rows) {
    await t.step(name, async () => {
      policy.allow("one", { host, ports: [port], passthrough: true });
      const answer = await answerTo(proxy, `${host}:${port}`);
      assertEquals(answer.status, status);
      assertStringIncludes(answer.head, `\r\nX-Slicer-Proxy-Reason: ${reason}\r\n`);
      assertStringIncludes(answer.body, `(${reason})`);
      await proxy.waitLine(
        new RegExp(`client=one method=CONNECT host=${host} .*status=${status} reason=${reason}`),
      );
    });
  }
  await t.step({
    name: "time-out",
    ignore: !hasFullBacklog,
    fn: async () => {
      await using full = await startFullBacklog();
      policy.allow("one", { host: "raw.test", ports: [full.port], passthrough: true });
      const answer = await answerTo(proxy, `raw.test:${full.port}`);
      assertEquals(answer.status, 504);
      assertStringIncludes(answer.head, "\r\nX-Slicer-Proxy-Reason: connect-timeout\r\n");
    },
  });
});

Deno.test("passthrough: a client that has gone while the proxy dialled leaves nothing behind", async () => {
  const resolving = Promise.withResolvers<string[]>();
  let asked = false;
  await using setup = await setUp(async (peer) => void await peer.readAll(), {
    resolve: () => {
      asked = true;
      return resolving.promise;
    },
  });
  const { proxy, upstream } = setup;
  const target = `raw.test:${upstream.port}`;
  const peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  await waitUntil("it resolves", () => asked);
  peer[Symbol.dispose]();
  resolving.resolve(["127.0.0.1"]);
  await proxy.waitLine(/^passthrough client=one .* sent=0 received=0 /);
  await waitUntil("the connection is over", () => proxy.server.counters().connections === 0);
});

Deno.test("passthrough: an idle tunnel ends after its time-out, with the reason", async () => {
  await using setup = await setUp(async (peer) => void await peer.readAll(), {
    limits: { tunnelIdleTimeoutMs: 200 },
  });
  using tunnel = await setup.open();
  assertEquals(await soon("the end", tunnel.isClosed()), true);
  await setup.proxy.waitLine(/^passthrough client=one .* reason=idle-timeout sent=0 received=0 /);
});

Deno.test("passthrough: the second direction ends after the half-close time-out", async () => {
  const held = Promise.withResolvers<void>();
  await using setup = await setUp(async () => await held.promise, { limits: { halfCloseTimeoutMs: 200 } });
  using tunnel = await setup.open();
  await tunnel.conn.closeWrite();
  assertEquals(await soon("the end", tunnel.isClosed()), true);
  await setup.proxy.waitLine(/^passthrough .* reason=idle-timeout /);
  held.resolve();
});

Deno.test("passthrough: a closed token endpoint is closed by its address too, a name that shares it is not", async (t) => {
  await using upstream = await startEchoUpstream({ names: ["other.test"] });
  await using proxy = await startTestProxy();
  proxy.policy.closedHosts = () => ["login.test"];
  const { port } = upstream;
  proxy.policy.allow("one", { host: "*", ports: [port], passthrough: true });
  await t.step("CONNECT", async () => {
    const { head } = await answerTo(proxy, `127.0.0.1:${port}`);
    assertMatch(head, /^HTTP\/1\.1 403 slicer-proxy: token-endpoint \(127\.0\.0\.1\)\r\n/);
  });
  await t.step("SOCKS5", async () => {
    const { peer, code } = await askSocks5(proxy.httpPort, { host: "127.0.0.1", port }, { token: TOKEN });
    peer[Symbol.dispose]();
    assertEquals(code, 2);
  });
  await t.step("another address", async () => {
    assertMatch((await answerTo(proxy, `127.0.0.2:${port}`)).head, /^HTTP\/1\.1 (?:200|502) /);
  });
  await t.step("a name with the same address, which names itself", async () => {
    using tunnel = await openTunnel(proxy.httpPort, `other.test:${port}`, TOKEN);
    const { caPem } = await upstreamAuthority();
    using tls = await Deno.startTls(tunnel.conn as Deno.TcpConn, {
      hostname: "other.test",
      caCerts: [caPem],
    });
    using peer = new RawPeer(tls);
    await peer.send(`GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n`);
    assertEquals((await soon("an answer", peer.readResponse())).status, 200);
  });
  await t.step("a tunnel that would be looked into", async () => {
    proxy.policy.addClient("two", "token_of_client_two_0000");
    proxy.policy.allow("two", { host: "*", ports: [port] });
    using peer = await dialRaw(proxy.httpPort);
    const auth = `Proxy-Authorization: ${basic("token_of_client_two_0000")}`;
    await peer.send(`GET http://127.0.0.1:${port}/ HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${auth}\r\n\r\n`);
    const { head, body } = await soon("an answer", peer.readResponse());
    assertMatch(head, /^HTTP\/1\.1 403 slicer-proxy: token-endpoint /);
    assertStringIncludes(body, "the proxy renews its credentials at this address");
  });
});
