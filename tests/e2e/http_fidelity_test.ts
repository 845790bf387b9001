/** Streaming through an inspected tunnel: nothing is held back, nothing is buffered beyond bounds, nothing is lost. */
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { startTestProxy, type TestProxy, type TestProxyOptions, TOKEN } from "../support/start_proxy.ts";

interface Path extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: Upstream;
  /** The client's side of a TLS tunnel. */
  readonly peer: RawPeer;
  /** The `Host` field with its line end. */
  readonly host: string;
}

/** Client, proxy and upstream, connected by an inspected tunnel. */
async function openPath(
  handle: (peer: RawPeer, index: number) => Promise<void>,
  options: TestProxyOptions = {},
): Promise<Path> {
  const upstream = await startRawUpstream(handle);
  const proxy = await startTestProxy(options);
  const target = `up.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  return {
    proxy,
    upstream,
    peer,
    host: `Host: ${target}\r\n`,
    [Symbol.asyncDispose]: async () => {
      peer[Symbol.dispose]();
      await upstream[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

Deno.test("Expect: the body goes only after the 100, which comes from the upstream", async () => {
  const isAsked = Promise.withResolvers<void>();
  const isSent = Promise.withResolvers<void>();
  await using path = await openPath(async (up) => {
    assertMatch(await up.readHead(), /\r\nExpect: 100-continue\r\n/);
    isAsked.resolve();
    await isSent.promise;
    await up.send("HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n");
    await up.send(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${await up.readBytes(5)}`);
  });
  const { peer, host } = path;
  await peer.send(`PUT / HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
  await isAsked.promise;
  isSent.resolve();
  assertEquals(await peer.readHead(), "HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n");
  await peer.send("hello");
  assertEquals((await peer.readResponse()).body, "hello");
});

for (const status of [417, 200]) {
  Deno.test(`Expect: a ${status} instead of the 100 reaches the client, and nothing is used again`, async () => {
    await using path = await openPath(async (up) => {
      await up.readHead();
      await up.send(`HTTP/1.1 ${status} Final\r\nContent-Length: 2\r\n\r\nno`);
      assert(await up.isClosed());
    });
    const { peer, host, proxy } = path;
    await peer.send(`PUT / HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
    const { head, body } = await peer.readResponse();
    assertMatch(head, new RegExp(`^HTTP/1\\.1 ${status} Final\r\n[^]*\r\nConnection: close\r\n`));
    assertEquals(body, "no");
    assertEquals(await peer.readAll(), "");
    await proxy.waitLine(new RegExp(` status=${status} sent=0 received=2 `));
    assertEquals(proxy.server.counters().idleUpstreams, 0);
  });
}

Deno.test("an answer in the middle of a large upload reaches the client whole", async () => {
  const page = "x".repeat(200_000);
  await using path = await openPath(async (up) => {
    await up.readHead();
    await up.readBytes(100_000);
    await up.send(`HTTP/1.1 413 Too Large\r\nContent-Length: ${page.length}\r\n\r\n${page}`);
    await up.isClosed();
  });
  const { peer, host, proxy } = path;
  await peer.send(`POST / HTTP/1.1\r\n${host}Content-Length: 50000000\r\n\r\n`);
  const upload = (async () => {
    const piece = new Uint8Array(65_536);
    for (let sent = 0; sent < 50_000_000; sent += piece.length) await peer.sendBytes(piece);
  })().catch(() => {}); // the proxy ends the connection at some point
  const { status, body } = await peer.readResponse();
  assertEquals(status, 413);
  assert(body === page, "the page is not whole");
  await peer.isClosed();
  await upload;
  await proxy.waitLine(/ status=413 /);
  assertEquals(proxy.server.counters().idleUpstreams, 0);
});

Deno.test("server-sent events arrive one by one, each before the next is sent", async () => {
  const arrived = Array.from({ length: 20 }, () => Promise.withResolvers<void>());
  await using path = await openPath(async (up) => {
    await up.readHead();
    await up.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const [i, { promise }] of arrived.entries()) {
      const event = `data: ${i}\n\n`;
      await up.send(`${event.length.toString(16)}\r\n${event}\r\n`);
      await promise; // the client has it
    }
    await up.send("0\r\n\r\n");
  });
  const { peer, host } = path;
  await peer.send(`GET / HTTP/1.1\r\n${host}\r\n`);
  await peer.readHead();
  for (const [i, { resolve }] of arrived.entries()) {
    await peer.readUntil(`data: ${i}\n\n\r\n`);
    resolve();
  }
  await peer.readUntil("0\r\n\r\n");
});

Deno.test("an upload streams: the upstream has each piece before the next is sent", async () => {
  const arrived = Array.from({ length: 20 }, () => Promise.withResolvers<void>());
  await using path = await openPath(async (up) => {
    await up.readHead();
    for (const [i, { resolve }] of arrived.entries()) {
      await up.readUntil(`<${i}>`);
      resolve();
    }
    await up.send("HTTP/1.1 204 OK\r\n\r\n");
  });
  const { peer, host } = path;
  const pieces = arrived.map((_, i) => `<${i}>`);
  await peer.send(`POST / HTTP/1.1\r\n${host}Content-Length: ${pieces.join("").length}\r\n\r\n`);
  for (const [i, piece] of pieces.entries()) {
    await peer.send(piece);
    await arrived[i]?.promise;
  }
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 204 /);
});

