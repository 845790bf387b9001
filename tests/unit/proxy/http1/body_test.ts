import { Buffer } from "node:buffer";
import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { type Body, isBodyless, requestBody, responseBody } from "../../../../proxy/http1/body.ts";
import { parseFields } from "../../../../proxy/http1/head_reader.ts";
import type { HttpVersion } from "../../../../proxy/message/message.ts";

const LIMITS = { maxChunkLineBytes: 20, maxTrailerBytes: 30, maxHeaderCount: 3 };

function fieldsOf(lines: readonly string[]) {
  return parseFields(lines, { maxHeaderCount: 10 }, "client.malformed");
}

function bodyOfRequest(lines: readonly string[], version: HttpVersion = "HTTP/1.1"): Body {
  return requestBody({ method: "POST", target: "/", version, fields: fieldsOf(lines) }, LIMITS);
}

function bodyOfResponse(status: number, lines: readonly string[], method = "GET"): Body {
  return responseBody({ version: "HTTP/1.1", status, reason: "", fields: fieldsOf(lines) }, method, LIMITS);
}

const CHUNKED = ["Transfer-Encoding: chunked"];

/** "done" or what a fresh body is waiting for. */
function describe(body: Body): string {
  if (body.done) return "none";
  if (body.closeDelimited) return "until the end";
  return body.take(Buffer.from("5\r\nhello\r\n0\r\n\r\n1234567890")) === 15 ? "chunked" : "a length";
}

Deno.test("requestBody() knows how a body is framed", async (t) => {
  const rows: { fields: string[]; version?: HttpVersion; is: string }[] = [
    { fields: [], is: "none" },
    { fields: [], version: "HTTP/1.0", is: "none" },
    { fields: ["Content-Length: 0"], is: "none" },
    { fields: ["content-length:00"], is: "none" },
    { fields: ["Content-Length:  25 "], is: "a length" },
    { fields: ["Content-Length: 25"], version: "HTTP/1.0", is: "a length" },
    { fields: ["Content-Length: 999999999999999"], is: "a length" },
    { fields: CHUNKED, is: "chunked" },
    { fields: ["transfer-encoding:  CHUNKED "], is: "chunked" },
  ];
  for (const { fields, version, is } of rows) {
    await t.step(
      `${fields} ${version ?? ""} is ${is}`,
      () => assertEquals(describe(bodyOfRequest(fields, version)), is),
    );
  }
});

Deno.test("requestBody() refuses what could be read in two ways", async (t) => {
  const rows: { fields: string[]; version?: HttpVersion }[] = [
    { fields: ["Content-Length: 5", ...CHUNKED] },
    { fields: ["Content-Length: 0", ...CHUNKED] },
    { fields: ["Content-Length: 5", "Content-Length: 5"] },
    { fields: ["Content-Length: 5,5"] },
    { fields: ["Content-Length: 1000000000000000"] },
    { fields: ["Content-Length: 0x5"] },
    { fields: ["Content-Length:\t5"] },
    { fields: ["Transfer-Encoding:\tchunked"] },
    { fields: ["Transfer-Encoding: gzip, chunked"] },
    { fields: [...CHUNKED, ...CHUNKED] },
    { fields: CHUNKED, version: "HTTP/1.0" },
  ];
  for (const { fields, version } of rows) {
    await t.step(JSON.stringify(fields), () => {
      const error = assertThrows(() => bodyOfRequest(fields, version), ProxyError);
      assertEquals(error.code, "client.malformed");
    });
  }
});

Deno.test("responseBody() knows which responses have none (RFC 9112 section 6.3)", async (t) => {
  const rows = [
    { status: 200, fields: [], is: "until the end" },
    { status: 200, fields: ["Content-Length: 0"], is: "none" },
    { status: 200, fields: ["Content-Length: 25"], is: "a length" },
    { status: 200, fields: CHUNKED, is: "chunked" },
    { status: 204, fields: [], is: "none" },
    { status: 204, fields: CHUNKED, is: "none" },
    { status: 204, fields: ["Content-Length: 0"], is: "none" },
    { status: 304, fields: [], is: "none" },
    { status: 304, fields: ["Content-Length: 25"], is: "none" },
    { status: 304, fields: CHUNKED, is: "none" },
    { status: 101, fields: [], is: "none" },
    { status: 200, fields: ["Content-Length: 25"], method: "HEAD", is: "none" },
    { status: 200, fields: CHUNKED, method: "HEAD", is: "none" },
    { status: 200, fields: [], method: "HEAD", is: "none" },
    // Another method, whatever it looks like.
    { status: 200, fields: ["Content-Length: 25"], method: "head", is: "a length" },
  ];
  for (const { status, fields, method, is } of rows) {
    await t.step(
      `${status} to ${method ?? "GET"} with ${fields} is ${is}`,
      () => assertEquals(describe(bodyOfResponse(status, fields, method)), is),
    );
  }
});

