import { Buffer } from "node:buffer";
import { assertEquals, assertMatch } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { serveSession } from "../../../../proxy/accept/session.ts";
import type { TunnelOrigin } from "../../../../proxy/message/target.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { Engine } from "../../../wire/harness.ts";
import { makePipe, type PipeEnd, settle } from "../../../wire/pipe.ts";

const TUNNEL = { scheme: "https", host: "up.test", port: 443 } as const;
const GET = "GET / HTTP/1.1\r\nHost: up.test\r\n\r\n";
/** Longer than any wait here: what must not decide. */
const NEVER_MS = 3_600_000;

async function readAll(stream: PipeEnd): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(4_096);
  try {
    for (let count; (count = await stream.read(buffer)) !== null;) {
      text += Buffer.from(buffer.subarray(0, count)).toString("latin1");
    }
  } catch {
    text += "<cut>";
  }
  return text;
}

Deno.test("serveSession() gives a head that comes in drops no more than the head time-out", async (t) => {
  const rows = [
    { name: "the first head", sent: "GET / HT" },
    { name: "a head that begins in the same write as the request before it", sent: GET + "GET / HT" },
  ];
  for (const { name, sent } of rows) {
    await t.step(name, async () => {
      await using engine = new Engine({ limits: { headTimeoutMs: 50, keepAliveTimeoutMs: NEVER_MS } });
      const client = engine.connect(TUNNEL);
      await client.write(Buffer.from(sent));
      assertMatch(
        await readAll(client),
        /HTTP\/1\.1 408 slicer-proxy: idle-timeout \(up\.test\)\r\n[^]*\r\nX-Slicer-Proxy-Reason: idle-timeout\r\n/,
      );
    });
  }
});

