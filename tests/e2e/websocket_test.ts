/** WebSockets (RFC 6455) through an inspected tunnel: what both sides see, and how it ends. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startRawUpstream } from "../support/echo_upstream.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = createHash("sha1").update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

function upgradeHead(port: number, more = ""): string {
  return `GET /ws HTTP/1.1\r\nHost: up.test:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n${more}\r\n`;
}

const SWITCHING = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  `Sec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`;

/** A frame with a payload below 126 bytes; a client's is masked (RFC 6455 §5.2). */
function frame(opcode: number, payload: string, isMasked: boolean): string {
  const mask = isMasked ? [1, 2, 3, 4] : [];
  const data = [...Buffer.from(payload, "latin1")].map((byte, i) => byte ^ (mask[i % 4] ?? 0));
  return String.fromCharCode(0x80 | opcode, payload.length | (isMasked ? 0x80 : 0), ...mask, ...data);
}

async function readFrame(peer: RawPeer): Promise<{ opcode: number; isMasked: boolean; payload: string }> {
  const [first = 0, second = 0] = Buffer.from(await peer.readBytes(2), "latin1");
  const isMasked = second >= 0x80;
  const mask = isMasked ? Buffer.from(await peer.readBytes(4), "latin1") : Buffer.alloc(4);
  const data = Buffer.from(await peer.readBytes(second & 0x7f), "latin1");
  const payload = Buffer.from(data.map((byte, i) => byte ^ (mask[i % 4] ?? 0))).toString("latin1");
  return { opcode: first & 0x0f, isMasked, payload };
}

/** Answers the upgrade and echoes text frames, unmasked; ends after a close frame. */
async function echoFrames(peer: RawPeer): Promise<void> {
  for (;;) {
    const { opcode, payload } = await readFrame(peer);
    await peer.send(frame(opcode, payload, false));
    if (opcode === 8) return;
  }
}

function allowWebSocket(proxy: TestProxy, port: number): void {
  proxy.policy.setCredential({
    secret: "key",
    host: "up.test",
    headers: [["Authorization", "Bearer REAL"]],
  });
  proxy.policy.allow("one", {
    host: "up.test",
    ports: [port],
    methods: ["GET"],
    paths: ["/ws", "/next"],
    secret: "key",
  });
}

Deno.test("a WebSocket: credential on the upgrade, frames both ways, closed by the client", async () => {
  let head = "";
  await using upstream = await startRawUpstream(async (peer) => {
    head = await peer.readHead();
    await peer.send(SWITCHING);
    await echoFrames(peer);
  });
  await using proxy = await startTestProxy();
  allowWebSocket(proxy, upstream.port);
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(upgradeHead(upstream.port, "Authorization: Bearer FAKE\r\n"));
  const answer = await peer.readHead();
  assertMatch(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
  assertStringIncludes(answer, `\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n`);
  assertEquals(head.split("\r\n"), [
    "GET /ws HTTP/1.1",
    `Host: up.test:${upstream.port}`,
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${KEY}`,
    "Authorization: Bearer REAL",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "",
    "",
  ]);
  for (const text of ["hello", "", "x".repeat(125)]) {
    await peer.send(frame(1, text, true));
    assertEquals(await readFrame(peer), { opcode: 1, isMasked: false, payload: text });
  }
  await peer.send(frame(8, "\x03\xe8", true));
  assertEquals((await readFrame(peer)).opcode, 8);
  assertEquals(await peer.readAll(), ""); // ended in order, with close_notify
  await proxy.waitLine(
    /^allow client=one method=GET .* path=\/ws status=101 secret=key sent=156 received=140 duration=/,
  );
});

Deno.test("a WebSocket that the upstream closes ends for the client", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.readHead();
    await peer.send(SWITCHING + frame(1, "bye", false) + frame(8, "\x03\xe8", false));
    assertEquals((await readFrame(peer)).opcode, 8);
  });
  await using proxy = await startTestProxy();
  allowWebSocket(proxy, upstream.port);
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(upgradeHead(upstream.port));
  await peer.readHead();
  assertEquals((await readFrame(peer)).payload, "bye");
  assertEquals((await readFrame(peer)).opcode, 8);
  await peer.send(frame(8, "\x03\xe8", true));
  assertEquals(await peer.readAll(), "");
  await proxy.waitLine(/ status=101 .*sent=8 received=9 /);
});

Deno.test("a client that vanishes ends the WebSocket for the upstream", async () => {
  const ended = Promise.withResolvers<boolean>();
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.readHead();
    await peer.send(SWITCHING);
    ended.resolve(await peer.isClosed());
  });
  await using proxy = await startTestProxy();
  allowWebSocket(proxy, upstream.port);
  const peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(upgradeHead(upstream.port));
  await peer.readHead();
  peer[Symbol.dispose]();
  assertEquals(await ended.promise, true);
  await proxy.waitLine(/ status=101 /);
});

Deno.test("client bytes after the head of an upgrade go upstream only after the 101", async () => {
  const answerNow = Promise.withResolvers<void>();
  let early: string | undefined;
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.readHead();
    const next = peer.readBytes(1);
    early = await Promise.race([next, answerNow.promise.then(() => undefined)]);
    await peer.send(SWITCHING);
    await peer.send(await next);
  });
  await using proxy = await startTestProxy();
  allowWebSocket(proxy, upstream.port);
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  using other = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(upgradeHead(upstream.port) + "x");
  // A whole request on another tunnel is refused meanwhile, so the byte has had its time.
  for (let i = 0; i < 20; i++) {
    await other.send(`GET /denied HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
    assertEquals((await other.readResponse()).status, 403);
  }
  answerNow.resolve();
  await peer.readHead();
  assertEquals(await peer.readBytes(1), "x");
  assertEquals(early, undefined);
});

Deno.test("an upstream that refuses the upgrade: its answer is relayed, the connection stays usable", async () => {
  const seen: string[] = [];
  await using upstream = await startRawUpstream(async (peer) => {
    for (const answer of ["HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 204 OK\r\n\r\n"]) {
      seen.push(await peer.readUntil("\r\n"));
      await peer.readHead();
      await peer.send(answer);
    }
  });
  await using proxy = await startTestProxy();
  allowWebSocket(proxy, upstream.port);
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(upgradeHead(upstream.port));
  const refused = await peer.readResponse();
  assertEquals([refused.status, refused.body], [401, "no"]);
  await peer.send(`GET /next HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
  assertEquals((await peer.readResponse()).status, 204);
  assertEquals(seen, ["GET /ws HTTP/1.1\r\n", "GET /next HTTP/1.1\r\n"]);
  assertEquals(upstream.connections, 1);
});

Deno.test("revoking the rule ends an open WebSocket on both sides", async () => {
  const ended = Promise.withResolvers<boolean>();
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.readHead();
    await peer.send(SWITCHING + frame(1, "a", false));
    ended.resolve(await peer.isClosed());
  });
  await using proxy = await startTestProxy();
  allowWebSocket(proxy, upstream.port);
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(upgradeHead(upstream.port));
  await peer.readHead();
  assertEquals((await readFrame(peer)).payload, "a");
  proxy.policy.removeCredential("key");
  assertEquals(await peer.isClosed(), true);
  assertEquals(await ended.promise, true);
  await proxy.waitLine(/ status=101 secret=key reason=revoked /);
});
