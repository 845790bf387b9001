/** Heads and trailer sections: what must be in a header list, what must not, and in which order. */
import { assertEquals } from "@std/assert";
import {
  readRequestHead,
  readResponseHead,
  readTrailers,
  writeRequestHead,
  writeResponseHead,
} from "../../../../proxy/http2/head.ts";
import { HpackDecoder } from "../../../../proxy/http2/hpack.ts";
import { HeaderBlockWriter } from "../../../../proxy/http2/hpack_encoder.ts";
import { faultOf } from "../../../support/http2_faults.ts";
import { fields } from "../../../support/http2_stream_link.ts";

const BAD = "stream PROTOCOL_ERROR";
const M = ":method=GET";
const S = ":scheme=https";
const A = ":authority=a.test";
const P = ":path=/";

/** Reads a request: "none", or the fault. */
const request = (lines: readonly string[], hasProtocol = false) =>
  faultOf(() => readRequestHead(fields(...lines), hasProtocol));

Deno.test("readRequestHead() gives the pseudo-header fields in any order, the fields and the length", () => {
  const { head, contentLength } = readRequestHead(
    fields(P, ":method=POST", A, S, "content-length=12", "x=1", "host=a.test"),
    false,
  );
  const { method, scheme, authority, path, protocol } = head;
  assertEquals([method, scheme, authority, path, protocol, contentLength], [
    "POST",
    "https",
    "a.test",
    "/",
    undefined,
    12,
  ]);
  assertEquals(head.fields.map(({ key }) => key), ["content-length", "x", "host"]);
  assertEquals(readRequestHead(fields(M, S, A, P), false).contentLength, undefined);
  const connect = readRequestHead(fields(":method=CONNECT", S, A, P, ":protocol=websocket"), true);
  assertEquals(connect.head.protocol, "websocket");
});

Deno.test("readRequestHead() takes what a client may send", async (t) => {
  const rows: readonly (readonly [name: string, lines: readonly string[], hasProtocol?: boolean])[] = [
    ["the least", [M, S, A, P]],
    ["host in the place of :authority", [M, S, P, "host=a.test"]],
    ["host beside :authority", [M, S, A, P, "host=b.test"]],
    ["* for OPTIONS", [":method=OPTIONS", S, A, ":path=*"]],
    ["CONNECT", [":method=CONNECT", ":authority=a.test:443"]],
    ["Extended CONNECT", [":method=CONNECT", S, A, P, ":protocol=websocket"], true],
    ["Extended CONNECT by host", [":method=CONNECT", S, P, ":protocol=websocket", "host=a.test"], true],
    ["a method of every character of a token", [":method=!#$%&'*+.^_`|~0-9A-Za-z-", S, A, P]],
    ["a method of 32 characters", [`:method=${"M".repeat(32)}`, S, A, P]],
    ["a scheme of 32 characters", [M, `:scheme=s${"+".repeat(31)}`, A, P]],
    ["an authority with a port and brackets", [M, S, ":authority=[::1]:443", P]],
    ["a path with a query", [M, S, A, ":path=/a?b=/c!~"]],
    ["a protocol of 64 characters", [":method=CONNECT", S, A, P, `:protocol=${"p".repeat(64)}`], true],
    ["a length of 15 digits", [M, S, A, P, "content-length=123456789012345"]],
  ];
  for (const [name, lines, hasProtocol] of rows) {
    await t.step(name, () => assertEquals(request(lines, hasProtocol), "none"));
  }
});