Deno.test("responseBody() refuses a body where there can be none, and bad framing everywhere", async (t) => {
  const rows = [
    { status: 100, fields: ["Content-Length: 5"] },
    { status: 103, fields: CHUNKED },
    { status: 204, fields: ["Content-Length: 5"] },
    { status: 304, fields: ["Content-Length: 5", ...CHUNKED] },
    { status: 200, fields: ["Content-Length: 5", "Content-Length: 6"], method: "HEAD" },
  ];
  for (const { status, fields, method } of rows) {
    await t.step(`${status} ${fields}`, () => {
      const error = assertThrows(() => bodyOfResponse(status, fields, method), ProxyError);
      assertEquals(error.code, "upstream.malformed");
    });
  }
});

Deno.test("take() of a length passes just so many bytes", () => {
  const body = bodyOfRequest(["Content-Length: 5"]);
  assertEquals([body.take(new Uint8Array(3)), body.done], [3, false]);
  assertEquals([body.take(new Uint8Array(0)), body.done], [0, false]);
  assertEquals([body.take(new Uint8Array(3)), body.done], [2, true]);
  assertEquals([body.take(new Uint8Array(3)), body.done], [0, true]);
});

Deno.test("take() of a body until the end passes everything and is never done", () => {
  const body = bodyOfResponse(200, []);
  assertEquals([body.take(new Uint8Array(3)), body.done, body.closeDelimited], [3, false, true]);
});

Deno.test("take() of chunks passes lines only whole", async (t) => {
  const rows = [
    { given: "", takes: 0 },
    { given: "5", takes: 0 },
    { given: "5\r", takes: 0 },
    { given: "5\r\n", takes: 3 },
    { given: "5\r\nhel", takes: 6 },
    { given: "5\r\nhello", takes: 8 },
    { given: "5\r\nhello\r", takes: 8 },
    { given: "5\r\nhello\r\n", takes: 10 },
    { given: "5\r\nhello\r\n0\r\nX: ", takes: 13 },
    { given: "5\r\nhello\r\n0\r\nX: y\r\n\r", takes: 19 },
  ];
  for (const { given, takes } of rows) {
    await t.step(JSON.stringify(given), () => {
      const body = bodyOfRequest(CHUNKED);
      assertEquals([body.take(Buffer.from(given)), body.done], [takes, false]);
    });
  }
});

Deno.test("take() of chunks stops at the end, and at each limit", async (t) => {
  const rows: { name: string; bytes: string; takes: number | "refuses" }[] = [
    { name: "the next message stays", bytes: "0\r\n\r\nGET /", takes: 5 },
    { name: "a byte after chunk data that is not CR, at once", bytes: "2\r\nabX", takes: "refuses" },
    {
      name: "a chunk longer than its size, which ends in LF",
      bytes: "2\r\nabX\n0\r\n\r\n",
      takes: "refuses",
    },
    { name: "a line of 20 bytes", bytes: `0;${"a".repeat(16)}\r\n\r\n`, takes: 22 },
    { name: "a line of 21 bytes", bytes: `0;${"a".repeat(17)}\r\n\r\n`, takes: "refuses" },
    { name: "21 bytes and no end of line yet", bytes: "0;" + "a".repeat(19), takes: "refuses" },
    { name: "trailers of 28 bytes and the last line", bytes: `0\r\nA: ${"b".repeat(23)}\r\n\r\n`, takes: 33 },
    {
      name: "trailers of 29 bytes and the last line",
      bytes: `0\r\nA: ${"b".repeat(24)}\r\n\r\n`,
      takes: "refuses",
    },
    { name: "three trailers", bytes: "0\r\nA:b\r\nC:d\r\nE:f\r\n\r\n", takes: 20 },
    { name: "four trailers", bytes: "0\r\nA:b\r\nC:d\r\nE:f\r\nG:h\r\n\r\n", takes: "refuses" },
    { name: "a size of 12 digits", bytes: "ffffffffffff\r\n", takes: 14 },
    { name: "a size of 13 digits", bytes: "0ffffffffffff\r\n", takes: "refuses" },
  ];
  for (const { name, bytes, takes } of rows) {
    await t.step(name, () => {
      const body = bodyOfRequest(CHUNKED);
      if (takes === "refuses") assertThrows(() => body.take(Buffer.from(bytes)), ProxyError);
      else assertEquals(body.take(Buffer.from(bytes)), takes);
    });
  }
});

