/** What the engine makes of HTTP/2 connections on both sides: retries, places, bounds, who shares what. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { H2, Http2Error } from "../../proxy/http2/error.ts";
import type { Http2ServerStream } from "../../proxy/http2/types.ts";
import { startFrameUpstream } from "../support/frame_peer.ts";
import { answerOf, openHttp2 } from "../support/http2_client.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, type TestProxyOptions } from "../support/start_proxy.ts";

const OTHER_TOKEN = "spi_test_token_of_client_two";
const HELLO = Buffer.from("hello");

/** A proxy whose client may do everything at the upstream. */
async function startProxyTo({ port }: { readonly port: number }, options: TestProxyOptions = {}) {
  const proxy = await startTestProxy(options);
  proxy.policy.allow("one", { host: "up.test", ports: [port] });
  return proxy;
}

function isReset(error: unknown, code: number): boolean {
  return error instanceof Http2Error && error.h2Code === code;
}

async function bodyOf(stream: Http2ServerStream): Promise<string> {
  let text = "";
  while (await stream.fill()) {
    text += Buffer.from(stream.available).toString("latin1");
    stream.consume(stream.available.length);
  }
  return text;
}

Deno.test("requests are counted for each client, over all its tunnels", async () => {
  const finish = Promise.withResolvers<void>();
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      if (stream.head.path === "/wait") await finish.promise;
      stream.respond({ status: 200, fields: [] }, true);
    },
  });
  await using proxy = await startProxyTo(upstream, { limits: { maxHttp2StreamsPerClient: 3 } });
  proxy.policy.addClient("two", OTHER_TOKEN);
  proxy.policy.allow("two", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  await using first = await openHttp2(proxy, target);
  await using second = await openHttp2(proxy, target);
  await using other = await openHttp2(proxy, target, { token: OTHER_TOKEN });
  const waiting = [first.ask("/wait"), first.ask("/wait"), second.ask("/wait")];
  await waitUntil("three requests", () => upstream.requests.length === 3);
  const { status, fields } = await second.ask("/");
  assertEquals([status, fields["x-slicer-proxy-reason"]], [429, "quota"]);
  assertEquals((await other.ask("/")).status, 200, "another client has its own");
  finish.resolve();
  await Promise.all(waiting);
  await waitUntil(
    "three lines",
    () => proxy.lines.filter((line) => /path=\/wait status=200/.test(line)).length === 3,
  );
  assertEquals((await second.ask("/")).status, 200, "the places come back");
});

Deno.test("REFUSED_STREAM: sent again once, where nothing of a body was sent", async (t) => {
  const rows = [
    { name: "refused once", refusals: 1, body: "", status: 200, requests: 2 },
    { name: "refused always", refusals: 9, body: "", status: 502, requests: 2 },
    { name: "refused behind its body", refusals: 1, body: "hello", status: 502, requests: 1 },
  ];
  for (const { name, refusals, body, status, requests } of rows) {
    await t.step(name, async () => {
      let count = 0;
      await using upstream = await startHttp2Upstream({
        handle: async (stream) => {
          if (body !== "") await stream.fill();
          if (count++ < refusals) stream.reset(H2.REFUSED_STREAM);
          else stream.respond({ status: 200, fields: [] }, true);
        },
      });
      await using proxy = await startProxyTo(upstream);
      await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
      const stream = await client.open("/", { method: body === "" ? "GET" : "POST", end: body === "" });
      if (body !== "") await stream.write(Buffer.from(body), true);
      assertEquals((await answerOf(stream)).status, status);
      assertEquals(upstream.requests.length, requests);
    });
  }
});

Deno.test("GOAWAY: what is above its number goes on a new connection, the rest is finished on the old one", async () => {
  await using upstream = await startFrameUpstream(async (peer, index) => {
    await peer.send("SETTINGS");
    if (index === 0) {
      await peer.next(/^HEADERS 1 /);
      await peer.next(/^HEADERS 3 /);
      await peer.send("GOAWAY 1 NO_ERROR", "HEADERS 1 EH :status=200", "DATA 1 ES old");
    } else {
      await peer.next(/^HEADERS 1 /);
      await peer.send("HEADERS 1 EH :status=200", "DATA 1 ES new");
    }
    await peer.end();
  });
  await using proxy = await startProxyTo(upstream);
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const first = await client.open("/a");
  const second = await client.open("/b");
  assertEquals((await answerOf(first)).body, "old");
  assertEquals((await answerOf(second)).body, "new");
  assertEquals(upstream.peers.length, 2);
});

