/** No audit log, no new work (SPEC section 9.9): and nothing that happened meanwhile is lost. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

Deno.test("while the audit log cannot be written new requests are refused, and its lines are kept", async () => {
  let isDiskFull = false;
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({ isDiskFull: () => isDiskFull });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;
  using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  const get = async (path: string) => {
    await peer.send(request(path));
    return await peer.readResponse();
  };
  assertEquals((await get("/1")).status, 200);
  await proxy.waitLine(/path=\/1 /);
  isDiskFull = true;
  assertEquals((await get("/2")).status, 200); // its line is the first that fails
  let refused = await get("/3");
  for (let i = 0; i < 50 && refused.status === 200; i++) refused = await get("/3");
  assertEquals(refused.status, 503);
  assertStringIncludes(refused.head, "X-Slicer-Proxy-Reason: audit-write-failed\r\n");
  const seen = upstream.seen.length;
  using late = await dialRaw(proxy.httpPort);
  await late.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  assertEquals((await late.readResponse()).status, 503);
  assertEquals(upstream.seen.length, seen);
  isDiskFull = false;
  await proxy.waitLine(/path=\/2 /);
  using again = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await again.send(request("/4"));
  assertEquals((await again.readResponse()).status, 200);
});
