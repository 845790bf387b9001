import { assertEquals, assertRejects } from "@std/assert";
import { parseCidr } from "../../../../core/cidr.ts";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { Dialler } from "../../../../proxy/egress/dialler.ts";
import { providerCall } from "../../../../proxy/egress/provider_call.ts";
import type { ProviderRequest } from "../../../../secrets/provider_call.ts";
import {
  readRequest,
  type SeenRequest,
  startRawUpstream,
  type Upstream,
} from "../../../support/echo_upstream.ts";
import { testProviderCall } from "../../../support/fake_provider.ts";
import { everythingBy, startTestParent } from "../../../support/parent_proxy.ts";
import { upstreamAuthority } from "../../../support/test_authority.ts";

const NEVER = new AbortController().signal;

/** An upstream that answers each request with these bytes. */
async function answering(
  bytes: string,
  names: readonly string[] = ["auth.test"],
): Promise<{ readonly upstream: Upstream; readonly seen: SeenRequest[] }> {
  const seen: SeenRequest[] = [];
  const upstream = await startRawUpstream(async (peer) => {
    const request = await readRequest(peer);
    if (!request) return;
    seen.push(request);
    await peer.send(bytes);
  }, { names });
  return { upstream, seen };
}

function request(port: number, more: Partial<ProviderRequest> = {}): ProviderRequest {
  return { method: "POST", url: `https://auth.test:${port}/token?a=b`, headers: {}, body: "x=ä", ...more };
}

Deno.test("providerCall() sends one plain request and reads the answer, however it is framed", async (t) => {
  const rows: readonly (readonly [name: string, bytes: string, status: number, body: string])[] = [
    ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"],
    [
      "chunks",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n",
      200,
      "hello",
    ],
    ["until the end", "HTTP/1.1 400 Bad\r\n\r\nhello", 400, "hello"],
    [
      "after an interim",
      "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
      200,
      "{}",
    ],
    ["empty", "HTTP/1.1 204 None\r\n\r\n", 204, ""],
    [
      "a redirect",
      "HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n",
      302,
      "",
    ],
  ];
  for (const [name, bytes, status, body] of rows) {
    await t.step(name, async () => {
      const { upstream, seen } = await answering(bytes);
      await using _ = upstream;
      const call = await testProviderCall();
      const answer = await call(request(upstream.port, { headers: { "X-One": "1" } }), NEVER);
      assertEquals([answer.status, answer.body], [status, body]);
      assertEquals(seen, [{
        requestLine: "POST /token?a=b HTTP/1.1",
        headers: [
          `Host: auth.test:${upstream.port}`,
          "User-Agent: slicer-proxy",
          "X-One: 1",
          "Accept-Encoding: identity",
          "Content-Length: 4",
          "Connection: close",
        ],
        body: "x=Ã¤",
      }]);
      assertEquals(upstream.connections, 1);
    });
  }
});

Deno.test("providerCall() goes through the parent proxy", async () => {
  const { upstream, seen } = await answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  await using _upstream = upstream;
  await using parent = await startTestParent();
  const { caPem } = await upstreamAuthority();
  const dialler = new Dialler({
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    admission: new Admission(DEFAULT_LIMITS),
    resolve: () => Promise.resolve(["127.0.0.1"]),
    addresses: { denyCidrs: [], allowCidrs: [parseCidr("127.0.0.0/8")] },
    caCertsFor: () => [caPem],
    ownAddresses: () => [],
    parents: everythingBy({ port: parent.port }),
  });
  assertEquals((await providerCall(dialler, DEFAULT_LIMITS)(request(upstream.port), NEVER)).body, "hello");
  assertEquals([parent.heads.length, seen.length], [1, 1]);
});