Deno.test("serveSession() closes an idle connection after the keep-alive time-out, without a word", async () => {
  await using engine = new Engine({ limits: { headTimeoutMs: NEVER_MS, keepAliveTimeoutMs: 50 } });
  const client = engine.connect(TUNNEL);
  await client.write(Buffer.from(GET));
  const got = await readAll(client);
  assertEquals(got.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 403"]);
});

Deno.test("serveSession() ends a client that sends requests and reads no answers", async () => {
  await using engine = new Engine({ limits: { headTimeoutMs: 50, keepAliveTimeoutMs: NEVER_MS } });
  const [client, stream] = makePipe(1_000);
  engine.serve(stream, TUNNEL);
  const flood = (async () => {
    for (;;) await client.write(Buffer.from(GET));
  })();
  await flood.catch(() => {});
  assertEquals(stream.ended, "cut");
});

Deno.test("serveSession() leaves a client that went away at once, unanswered and unlogged", async () => {
  await using engine = new Engine();
  const client = engine.connect(TUNNEL);
  client.close();
  await engine.context.audit.flush();
  assertEquals(engine.lines, []);
});

const PORT = "GET http://up.test/ HTTP/1.1\r\nHost: up.test\r\n";

/** What a connection gets that says so much and no more, and the lines of the audit log. */
async function sayAndRead(
  text: string,
  { tunnel, engine = new Engine() }: { readonly tunnel?: TunnelOrigin; readonly engine?: Engine } = {},
): Promise<{ readonly got: string; readonly lines: readonly string[] }> {
  await using _ = engine;
  const client = engine.connect(tunnel);
  await client.write(Buffer.from(text, "latin1"));
  const got = await readAll(client);
  await engine[Symbol.asyncDispose]();
  return { got, lines: engine.lines };
}

Deno.test("serveSession() says of a first head in a tunnel in clear that it was late, and nothing else", async () => {
  const engine = new Engine({ limits: { headTimeoutMs: 50 } });
  const tunnel = { scheme: "http", host: "up.test", port: 25 } as const;
  const { got, lines } = await sayAndRead("GET / HT", { tunnel, engine });
  assertEquals(got.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 408"]);
  assertEquals(lines.map((line) => /reason=(\S+)/.exec(line)?.[1]), ["idle-timeout"]);
});

Deno.test("serveSession() has one line for a head that is late, also where the client ends it while that is said", async () => {
  const engine = new Engine();
  const deadlines = new FakeDeadlines();
  Object.assign(engine.context, { deadlines });
  const [client, stream] = makePipe(20);
  engine.serve(stream, { scheme: "http", host: "up.test", port: 25 });
  await client.write(Buffer.from("GET / HT"));
  await settle();
  deadlines.advance(DEFAULT_LIMITS.headTimeoutMs);
  await settle();
  await client.closeWrite(); // the answer is on its way still
  await settle();
  await readAll(client);
  await engine[Symbol.asyncDispose]();
  assertEquals(engine.lines.map((line) => /reason=(\S+)/.exec(line)?.[1]), ["idle-timeout"]);
});

Deno.test("serveSession() closes a connection whose client ends it between two requests", async () => {
  await using engine = new Engine();
  const [client, stream] = makePipe();
  engine.serve(stream, TUNNEL);
  await client.write(Buffer.from(GET));
  await client.closeWrite();
  assertEquals((await readAll(client)).match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 403"]);
  await waitUntil("it is closed", () => stream.ended === "closed");
});

Deno.test("serveSession() lets a client read why its head was refused, beyond the head time-out", async () => {
  await using engine = new Engine({ limits: { headTimeoutMs: 1_000, lingerTimeoutMs: NEVER_MS } });
  const deadlines = new FakeDeadlines();
  Object.assign(engine.context, { deadlines });
  const [client, stream] = makePipe();
  engine.serve(stream, TUNNEL);
  await client.write(Buffer.from("GET / HTTP/1.1\r\nno colon\r\n\r\nmore"));
  await waitUntil("it is answered", () => client.unread + stream.unread > 0 && deadlines.left.length > 0);
  await settle();
  assertEquals(deadlines.left.filter((ms) => ms <= 1_000), []);
  client.close();
});

Deno.test("serveSession() answers and logs a head that cannot be read, or whose body has no certain end, and reads no more", async (t) => {
  const rows: readonly (readonly [string, text: string, status: number])[] = [
    ["no head", "what is this\r\n\r\n", 400],
    ["two lengths", `${PORT}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400],
    ["a length and chunks", `${PORT}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
  ];
  for (const [name, text, status] of rows) {
    await t.step(name, async () => {
      const engine = new Engine({ limits: { lingerTimeoutMs: 50 } });
      const { got, lines } = await sayAndRead(`${text}${PORT}\r\n`, { engine });
      assertEquals(got.match(/HTTP\/1\.1 \d+/g), [`HTTP/1.1 ${status}`]);
      assertMatch(got, /\r\nConnection: close\r\n/i);
      assertEquals(lines.length, 1);
      assertMatch(lines[0] ?? "", /^deny client=- .*status=400 reason=malformed$/);
    });
  }
  await t.step("the method is logged where it is known, and HEAD gets no body", async () => {
    const text = PORT.replace("GET", "HEAD");
    const engine = new Engine({ limits: { lingerTimeoutMs: 50 } });
    const { got, lines } = await sayAndRead(`${text}Content-Length: x\r\n\r\n`, { engine });
    assertMatch(got, /^HTTP\/1\.1 400 [^]*\r\n\r\n$/);
    assertMatch(lines[0] ?? "", /method=HEAD/);
  });
});

Deno.test("serveSession() takes no request while the audit log cannot be written", async () => {
  const engine = new Engine({ limits: { lingerTimeoutMs: 50 } });
  Object.defineProperty(engine.context.audit, "isWritable", { value: false });
  const { got } = await sayAndRead(`${PORT}\r\n${PORT}\r\n`, { engine });
  assertEquals(got.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 503"]);
});

Deno.test("serveSession() takes the first request of a connection that is to stop, and no second one", async () => {
  await using engine = new Engine({ limits: { lingerTimeoutMs: 50 } });
  const [client, stream] = makePipe();
  const state = {
    ...{ source: "192.0.2.1", origin: { src: "192.0.2.1:1", proxyPort: 1 } },
    ...{ isIdle: false, isStopping: true, identify: () => true },
  };
  const reader = new ByteReader(stream);
  const served = serveSession({
    ...{ stream, reader, tunnel: undefined, state, origin: state.origin, context: engine.context },
  });
  await waitUntil("it waits", () => state.isIdle);
  await client.write(Buffer.from(`${PORT}\r\n${PORT}\r\n`));
  const got = await readAll(client);
  assertEquals(got.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 407"]);
  assertEquals([await served, state.isIdle, stream.ended], [undefined, false, "closed"] as unknown[]);
});

Deno.test("serveSession() gives a CONNECT on a proxy port to its caller, with the stream open", async () => {
  await using engine = new Engine();
  const [client, stream] = makePipe();
  const state = {
    ...{ source: "192.0.2.1", origin: { src: "192.0.2.1:1", proxyPort: 1 } },
    ...{ isIdle: false, isStopping: false, identify: () => true },
  };
  const reader = new ByteReader(stream);
  await client.write(Buffer.from("CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n"));
  const exchange = await serveSession({
    ...{ stream, reader, tunnel: undefined, state, origin: state.origin, context: engine.context },
  });
  assertEquals([exchange?.request.head.method, exchange?.request.head.target, stream.ended], [
    ...["CONNECT", "up.test:443", "no"],
  ]);
  stream.close();
  client.close();
});

Deno.test("serveSession() is idle until a head begins, and not while it comes", async () => {
  await using engine = new Engine({ limits: { headTimeoutMs: NEVER_MS } });
  const [client, stream] = makePipe();
  const state = {
    ...{ source: "192.0.2.1", origin: { src: "192.0.2.1:1", proxyPort: 1 } },
    ...{ isIdle: false, isStopping: false, identify: () => true },
  };
  const reader = new ByteReader(stream);
  const served = serveSession({
    ...{ stream, reader, tunnel: undefined, state, origin: state.origin, context: engine.context },
  });
  await waitUntil("it waits", () => state.isIdle);
  await client.write(Buffer.from("GET / HT"));
  await waitUntil("a head has begun", () => !state.isIdle);
  await client.write(Buffer.from("TP/1.1\r\nHo"));
  await settle();
  assertEquals(state.isIdle, false);
  client.close();
  await served;
});

Deno.test("serveSession() gives the CA to whoever asks a proxy port for it, and says of nothing else that it is its own", async (t) => {
  const ask = async (target: string, forTrust: () => Promise<string>) => {
    const engine = new Engine({ limits: { lingerTimeoutMs: 50 } });
    Object.assign(engine.context.certificates, { forTrust });
    const close = "Connection: close\r\n";
    const client = engine.connect();
    await client.write(Buffer.from(`GET ${target} HTTP/1.1\r\nHost: up.test\r\n${close}\r\n`));
    const got = await readAll(client);
    const bugs = engine.bugs.splice(0);
    await engine[Symbol.asyncDispose]();
    return [Number(got.split(" ")[1]), got.includes("the CA"), bugs.length];
  };
  const ca = () => Promise.resolve("the CA");
  await t.step("it is given", async () => assertEquals(await ask("/ca.crt", ca), [200, true, 0]));
  await t.step("not that of another host", async () => {
    assertEquals((await ask("http://up.test/ca.crt", ca))[1], false);
  });
  await t.step("nothing else", async () => assertEquals((await ask("/other", ca))[1], false));
  await t.step("a bug is reported, and answered", async () => {
    const [status, , bugs] = await ask("/ca.crt", () => Promise.reject(new TypeError("bug")));
    assertEquals([status, bugs], [500, 1]);
  });
  await t.step("what is no bug is answered alone", async () => {
    const gone = () => Promise.reject(new ProxyError("limit.reached", "Cannot", { reason: "overload" }));
    const [status, , bugs] = await ask("/ca.crt", gone);
    assertEquals([status, bugs], [503, 0]);
  });
});