Deno.test("a POST that the upstream may have acted on is not sent again", async () => {
  await using upstream = await startFrameUpstream(async (peer) => {
    await peer.send("SETTINGS");
    await peer.next(/^DATA 1 ES/);
    await peer.send("GOAWAY 1 NO_ERROR");
  });
  await using proxy = await startProxyTo(upstream);
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const stream = await client.open("/", { method: "POST", end: false });
  await stream.write(HELLO, true);
  assertEquals((await answerOf(stream)).status, 502);
  assertEquals(upstream.peers.length, 1);
});

Deno.test("requests beyond the upstream's MAX_CONCURRENT_STREAMS wait, and one that is given up is not sent", async () => {
  await using upstream = await startFrameUpstream(async (peer) => {
    await peer.send("SETTINGS MAX_CONCURRENT_STREAMS=1");
    await peer.end();
  });
  await using proxy = await startProxyTo(upstream, { limits: { maxHttp2UpstreamsPerKey: 1 } });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const first = client.ask("/a");
  await waitUntil(
    "the first request",
    () => upstream.peers[0]?.seen.some((line) => line.includes("/a")) ?? false,
  );
  const second = await client.open("/b");
  const third = await client.open("/c");
  // A round trip, for what is reset within the read that brought it is never begun.
  await assertRejects(() => client.ask("/not a path"));
  second.reset(H2.CANCEL);
  await proxy.waitLine(/path=\/b .*reason=client-closed/);
  const [peer] = upstream.peers;
  assert(peer && peer.seen.filter((line) => line.startsWith("HEADERS")).length === 1);
  await peer.send("HEADERS 1 ES EH :status=200");
  assertEquals((await first).status, 200);
  await waitUntil("the third request", () => peer.seen.some((line) => line.includes("/c")));
  await peer.send("HEADERS 3 ES EH :status=200");
  assertEquals((await answerOf(third)).status, 200);
  assertEquals(peer.seen.filter((line) => line.includes("/b")), []);
});

Deno.test("trailers pass in requests and in answers, and a head that ends the stream stays one", async () => {
  let got: string | undefined;
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      const body = await bodyOf(stream);
      got = `${body} ${stream.trailers?.map(({ key, value }) => `${key}=${value}`)}`;
      if (stream.head.path === "/only") {
        stream.respond({ status: 200, fields: [{ key: "grpc-status", value: "5" }] }, true);
        return;
      }
      stream.respond({ status: 200, fields: [] });
      await stream.write(HELLO);
      stream.end([{ key: "grpc-status", value: "0" }]);
    },
  });
  await using proxy = await startProxyTo(upstream);
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const stream = await client.open("/", { method: "POST", end: false });
  await stream.write(HELLO);
  stream.end([{ key: "x-sum", value: "1" }]);
  assertEquals((await answerOf(stream)).body, "hello");
  assertEquals(stream.trailers?.map(({ key, value }) => `${key}=${value}`), ["grpc-status=0"]);
  assertEquals(got, "hello x-sum=1");
  const only = await client.open("/only");
  const head = await only.response();
  assertEquals([head.isBodyless, head.fields.find(({ key }) => key === "grpc-status")?.value], [true, "5"]);
  await proxy.waitLine(/path=\/only .*grpc-status=5/);
});

