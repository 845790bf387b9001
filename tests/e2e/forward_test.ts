/** The main road: CONNECT and absolute-form, both ports, credential injected, denied, reused. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, dialTls, openTlsTunnel, openTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

Deno.test("CONNECT: an inspected request reaches upstream with the credential and is logged", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.setCredential({
    secret: "llm-key",
    host: "up.test",
    headers: [["Authorization", "Bearer REAL"]],
  });
  proxy.policy.allow("one", {
    host: "up.test",
    ports: [upstream.port],
    methods: ["GET"],
    paths: ["/v1/*"],
    secret: "llm-key",
  });
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  for (let i = 0; i < 2; i++) {
    await peer.send(
      `GET /v1/models?q=1 HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nX-Odd:  a \r\nauthorization: Bearer FAKE\r\nx-ODD: b\r\nProxy-Foo: x\r\n\r\n`,
    );
    const { status, body } = await peer.readResponse();
    assertEquals(status, 200);
    assertEquals(JSON.parse(body), {
      requestLine: "GET /v1/models?q=1 HTTP/1.1",
      headers: [`Host: up.test:${upstream.port}`, "X-Odd:  a ", "Authorization: Bearer REAL", "x-ODD: b"],
      body: "",
    });
  }
  await peer.send(`DELETE /v1/models HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
  const denied = await peer.readResponse();
  assertEquals(denied.status, 403);
  assertStringIncludes(denied.head, "X-Slicer-Proxy-Reason: no-rule\r\n");
  assertStringIncludes(denied.body, "slicer-proxy allow one --host up.test");
  assertEquals(upstream.connections, 1);
  assertEquals(upstream.seen.length, 2);
  assertMatch(
    await proxy.waitLine(/^allow/),
    /^allow client=one method=GET scheme=https host=up\.test port=\d+ path=\/v1\/models status=200 secret=llm-key sent=0 received=\d+ duration=/,
  );
  await proxy.waitLine(/^deny client=one method=DELETE .* path=\/v1\/models mode=strict reason=no-rule$/);
});

Deno.test("the TLS port serves CONNECT inside TLS", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const outer = await dialTls(proxy.tlsPort, proxy.caPem);
  const target = `up.test:${upstream.port}`;
  await outer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Bearer ${TOKEN}\r\n\r\n`,
  );
  assertMatch(await outer.readHead(), /^HTTP\/1\.1 200 /);
  // TLS in TLS: Deno's startTls wants a TcpConn, so the cleartext form is spoken through this tunnel.
  await outer.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  assertEquals((await outer.readResponse()).status, 502); // a clear request to a TLS upstream
  outer[Symbol.dispose]();
});

Deno.test("absolute-form: each request is authenticated anew, and the upstream gets origin-form", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  const url = `http://plain.test:${upstream.port}`;
  const host = `Host: plain.test:${upstream.port}\r\n`;
  await peer.send(
    `POST ${url}/a HTTP/1.1\r\n${host}Proxy-Authorization: ${basic(TOKEN)}\r\nContent-Length: 5\r\n\r\nhello`,
  );
  const first = await peer.readResponse();
  assertEquals(JSON.parse(first.body), {
    requestLine: "POST /a HTTP/1.1",
    headers: [`Host: plain.test:${upstream.port}`, "Content-Length: 5"],
    body: "hello",
  });
  await peer.send(`GET ${url}/b HTTP/1.1\r\n${host}\r\n`);
  const second = await peer.readResponse();
  assertEquals(second.status, 407);
  assertStringIncludes(second.head, 'Proxy-Authenticate: Basic realm="slicer-proxy"\r\n');
  await proxy.waitLine(
    /^deny client=- method=GET scheme=http host=plain.test port=\d+ path=\/b status=407 reason=auth-missing$/,
  );
});

Deno.test("audit mode logs the first inner request of an unknown host and never dials", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({ mode: "audit" });
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(`GET /v1/models HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
  assertEquals((await peer.readResponse()).status, 403);
  await proxy.waitLine(
    /^deny client=one method=GET scheme=https host=up\.test port=\d+ path=\/v1\/models mode=audit reason=no-rule$/,
  );
  assertEquals(upstream.connections, 0);
});

Deno.test("with --explain=inside strict mode answers in the tunnel, dials nothing and logs what strict mode logs", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({ explain: "inside" });
  const host = `up.test:${upstream.port}`;
  using peer = await openTlsTunnel(proxy.httpPort, host, TOKEN, proxy.caPem);
  for (const path of ["/hidden/a", "/hidden/b"]) {
    await peer.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    const { status, head, body } = await peer.readResponse();
    assertEquals([status, head.split("\r\n")[0]], [403, "HTTP/1.1 403 slicer-proxy: no-rule (up.test)"]);
    assertStringIncludes(body, `slicer-proxy allow one --host up.test --port ${upstream.port}`);
  }
  using clear = await openTunnel(proxy.httpPort, "clear.test:80", TOKEN);
  await clear.send("GET /hidden/c HTTP/1.1\r\nHost: clear.test\r\n\r\n");
  assertEquals((await clear.readResponse()).status, 403);
  await proxy.audit.written();
  assertEquals(proxy.lines, [
    `deny client=one method=CONNECT host=up.test port=${upstream.port} mode=strict reason=no-rule`,
    "deny client=one method=CONNECT host=clear.test port=80 mode=strict reason=no-rule",
  ]);
  assertEquals(upstream.connections, 0);
  // What an operator allows meanwhile needs no new tunnel.
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  await peer.send(`GET /now HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  assertEquals((await peer.readResponse()).status, 200);
});
