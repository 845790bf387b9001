/**
 * Upstream connections are used again for the same client, scheme, host, port and secret version, and never shared across any
 * of them. The upstream answers with the number of the connection that a request came on.
 */
import { assertEquals } from "@std/assert";
import { readRequest, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

const OTHER_TOKEN = "spi_test_token_of_client_two";

function startNumberedUpstream(names: readonly string[] = ["up.test", "other.test"]): Promise<Upstream> {
  return startRawUpstream(async (peer, index) => {
    while (await readRequest(peer)) {
      await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${String(index).length}\r\n\r\n${index}`);
    }
  }, { names });
}

/** The connection on which a new tunnel's request arrives, once the proxy is done with it. */
async function connectionOf(
  proxy: TestProxy,
  { port }: Upstream,
  { host = "up.test", token = TOKEN }: { host?: string; token?: string } = {},
): Promise<string> {
  using peer = await openTlsTunnel(proxy.httpPort, `${host}:${port}`, token, proxy.caPem);
  return await connectionAgain(proxy, peer, `${host}:${port}`);
}

async function connectionAgain(proxy: TestProxy, peer: RawPeer, host: string): Promise<string> {
  const before = proxy.audit.totals.allow;
  await peer.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  const { status, body } = await peer.readResponse();
  assertEquals(status, 200);
  while (proxy.audit.totals.allow === before) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return body;
}

Deno.test("one connection serves many requests of a tunnel, and of the client's next tunnel", async () => {
  await using upstream = await startNumberedUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  for (let i = 0; i < 50; i++) {
    assertEquals(await connectionAgain(proxy, peer, `up.test:${upstream.port}`), "0");
  }
  assertEquals(await connectionOf(proxy, upstream), "0");
  assertEquals(upstream.connections, 1);
});

Deno.test("two clients never share a connection", async () => {
  await using upstream = await startNumberedUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.addClient("two", OTHER_TOKEN);
  for (const client of ["one", "two"]) {
    proxy.policy.allow(client, { host: "up.test", ports: [upstream.port] });
  }
  assertEquals(await connectionOf(proxy, upstream), "0");
  assertEquals(await connectionOf(proxy, upstream, { token: OTHER_TOKEN }), "1");
  assertEquals(await connectionOf(proxy, upstream), "0");
  assertEquals(await connectionOf(proxy, upstream, { token: OTHER_TOKEN }), "1");
});

Deno.test("two hosts on one address never share a connection", async () => {
  await using upstream = await startNumberedUpstream();
  await using proxy = await startTestProxy();
  for (const host of ["up.test", "other.test"]) proxy.policy.allow("one", { host, ports: [upstream.port] });
  assertEquals(await connectionOf(proxy, upstream), "0");
  assertEquals(await connectionOf(proxy, upstream, { host: "other.test" }), "1");
  assertEquals(await connectionOf(proxy, upstream), "0");
});

Deno.test("a connection that carried one credential carries no other, nor none", async () => {
  await using upstream = await startNumberedUpstream();
  await using proxy = await startTestProxy();
  const credential = (secret: string) =>
    proxy.policy.setCredential({ secret, host: "up.test", headers: [["Authorization", `Bearer ${secret}`]] });
  const rule = { host: "up.test", ports: [upstream.port] };
  credential("a");
  credential("b");
  const first = proxy.policy.allow("one", { ...rule, secret: "a" });
  assertEquals(await connectionOf(proxy, upstream), "0");
  assertEquals(await connectionOf(proxy, upstream), "0");
  proxy.policy.allow("one", { ...rule, secret: "b" });
  proxy.policy.revoke(first);
  assertEquals(await connectionOf(proxy, upstream), "1");
  credential("b"); // the same name, another version
  assertEquals(proxy.server.counters().idleUpstreams, 0); // what carried the old value is closed
  assertEquals(await connectionOf(proxy, upstream), "2");
  for (const old of proxy.policy.rulesOf({ name: "one", version: "" })) proxy.policy.revoke(old);
  proxy.policy.allow("one", rule);
  assertEquals(await connectionOf(proxy, upstream), "3");
});

Deno.test("a client that is made anew under its old name does not get the old one's connections", async () => {
  await using upstream = await startNumberedUpstream();
  await using proxy = await startTestProxy();
  const rule = { host: "up.test", ports: [upstream.port] };
  proxy.policy.allow("one", rule);
  assertEquals(await connectionOf(proxy, upstream), "0");
  proxy.policy.removeClient("one");
  proxy.policy.addClient("one", TOKEN);
  proxy.policy.allow("one", rule);
  assertEquals(await connectionOf(proxy, upstream), "1");
});

Deno.test("requests at the same time get a connection each, and share them afterwards", async () => {
  await using upstream = await startNumberedUpstream([]);
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const url = `http://up.test:${upstream.port}/`;
  const request = `GET ${url} HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nProxy-Authorization: ${
    basic(TOKEN)
  }\r\n\r\n`;
  for (let round = 0; round < 3; round++) {
    const peers = await Promise.all(Array.from({ length: 8 }, () => dialRaw(proxy.httpPort)));
    const bodies = await Promise.all(peers.map(async (peer) => {
      await peer.send(request);
      return (await peer.readResponse()).body;
    }));
    assertEquals(bodies.length, 8);
    for (const peer of peers) peer[Symbol.dispose]();
  }
  while (proxy.audit.totals.allow < 24) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(upstream.connections, proxy.server.counters().idleUpstreams);
});
