import { Buffer } from "node:buffer";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { isProxyError, ProxyError } from "../../../../core/errors.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import {
  parseFields,
  readRequestHead,
  readResponseHead,
  takeRequestHead,
} from "../../../../proxy/http1/head_reader.ts";
import { formatRequestHead, formatResponseHead } from "../../../../proxy/http1/head_writer.ts";

const LIMITS = { maxHeadBytes: 200, maxHeaderCount: 4 };

/** A reader that has these bytes and no more. */
function readerOf(bytes: string): ByteReader {
  return new ByteReader({ read: () => Promise.resolve(null) }, Buffer.from(bytes, "latin1"));
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => promise, ProxyError);
  return error.code;
}

Deno.test("readRequestHead() reads the request line and fields, and leaves what follows", async () => {
  const reader = readerOf("GET /a?b HTTP/1.1\r\nHost: a.test\r\nX-A:\t b \xe9 \r\n\r\nbody");
  const head = await readRequestHead(reader, LIMITS);
  assertEquals(head, {
    method: "GET",
    target: "/a?b",
    version: "HTTP/1.1",
    fields: [
      { name: "Host", key: "host", value: "a.test", line: "Host: a.test" },
      { name: "X-A", key: "x-a", value: "b \xe9", line: "X-A:\t b \xe9 " },
    ],
  });
  assertEquals(Buffer.from(reader.available).toString(), "body");
});

Deno.test("takeRequestHead() takes what is here whole, and nothing of what is not", async (t) => {
  const whole = "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";
  const reader = readerOf(`${whole}${whole.slice(0, -1)}`);
  assertEquals(takeRequestHead(reader, LIMITS), await readRequestHead(readerOf(whole), LIMITS));
  assertEquals([takeRequestHead(reader, LIMITS), reader.size], [undefined, whole.length - 1]);
  // One empty line is let off, by whoever looks next: two of them are none.
  for (const text of ["", "\r", `\r\n${whole}`, "\r\n\r\n"]) {
    const reader = readerOf(text);
    await t.step(JSON.stringify(text), () => {
      assertEquals([takeRequestHead(reader, LIMITS), reader.size], [undefined, text.length]);
    });
  }
  const large = `GET /${"a".repeat(200)}`;
  assertEquals(
    assertThrows(() => takeRequestHead(readerOf(large), LIMITS), ProxyError).code,
    "client.head-too-large",
  );
  assertEquals(
    assertThrows(() => takeRequestHead(readerOf("a\n"), LIMITS), ProxyError).code,
    "client.malformed",
  );
});

Deno.test("readRequestHead() is undefined at the end of the stream", async () => {
  assertEquals(await readRequestHead(readerOf(""), LIMITS), undefined);
});

Deno.test("readRequestHead() tells a head that ends early from one that is wrong", async (t) => {
  const rows = [
    { name: "ends inside the request line", head: "GET /", code: "client.closed" },
    { name: "ends before the last line", head: "GET / HTTP/1.1\r\n", code: "client.closed" },
    { name: "ends after CR", head: "GET / HTTP/1.1\r\n\r", code: "client.closed" },
    { name: "a bare LF, and then it ends", head: "GET / HTTP/1.1\n", code: "client.malformed" },
    { name: "two empty lines", head: "\r\n\r\n", code: "client.malformed" },
    { name: "an LF first", head: "\n", code: "client.malformed" },
    {
      name: "too many fields",
      head: "GET / HTTP/1.1\r\n" + "A: b\r\n".repeat(5) + "\r\n",
      code: "client.malformed",
    },
    { name: "too large", head: `GET /${"a".repeat(200)}`, code: "client.head-too-large" },
  ];
  for (const { name, head, code } of rows) {
    await t.step(name, async () => assertEquals(await codeOf(readRequestHead(readerOf(head), LIMITS)), code));
  }
});

Deno.test("readRequestHead() takes a head of just the limit, and none of a byte more", async () => {
  const headOf = (size: number) => `GET /${"a".repeat(size - 18)} HTTP/1.1\r\n\r\n`;
  assertEquals(headOf(200).length, 200);
  assertEquals((await readRequestHead(readerOf(headOf(200)), LIMITS))?.method, "GET");
  assertEquals(await codeOf(readRequestHead(readerOf(headOf(201)), LIMITS)), "client.head-too-large");
});

Deno.test("readRequestHead() takes a method of 32 letters and none of 33", async () => {
  const headOf = (count: number) => readerOf(`${"M".repeat(count)} / HTTP/1.1\r\n\r\n`);
  assertEquals((await readRequestHead(headOf(32), LIMITS))?.method.length, 32);
  assertEquals(await codeOf(readRequestHead(headOf(33), LIMITS)), "client.malformed");
});

