/** Answers that hold the credential of their request: what reaches the VM, and what the audit log says (SPEC section 6). */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Buffer } from "node:buffer";
import * as zlib from "node:zlib";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, type TestProxyOptions, TOKEN } from "../support/start_proxy.ts";

const SECRET = "sk-planted/0123456789+abcdef";
const STARS = "*".repeat(SECRET.length);

async function proxyFor(port: number, options: TestProxyOptions = {}): Promise<TestProxy> {
  const proxy = await startTestProxy({ onEcho: "mask", ...options });
  proxy.policy.setCredential({
    secret: "key",
    host: "up.test",
    headers: [["Authorization", `Bearer ${SECRET}`]],
    material: [SECRET],
  });
  proxy.policy.allow("one", { host: "up.test", ports: [port], secret: "key" });
  return proxy;
}

/** What a client has got when its tunnel is over. */
async function ask(proxy: TestProxy, port: number): Promise<string> {
  const target = `up.test:${port}`;
  using tunnel = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await tunnel.send(`GET /echo HTTP/1.1\r\nHost: ${target}\r\nConnection: close\r\n\r\n`);
  return await soon("the end of the answer", tunnel.readAll());
}

/** An upstream that answers each request with these bytes. */
function answering(respond: (peer: RawPeer) => Promise<void>) {
  return startRawUpstream(async (peer) => {
    const seen = JSON.stringify(await readRequest(peer));
    assertStringIncludes(seen, `Bearer ${SECRET}`);
    await respond(peer);
  });
}

Deno.test("an echoed credential is masked in heads and plain bodies, and the line says so", async (t) => {
  const basic = Buffer.from(`user:${SECRET}`).toString("base64");
  const bodies: readonly [string, string][] = [
    ["as it is", `{"Authorization":"Bearer ${SECRET}"}`],
    ["in JSON with escaped slashes", JSON.stringify({ a: SECRET }).replaceAll("/", "\\/")],
    ["percent-encoded", `next=/login?token=${encodeURIComponent(SECRET)}`],
    ["as Basic renders it", `Authorization: Basic ${basic}`],
    ["in a server-sent event", `data: ${SECRET}\n\n`],
  ];
  for (const [name, text] of bodies) {
    await t.step(name, async () => {
      await using upstream = await answering(async (peer) => {
        await peer.send(
          `HTTP/1.1 302 Found\r\nLocation: https://up.test/?t=${encodeURIComponent(SECRET)}\r\n` +
            `Set-Cookie: token=${SECRET}; Path=/\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n`,
        );
        await peer.send(text.slice(0, text.length / 2));
        await peer.send(text.slice(text.length / 2));
      });
      await using proxy = await proxyFor(upstream.port);
      const answer = await ask(proxy, upstream.port);
      for (
        const form of [
          SECRET,
          encodeURIComponent(SECRET),
          JSON.stringify(SECRET).replaceAll("/", "\\/"),
          basic,
        ]
      ) {
        assert(!answer.includes(form), answer);
      }
      assertStringIncludes(answer, `Set-Cookie: token=${STARS}; Path=/\r\n`);
      assertEquals(answer.slice(answer.indexOf("\r\n\r\n") + 4).length, text.length);
      await proxy.waitLine(/^allow client=one .*path=\/echo status=302 secret=key .*echoed=[1-9]/);
    });
  }
});

Deno.test("a compressed answer ends before an echoed credential is whole", async (t) => {
  const text = Buffer.from(`${"x".repeat(2_000)} Authorization: Bearer ${SECRET} and the rest`);
  const codings: readonly [string, Uint8Array][] = [
    ["gzip", zlib.gzipSync(text)],
    ["deflate", zlib.deflateSync(text)],
    ["deflate", zlib.deflateRawSync(text)],
    ["br", zlib.brotliCompressSync(text)],
    ["zstd", zlib.zstdCompressSync(text)],
  ];
  for (const [coding, bytes] of codings) {
    await t.step(coding, async () => {
      await using upstream = await answering(async (peer) => {
        await peer.send(
          `HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n\r\n`,
        );
        await peer.sendBytes(bytes);
      });
      await using proxy = await proxyFor(upstream.port);
      const answer = await ask(proxy, upstream.port).catch(() => "");
      const body = Buffer.from(answer.slice(answer.indexOf("\r\n\r\n") + 4), "latin1");
      assert(body.length < bytes.length, `${body.length} of ${bytes.length} bytes`);
      await proxy.waitLine(/^allow client=one .*secret=key reason=credential-echo .*echoed=1/);
    });
  }
});

Deno.test("a compressed answer without the credential passes byte for byte, also in chunks", async () => {
  const bytes = zlib.gzipSync(Buffer.from("nothing to see here ".repeat(20_000)));
  await using upstream = await answering(async (peer) => {
    await peer.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let at = 0; at < bytes.length; at += 37) {
      const chunk = bytes.subarray(at, at + 37);
      await peer.send(`${chunk.length.toString(16)}\r\n`);
      await peer.sendBytes(chunk);
      await peer.send("\r\n");
    }
    await peer.send("0\r\n\r\n");
  });
  await using proxy = await proxyFor(upstream.port);
  const answer = await ask(proxy, upstream.port);
  const chunks = answer.slice(answer.indexOf("\r\n\r\n") + 4).replace(/^[0-9a-f]+\r\n/, "");
  const body = Buffer.from(chunks.split(/\r\n(?:[0-9a-f]+)\r\n/).join(""), "latin1");
  assertEquals(zlib.gunzipSync(body.subarray(0, bytes.length)).length, 400_000);
  await proxy.waitLine(/^allow client=one .*status=200 secret=key (?!.*echoed)/);
});

