import { assert, assertEquals } from "@std/assert";
import { basic, dialRaw, dialTls } from "../../../support/raw_peer.ts";
import { soon, waitUntil } from "../../../support/sockets.ts";
import { startTestProxy, TOKEN } from "../../../support/start_proxy.ts";
import { makeClientHello } from "../../../support/client_hello.ts";

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
