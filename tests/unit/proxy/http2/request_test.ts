/** A stream of a client's as a request with the way back. */
import { assertEquals, assertRejects } from "@std/assert";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { Http2Request } from "../../../../proxy/http2/request.ts";
import { ServerStream } from "../../../../proxy/http2/server_stream.ts";
import type { MessageBody, ResponseHead } from "../../../../proxy/message/message.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { WatchedLink } from "../../../support/http2_stream_link.ts";

/** A request with its stream. */
function open(more: { readonly method?: string; readonly protocol?: string; readonly path?: string } = {}) {
  const link = new WatchedLink();
  const { method = "POST", protocol, path = "/" } = more;
  const stream = new ServerStream(1, link, {
    windows: { receive: 100, send: 100 },
    request: {
      head: {
        method,
        scheme: "https",
        authority: "a.test",
        path: "path" in more ? more.path : path,
        protocol,
        fields: [],
      },
      contentLength: undefined,
    },
    isBodyless: method === "GET",
  });
  const deadlines = new FakeDeadlines();
  const context = { limits: DEFAULT_LIMITS, deadlines };
  return { link, stream, deadlines, request: new Http2Request(stream, context) };
}

const head = (status: number): ResponseHead => ({ version: "HTTP/2", status, reason: "", fields: [] });
const body = (done: boolean, trailers?: readonly { name: string; key: string; value: string }[]) =>
  ({ done, trailers }) as MessageBody;
const text = (length: number) => new Uint8Array(length);
const answer = (length: number) => ({ status: 403, reason: "", fields: [], body: text(length) });

Deno.test("a request speaks in the words of HTTP/1.1, also of an Extended CONNECT", () => {
  const { head: plain } = open({ method: "PUT", path: "/x" }).request;
  assertEquals([plain.method, plain.target, plain.version, plain.scheme, plain.authority, plain.protocol], [
    "PUT",
    "/x",
    "HTTP/2",
    "https",
    "a.test",
    undefined,
  ]);
  const upgrade = open({ method: "CONNECT", path: "/x", protocol: "websocket" }).request.head;
  assertEquals([upgrade.method, upgrade.target, upgrade.protocol], ["GET", "/x", "websocket"]);
  const { request } = open({ method: "CONNECT", path: undefined } as { method: string });
  assertEquals([request.head.method, request.head.target], ["CONNECT", ""]);
  assertEquals([open({ method: "GET" }).request.body.done, open().request.body.done], [true, false]);
});

Deno.test("watch() tells that the client is gone, also where it was before", () => {
  const codes: string[] = [];
  const { stream, request } = open();
  request.watch(({ code }) => codes.push(code));
  assertEquals(codes, []);
  stream.receiveReset(H2.CANCEL);
  request.watch(({ code }) => codes.push(code));
  assertEquals(codes, ["upstream.closed", "upstream.closed"]); // the link's word
});

Deno.test("begin() puts END_STREAM where the answer ends: on its head, on its first piece, or later", async (t) => {
  const trailers = [{ name: "a", key: "a", value: "1" }];
  const rows:
    readonly (readonly [name: string, length: number, body: MessageBody, told: readonly string[]])[] = [
      ["nothing follows", 0, body(true), ["HEADERS 1 ES :status=200"]],
      ["all of it is here", 3, body(true), ["HEADERS 1 :status=200", "DATA 1 ES 3"]],
      ["one byte", 1, body(true), ["HEADERS 1 :status=200", "DATA 1 ES 1"]],
      ["more comes", 3, body(false), ["HEADERS 1 :status=200", "DATA 1 3"]],
      ["nothing is here yet", 0, body(false), ["HEADERS 1 :status=200"]],
      ["trailers follow", 3, body(true, trailers), ["HEADERS 1 :status=200", "DATA 1 3"]],
      ["trailers alone follow", 0, body(true, trailers), ["HEADERS 1 :status=200"]],
    ];
  for (const [name, length, rest, told] of rows) {
    await t.step(name, async () => {
      const { link, request } = open();
      await request.begin(head(200), text(length), rest);
      assertEquals(link.told(), told);
    });
  }
});

Deno.test("inform(), write(), end() and switchProtocols() reach the stream", async () => {
  const { link, stream, request } = open({ method: "GET" });
  await request.inform(head(103));
  await request.begin(head(200), text(0), body(false));
  await request.write(text(2), false);
  request.end([{ name: "a", key: "a", value: "1" }]);
  assertEquals(link.told(), [
    "HEADERS 1 :status=103",
    "HEADERS 1 :status=200",
    "DATA 1 2",
    "HEADERS 1 ES a=1",
    "remove 1",
  ]);
  await assertRejects(() => request.inform(head(103)), TypeError);
  assertEquals(stream.error, undefined);
  const last = open({ method: "GET" });
  await last.request.begin(head(200), text(0), body(false));
  await last.request.write(text(2), true);
  assertEquals(last.link.told(), ["HEADERS 1 :status=200", "DATA 1 ES 2", "remove 1"]);

  const upgraded = open({ method: "CONNECT", protocol: "websocket" });
  const raw = await upgraded.request.switchProtocols(head(200));
  await raw.stream.write(text(4));
  assertEquals(upgraded.link.told(), ["HEADERS 1 :status=200", "DATA 1 4"]);
});

Deno.test("answer() sends a whole answer, to HEAD and without a body its head alone", async () => {
  const told = async (method: string, length: number) => {
    const { link, request } = open({ method });
    await request.answer(answer(length));
    return link.told();
  };
  assertEquals(await told("POST", 9), ["HEADERS 1 :status=403", "DATA 1 ES 9"]);
  assertEquals(await told("POST", 1), ["HEADERS 1 :status=403", "DATA 1 ES 1"]);
  assertEquals(await told("POST", 0), ["HEADERS 1 ES :status=403"]);
  assertEquals(await told("HEAD", 9), ["HEADERS 1 ES :status=403"]);
});

Deno.test("answer() gives up a client that does not take it in time, and never rejects", async () => {
  const { link, stream, deadlines, request } = open();
  link.isFull = true;
  const answered = request.answer(answer(9));
  assertEquals(deadlines.left, [DEFAULT_LIMITS.headTimeoutMs]);
  deadlines.advance(DEFAULT_LIMITS.headTimeoutMs);
  await answered;
  assertEquals(stream.error?.h2Code, H2.CANCEL);
  await request.answer(answer(9)); // the client is gone
  assertEquals(deadlines.left, []);
});

Deno.test("cut() resets with the code of the error that it was for, or CANCEL", () => {
  for (
    const [why, code] of [
      [new Http2Error("upstream.closed", H2.INTERNAL_ERROR, "Cannot go on: x"), H2.INTERNAL_ERROR],
      [new TypeError("x"), H2.CANCEL],
      [undefined, H2.CANCEL],
    ] as const
  ) {
    const { stream, request } = open();
    request.cut(why);
    assertEquals(stream.error?.h2Code, code);
  }
});
