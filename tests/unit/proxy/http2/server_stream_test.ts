/** The heads of an answer that we give: which may be sent when, and what becomes of a request that its handler has left. */
import { assertEquals, assertThrows } from "@std/assert";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { ServerStream } from "../../../../proxy/http2/server_stream.ts";
import { faultOf } from "../../../support/http2_faults.ts";
import { fields, WatchedLink } from "../../../support/http2_stream_link.ts";

const REQUEST = {
  method: "POST",
  scheme: "https",
  authority: "a.test",
  path: "/",
  protocol: undefined,
  fields: [],
};
const answer = (status: number) => ({ status, fields: [{ key: "a", value: "b" }] });

function open({ isBodyless = false, length }: { isBodyless?: boolean; length?: number } = {}) {
  const link = new WatchedLink();
  const stream = new ServerStream(7, link, {
    windows: { receive: 100, send: 100 },
    request: { head: REQUEST, contentLength: length },
    isBodyless,
  });
  return { link, stream };
}

Deno.test("respond() sends interim heads, then a final one, and then none", () => {
  const { stream, link } = open();
  assertEquals([stream.head, stream.isBodyless], [REQUEST, false]);
  stream.respond(answer(103));
  stream.respond(answer(199));
  stream.respond(answer(200));
  assertThrows(() => stream.respond(answer(103)), TypeError);
  assertThrows(() => stream.respond(answer(200), true), TypeError);
  assertEquals(link.told(), [
    "HEADERS 7 :status=103 a=b",
    "HEADERS 7 :status=199 a=b",
    "HEADERS 7 :status=200 a=b",
  ]);
  stream.write(new Uint8Array(1));
  assertEquals(link.told(), ["DATA 7 1"]);
});

Deno.test("respond() lets no interim head end the stream, and none out of a stream that was cut", () => {
  const { stream, link } = open();
  assertThrows(() => stream.respond(answer(103), true), TypeError);
  stream.respond(answer(103));
  assertThrows(() => stream.write(new Uint8Array(1)), TypeError); // the final head is not sent
  stream.reset(H2.CANCEL);
  assertThrows(() => stream.respond(answer(200)), Http2Error);
  assertEquals(link.told(), ["HEADERS 7 :status=103 a=b", "RST_STREAM 7 CANCEL", "drop 7", "remove 7"]);
});

Deno.test("a request whose head ends it has no body, and must not announce one", () => {
  const { stream, link } = open({ isBodyless: true });
  assertEquals([stream.isBodyless, stream.isLast], [true, true]);
  assertEquals(faultOf(() => stream.receiveData(new Uint8Array(1), 1, true)), "stream STREAM_CLOSED");
  assertEquals(faultOf(() => stream.receiveHeaders(fields("x=1"), true)), "stream STREAM_CLOSED");
  assertEquals(faultOf(() => open({ isBodyless: true, length: 0 })), "none");
  assertEquals(faultOf(() => open({ isBodyless: true, length: 1 })), "stream PROTOCOL_ERROR");
  stream.respond(answer(200), true);
  assertEquals(link.told(), ["HEADERS 7 ES :status=200 a=b", "remove 7"]);
});

Deno.test("release() closes what is open: an answer that is not whole is an error, a body that is left is none", () => {
  const unanswered = open();
  unanswered.stream.release();
  assertEquals(unanswered.link.told(), ["RST_STREAM 7 INTERNAL_ERROR", "drop 7", "remove 7"]);
  const { stream, link } = open();
  stream.receiveData(new Uint8Array(5), 5, false);
  stream.respond(answer(200), true);
  stream.release();
  assertEquals(link.told(), [
    "HEADERS 7 ES :status=200 a=b",
    "RST_STREAM 7 NO_ERROR",
    "credit 5",
    "drop 7",
    "remove 7",
  ]);
  const over = open({ isBodyless: true });
  over.stream.respond(answer(200), true);
  over.link.told();
  over.stream.release();
  assertEquals(over.link.told(), []);
});

Deno.test("a client that resets behind its whole request wants no answer: the request is cut", () => {
  const { stream } = open({ isBodyless: true });
  const told: number[] = [];
  stream.onReset = ({ h2Code }) => void told.push(h2Code);
  stream.receiveReset(H2.CANCEL);
  assertEquals([told, stream.error?.h2Code], [[H2.CANCEL], H2.CANCEL]);
});
