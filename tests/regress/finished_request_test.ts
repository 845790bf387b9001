/**
 * A finished request watched its client for going away, and when the client left it closed the upstream connection, which by
 * then carried another request of the same client.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { readRequest, startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { Engine } from "../wire/harness.ts";
import { makePipe } from "../wire/pipe.ts";

Deno.test("a client that leaves after its response does not end another request on the reused upstream connection", async () => {
  const hasLeft = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await readRequest(peer);
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    await hasLeft.promise;
    await peer.send("lf");
  });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  const request = `GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`;
  const first = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await first.send(request);
  assertEquals((await first.readResponse()).body, "ok");
  using second = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await second.send(request);
  await second.readHead();
  assertEquals(await second.readBytes(2), "ha");
  first[Symbol.dispose]();
  while (proxy.server.counters().connections > 1) await new Promise((resolve) => setTimeout(resolve, 5));
  hasLeft.resolve();
  assertEquals(await second.readBytes(2), "lf");
  assertEquals(upstream.connections, 1);
});

Deno.test("a client that asked to close does not take the kept upstream connection with it", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy({ limits: { lingerTimeoutMs: 10_000 } });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  const head = `GET / HTTP/1.1\r\nHost: ${target}\r\n`;
  const first = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await first.send(`${head}Connection: close\r\n\r\n`);
  await first.readResponse();
  while (proxy.server.counters().idleUpstreams < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  first[Symbol.dispose]();
  while (proxy.server.counters().connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(proxy.server.counters().idleUpstreams, 1);
  using second = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await second.send(`${head}\r\n`);
  assertEquals((await second.readResponse()).status, 200);
  assertEquals(upstream.connections, 1);
});

Deno.test("a client that leaves with the last byte, before the write of it resolves, has its whole response", async () => {
  await using engine = new Engine({
    onDial: async (upstream) => {
      await upstream.read(new Uint8Array(1_024));
      await upstream.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    },
  });
  engine.policy.allow("one", { host: "up.test" });
  const [client, stream] = makePipe();
  engine.serve({
    read: (into) => stream.read(into),
    write: async (bytes) => {
      const count = await stream.write(bytes);
      await client.closeWrite();
      for (let turn = 0; turn < 20; turn++) await Promise.resolve(); // whoever reads learns of the end first
      return count;
    },
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
    abort: () => stream.abort(),
  }, { scheme: "http", host: "up.test", port: 80 });
  await client.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n"));
  while (await client.read(new Uint8Array(1_024)) !== null);
  await engine.context.audit.flush();
  assertMatch(engine.lines.join("\n"), /^allow client=one [^\n]*status=200 sent=0 received=2 duration=\S+$/);
});
