/** The TLS port: what runs inside its TLS, whose certificate it shows, and what it refuses. */
import { assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";
import { startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { startTlsWrap } from "../support/forwarder.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { basic, dialRaw, dialTls, openTlsTunnel, openTunnel, RawPeer } from "../support/raw_peer.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { proxyAuthority } from "../support/test_authority.ts";

const auth = `Proxy-Authorization: ${basic(TOKEN)}\r\n`;

Deno.test("TLS in TLS: an inspected tunnel inside the proxy's TLS, with the credential injected", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  await using wrapped = startTlsWrap(proxy.tlsPort, proxy.caPem);
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["x-api-key", "REAL"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "key" });
  const target = `up.test:${upstream.port}`;
  using tunnel = await openTlsTunnel(wrapped.port, target, TOKEN, proxy.caPem);
  for (let i = 0; i < 3; i++) {
    await tunnel.send(`POST /${i} HTTP/1.1\r\nHost: ${target}\r\nContent-Length: 4\r\n\r\nbody`);
    const { body } = await soon("an answer", tunnel.readResponse());
    assertEquals(JSON.parse(body), {
      requestLine: `POST /${i} HTTP/1.1`,
      headers: [`Host: ${target}`, "Content-Length: 4", "x-api-key: REAL"],
      body: "body",
    });
  }
});

Deno.test("inside the proxy's TLS: keep-alive of absolute-form, a denial, passthrough and half-close", async () => {
  await using plain = await startEchoUpstream({ names: [] });
  await using raw = await startRawUpstream(async (peer) => await peer.send(`got ${await peer.readAll()}`), {
    names: [],
  });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "plain.test", ports: [plain.port] });
  proxy.policy.allow("one", { host: "raw.test", ports: [raw.port], passthrough: true });
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  const host = `plain.test:${plain.port}`;
  for (const path of ["/a", "/b"]) {
    await peer.send(`GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n${auth}\r\n`);
    assertEquals(JSON.parse((await peer.readResponse()).body).requestLine, `GET ${path} HTTP/1.1`);
  }
  await peer.send(`CONNECT no.test:443 HTTP/1.1\r\nHost: no.test:443\r\n${auth}\r\n`);
  assertEquals((await peer.readResponse()).status, 403);
  await peer.send(`CONNECT raw.test:${raw.port} HTTP/1.1\r\nHost: raw.test:${raw.port}\r\n${auth}\r\n`);
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 200 /);
  await peer.send("through TLS");
  await peer.conn.closeWrite();
  assertEquals(await soon("the reply", peer.readAll()), "got through TLS"); // with close_notify, else it throws
  await proxy.waitLine(/^passthrough client=one host=raw\.test .* sent=11 received=15 /);
});

Deno.test("either port speaks in clear and in TLS, HTTP and SOCKS", async (t) => {
  await using raw = await startRawUpstream(
    async (peer) => await peer.send(`got ${await peer.readBytes(2)}`),
    {
      names: [],
    },
  );
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "raw.test", ports: [raw.port], passthrough: true });
  const denied = `CONNECT no.test:443 HTTP/1.1\r\nHost: no.test:443\r\n${auth}\r\n`;
  for (const [name, port] of [["3128", proxy.httpPort], ["3129", proxy.tlsPort]] as const) {
    await t.step(`${name} in clear`, async () => {
      using clear = await dialRaw(port);
      await clear.send(denied);
      assertEquals((await clear.readResponse()).status, 403);
    });
    await t.step(`${name} in TLS`, async () => {
      using peer = await dialTls(port, proxy.caPem);
      await peer.send(denied);
      assertEquals((await peer.readResponse()).status, 403);
      await peer.send(
        `CONNECT raw.test:${raw.port} HTTP/1.1\r\nHost: raw.test:${raw.port}\r\n${auth}\r\n`,
      );
      assertMatch(await peer.readHead(), /^HTTP\/1\.1 200 /);
      await peer.send("hi");
      assertEquals(await soon("the reply", peer.readBytes(6)), "got hi");
    });
    await t.step(`${name} with SOCKS in TLS`, async () => {
      using peer = await dialTls(port, proxy.caPem);
      await peer.sendBytes(Uint8Array.of(5, 1, 2));
      assertEquals(await soon("the method", peer.readBytes(2)), "\x05\x02");
    });
  }
});

