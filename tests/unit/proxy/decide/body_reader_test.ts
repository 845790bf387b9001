import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { ReadBody, readRequestBody, unfold } from "../../../../proxy/decide/body_reader.ts";
import type { MessageBody } from "../../../../proxy/message/message.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { type MadeRequest, makeExchange, PiecedBody } from "../../../support/make_exchange.ts";
import { Engine } from "../../../wire/harness.ts";

const MIB = 1_048_576;

Deno.test("ReadBody gives what was read once, and leaves nothing on the connection", async () => {
  const inner = { trailers: [] } as unknown as MessageBody; // of what was read only the trailers are left
  const bytes = new Uint8Array([1, 2]);
  const body = new ReadBody(bytes, inner);
  assertEquals([body.done, body.isReleased, body.closeDelimited], [false, true, false]);
  assertEquals(await body.fill(), true);
  assertEquals(body.takeFirst(), bytes);
  assertEquals(body.take().length, 0);
  body.release();
  assertEquals([body.done, body.isReleased, body.trailers], [true, true, []]);
});

/** Reads the body of a request, with what is held of it, and the deadlines that run. */
async function read({ limits, ...made }: MadeRequest & { readonly limits?: Partial<Limits> }) {
  await using engine = new Engine();
  const deadlines = new FakeDeadlines();
  const all = { ...DEFAULT_LIMITS, ...limits };
  const admission = new Admission(all);
  /** How much the client may still hold. */
  const room = () => {
    let size = all.maxHeldBytesPerClient;
    while (!admission.held("one").take(size)) size--;
    admission.held("one").give(size);
    return all.maxHeldBytesPerClient - size;
  };
  const { exchange, informed } = makeExchange({ ...engine.context, deadlines, admission, limits: all }, made);
  const found = readRequestBody(exchange, "one", "q=1");
  return { found, exchange, informed, deadlines, room };
}

async function failureOf(made: Parameters<typeof read>[0], room = 0) {
  const { found, ...rest } = await read(made);
  const { code, reason } = await assertRejects(() => found, ProxyError);
  assertEquals([rest.room(), rest.deadlines.left], [room, []], "nothing is held, and no deadline is left");
  return [code, reason];
}

Deno.test("readRequestBody() gives the whole body with what says how to read it, and the request its bytes again", async () => {
  const body = new PiecedBody(["", "ab", "", "cd"]);
  const lines = ["Content-Type: text/a", "Content_Type: text/b", "Content-Length: 4"];
  const { found, exchange, informed, deadlines, room } = await read({
    body,
    lines,
    head: { method: "POST" },
  });
  const { body: said, drop } = await found;
  assertEquals(said, {
    ...{ method: "POST", query: "q=1", types: ["text/a", "text/b"], bytes: Buffer.from("abcd") },
  });
  assertEquals([informed, deadlines.left, body.waits, body.releases], [[], [], 2, 4]);
  assertEquals([exchange.request.body.done, Buffer.from(exchange.request.body.take()).toString()], [
    false,
    "abcd",
  ]);
  assertEquals([exchange.request.body.done, room()], [true, 4]);
  drop();
  assertEquals(room(), 0);
});

Deno.test("readRequestBody() undoes chunks and codings, and leaves the bytes that go upstream as they came", async () => {
  const packed = gzipSync("hello");
  const chunked = Buffer.concat([
    Buffer.from(`${packed.length.toString(16)}\r\n`),
    packed,
    Buffer.from("\r\n0\r\n\r\n"),
  ]);
  const lines = ["Transfer-Encoding: chunked", "Content-Encoding: gzip"];
  const { found, exchange } = await read({ body: new PiecedBody([chunked]), lines });
  const { body } = await found;
  assert("bytes" in body);
  assertEquals(Buffer.from(body.bytes).toString(), "hello");
  assertEquals(Buffer.from(exchange.request.body.take()), chunked);
  // HTTP/2 has no chunks: there the field says nothing.
  const plain = await read({
    ...{ body: new PiecedBody(["1\r\na\r\n0\r\n\r\n"]), lines: ["Transfer-Encoding: chunked"] },
    head: { version: "HTTP/2" },
  });
  const { body: other } = await plain.found;
  assert("bytes" in other);
  assertEquals(Buffer.from(other.bytes).toString(), "1\r\na\r\n0\r\n\r\n");
});

Deno.test("readRequestBody() of a request without a body reads nothing and waits for nothing", async () => {
  const { found, exchange, informed } = await read({ lines: ["Expect: 100-continue"] });
  const { body } = await found;
  assert("bytes" in body);
  assertEquals([body.bytes.length, informed, exchange.request.body.done], [0, [], true]);
});

Deno.test("readRequestBody() takes 1 MiB and no more, said or not", async (t) => {
  const rows: readonly (readonly [string, MadeRequest, boolean])[] = [
    ["all of it", { body: new PiecedBody([new Uint8Array(MIB)]) }, true],
    ["in two pieces", { body: new PiecedBody([new Uint8Array(MIB - 1), new Uint8Array(1)]) }, true],
    ["one more", { body: new PiecedBody([new Uint8Array(MIB), new Uint8Array(1)]) }, false],
    ["said", { body: new PiecedBody(["a"]), lines: [`Content-Length: ${MIB}`] }, true],
    ["said to be more", { body: new PiecedBody(["a"]), lines: [`Content-Length: ${MIB + 1}`] }, false],
    ["said with _", {
      body: new PiecedBody(["a"]),
      head: { fields: [{ name: "", key: "content_length", value: `${MIB + 1}` }] },
    }, false],
  ];
  for (const [name, made, isRead] of rows) {
    await t.step(name, async () => {
      const { found, deadlines, informed } = await read({ ...made });
      const { body, drop } = await found;
      assertEquals(
        "reason" in body ? [body.reason, body.why] : "bytes" in body,
        isRead ? true : ["body-too-large", "its body is larger than 1 MiB"],
      );
      assertEquals([deadlines.left, informed], [[], []]);
      drop();
    });
  }
});

