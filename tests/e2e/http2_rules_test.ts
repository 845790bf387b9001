/** Words of rules about HTTP/2 and gRPC, from the wire to the proposal. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DenialTally } from "../../policy/denial_tally.ts";
import { suggestRules } from "../../policy/suggest.ts";
import { openHttp2 } from "../support/http2_client.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { openTlsTunnel, openTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const GRPC = { method: "POST", fields: [{ key: "content-type", value: "application/grpc" }] };

Deno.test("a rule for gRPC calls: they pass with their credential, others are told which rule they need", async () => {
  await using upstream = await startHttp2Upstream();
  await using proxy = await startTestProxy();
  const { port } = upstream;
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [port], grpc: ["p.S/Get", "q.T/*"], secret: "key" });
  await using client = await openHttp2(proxy, `up.test:${port}`);
  for (const path of ["/p.S/Get", "/q.T/Any"]) {
    assertStringIncludes((await client.ask(path, GRPC)).body, `POST ${path} Bearer REAL`);
  }
  const denied = await client.ask("/p.S/Set", GRPC);
  assertEquals([denied.status, denied.fields["grpc-status"]], [200, "7"]);
  assertMatch(
    denied.fields["grpc-message"] ?? "",
    /falls short in the gRPC method: it wants p\.S\/Get or q\.T/,
  );
  assertEquals((await client.ask("/p.S/Get")).status, 403); // GET
  const overridden = [...GRPC.fields, { key: "x-http-method-override", value: "GET" }];
  const override = await client.ask("/p.S/Get", { ...GRPC, fields: overridden });
  assertEquals(override.fields["x-slicer-proxy-reason"], "method-override");
  await proxy.waitLine(/^deny .*method=POST .*path=\/p\.S\/Set .*reason=no-rule .*proto=h2 grpc-status=7/);
  await proxy.waitLine(/^deny .*method=POST .*path=\/p\.S\/Get .*reason=method-override/); // the last one
  assertEquals(upstream.requests.length, 2);
  const tally = new DenialTally("one");
  for (const record of proxy.records) tally.add(record);
  const { proposals } = suggestRules({
    denials: tally.denials,
    rules: proxy.policy.rulesOf({ name: "one", version: "" }),
  });
  assertEquals(proposals.map(({ rule: { grpc, methods } }) => ({ grpc, methods })), [
    { grpc: ["p.S/Set"], methods: [] },
    { grpc: undefined, methods: ["GET"] },
  ]);
});

Deno.test("a host and port with --http1 speak HTTP/1.1, under all of their rules", async () => {
  await using upstream = await startHttp2Upstream();
  await using clear = await startHttp2Upstream({ isClear: true });
  await using proxy = await startTestProxy();
  const { port } = upstream;
  proxy.policy.allow("one", { host: "up.test", ports: [port], paths: ["/v1/*"] });
  const http1 = proxy.policy.allow("one", { host: "*.test", ports: [port, clear.port], http1: true });
  {
    await using client = await openHttp2(proxy, `up.test:${port}`);
    assertEquals(client.protocol, "http/1.1");
  }
  {
    using peer = await openTlsTunnel(proxy.httpPort, `up.test:${port}`, TOKEN, proxy.caPem);
    await peer.send(`GET /v1/a HTTP/1.1\r\nHost: up.test:${port}\r\n\r\n`);
    assertEquals((await peer.readResponse()).body, "HTTP/1.1"); // and so does the upstream
  }
  {
    using peer = await openTunnel(proxy.httpPort, `up.test:${clear.port}`, TOKEN);
    await peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assertMatch(await peer.readHead(), /^HTTP\/1\.1 [45]\d\d /);
    assertEquals(clear.connections, 0);
  }
  proxy.policy.revoke(http1);
  await using client = await openHttp2(proxy, `up.test:${port}`);
  assertEquals(client.protocol, "h2");
  assertEquals((await client.ask("/v1/a")).status, 200);
});
