/** Who was it: the audit log says where each request came from, to which port, and in which version of TLS. */
import { assertEquals } from "@std/assert";
import type { StoredRecord } from "../../policy/audit_record.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

/** The origin of the one record that matches. */
async function originOf(proxy: TestProxy, pattern: RegExp, matches: (record: StoredRecord) => boolean) {
  await proxy.waitLine(pattern);
  const found = proxy.records.filter(matches);
  assertEquals(found.length, 1, proxy.lines.join("\n"));
  return found[0]?.origin;
}

Deno.test("a record says where its request came from", async (t) => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;
  await t.step("in a tunnel that was looked into: the inner TLS", async () => {
    using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
    for (const path of ["/allowed", "/also"]) {
      await peer.send(get(path));
      assertEquals((await peer.readResponse()).status, 200);
      const origin = await originOf(proxy, new RegExp(`path=${path} `), (record) => record.path === path);
      assertEquals([origin?.proxyPort, origin?.tls], [proxy.httpPort, "1.3"]);
      assertEquals(/^127\.0\.0\.1:\d+$/.test(origin?.src ?? ""), true);
    }
    const [first, second] = proxy.records;
    assertEquals(first?.origin, second?.origin);
  });
  await t.step("in clear", async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send("GET http://nobody.test/ HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    assertEquals((await peer.readResponse()).status, 407);
    const origin = await originOf(proxy, /host=nobody/, ({ host }) => host === "nobody.test");
    assertEquals([origin?.proxyPort, origin?.tls], [proxy.httpPort, undefined]);
  });
  await t.step("on the TLS port", async () => {
    const conn = await Deno.connectTls({
      hostname: "localhost",
      port: proxy.tlsPort,
      caCerts: [proxy.caPem],
    });
    const { port } = conn.localAddr as Deno.NetAddr;
    const head = `CONNECT denied.test:443 HTTP/1.1\r\nHost: denied.test:443\r\nProxy-Authorization: ${
      basic(TOKEN)
    }\r\n\r\n`;
    await conn.write(new TextEncoder().encode(head));
    await conn.read(new Uint8Array(1_024));
    conn.close();
    const origin = await originOf(proxy, /host=denied/, ({ host }) => host === "denied.test");
    assertEquals(origin, { src: `127.0.0.1:${port}`, proxyPort: proxy.tlsPort, tls: "1.3" });
  });
  await t.step("what is no request at all", async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send("\x00\x01\r\n\r\n");
    await peer.readResponse();
    const origin = await originOf(proxy, /reason=malformed/, ({ reason }) => reason === "malformed");
    assertEquals(origin?.proxyPort, proxy.httpPort);
  });
});