Deno.test("readRequestBody() that finds too large a body gives back what it held of it", async () => {
  const { found, room } = await read({ body: new PiecedBody([new Uint8Array(MIB), new Uint8Array(1)]) });
  const { drop } = await found;
  drop();
  assertEquals(room(), 0);
});

Deno.test("readRequestBody() has who waits for a 100 go on, once it is known that the body is not too large", async () => {
  const lines = ["Expect: 100-continue", "Content-Length: 1"];
  const { found, informed } = await read({ body: new PiecedBody(["a"]), lines });
  await found;
  assertEquals(informed, [{ version: "HTTP/1.1", status: 100, reason: "Continue", fields: [] }]);
  const large = await read({
    body: new PiecedBody(["a"]),
    lines: [...lines.slice(0, 1), `Content-Length: ${MIB + 1}`],
  });
  await large.found;
  assertEquals(large.informed, []);
});

Deno.test("readRequestBody() ends when the client goes, takes too long, or holds too much, and lets go of all", async (t) => {
  await t.step("the client goes", async () => {
    assertEquals(await failureOf({ body: new PiecedBody(["ab"], "cut") }), ["client.closed", undefined]);
  });
  await t.step("it takes too long", async () => {
    const { found, deadlines, room } = await read({
      ...{ body: new PiecedBody(["ab"], "hangs"), limits: { bodyReadTimeoutMs: 5_000 } },
    });
    assertEquals(deadlines.left, [5_000]);
    deadlines.advance(5_000);
    const { code, message } = await assertRejects(() => found, ProxyError);
    assertEquals([code, message], ["client.timeout", "Cannot read the request: its body took too long"]);
    assertEquals([deadlines.left, room()], [[], 0]);
  });
  await t.step("it holds too much", async () => {
    const body = new PiecedBody(["abcd", "ef"]);
    assertEquals(await failureOf({ body, limits: { maxHeldBytesPerClient: 5 } }), [
      "limit.reached",
      "overload",
    ]);
    assertEquals(body.releases, 2);
  });
});

Deno.test("readRequestBody() keeps nothing of each wait: a body may come byte by byte", async () => {
  let left = 400_000;
  const before = Deno.memoryUsage().heapUsed;
  const bytewise = Object.assign(new PiecedBody([], "hangs"), {
    take: () => left % 2 === 0 ? new Uint8Array(0) : Uint8Array.of(7),
    fill: () => Promise.resolve(true),
    release: () => void left--,
  });
  Object.defineProperty(bytewise, "done", { get: () => left <= 0 });
  const { found } = await read({ body: bytewise });
  await found;
  assert(Deno.memoryUsage().heapUsed - before < 40_000_000);
});

Deno.test("unfold() undoes each coding once, up to 1 MiB, and nothing that it cannot be sure of", async (t) => {
  const text = Buffer.from(`\x00${"hello".repeat(10)}`);
  const coded = "its body is compressed in a way that is not read, or unfolds to more than 1 MiB";
  const rows: readonly (readonly [string, Uint8Array, string[], string])[] = [
    ["none", text, [], "same"],
    ["identity", text, [" Identity "], "same"],
    ["gzip", gzipSync(text), ["GZIP"], "same"],
    ["x-gzip", gzipSync(text), ["x-gzip"], "same"],
    ["deflate", deflateSync(text), ["deflate"], "same"],
    ["br", brotliCompressSync(text), ["br"], "same"],
    ["zstd", gzipSync(text), ["zstd"], coded],
    ["identity and another", gzipSync(text), ["identity", "gzip"], coded],
    ["two", gzipSync(gzipSync(text)), ["gzip", "gzip"], coded],
    ["damaged", gzipSync(text).subarray(0, 20), ["gzip"], coded],
    ["larger than 1 MiB", gzipSync(new Uint8Array(MIB + 1)), ["gzip"], coded],
    ["larger than 1 MiB, deflate", deflateSync(new Uint8Array(MIB + 1)), ["deflate"], coded],
    ["larger than 1 MiB, br", brotliCompressSync(new Uint8Array(MIB + 1)), ["br"], coded],
    ["text all the same", Buffer.from("{}"), ["gzip"], "its body is text, and says that it is compressed"],
    [
      "text with a tab and lines",
      Buffer.from("a\t\r\n"),
      ["br"],
      "its body is text, and says that it is compressed",
    ],
  ];
  for (const [name, bytes, values, expected] of rows) {
    await t.step(name, () => {
      const found = unfold(bytes, values);
      if ("why" in found) assertEquals(found.why, expected);
      else assertEquals([Buffer.from(found), expected], [Buffer.from(text), "same"]);
      if ("why" in found) {
        assertEquals(found.reason, expected === coded ? "body-encoding" : "body-unreadable");
      }
    });
  }
  for (const pack of [gzipSync, deflateSync, brotliCompressSync]) {
    const values = [pack === gzipSync ? "gzip" : pack === deflateSync ? "deflate" : "br"];
    const found = unfold(pack(new Uint8Array(MIB)), values);
    assertEquals("why" in found ? found.why : found.length, MIB);
  }
});