Deno.test("readResponseHead() reads status lines as they are sent", async (t) => {
  const rows = [
    { line: "HTTP/1.1 200 OK", status: 200, reason: "OK", version: "HTTP/1.1" },
    { line: "HTTP/1.1 200 ", status: 200, reason: "", version: "HTTP/1.1" },
    { line: "HTTP/1.1 200", status: 200, reason: "", version: "HTTP/1.1" },
    { line: "HTTP/1.0 404 Not  Found\t", status: 404, reason: "Not  Found\t", version: "HTTP/1.0" },
    { line: "HTTP/1.1 599 \xe9", status: 599, reason: "\xe9", version: "HTTP/1.1" },
    { line: "HTTP/1.1 100 Continue", status: 100, reason: "Continue", version: "HTTP/1.1" },
  ];
  for (const { line, ...expected } of rows) {
    await t.step(JSON.stringify(line), async () => {
      assertEquals(await readResponseHead(readerOf(`${line}\r\n\r\n`), LIMITS), {
        ...expected,
        version: expected.version === "HTTP/1.0" ? "HTTP/1.0" : "HTTP/1.1",
        fields: [],
      });
    });
  }
});

Deno.test("readResponseHead() raises upstream codes", async (t) => {
  const rows = [
    { head: "", code: "upstream.closed" },
    { head: "HTTP/1.1 200 OK\r\n", code: "upstream.closed" },
    { head: "HTTP/1.1 600 OK\r\n\r\n", code: "upstream.malformed" },
    { head: "http/1.1 200 OK\r\n\r\n", code: "upstream.malformed" },
    { head: "HTTP/1.1 200 OK\r\nA b\r\n\r\n", code: "upstream.malformed" },
    { head: `HTTP/1.1 200 ${"a".repeat(200)}`, code: "upstream.malformed" },
  ];
  for (const { head, code } of rows) {
    await t.step(
      JSON.stringify(head.slice(0, 30)),
      async () => assertEquals(await codeOf(readResponseHead(readerOf(head), LIMITS)), code),
    );
  }
});

Deno.test("formatRequestHead() and formatResponseHead() print what was read", async () => {
  const request = "POST /a%20|b HTTP/1.0\r\nhost:a\r\nHOST:  b\t\r\nX:\r\n\r\n";
  const head = await readRequestHead(readerOf(request), LIMITS);
  assertEquals(head && Buffer.from(formatRequestHead(head)).toString("latin1"), request);
  const response = "HTTP/1.0 299 a \xff b\r\nset-cookie: 1\r\nSet-Cookie: 2\r\n\r\n";
  assertEquals(
    Buffer.from(formatResponseHead(await readResponseHead(readerOf(response), LIMITS))).toString("latin1"),
    response,
  );
});

Deno.test("parseFields() refuses every character that is no token in a name, and every control in a value", () => {
  const accepts = (line: string) => {
    try {
      return parseFields([line], LIMITS, "client.malformed").length === 1;
    } catch (error) {
      if (isProxyError(error, "client.malformed")) return false;
      throw error;
    }
  };
  for (let code = 0; code < 256; code++) {
    const char = String.fromCharCode(code);
    const isToken = /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(char);
    // `X:Y: v` is the field X.
    assertEquals(accepts(`X${char}Y: v`), isToken || char === ":", `name ${code}`);
    assertEquals(accepts(`X: a${char}b`), code === 9 || (code >= 32 && code !== 127), `value ${code}`);
  }
});

/** A reader that gets these pieces one by one, and then the end. */
function readerOfPieces(...pieces: string[]): ByteReader {
  return new ByteReader({
    read: (into) => {
      const piece = pieces.shift();
      if (piece === undefined) return Promise.resolve(null);
      into.set(Buffer.from(piece, "latin1"));
      return Promise.resolve(piece.length);
    },
  });
}

Deno.test("readRequestHead() lets one empty line off wherever it is cut, and no second one", async (t) => {
  const text = "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n";
  for (let at = 0; at <= text.length; at++) {
    await t.step(String(at), async () => {
      const pieces = [text.slice(0, at), text.slice(at)].filter((piece) => piece !== "");
      assertEquals((await readRequestHead(readerOfPieces(...pieces), LIMITS))?.fields.length, 1);
    });
  }
  for (
    const bad of [
      "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
      "\rGET / HTTP/1.1\r\n\r\n",
      "\r\r\nGET / HTTP/1.1\r\n\r\n",
    ]
  ) {
    assertEquals(await codeOf(readRequestHead(readerOfPieces(bad), LIMITS)), "client.malformed");
  }
  assertEquals(await readRequestHead(readerOfPieces("\r\n"), LIMITS), undefined);
  assertEquals(await codeOf(readRequestHead(readerOfPieces("\r"), LIMITS)), "client.closed");
});