Deno.test("providerCall() obeys the rules for upstreams, and trusts nobody by accident", async (t) => {
  const { upstream, seen } = await answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  await using _ = upstream;
  const rows: readonly (readonly [
    name: string,
    options: Parameters<typeof testProviderCall>[0],
    more: Partial<ProviderRequest>,
    code: string,
  ])[] = [
    ["a denied network", { denyCidrs: ["127.0.0.0/8"] }, {}, "upstream.address-denied"],
    ["loopback that nobody allowed", { allowCidrs: [] }, {}, "upstream.address-denied"],
    ["an unknown issuer", { trusted: false }, {}, "upstream.tls"],
    ["another name", {}, { url: `https://other.test:${upstream.port}/` }, "upstream.tls"],
    ["plain http", {}, { url: `http://auth.test:${upstream.port}/` }, "input.invalid"],
    ["a line break in a header", {}, { headers: { "X-A": "b\r\nc: d" } }, "input.invalid"],
  ];
  for (const [name, options, more, code] of rows) {
    await t.step(name, async () => {
      const call = await testProviderCall(options);
      const error = await assertRejects(() => call(request(upstream.port, more), NEVER), ProxyError);
      assertEquals(error.code, code);
    });
  }
  assertEquals(seen, []);
});

Deno.test("providerCall() gives up on answers that are too long, cut short, encoded or endless", async (t) => {
  const long = (size: number) => `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${"x".repeat(size)}`;
  await t.step("the longest", async () => {
    const { upstream } = await answering(long(1_048_576));
    await using _ = upstream;
    assertEquals((await (await testProviderCall())(request(upstream.port), NEVER)).body.length, 1_048_576);
  });
  const rows: readonly (readonly [name: string, bytes: string, code: string])[] = [
    ["a byte longer", long(1_048_577), "upstream.malformed"],
    ["cut short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "upstream.closed"],
    ["nothing", "", "upstream.closed"],
    [
      "encoded",
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
      "upstream.malformed",
    ],
    ["interim for ever", "HTTP/1.1 100 Continue\r\n\r\n".repeat(40), "upstream.malformed"],
    ["no HTTP", "hello\r\n\r\n", "upstream.malformed"],
  ];
  for (const [name, bytes, code] of rows) {
    await t.step(name, async () => {
      const { upstream } = await answering(bytes);
      await using _ = upstream;
      const call = await testProviderCall();
      const error = await assertRejects(() => call(request(upstream.port), NEVER), ProxyError);
      assertEquals(error.code, code);
    });
  }
  await t.step("silence, until the signal", async () => {
    await using upstream = await startRawUpstream(async (peer) => {
      await peer.readUntil("never");
    }, { names: ["auth.test"] });
    const giveUp = new AbortController();
    const call = await testProviderCall();
    const waiting = call(request(upstream.port), giveUp.signal);
    setTimeout(() => giveUp.abort(new Error("enough")), 50);
    await assertRejects(() => waiting, Error, "enough");
  });
});

Deno.test("providerCall() goes in clear only where that was asked for, and to nothing but near addresses", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    if (await readRequest(peer)) await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  }, { names: [] });
  const callAt = (address: string, mayBeClear: boolean) =>
    providerCall(
      new Dialler({
        limits: DEFAULT_LIMITS,
        deadlines: new Deadlines(),
        admission: new Admission(DEFAULT_LIMITS),
        resolve: () => Promise.resolve([address]),
        addresses: { allowCidrs: [parseCidr("0.0.0.0/0")], denyCidrs: [] },
        caCertsFor: () => [],
        ownAddresses: () => [],
      }),
      DEFAULT_LIMITS,
      { mayBeClear },
    )(request(upstream.port, { url: `http://collector.test:${upstream.port}/` }), NEVER);
  assertEquals((await callAt("127.0.0.1", true)).body, "{}");
  const https = await assertRejects(() => callAt("127.0.0.1", false), ProxyError);
  assertEquals(https.code, "input.invalid");
  const far = await assertRejects(() => callAt("203.0.113.7", true), ProxyError);
  assertEquals([far.code, far.reason], ["upstream.address-denied", "cleartext-secret"]);
  assertEquals(upstream.connections, 1);
});

Deno.test("providerCall() writes nothing of a request that may not be sent any more when it gets there", async () => {
  const { upstream, seen } = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  await using _ = upstream;
  const call = await testProviderCall();
  const error = await assertRejects(
    () => call(request(upstream.port, { maySend: () => false }), NEVER),
    ProxyError,
  );
  assertEquals(error.code, "limit.reached");
  assertEquals((await call(request(upstream.port, { maySend: () => true }), NEVER)).status, 200);
  assertEquals(seen.length, 1);
});
