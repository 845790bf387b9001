import { assert, assertEquals } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { serveConnection } from "../../../../proxy/accept/connection.ts";
import type { TlsSession } from "../../../../proxy/tls/loopback_session.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { basic, dialRaw, dialTls } from "../../../support/raw_peer.ts";
import { soon, waitUntil } from "../../../support/sockets.ts";
import { startTestProxy, TOKEN } from "../../../support/start_proxy.ts";
import { makeClientHello } from "../../../support/client_hello.ts";
import { Engine } from "../../../wire/harness.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

Deno.test("a hello that does not come to its end is a handshake that failed, in time", async () => {
  await using proxy = await startTestProxy({ limits: { handshakeTimeoutMs: 50 } });
  using peer = await dialRaw(proxy.httpPort);
  await peer.sendBytes(makeClientHello({ serverName: "localhost" }).subarray(0, 20));
  assert(await soon("the end", peer.isClosed()));
  await proxy.waitLine(/^deny client=- reason=tls-handshake$/);
});

Deno.test("what is wrong with a hello the client is told by TLS itself", async () => {
  await using proxy = await startTestProxy();
  using peer = await dialRaw(proxy.tlsPort);
  await peer.sendBytes(Uint8Array.of(22, 3, 1, 0, 4, 99, 0, 0, 0));
  const alert = "\x15\x03";
  assertEquals(await soon("an alert", peer.readBytes(2)), alert);
  await proxy.waitLine(/^deny client=- reason=tls-handshake$/);
});

Deno.test("a connection on which nothing comes is closed in time, inside TLS too, and nobody is told", async (t) => {
  for (const isTls of [false, true]) {
    await t.step(isTls ? "TLS" : "clear", async () => {
      await using proxy = await startTestProxy({ limits: { headTimeoutMs: 100 } });
      using peer = isTls ? await dialTls(proxy.tlsPort, proxy.caPem) : await dialRaw(proxy.httpPort);
      assertEquals(await soon("the end", peer.readAll().catch(() => "")), "");
      await waitUntil("it is gone", () => proxy.server.counters().connections === 0);
      assertEquals(proxy.lines, []);
    });
  }
});

Deno.test("a connection goes on after a CONNECT that was refused, and ends after one that cannot be read", async (t) => {
  await using proxy = await startTestProxy();
  const connect = (target: string, more = "") =>
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n${more}\r\n`;
  await t.step("refused", async () => {
    using peer = await dialRaw(proxy.httpPort);
    for (let at = 0; at < 2; at++) {
      await peer.send(connect("up.test:443"));
      assertEquals((await soon("an answer", peer.readResponse())).status, 403);
    }
  });
  await t.step("refused, and the end", async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send(connect("up.test:443", "Connection: close\r\n"));
    assertEquals((await soon("an answer", peer.readResponse())).status, 403);
    assertEquals(await soon("the end", peer.readAll()), "");
  });
});

/** A connection in memory, and what is served on it. */
function serve(limits: Partial<Limits> = {}, terminate?: () => Promise<TlsSession>) {
  const engine = new Engine({ limits: { lingerTimeoutMs: 50, ...limits } });
  const deadlines = new FakeDeadlines();
  Object.assign(engine.context, { deadlines });
  if (terminate) Object.assign(engine.context.interceptor, { terminate });
  const [client, stream] = makePipe();
  const state = {
    ...{ source: "192.0.2.1", origin: { src: "192.0.2.1:1", proxyPort: 1 } },
    ...{ isIdle: false, isStopping: false, identify: () => true },
  };
  const served = serveConnection(stream, { state, context: engine.context });
  return {
    ...{ engine, deadlines, client, stream, state, served },
    /** The lines of the audit log, once all is over. */
    lines: async () => {
      await soon("the end", served);
      await engine[Symbol.asyncDispose]();
      return engine.lines;
    },
  };
}

const HELLO = makeClientHello({ serverName: "localhost" });

Deno.test("serveConnection() is idle until the first byte, closes what goes or stays silent, and leaves no deadline", async (t) => {
  await t.step("it goes", async () => {
    const s = serve();
    assertEquals([s.state.isIdle, s.deadlines.left], [true, [DEFAULT_LIMITS.headTimeoutMs]]);
    await s.client.closeWrite();
    assertEquals(await s.lines(), []);
    assertEquals([s.state.isIdle, s.stream.ended, s.deadlines.left], [false, "closed", []] as unknown[]);
  });
  await t.step("it stays silent", async () => {
    const s = serve();
    s.deadlines.advance(DEFAULT_LIMITS.headTimeoutMs);
    assertEquals(await s.lines(), []);
    assertEquals([s.state.isIdle, s.stream.ended, s.deadlines.left], [false, "closed", []] as unknown[]);
  });
  await t.step("half a hello", async () => {
    const s = serve({ handshakeTimeoutMs: 777 });
    await s.client.write(HELLO.subarray(0, 20));
    await settle();
    assertEquals([s.state.isIdle, s.deadlines.left], [false, [777]]);
    s.deadlines.advance(777);
    assertEquals(await s.lines(), ["deny client=- reason=tls-handshake"]);
    assertEquals([s.stream.ended, s.deadlines.left], ["closed", []] as unknown[]);
  });
});

Deno.test("serveConnection() serves what is inside TLS, and closes that where nothing comes", async () => {
  const [client, inner] = makePipe();
  const over = Promise.withResolvers<void>();
  const session = Object.assign(inner, { done: over.promise });
  const s = serve({}, () => Promise.resolve(session));
  await s.client.write(HELLO);
  await waitUntil("it waits", () => s.state.isIdle);
  await client.closeWrite();
  await waitUntil("it is closed", () => session.ended === "closed");
  let isServed = false;
  void s.served.then(() => isServed = true);
  await settle();
  assertEquals(isServed, false); // its descriptors are counted until they are closed
  over.resolve();
  assertEquals(await s.lines(), []);
  assertEquals(s.deadlines.left, []);
});

Deno.test("serveConnection() logs a handshake that failed, reports a bug, and says nothing of a client that has gone", async (t) => {
  const rows: readonly (readonly [Error, lines: readonly string[], bugs: number])[] = [
    [new ProxyError("client.malformed", "x", { reason: "tls-untrusted-ca" }), [
      "deny client=- reason=tls-untrusted-ca",
    ], 0],
    [new ProxyError("client.closed", "x", { reason: "client-closed" }), [], 0],
    [new TypeError("bug"), ["deny client=- reason=internal"], 1],
  ];
  for (const [error, lines, bugs] of rows) {
    await t.step(String(error), async () => {
      const s = serve({}, () => Promise.reject(error));
      await s.client.write(HELLO);
      await soon("the end", s.served);
      assertEquals([s.engine.bugs.splice(0).length, s.stream.ended], [bugs, "closed"] as unknown[]);
      assertEquals(await s.lines(), lines);
    });
  }
});