Deno.test("a client that does not trust the CA is logged, without a name", async () => {
  await using proxy = await startTestProxy();
  using tls = await Deno.connectTls({ hostname: "localhost", port: proxy.tlsPort });
  await tls.handshake().catch(() => {});
  await proxy.waitLine(/^deny client=- reason=tls-untrusted-ca$/);
});

Deno.test("the proxy's own certificate is made once, and replaced at its renewAt without a restart", async () => {
  const ca = await proxyAuthority();
  let now = Date.now();
  let made = 0;
  const life = { renewAt: 0 };
  await using proxy = await startTestProxy({
    clock: { now: () => now, monotonic: () => performance.now() },
    certificates: {
      forProxy: async () => {
        made++;
        const leaf = await ca.issue(["localhost"]);
        return { ...leaf, renewAt: life.renewAt = now + 3_600_000 };
      },
    },
  });
  const visit = async () => {
    using peer = await dialTls(proxy.tlsPort, proxy.caPem);
    await peer.send(`CONNECT no.test:443 HTTP/1.1\r\nHost: no.test:443\r\n${auth}\r\n`);
    assertEquals((await peer.readResponse()).status, 403);
  };
  const serial = async () => {
    const { stdout } = await runProgram("openssl", ["s_client", "-connect", `127.0.0.1:${proxy.tlsPort}`]);
    return (await runProgram("openssl", ["x509", "-noout", "-serial"], { input: stdout })).stdout;
  };
  await visit();
  using old = await dialTls(proxy.tlsPort, proxy.caPem);
  await old.send("CONNECT ");
  const first = hasOpenssl ? await serial() : "";
  now = life.renewAt - 1;
  await visit();
  assertEquals(made, 1);
  now = life.renewAt;
  await visit();
  assertEquals(made, 2);
  if (hasOpenssl) assertNotEquals(await serial(), first);
  await old.send(`no.test:443 HTTP/1.1\r\nHost: no.test:443\r\n${auth}\r\n`); // a connection from before goes on
  assertEquals((await old.readResponse()).status, 403);
});
const hasOpenssl = hasProgram("openssl");

Deno.test("a passthrough tunnel inside TLS is cut by revocation", async () => {
  await using raw = await startRawUpstream(async (peer) => {
    await peer.send("banner");
    await peer.readAll();
  }, { names: [] });
  await using proxy = await startTestProxy();
  await using wrapped = startTlsWrap(proxy.tlsPort, proxy.caPem);
  const rule = proxy.policy.allow("one", { host: "raw.test", ports: [raw.port], passthrough: true });
  using tunnel = await openTunnel(wrapped.port, `raw.test:${raw.port}`, TOKEN);
  assertEquals(await tunnel.readBytes(6), "banner");
  proxy.policy.revoke(rule);
  await soon("the end", tunnel.readAll().catch(() => ""));
  await proxy.waitLine(/^passthrough client=one .* reason=revoked /);
  await waitUntil("it is over", () => proxy.server.counters().connections === 0);
});

Deno.test("no token is ever logged, right or wrong, on any way in", async () => {
  await using proxy = await startTestProxy();
  for (const token of [TOKEN, "wrong-token-0123456789"]) {
    using peer = await dialTls(proxy.tlsPort, proxy.caPem);
    await peer.send(
      `CONNECT no.test:443 HTTP/1.1\r\nHost: no.test:443\r\nProxy-Authorization: Bearer ${token}\r\n\r\n`,
    );
    const { head, body } = await peer.readResponse();
    assertEquals((head + body).includes(token), false);
    using socks = new RawPeer(await Deno.connect({ hostname: "127.0.0.1", port: proxy.tlsPort }));
    await socks.sendBytes(Uint8Array.of(5, 1, 2, 1, 1, 112, token.length));
    await socks.send(token);
    await socks.readBytes(4);
  }
  await proxy.waitLine(/method=SOCKS5 reason=auth-invalid/);
  await proxy.waitLine(/status=407 reason=auth-invalid/);
  await proxy.audit.written();
  const all = proxy.lines.join("\n");
  assertStringIncludes(all, "reason=no-rule");
  for (const part of [TOKEN, "wrong-token", btoa(TOKEN)]) assertEquals(all.includes(part), false);
});
