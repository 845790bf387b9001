import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Http1Leg, type Http1LegOptions } from "../../../../proxy/http1/upstream.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { RequestHead, ResponseHead } from "../../../../proxy/message/message.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

const REQUEST: RequestHead = {
  method: "GET",
  target: "/a",
  version: "HTTP/1.1",
  fields: [makeField("A", "b")],
};

/** A leg on a pipe, and what was given back. */
function setUp(more: Partial<Http1LegOptions> = {}) {
  const [upstream, stream] = makePipe();
  const kept: ResponseHead[] = [];
  const keep = (head: ResponseHead) => void kept.push(head);
  const reader = new ByteReader(stream);
  const leg = new Http1Leg({ stream, reader, isReused: false, limits: DEFAULT_LIMITS, keep, ...more });
  const read = async () => {
    const buffer = new Uint8Array(1_000);
    const count = await upstream.read(buffer);
    return Buffer.from(buffer.subarray(0, count ?? 0)).toString();
  };
  return { leg, upstream, stream, kept, read };
}

Deno.test("Http1Leg sends the head with what is here of the body, and then the rest", async () => {
  const { leg, read } = setUp();
  await leg.send(() => REQUEST, Buffer.from("xy"));
  assertEquals(await read(), "GET /a HTTP/1.1\r\nA: b\r\n\r\nxy");
  await leg.write(Buffer.from("z"));
  leg.end();
  assertEquals(await read(), "z");
  assertThrows(() =>
    leg.send(() => {
      throw new ProxyError("policy.revoked", "x");
    }, new Uint8Array(0)), ProxyError);
});

Deno.test("Http1Leg on the way through a parent sends what that takes, and checks what comes back", async () => {
  const denied = new ProxyError("upstream.refused", "denied");
  const hop = {
    outgoing: (head: RequestHead) => ({ ...head, target: "http://up.test/a" }),
    incoming: ({ status }: ResponseHead) => {
      if (status === 403) throw denied;
    },
  };
  const { leg, upstream, read } = setUp({ hop });
  await leg.send(() => REQUEST, new Uint8Array(0));
  assertEquals(await read(), "GET http://up.test/a HTTP/1.1\r\nA: b\r\n\r\n");
  await upstream.write(Buffer.from("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 403 No\r\n\r\n"));
  assertEquals((await leg.readHead()).status, 200);
  assertEquals(await assertRejects(() => leg.readHead(), ProxyError), denied);
});

Deno.test("Http1Leg may have been dead from the start only when it was used before and broke", () => {
  const rows = [
    [true, new Deno.errors.ConnectionReset("x"), "unknown"],
    [true, new ProxyError("upstream.closed", "x"), "unknown"],
    [true, new ProxyError("upstream.malformed", "x"), "seen"],
    [false, new Deno.errors.ConnectionReset("x"), "seen"],
    [false, new ProxyError("upstream.closed", "x"), "seen"],
  ] as const;
  for (const [isReused, error, fate] of rows) assertEquals(setUp({ isReused }).leg.fateAfter(error), fate);
});

Deno.test("Http1Leg gives its connection back only when another request may follow its answer", async (t) => {
  const lengthed = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  const rows: readonly (readonly [string, Partial<RequestHead>, answer: string, isKept: boolean])[] = [
    ["usual", {}, lengthed, true],
    ["a request of HTTP/1.0", { version: "HTTP/1.0" }, lengthed, false],
    ["an answer of HTTP/1.0", {}, lengthed.replace("1.1", "1.0"), false],
    ["it closes", {}, lengthed.replace("Content", "Connection: x, CLOSE\r\nContent"), false],
    ["its end is the connection's", {}, "HTTP/1.1 200 OK\r\n\r\n", false],
    ["HEAD has no body", { method: "HEAD" }, "HTTP/1.1 200 OK\r\n\r\n", true],
    ["a 304 that announces chunks", {}, "HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n", false],
    ["a 304", {}, "HTTP/1.1 304 X\r\n\r\n", true],
  ];
  for (const [name, more, answer, isKept] of rows) {
    await t.step(name, async () => {
      const { leg, upstream, stream, kept } = setUp();
      await leg.send(() => ({ ...REQUEST, ...more }), new Uint8Array(0));
      await upstream.write(Buffer.from(answer));
      const head = await leg.readHead();
      const body = leg.bodyOf(head);
      assertEquals(body.done, !answer.endsWith("OK\r\n\r\n") || more.method === "HEAD");
      leg.release();
      assertEquals([kept, stream.ended], isKept ? [[head], "no"] : [[], "closed"]);
    });
  }
  await t.step("an answer that was not read", () => {
    const { leg, kept, stream } = setUp();
    leg.release();
    assertEquals([kept, stream.ended], [[], "closed"]);
    leg.close(); // in any state
  });
});

Deno.test("Http1Leg shows the beginning of a body, and the body is whole after that", async () => {
  const { leg, upstream } = setUp();
  await leg.send(() => REQUEST, new Uint8Array(0));
  await upstream.write(Buffer.from("HTTP/1.1 401 X\r\nContent-Length: 3\r\n\r\nabc"));
  const head = await leg.readHead();
  const body = leg.bodyOf(head);
  assertEquals(await leg.peekBody(head, new FakeDeadlines()), "abc");
  assertEquals(Buffer.from(body.take()).toString(), "abc");
});

Deno.test("Http1Leg hands over what follows a change of protocol", async () => {
  const { leg, upstream, stream } = setUp();
  await leg.send(() => REQUEST, new Uint8Array(0));
  await upstream.write(Buffer.from("HTTP/1.1 101 X\r\n\r\nfirst"));
  await leg.readHead();
  await settle();
  const { stream: raw, first } = leg.takeOver();
  assertEquals([raw === stream, Buffer.from(first).toString()], [true, "first"]);
});