Deno.test("readRequestHead() refuses what could be read in two ways", async (t) => {
  const rows: readonly (readonly [name: string, lines: readonly string[], hasProtocol?: boolean])[] = [
    ["nothing", []],
    ["no method", [S, A, P]],
    ["an empty method", [":method=", S, A, P]],
    ["a method with a space", [":method=GET /", S, A, P]],
    ["a method of 33 characters", [`:method=${"M".repeat(33)}`, S, A, P]],
    ["no scheme", [M, A, P]],
    ["an empty scheme", [M, ":scheme=", A, P]],
    ["a scheme that begins with a digit", [M, ":scheme=1s", A, P]],
    ["a scheme of 33 characters", [M, `:scheme=${"s".repeat(33)}`, A, P]],
    ["no path", [M, S, A]],
    ["an empty path", [M, S, A, ":path="]],
    ["a path that is no path", [M, S, A, ":path=a"]],
    ["a path with a fragment", [M, S, A, ":path=/#a"]],
    ["a path with a space", [M, S, A, ":path=/a b"]],
    ["* for GET", [M, S, A, ":path=*"]],
    ["** for OPTIONS", [":method=OPTIONS", S, A, ":path=**"]],
    ["no host at all", [M, S, P]],
    ["two hosts", [M, S, P, "host=a.test", "host=a.test"]],
    ["two hosts beside :authority", [M, S, A, P, "host=a.test", "host=a.test"]],
    ["an empty :authority", [M, S, ":authority=", P]],
    ["an empty :authority beside host", [M, S, ":authority=", P, "host=a.test"]],
    ["userinfo", [M, S, ":authority=a@b.test", P]],
    ["an :authority with a path", [M, S, ":authority=a.test/x", P]],
    ["an :authority with a query", [M, S, ":authority=a.test?x", P]],
    ["an :authority with a fragment", [M, S, ":authority=a.test#x", P]],
    ["CONNECT with a scheme", [":method=CONNECT", S, A]],
    ["CONNECT with a path", [":method=CONNECT", A, P]],
    ["CONNECT without :authority", [":method=CONNECT", "host=a.test"]],
    [":protocol that was not announced", [":method=CONNECT", S, A, P, ":protocol=websocket"], false],
    [":protocol of another method", [M, S, A, P, ":protocol=websocket"], true],
    ["an empty :protocol", [":method=CONNECT", S, A, P, ":protocol="], true],
    [":protocol with a space", [":method=CONNECT", S, A, P, ":protocol=a b"], true],
    [":protocol of 65 characters", [":method=CONNECT", S, A, P, `:protocol=${"p".repeat(65)}`], true],
    ["Extended CONNECT without :scheme", [":method=CONNECT", A, P, ":protocol=websocket"], true],
    ["Extended CONNECT without :path", [":method=CONNECT", S, A, ":protocol=websocket"], true],
    ["Extended CONNECT to *", [":method=CONNECT", S, A, ":path=*", ":protocol=websocket"], true],
    ["a pseudo-header field twice", [M, M, S, A, P]],
    ["an empty one twice", [M, S, A, ":path=", P]],
    ["one of responses", [M, S, A, P, ":status=200"]],
    ["an unknown one", [M, S, A, P, ":x=1"]],
    ["one behind a field", [M, S, A, "x=1", P]],
    ["one behind a field that is no fault before", [M, S, A, P, "x=1", ":path=/"]],
    ["one whose value is a fault", [M, S, A, ":path=/\0"]],
    ["a field that is a fault", [M, S, A, P, "X=1"]],
    ["two lengths", [M, S, A, P, "content-length=1", "content-length=1"]],
    ["two lengths of nothing", [M, S, A, P, "content-length=0", "content-length=0"]],
    ["an empty length", [M, S, A, P, "content-length="]],
    ["a length with a sign", [M, S, A, P, "content-length=+1"]],
    ["a length of 16 digits", [M, S, A, P, "content-length=1234567890123456"]],
  ];
  for (const [name, lines, hasProtocol] of rows) {
    await t.step(name, () => assertEquals(request(lines, hasProtocol), BAD));
  }
});

Deno.test("readResponseHead() needs one status of three digits, which is not 101", async (t) => {
  const { head, contentLength } = readResponseHead(fields(":status=204", "content-length=3", "x=1"));
  assertEquals([head.status, contentLength, head.fields.map(({ key }) => key)], [204, 3, [
    "content-length",
    "x",
  ]]);
  const rows: readonly (readonly [lines: readonly string[], expected: string])[] = [
    [[":status=100"], "none"],
    [[":status=102"], "none"],
    [[":status=599"], "none"],
    [[":status=200", "host=a", "host=b"], "none"], // means nothing in a response
    [[":status=101"], BAD],
    [[":status=099"], BAD],
    [[":status=600"], BAD],
    [[":status=20"], BAD],
    [[":status=2000"], BAD],
    [[":status=2 0"], BAD],
    [[":status="], BAD],
    [[], BAD],
    [["x=1"], BAD],
    [[":status=200", ":status=200"], BAD],
    [[":status=200", ":path=/"], BAD],
    [[":status=200", "x=1", ":status=200"], BAD],
    [[":status=200", "connection=close"], BAD],
    [[":status=200", "content-length=1", "content-length=1"], BAD],
  ];
  for (const [lines, expected] of rows) {
    await t.step(
      lines.join(" ") || "nothing",
      () => assertEquals(faultOf(() => readResponseHead(fields(...lines))), expected),
    );
  }
});

Deno.test("readTrailers() lets nothing through that belongs in a head", () => {
  assertEquals(readTrailers(fields("a=1", "b=2")).map(({ key }) => key), ["a", "b"]);
  assertEquals(readTrailers([]), []);
  for (const line of [":status=200", ":path=/", "content-length=1", "host=a", "authorization=x", "X=1"]) {
    assertEquals(faultOf(() => readTrailers(fields("a=1", line))), BAD, line);
    assertEquals(faultOf(() => readTrailers(fields(line))), BAD, line);
  }
});

/** What a block says, with a mark at what must not be put into a table. */
function written(write: (block: HeaderBlockWriter) => void): string[] {
  const block = new HeaderBlockWriter();
  block.begin();
  write(block);
  const list = new HpackDecoder({ maxBytes: 65_536, maxFields: 100 }).decode(block.bytes) ?? [];
  return list.map(({ key, value, isSensitive }) => `${key}=${value}${isSensitive ? " never indexed" : ""}`);
}

Deno.test("heads are written with their pseudo-header fields first, and without those that they have not", () => {
  const head = {
    method: "GET",
    scheme: "https",
    authority: "a.test",
    path: "/x",
    protocol: undefined,
    fields: [{ key: "a", value: "1" }, { key: "authorization", value: "s" }],
  };
  const rest = ["a=1", "authorization=s never indexed"];
  assertEquals(written((block) => writeRequestHead(block, head)), [M, S, A, ":path=/x", ...rest]);
  assertEquals(
    written((block) => writeRequestHead(block, { ...head, isPathSensitive: true, protocol: "p" })),
    [M, S, A, ":path=/x never indexed", ":protocol=p", ...rest],
  );
  assertEquals(
    written((block) =>
      writeRequestHead(block, { ...head, method: "CONNECT", scheme: undefined, path: undefined, fields: [] })
    ),
    [":method=CONNECT", A],
  );
  assertEquals(written((block) => writeResponseHead(block, { status: 200, fields: head.fields })), [
    ":status=200",
    ...rest,
  ]);
});
