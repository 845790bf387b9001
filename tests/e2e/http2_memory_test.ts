/** What upstreams are known to speak, and how a tunnel of HTTP/2 ends. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { H2, Http2Error } from "../../proxy/http2/error.ts";
import { openHttp2 } from "../support/http2_client.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

Deno.test("an upstream that speaks HTTP/2 no more: one request is told so, the next tunnel is right", async () => {
  await using proxy = await startTestProxy();
  const first = await startHttp2Upstream();
  const { port } = first;
  const target = `up.test:${port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [port] });
  {
    await using client = await openHttp2(proxy, target);
    assertEquals((await client.ask("/a")).status, 200);
  }
  await first[Symbol.asyncDispose]();
  await using _second = await startHttp2Upstream({ alpn: ["http/1.1"], port });
  {
    await using client = await openHttp2(proxy, target);
    assertEquals(client.protocol, "h2"); // as it was
    const { status, fields } = await client.ask("/b");
    assertEquals([status, fields["x-slicer-proxy-reason"]], [502, "protocol-mismatch"]);
    await client.connection.closed; // only another tunnel can choose anew
  }
  await using client = await openHttp2(proxy, target);
  assertEquals(client.protocol, "http/1.1");
});

Deno.test("an upstream that speaks HTTP/1.1 no more: the tunnel ends with the answer that says so", async () => {
  await using proxy = await startTestProxy();
  const first = await startHttp2Upstream({ alpn: ["http/1.1"] });
  const { port } = first;
  const target = `up.test:${port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [port] });
  {
    await using client = await openHttp2(proxy, target);
    assertEquals(client.protocol, "http/1.1");
  }
  await first[Symbol.asyncDispose]();
  await using _second = await startHttp2Upstream({ alpn: ["h2"], port });
  using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await peer.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  const { status, head } = await peer.readResponse();
  assertEquals(status, 502);
  assertStringIncludes(head, "X-Slicer-Proxy-Reason: protocol-mismatch\r\n");
  assertStringIncludes(head, "Connection: close\r\n");
  assertEquals(await peer.readAll(), "");
  await using client = await openHttp2(proxy, target);
  assertEquals(client.protocol, "h2");
});

Deno.test("HTTP_1_1_REQUIRED goes to the client, and is not tried again", async (t) => {
  for (const via of ["RST_STREAM", "GOAWAY"]) {
    await t.step(via, async () => {
      await using upstream = await startHttp2Upstream({
        handle: (stream, connection) => {
          if (via === "GOAWAY") connection.close(H2.HTTP_1_1_REQUIRED);
          else stream.reset(H2.HTTP_1_1_REQUIRED);
          return Promise.resolve();
        },
      });
      await using proxy = await startTestProxy();
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
      await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
      const error = await assertRejects(() => client.ask("/a"), Http2Error);
      assertEquals(error.h2Code, H2.HTTP_1_1_REQUIRED);
      assertEquals(upstream.requests.length, 1);
      await proxy.waitLine(/^allow .*path=\/a reason=protocol-mismatch .*proto=h2/);
    });
  }
});

Deno.test("an upstream that cannot be asked is dialled once for the tunnel and its first request", async (t) => {
  for (const streams of [1, 20]) {
    await t.step(`${streams} streams`, async () => {
      let lookups = 0;
      const resolve = async () => {
        lookups++;
        await new Promise((resolve) => setTimeout(resolve, 200)); // a look-up takes longer than heads, which are taken a few at a time
        throw new Error("ENOTFOUND");
      };
      await using proxy = await startTestProxy({ resolve });
      proxy.policy.allow("one", { host: "up.test" });
      await using client = await openHttp2(proxy, "up.test:443");
      const answers = await Promise.all(Array.from({ length: streams }, () => client.ask("/a")));
      for (const { status, fields } of answers) {
        assertEquals([status, fields["x-slicer-proxy-reason"]], [502, "dns"]);
      }
      // Heads are taken a few at a time: those of the first turn share the tunnel's own dial, all others the next one.
      assert(lookups <= (streams === 1 ? 1 : 2), `${lookups} look-ups`);
    });
  }
});

Deno.test("a tunnel of HTTP/2 ends when no rule covers its host and port any more", async () => {
  await using upstream = await startHttp2Upstream({
    handle: (stream) => {
      stream.respond({ status: 200, fields: [] });
      return new Promise((done) => stream.onReset = () => done());
    },
  });
  await using proxy = await startTestProxy();
  const rule = (path: string) =>
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: [path] });
  const [a, b] = [rule("/a"), rule("/b")];
  const elsewhere = proxy.policy.allow("one", { host: "up.test", ports: [1] });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const ofA = await client.open("/a");
  const ofB = await client.open("/b");
  await Promise.all([ofA.response(), ofB.response()]);
  proxy.policy.revoke(a);
  await assertRejects(() => ofA.fill(), Http2Error);
  await proxy.waitLine(/path=\/a .*reason=revoked/);
  assertEquals((await client.ask("/a")).status, 403);
  assertEquals([ofB.error, client.connection.isDraining], [undefined, false]);
  proxy.policy.revoke(b);
  const error = await assertRejects(() => ofB.fill(), Http2Error);
  assertEquals(error.h2Code, H2.CANCEL);
  await proxy.waitLine(/path=\/b .*reason=revoked/);
  await client.connection.closed;
  assertEquals(client.connection.goAwayCode, H2.NO_ERROR);
  assertEquals(elsewhere.ports, [1]); // which covers another port, and is in force
});

Deno.test("a tunnel of HTTP/2 that rests ends with its rule, and lives on with another one", async (t) => {
  for (const isReplaced of [false, true]) {
    await t.step(isReplaced ? "replaced in time" : "gone", async () => {
      await using upstream = await startHttp2Upstream();
      await using proxy = await startTestProxy();
      const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
      await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
      assertEquals((await client.ask("/a")).status, 200);
      if (isReplaced) proxy.policy.allow("one", { host: "*.test", ports: [upstream.port] });
      proxy.policy.revoke(rule);
      if (isReplaced) assertEquals((await client.ask("/b")).status, 200);
      else await client.connection.closed;
      assertEquals(client.connection.goAwayCode, isReplaced ? undefined : H2.NO_ERROR);
    });
  }
});