Deno.test("readResponseHead() reads a head however it is cut, and leaves what follows", async () => {
  const text = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
  for (let at = 1; at < text.length; at++) {
    const reader = readerOfPieces(text.slice(0, at), `${text.slice(at)}body`);
    const { status, fields } = await readResponseHead(reader, LIMITS);
    assertEquals([status, fields.length, Buffer.from(reader.available).toString()], [200, 1, "body"]);
  }
});

Deno.test("each refusal of a head says what is wrong with it", async (t) => {
  const request = (text: string) => () => readRequestHead(readerOf(text), LIMITS);
  const response = (text: string) => () => readResponseHead(readerOf(text), LIMITS);
  const cannot = "Cannot read the message:";
  const inside = "Cannot read the head: the connection ended inside it";
  const none = `${cannot} the request line is none (RFC 9112 §3)`;
  const target = `${cannot} the request target has bytes that must be percent-encoded (RFC 3986 §2)`;
  const version = `${cannot} the HTTP version is neither 1.1 nor 1.0`;
  const name =
    `${cannot} a header field's name is none: folded lines and spaces before the colon are refused`;
  const large = `${cannot} its head is larger than 200 bytes`;
  const rows: readonly (readonly [string, () => Promise<unknown>, string])[] = [
    ["two parts", request("GET /\r\n\r\n"), none],
    ["four parts", request("GET / HTTP/1.1 x\r\n\r\n"), none],
    ["no method", request(" / HTTP/1.1\r\n\r\n"), none],
    ["a method that is no token", request("G(T / HTTP/1.1\r\n\r\n"), none],
    ["no target", request("GET  HTTP/1.1\r\n\r\n"), target],
    ["a fragment", request("GET /#a HTTP/1.1\r\n\r\n"), target],
    ["beyond ASCII", request("GET /\xe9 HTTP/1.1\r\n\r\n"), target],
    ["HTTP/2.0", request("GET / HTTP/2.0\r\n\r\n"), version],
    ["lower case", request("GET / http/1.1\r\n\r\n"), version],
    ["no colon", request("GET / HTTP/1.1\r\nA\r\n\r\n"), name],
    ["no name", request("GET / HTTP/1.1\r\n: b\r\n\r\n"), name],
    ["a space before the colon", request("GET / HTTP/1.1\r\nHost : b\r\n\r\n"), name],
    ["a folded line", request("GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n"), name],
    [
      "a control byte",
      request("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n"),
      `${cannot} a header field holds control bytes`,
    ],
    [
      "framing with _",
      request("GET / HTTP/1.1\r\nContent_Length: 1\r\n\r\n"),
      `${cannot} a header field that is framing to some servers is written with \`_\``,
    ],
    [
      "five fields",
      request("GET / HTTP/1.1\r\n" + "A: b\r\n".repeat(5) + "\r\n"),
      `${cannot} more than 4 header fields`,
    ],
    ["an LF alone", request("GET / HTTP/1.1\n"), `${cannot} a line ends without CR (bare LF)`],
    ["an LF first", request("\n"), `${cannot} a line ends without CR (bare LF)`],
    ["two empty lines", request("\r\n\r\n"), `${cannot} the head begins with an empty line`],
    ["too large", request(`GET /${"a".repeat(300)}`), large],
    ["cut short", request("GET /"), inside],
    ["no status line", response("HTTP/1.1 99 X\r\n\r\n"), `${cannot} the status line is none (RFC 9112 §4)`],
    ["an answer too large", response(`HTTP/1.1 200 ${"a".repeat(300)}`), large],
    ["an answer cut short", response("HTTP/1.1 200"), inside],
    ["no answer", response(""), "Cannot read the response: upstream closed the connection without one"],
  ];
  for (const [what, read, message] of rows) {
    await t.step(what, async () => assertEquals((await assertRejects(read, ProxyError)).message, message));
  }
});

Deno.test("a field's value is without the blanks around it, and with those inside", () => {
  const valueOf = (line: string) => parseFields([line], LIMITS, "client.malformed")[0]?.value;
  assertEquals([valueOf("A:"), valueOf("A: \t "), valueOf("A:b"), valueOf("A: \tb c\t ")], [
    "",
    "",
    "b",
    "b c",
  ]);
});

Deno.test("readRequestHead() drops nothing but an empty line: a head that begins with another byte and LF is none", async () => {
  assertEquals(
    await codeOf(readRequestHead(readerOf("G\nET / HTTP/1.1\r\n\r\n"), LIMITS)),
    "client.malformed",
  );
});

Deno.test("a head has as many fields as it may, and no more", async () => {
  const head = (count: number) => `GET / HTTP/1.1\r\n${"A: b\r\n".repeat(count)}\r\n`;
  assertEquals((await readRequestHead(readerOf(head(4)), LIMITS))?.fields.length, 4);
  assertEquals(await codeOf(readRequestHead(readerOf(head(5)), LIMITS)), "client.malformed");
});