Deno.test("what says that it is compressed and is not, or is a part of what is, passes byte for byte", async (t) => {
  const whole = zlib.gzipSync(Buffer.from("nothing to see here ".repeat(2_000)));
  const rows: readonly [name: string, status: number, coding: string, bytes: Uint8Array][] = [
    ["plain text as gzip", 200, "gzip", Buffer.from("plain text")],
    ["plain text as zstd", 200, "zstd", Buffer.from("plain text")],
    ["three bytes", 200, "deflate", Buffer.from("abc")],
    ["the middle of gzip", 206, "gzip", whole.subarray(20, 90)],
    ["what looks like the beginning of gzip", 206, "gzip", Buffer.concat([whole.subarray(0, 30), whole])],
    ["the middle of br", 206, "br", zlib.brotliCompressSync(whole).subarray(7)],
    ["the first half of gzip", 200, "gzip", whole.subarray(0, 90)],
  ];
  for (const [name, status, coding, bytes] of rows) {
    await t.step(name, async () => {
      await using upstream = await answering(async (peer) => {
        await peer.send(
          `HTTP/1.1 ${status} X\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n` +
            "Connection: close\r\n\r\n",
        );
        await peer.sendBytes(bytes);
      });
      await using proxy = await proxyFor(upstream.port);
      const answer = await ask(proxy, upstream.port);
      assertEquals(answer.slice(answer.indexOf("\r\n\r\n") + 4), Buffer.from(bytes).toString("latin1"));
    });
  }
});

Deno.test("--on-echo=cut ends the answer, --on-echo=log only says it", async () => {
  const text = `Authorization: Bearer ${SECRET}`;
  const respond = async (peer: RawPeer) =>
    await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`);
  {
    await using upstream = await answering(respond);
    await using proxy = await proxyFor(upstream.port, { onEcho: "cut" });
    const answer = await ask(proxy, upstream.port);
    assertMatch(answer, /^HTTP\/1\.1 502 slicer-proxy: credential-echo \(up\.test\)\r\n/);
    assert(!answer.includes(SECRET));
    await proxy.waitLine(/^allow client=one .*reason=credential-echo .*echoed=1/);
  }
  await using upstream = await answering(respond);
  await using proxy = await proxyFor(upstream.port, { onEcho: "log" });
  assertStringIncludes(await ask(proxy, upstream.port), text);
  await proxy.waitLine(/^allow client=one .*status=200 .*echoed=1/);
});

Deno.test("an echoed credential is masked in the text of a WebSocket, whose compression is not offered", async () => {
  const payload = `{"you sent":"${SECRET}"}`;
  const heads: string[] = [];
  await using upstream = await startRawUpstream(async (peer) => {
    heads.push(JSON.stringify(await readRequest(peer)));
    await peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    await peer.send(String.fromCharCode(0x01, 20) + payload.slice(0, 20)); // in two fragments
    await peer.send(String.fromCharCode(0x80, payload.length - 20) + payload.slice(20));
    await peer.send(String.fromCharCode(0x81, 2) + "ok");
    await peer.readBytes(1);
  });
  await using proxy = await proxyFor(upstream.port);
  const target = `up.test:${upstream.port}`;
  using tunnel = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
  await tunnel.send(
    `GET /ws HTTP/1.1\r\nHost: ${target}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n` +
      `Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n`,
  );
  await soon("the head", tunnel.readHead());
  const masked = `{"you sent":"${STARS}"}`;
  const frames = await soon("the frames", tunnel.readBytes(2 + 20 + 2 + payload.length - 20 + 4));
  assertEquals(
    frames,
    String.fromCharCode(0x01, 20) + masked.slice(0, 20) +
      String.fromCharCode(0x80, payload.length - 20) + masked.slice(20) +
      String.fromCharCode(0x81, 2) + "ok",
  );
  assert(!heads.join().toLowerCase().includes("sec-websocket-extensions"));
});

Deno.test({
  name: "an echoed credential is masked over HTTP/2",
  ignore: !hasProgram("curl"),
  async fn() {
    await using upstream = await startHttp2Upstream();
    await using proxy = await proxyFor(upstream.port);
    const dir = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
      const { stdout } = await runProgram("curl", [
        ...["-sS", "-i", "--http2", "--max-time", "20", "--cacert", `${dir}/ca.pem`],
        ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, "--suppress-connect-headers"],
        `https://up.test:${upstream.port}/headers`,
      ]);
      assertMatch(stdout, /^HTTP\/2 200/);
      assert(!stdout.includes(SECRET), stdout);
      await proxy.waitLine(/^allow client=one .*secret=key .*proto=h2 .*echoed=1/);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