Deno.test("a client's RST_STREAM reaches the upstream as CANCEL: while it waits, uploads, and downloads", async (t) => {
  const rows = [
    { name: "while it waits for the answer", path: "/wait", upload: 0 },
    { name: "while its body waits for the upstream's window", path: "/wait", upload: 500_000 },
    { name: "inside the answer", path: "/endless", upload: 0 },
  ];
  for (const { name, path, upload } of rows) {
    await t.step(name, async () => {
      const began = Promise.withResolvers<void>();
      const gone = Promise.withResolvers<unknown>();
      await using upstream = await startHttp2Upstream({
        handle: async (stream) => {
          stream.onReset = gone.resolve;
          began.resolve();
          if (path === "/endless") {
            stream.respond({ status: 200, fields: [] });
            for (;;) await stream.write(new Uint8Array(10_000));
          }
          await gone.promise;
        },
      });
      await using proxy = await startProxyTo(upstream);
      await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
      const stream = await client.open(path, { method: "POST", end: upload === 0 });
      if (upload > 0) void stream.write(new Uint8Array(upload), true).catch(() => {});
      await began.promise;
      if (path === "/endless") await stream.fill();
      else if (upload > 0) {
        await waitUntil("a window sent", () => client.connection.counters.bytesOut > 250_000);
      }
      stream.reset(H2.CANCEL);
      assert(isReset(await gone.promise, H2.CANCEL));
      await proxy.waitLine(/method=POST .*reason=client-closed/);
      assertEquals(await client.connection.activeStreams, 0);
    });
  }
});

Deno.test("an upstream's RST_STREAM reaches the client with its code, and leaves the other streams alone", async () => {
  const finish = Promise.withResolvers<void>();
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      stream.respond({ status: 200, fields: [] });
      await stream.write(HELLO);
      if (stream.head.path === "/cut") return stream.reset(H2.INTERNAL_ERROR);
      await finish.promise;
      await stream.write(HELLO, true);
    },
  });
  await using proxy = await startProxyTo(upstream);
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const other = await client.open("/other");
  const cut = await client.open("/cut");
  assert(isReset(await assertRejects(() => answerOf(cut)), H2.INTERNAL_ERROR));
  finish.resolve();
  assertEquals((await answerOf(other)).body, "hellohello");
});

Deno.test("window credit comes back only when the upstream has taken the bytes", async () => {
  const read = Promise.withResolvers<void>();
  let size = 0;
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      await read.promise;
      size = (await bodyOf(stream)).length;
      stream.respond({ status: 200, fields: [] }, true);
    },
  });
  await using proxy = await startProxyTo(upstream, { limits: { http2StreamWindowBytes: 65_535 } });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const stream = await client.open("/", { method: "POST", end: false });
  const piece = new Uint8Array(16_384);
  let sent = 0;
  const sending = (async () => {
    for (let i = 0; i < 100; i++, sent += piece.length) await stream.write(piece, i === 99);
  })();
  // The test server's window, the proxy's, and what is between them.
  await waitUntil("a window sent", () => sent > 262_144);
  for (let before = -1; before !== sent;) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert(sent <= 262_144 + 65_535 + 2 * piece.length, `${sent} bytes were let in`);
  read.resolve();
  await sending;
  assertEquals((await answerOf(stream)).status, 200);
  assertEquals(size, 100 * piece.length);
});

Deno.test("bounds in time: an upstream that thinks, a client that stalls, one that does not take", async (t) => {
  const limits = { responseTimeoutMs: 400, bodyIdleTimeoutMs: 400, headTimeoutMs: 400 };
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      if (stream.head.path === "/wait") {
        const { promise, resolve } = Promise.withResolvers<void>();
        stream.onReset = () => resolve();
        return await promise;
      }
      if (stream.head.path === "/take") await bodyOf(stream);
      stream.respond({ status: 200, fields: [] });
      await stream.write(new Uint8Array(3_000_000), true);
    },
  });
  await using proxy = await startProxyTo(upstream, { limits });
  const target = `up.test:${upstream.port}`;
  await t.step("no answer: 504 for the stream alone", async () => {
    await using client = await openHttp2(proxy, target);
    const { status, fields } = await client.ask("/wait");
    assertEquals([status, fields["x-slicer-proxy-reason"]], [504, "upstream-timeout"]);
    assertEquals((await client.ask("/big")).status, 200);
  });
  await t.step("a body that stops: the stream ends", async () => {
    await using client = await openHttp2(proxy, target);
    const stream = await client.open("/take", { method: "POST", end: false });
    await stream.write(HELLO);
    const { status } = await answerOf(stream);
    assertEquals(status, 408);
    assertEquals((await client.ask("/big")).status, 200);
  });
  await t.step("an answer that is not taken: CANCEL", async () => {
    await using client = await openHttp2(proxy, target);
    const stream = await client.open("/big");
    assertEquals((await stream.response()).status, 200);
    const cut = Promise.withResolvers<Http2Error>();
    stream.onReset = cut.resolve; // nothing is consumed
    assert(isReset(await cut.promise, H2.CANCEL));
  });
});

