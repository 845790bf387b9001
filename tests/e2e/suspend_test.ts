/** Suspended clients, and rules that deny: what a client sees, and what the audit log says. */
import { assertEquals, assertMatch } from "@std/assert";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

Deno.test("a suspended client is refused everything with its reason, and goes on when it is resumed", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  using open = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  proxy.policy.suspend("one");
  await soon("the end of the tunnel", open.readAll().then(() => {}, () => {}));

  using peer = await dialRaw(proxy.httpPort);
  const credentials = `Proxy-Authorization: ${basic(TOKEN)}\r\n`;
  await peer.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${credentials}\r\n`);
  const refused = await soon("an answer", peer.readResponse());
  assertEquals(refused.status, 403);
  assertMatch(refused.head, /X-Slicer-Proxy-Reason: client-suspended/);
  using plain = await dialRaw(proxy.httpPort);
  await plain.send(`GET http://${target}/ HTTP/1.1\r\nHost: ${target}\r\n${credentials}\r\n`);
  assertEquals((await soon("an answer", plain.readResponse())).status, 403);
  await proxy.waitLine(/^deny client=one method=CONNECT host=up\.test .* reason=client-suspended$/);
  await proxy.waitLine(/^deny client=one method=GET .*reason=client-suspended$/);

  proxy.policy.resume("one");
  using again = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await again.send(`GET /v1 HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  assertEquals((await soon("an answer", again.readResponse())).status, 200);
});

Deno.test("a host that has lost its store denies everybody with that reason, and what was open ends", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  const target = `up.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  proxy.policy.allow("one", { host: "raw.test", ports: [upstream.port], passthrough: true });
  proxy.policy.lost = true;
  const credentials = `Proxy-Authorization: ${basic(TOKEN)}\r\n`;
  for (
    const request of [
      `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n`,
      `GET http://${target}/ HTTP/1.1\r\nHost: ${target}\r\n`,
    ]
  ) {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send(`${request}${credentials}\r\n`);
    const refused = await soon("an answer", peer.readResponse());
    assertEquals(refused.status, 503);
    assertMatch(refused.head, /X-Slicer-Proxy-Reason: store-lost/);
  }
  await proxy.waitLine(/^deny client=one method=CONNECT host=up\.test .* reason=store-lost$/);
  using anonymous = await dialRaw(proxy.httpPort); // SOCKS5 without credentials, for what a passthrough rule names
  await anonymous.sendBytes(new Uint8Array([5, 1, 0]));
  await soon("a method", anonymous.readBytes(2));
  const host = new TextEncoder().encode("raw.test");
  const port = [upstream.port >> 8, upstream.port & 255];
  await anonymous.sendBytes(new Uint8Array([5, 1, 0, 3, host.length, ...host, ...port]));
  await proxy.waitLine(/^deny .*method=SOCKS.* host=raw\.test .* reason=store-lost$/);
});

Deno.test("a deny rule stops what a later rule allows, and says so", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/admin/*"], deny: true });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  using tunnel = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await tunnel.send(`GET /v1 HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  assertEquals((await soon("an answer", tunnel.readResponse())).status, 200);
  await tunnel.send(`GET /admin/users HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  const denied = await soon("an answer", tunnel.readResponse());
  assertEquals(denied.status, 403);
  assertMatch(denied.head, /X-Slicer-Proxy-Reason: rule-denied/);
  assertMatch(denied.body, /Its deny rule for up\.test port \d+ path \/admin\/\* says so\./);
});