const MIB = 1_048_576;
const PIECE = randomBytes(MIB);

Deno.test("100 MiB up and 100 MiB down arrive unchanged, in bounded memory", async () => {
  const sizes = [20 * MIB, 100 * MIB]; // the first fills buffers and heaps to their working size
  const uploaded: string[] = [];
  await using path = await openPath(async (up) => {
    for (const size of sizes) {
      await up.readHead();
      uploaded.push(await digestOf(up, size));
      await up.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      await sendPieces(up, size);
    }
  });
  const { peer, host, proxy } = path;
  let highest = 0;
  let before = 0;
  const sampling = setInterval(() => highest = Math.max(highest, Deno.memoryUsage().rss), 20);
  for (const size of sizes) {
    before = highest;
    await peer.send(`POST / HTTP/1.1\r\n${host}Content-Length: ${size}\r\n\r\n`);
    await sendPieces(peer, size);
    await peer.readHead();
    assertEquals(await digestOf(peer, size), digestOfPieces(size));
    await proxy.waitLine(new RegExp(` status=200 sent=${size} received=${size} `));
  }
  clearInterval(sampling);
  assertEquals(uploaded, sizes.map(digestOfPieces));
  const grown = (highest - before) / MIB;
  assert(grown < 60, `memory grew by ${grown.toFixed(0)} MiB`); // client and upstream are in this process too
});

async function sendPieces(peer: RawPeer, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += PIECE.length) await peer.sendBytes(PIECE);
}

function digestOfPieces(count: number): string {
  const hash = createHash("sha256");
  for (let hashed = 0; hashed < count; hashed += PIECE.length) hash.update(PIECE);
  return hash.digest("hex");
}

/** SHA-256 of the next bytes, read without keeping them. */
async function digestOf(peer: RawPeer, count: number): Promise<string> {
  const hash = createHash("sha256");
  for (let left = count; left > 0;) {
    const piece = await peer.readBytes(Math.min(left, 65_536));
    hash.update(Buffer.from(piece, "latin1"));
    left -= piece.length;
  }
  return hash.digest("hex");
}

Deno.test("a client that does not read stops the upstream, and gets everything once it reads", async () => {
  const total = 128 * MIB;
  let accepted = 0;
  await using path = await openPath(async (up) => {
    await up.readHead();
    await up.send(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
    for (; accepted < total; accepted += PIECE.length) await up.sendBytes(PIECE);
  });
  const { peer, host } = path;
  await peer.send(`GET / HTTP/1.1\r\n${host}\r\n`);
  await peer.readHead();
  await standsStill(() => accepted);
  assert(accepted < total / 2, `${accepted} bytes were taken from the upstream for a client that reads none`);
  assertEquals(await digestOf(peer, total), digestOfPieces(total));
});

Deno.test("an upstream that does not read stops the client", async () => {
  const total = 128 * MIB;
  const goOn = Promise.withResolvers<void>();
  let accepted = 0;
  await using path = await openPath(async (up) => {
    await up.readHead();
    await goOn.promise;
    await digestOf(up, total);
    await up.send("HTTP/1.1 204 OK\r\n\r\n");
  });
  const { peer, host } = path;
  await peer.send(`POST / HTTP/1.1\r\n${host}Content-Length: ${total}\r\n\r\n`);
  const upload = (async () => {
    for (; accepted < total; accepted += PIECE.length) await peer.sendBytes(PIECE);
  })();
  await standsStill(() => accepted);
  assert(
    accepted < total / 2,
    `${accepted} bytes were taken from the client for an upstream that reads none`,
  );
  goOn.resolve();
  await upload;
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 204 /);
});

/** Waits until a number has moved and then not moved for a while. */
async function standsStill(number: () => number): Promise<void> {
  for (let same = 0, last = 0; same < 20;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    same = last > 0 && number() === last ? same + 1 : 0;
    last = number();
  }
}

for (const { name, body } of [{ name: "GET", body: "" }, { name: "POST", body: "hello" }]) {
  Deno.test(`a client that leaves while its ${name} is being answered ends it upstream`, async () => {
    const asked = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<boolean>();
    await using path = await openPath(async (up) => {
      await up.readHead();
      await up.readBytes(body.length);
      asked.resolve();
      ended.resolve(await up.isClosed());
    });
    const { peer, host, proxy } = path;
    await peer.send(`${name} / HTTP/1.1\r\n${host}Content-Length: ${body.length}\r\n\r\n${body}`);
    await asked.promise;
    peer[Symbol.dispose]();
    assertEquals(await ended.promise, true);
    await proxy.waitLine(new RegExp(`^allow client=one method=${name} .*reason=client-closed `));
  });
}
