/**
 * Attacks on framing that need real sockets, back-pressure or more than one connection; the others are transcripts in
 * `tests/wire`.
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Deadlines } from "../../core/deadlines.ts";
import { type Splice, splice } from "../../proxy/streams/splice.ts";
import { startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { Engine } from "../wire/harness.ts";
import { type PipeEnd, settle } from "../wire/pipe.ts";

Deno.test("a body whose upstream breaks off in the middle of a write is never read as a request", async () => {
  const upstreams: PipeEnd[] = [];
  await using engine = new Engine({ upstreamCapacity: 80, onDial: (stream) => upstreams.push(stream) });
  engine.policy.allow("one", { host: "up.test" });
  const client = engine.connect({ scheme: "https", host: "up.test", port: 443 });
  const smuggled = "GET /smuggled HTTP/1.1\r\nHost: up.test\r\n\r\n";
  await client.write(Buffer.from("POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 41\r\n\r\n"));
  await settle();
  await client.write(Buffer.from(smuggled));
  await settle(); // the whole body is here, and a part of it waits for an upstream that does not read
  upstreams[0]?.close();
  await settle();
  const buffer = new Uint8Array(65_536);
  const count = await client.read(buffer);
  assertMatch(
    Buffer.from(buffer.subarray(0, count ?? 0)).toString(),
    /^HTTP\/1\.1 502 [^]*\r\nConnection: close\r\n/,
  );
  assertEquals(await Promise.race([client.read(buffer), settle().then(() => "kept open")]), null);
  assertEquals(upstreams.length, 1);
  client.close();
});

Deno.test("a request with two framings reaches no upstream, over TLS as well", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(
    `POST / HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`,
  );
  assertEquals((await peer.readResponse()).status, 400);
  assertEquals(await peer.readAll(), "");
  assertEquals(upstream.seen, []);
});

Deno.test("a response that nobody asked for is given to no request", async () => {
  const poison = Promise.withResolvers<void>();
  const poisoned = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream(async (peer, index) => {
    await peer.readHead();
    await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${index}`);
    if (index > 0) return;
    await poison.promise;
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    assert(await peer.isClosed());
    poisoned.resolve();
  });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  const request = `GET / HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`;
  await peer.send(request);
  assertEquals((await peer.readResponse()).body, "0");
  await proxy.waitLine(/ status=200 /);
  assertEquals(proxy.server.counters().idleUpstreams, 1);
  poison.resolve();
  await poisoned.promise;
  await peer.send(request);
  assertEquals((await peer.readResponse()).body, "1");
});

const CUT_SHORT = [
  { name: "a length", fields: "Content-Length: 10\r\n", body: "hello" },
  { name: "chunks", fields: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n" },
  { name: "chunks, the last line missing", fields: "Transfer-Encoding: chunked\r\n", body: "0\r\n" },
];

Deno.test("a response that is cut short is cut short for the client: no close_notify", async (t) => {
  for (const { name, fields, body } of CUT_SHORT) {
    await t.step(name, async () => {
      const arrived = Promise.withResolvers<void>();
      await using upstream = await startRawUpstream(async (peer) => {
        await peer.readHead();
        await peer.send(`HTTP/1.1 200 OK\r\n${fields}\r\n${body}`);
        await arrived.promise;
        await peer.conn.closeWrite(); // an end in order of what is not complete
      });
      await using proxy = await startTestProxy();
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
      using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
      await peer.send(`GET / HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
      await peer.readHead();
      assertEquals(await peer.readBytes(body.length), body);
      arrived.resolve();
      await assertRejects(() => peer.readAll(), Error, "close_notify");
      await proxy.waitLine(/ status=200 reason=upstream-closed /);
      assertEquals(proxy.server.counters().idleUpstreams, 0);
    });
  }
});

Deno.test("a body until the end that breaks off without close_notify does not end in order for the client", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
    await peer.isClosed();
  });
  await using wire = startCuttableWire(upstream.port);
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [wire.port] });
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${wire.port}`, TOKEN, proxy.caPem);
  await peer.send(`GET / HTTP/1.1\r\nHost: up.test:${wire.port}\r\n\r\n`);
  await peer.readHead();
  assertEquals(await peer.readBytes(5), "hello");
  wire.cut();
  await assertRejects(() => peer.readAll(), Error, "close_notify");
  await proxy.waitLine(/ status=200 reason=upstream-closed /);
});

/** A TCP relay in front of a TLS upstream, which can end the connection below TLS. */
function startCuttableWire(port: number): AsyncDisposable & { readonly port: number; cut(): void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let joined: Splice | undefined;
  const deadlines = new Deadlines();
  const serving = (async () => {
    const inner = await listener.accept();
    const outer = await Deno.connect({ hostname: "127.0.0.1", port });
    joined = splice(inner, outer, { deadlines, afterATimeoutMs: 1_000, afterBTimeoutMs: 1_000 });
    await joined.done;
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    cut: () => joined?.abort(),
    [Symbol.asyncDispose]: async () => {
      listener.close();
      joined?.abort();
      await serving.catch(() => {}); // no one has come
    },
  };
}
