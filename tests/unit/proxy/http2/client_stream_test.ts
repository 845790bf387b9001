/** The heads of an answer: which may come when, and who gets them. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ClientStream } from "../../../../proxy/http2/client_stream.ts";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { faultOf } from "../../../support/http2_faults.ts";
import { fields, WatchedLink } from "../../../support/http2_stream_link.ts";

function open({ method = "GET", end = true } = {}) {
  const link = new WatchedLink();
  const windows = { receive: 100, send: 100 };
  const stream = new ClientStream(1, link, { windows, method, maxInterim: 3, end });
  return {
    link,
    stream,
    /** A head of that status, and fields. */
    head: (status: number, end: boolean, ...more: readonly string[]) =>
      stream.receiveHeaders(fields(`:status=${status}`, ...more), end),
    data: (count: number, end: boolean) => stream.receiveData(new Uint8Array(count), count, end),
  };
}

Deno.test("response() gives each head once and in order, waiting or not", async () => {
  const { stream, link, head } = open();
  const first = stream.response();
  head(103, false, "link=x");
  head(102, false);
  head(200, true, "a=b");
  const heads = [await first, await stream.response(), await stream.response()];
  assertEquals(heads.map(({ status, isBodyless }) => [status, isBodyless]), [[103, false], [102, false], [
    200,
    true,
  ]]);
  assertEquals(heads.map(({ fields }) => fields.map(({ key }) => key)), [["link"], [], ["a"]]);
  assertThrows(() => stream.response(), TypeError);
  assertEquals(link.told(), ["remove 1"]);
});

Deno.test("response() is asked by one at a time", async () => {
  const { stream, head } = open();
  const first = stream.response();
  assertThrows(() => stream.response(), TypeError);
  head(200, false);
  assertEquals((await first).status, 200);
});

Deno.test("a cut rejects who waits for a head, and takes away those that nobody took", async () => {
  const { stream, head, link } = open();
  head(103, false);
  head(200, false);
  stream.fail(link.makeError(H2.CANCEL, "x"));
  await assertRejects(() => stream.response(), Http2Error);

  const waiting = open();
  const response = waiting.stream.response();
  waiting.stream.reset(H2.CANCEL);
  await assertRejects(() => response, Http2Error);
  await assertRejects(() => waiting.stream.response(), Http2Error);

  const gone = open();
  gone.stream.response(); // by somebody who does not wait any more: no error of the process
  gone.stream.reset(H2.CANCEL);
  await new Promise((resolve) => setTimeout(resolve));
});

Deno.test("interim heads: as many as the limit, none of which ends the stream", () => {
  const { head } = open();
  for (let nth = 0; nth < 3; nth++) assertEquals(faultOf(() => head(103, false)), "none");
  assertEquals(faultOf(() => head(103, false)), "stream ENHANCE_YOUR_CALM flood");
  assertEquals(faultOf(() => open().head(199, true)), "stream PROTOCOL_ERROR");
  assertEquals(faultOf(() => open().head(100, true)), "stream PROTOCOL_ERROR");
  assertEquals(faultOf(() => open().head(200, true)), "none");
});

Deno.test("what comes behind the final head are trailers", () => {
  const { stream, head } = open();
  head(200, false);
  assertEquals(faultOf(() => head(200, true)), "stream PROTOCOL_ERROR");
  stream.receiveHeaders(fields("x=1"), true);
  assertEquals(stream.trailers?.map(({ key }) => key), ["x"]);
});

Deno.test("a body comes behind the final head only, and not where the head forbids one", async (t) => {
  const rows: readonly (readonly [name: string, method: string, status: number, expected: string])[] = [
    ["GET 200", "GET", 200, "none"],
    ["GET 203", "GET", 203, "none"],
    ["GET 205", "GET", 205, "none"],
    ["GET 303", "GET", 303, "none"],
    ["GET 305", "GET", 305, "none"],
    ["GET 204", "GET", 204, "stream PROTOCOL_ERROR"],
    ["GET 304", "GET", 304, "stream PROTOCOL_ERROR"],
    ["HEAD 200", "HEAD", 200, "stream PROTOCOL_ERROR"],
    ["HEAD 404", "HEAD", 404, "stream PROTOCOL_ERROR"],
  ];
  for (const [name, method, status, expected] of rows) {
    await t.step(name, () => {
      const { stream, head, data } = open({ method });
      head(status, false, "content-length=1");
      assertEquals(faultOf(() => data(1, true)), expected);
      assertEquals(stream.available.length, expected === "none" ? 1 : 0);
      const empty = open({ method });
      empty.head(status, false, "content-length=5");
      // An end without a byte is a body too short, where there may be one.
      const isForbidden = expected !== "none";
      assertEquals(faultOf(() => empty.data(0, true)), isForbidden ? "none" : "stream PROTOCOL_ERROR");
    });
  }
  await t.step("before any head, and behind an interim one", () => {
    assertEquals(faultOf(() => open().data(0, true)), "stream PROTOCOL_ERROR");
    const { head, data } = open();
    head(103, false);
    assertEquals(faultOf(() => data(1, false)), "stream PROTOCOL_ERROR");
  });
});

Deno.test("a request without a body may not be written to; one with a body may, before any answer", () => {
  assertThrows(() => open().stream.write(new Uint8Array(1)), TypeError);
  const { stream, link } = open({ end: false });
  stream.write(new Uint8Array(1), true);
  assertEquals(link.told(), ["DATA 1 ES 1"]);
  assertThrows(() => stream.write(new Uint8Array(1)), TypeError);
});