Deno.test("each refusal of a framing says what is wrong with it", async (t) => {
  const rows: readonly (readonly [string, () => unknown, string])[] = [
    ["a tab", () => bodyOfRequest(["Content-Length:\t5"]), "a tab in Content-Length or Transfer-Encoding"],
    [
      "both",
      () => bodyOfRequest(["Content-Length: 5", ...CHUNKED]),
      "both Content-Length and Transfer-Encoding",
    ],
    [
      "another coding",
      () => bodyOfRequest(["Transfer-Encoding: gzip"]),
      "a Transfer-Encoding other than exactly `chunked`",
    ],
    ["HTTP/1.0", () => bodyOfRequest(CHUNKED, "HTTP/1.0"), "Transfer-Encoding in HTTP/1.0"],
    ["no number", () => bodyOfRequest(["Content-Length: x"]), "a Content-Length that is not one number"],
    ["a 204", () => bodyOfResponse(204, ["Content-Length: 5"]), "a 204 response announces a body"],
    ["a 199", () => bodyOfResponse(199, ["Content-Length: 5"]), "a 199 response announces a body"],
    ...([
      ["no size", "x\r\n", "a chunk size is none"],
      ["an LF alone", "5\n", "a line ends without CR (bare LF)"],
      ["an LF first", "\n", "a line ends without CR (bare LF)"],
      ["too long a chunk", "1\r\nabc", "a chunk is longer than its size says"],
      ["a CR alone behind a chunk", "1\r\na\rX", "a chunk does not end with CRLF"],
      ["too long a line", `0;${"a".repeat(18)}\r\n`, "a chunk-size line is too long"],
      ["too long a trailer", `0\r\nA: ${"b".repeat(40)}\r\n`, "a trailer section is too long"],
      ["too many trailers", "0\r\nA:b\r\nC:d\r\nE:f\r\nG:h\r\n", "too many trailer fields"],
      [
        "a trailer that is none",
        "0\r\nHost: b\r\n",
        "a trailer field that must not be one (RFC 9110 §6.5.1)",
      ],
    ] as const).map(([name, bytes, what]) =>
      [name, () => bodyOfRequest(CHUNKED).take(Buffer.from(bytes)), what] as const
    ),
  ];
  for (const [name, read, what] of rows) {
    await t.step(name, () => {
      assertEquals(assertThrows(read, ProxyError).message, `Cannot read the message: ${what}`);
    });
  }
});

Deno.test("a tab elsewhere, and a status beside those without a body, are nobody's business", () => {
  assertEquals(describe(bodyOfRequest(["X-A:\tb", "Content-Length: 25"])), "a length");
  for (const status of [200, 203, 205, 303, 305]) {
    assertEquals(describe(bodyOfResponse(status, ["Content-Length: 25"])), "a length", String(status));
  }
  assertEquals(describe(bodyOfResponse(199, [])), "none");
});

Deno.test("isBodyless() is true of a 204 or 304 that announces what no client reads", () => {
  const of = (status: number, lines: readonly string[]) =>
    isBodyless({ version: "HTTP/1.1", status, reason: "", fields: fieldsOf(lines) });
  assertEquals([of(204, CHUNKED), of(304, CHUNKED)], [true, true]);
  assertEquals([of(204, []), of(304, ["Content-Length: 5"]), of(205, CHUNKED), of(200, CHUNKED)], [
    ...[false, false, false, false],
  ]);
});

Deno.test("chunks that come in pieces go on where they were, and content is told of each piece alone", () => {
  const body = bodyOfRequest(CHUNKED);
  body.recordContent?.();
  const text = "3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n";
  const seen: string[] = [];
  let rest = "";
  for (const char of text) {
    rest += char;
    const taken = body.take(Buffer.from(rest));
    for (const { start, end, isTrailer } of body.content ?? []) {
      seen.push(`${isTrailer ? "trailer" : "data"} ${JSON.stringify(rest.slice(start, end))}`);
    }
    rest = rest.slice(taken);
  }
  assertEquals([body.done, rest], [true, ""]);
  assertEquals(seen, [
    ...[
      'data "a"',
      'data "b"',
      'data "c"',
      'data "d"',
      'data "e"',
      'trailer "A: b\\r\\n"',
      'trailer "\\r\\n"',
    ],
  ]);
  assertEquals(bodyOfRequest(["Content-Length: 5"]).content, undefined);
});

Deno.test("a message without a body does not end with its connection", () => {
  assertEquals([bodyOfRequest([]).closeDelimited, bodyOfResponse(204, []).closeDelimited], [false, false]);
});