Deno.test("upstream connections are shared by no two clients, secrets' versions, or rules with other secrets", async (t) => {
  const seen: string[] = [];
  await using upstream = await startHttp2Upstream({
    handle: (stream, connection) => {
      const authorization = stream.head.fields.find(({ key }) => key === "authorization")?.value ?? "-";
      let index = connections.indexOf(connection);
      if (index < 0) index = connections.push(connection) - 1;
      seen.push(`${index} ${authorization}`);
      stream.respond({ status: 200, fields: [] }, true);
      return Promise.resolve();
    },
  });
  const connections: unknown[] = [];
  await using proxy = await startTestProxy();
  proxy.policy.addClient("two", OTHER_TOKEN);
  const secret = (value: string) =>
    proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", value]] });
  secret("first");
  const { port } = upstream;
  proxy.policy.allow("one", { host: "up.test", ports: [port], paths: ["/bare"] });
  proxy.policy.allow("one", { host: "up.test", ports: [port], secret: "key" });
  proxy.policy.allow("two", { host: "up.test", ports: [port], secret: "key" });
  const ask = async (path: string, token?: string) => {
    await using client = await openHttp2(proxy, `up.test:${port}`, token === undefined ? {} : { token });
    const before = seen.length;
    assertEquals((await client.ask(path)).status, 200);
    return seen.slice(before).join();
  };
  const connectionOf = (line: string) => line.split(" ")[0];
  const bare = await ask("/bare");
  const one = await ask("/a");
  const two = await ask("/a", OTHER_TOKEN);
  await t.step("each has its own", () => {
    assertMatch(bare, / -$/);
    assertMatch(one, / first$/);
    assertEquals(new Set([bare, one, two].map(connectionOf)).size, 3);
  });
  await t.step("and finds it again", async () => {
    assertEquals(await ask("/bare"), bare);
    assertEquals(await ask("/a"), one);
    assertEquals(await ask("/a", OTHER_TOKEN), two);
  });
  await t.step("a new version of the secret has a new one", async () => {
    secret("second");
    const newer = await ask("/a");
    assertMatch(newer, / second$/);
    assertEquals([bare, one, two].map(connectionOf).includes(connectionOf(newer)), false);
  });
});

Deno.test("revocation resets the streams of its rule with CANCEL on both sides, no others", async () => {
  const resets: number[] = [];
  const finish = Promise.withResolvers<void>();
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      stream.respond({ status: 200, fields: [] });
      await stream.write(HELLO);
      const { promise, resolve } = Promise.withResolvers<void>();
      stream.onReset = ({ h2Code }) => {
        resets.push(h2Code);
        resolve();
      };
      await Promise.race([promise, finish.promise]);
      if (!stream.error) await stream.write(HELLO, true);
    },
  });
  await using proxy: TestProxy = await startTestProxy();
  const { port } = upstream;
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [port], paths: ["/a/*"] });
  proxy.policy.allow("one", { host: "up.test", ports: [port], paths: ["/b/*"] });
  await using client = await openHttp2(proxy, `up.test:${port}`);
  const [gone, stays] = [await client.open("/a/1"), await client.open("/b/1")];
  for (const stream of [gone, stays]) {
    await stream.response();
    await stream.fill();
  }
  const cut = Promise.withResolvers<Http2Error>();
  gone.onReset = cut.resolve;
  proxy.policy.revoke(rule);
  assert(isReset(await cut.promise, H2.CANCEL));
  await waitUntil("a reset", () => resets.length === 1);
  assertEquals(resets, [H2.CANCEL]);
  finish.resolve();
  while (await stays.fill()) stays.consume(stays.available.length);
  assertEquals(stays.error, undefined);
});
