import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { dechunk, readBodyStart } from "../../../../proxy/http1/body_text.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { readResponseHead } from "../../../../proxy/http1/head_reader.ts";

const ERROR = '{"code":"unauthenticated:bad-credentials"}';

/** A reader that gets `pieces` one by one and then the end, or nothing more. */
function readerOf(pieces: readonly Uint8Array[], end: "closes" | "hangs" | "breaks" = "hangs"): ByteReader {
  const left = [...pieces];
  return new ByteReader({
    read: (into) => {
      const piece = left.shift();
      if (piece) {
        into.set(piece);
        return Promise.resolve(piece.length);
      }
      if (end === "breaks") return Promise.reject(new Deno.errors.ConnectionReset());
      return end === "closes" ? Promise.resolve(null) : new Promise(() => {});
    },
  });
}

/** The start of the body of a response to GET, each piece read on its own, and what the reader holds then. */
async function startOf(
  fields: string,
  body: readonly Uint8Array[],
  end?: "closes" | "hangs" | "breaks",
  deadlines: Pick<Deadlines, "start"> = new Deadlines(),
): Promise<{ readonly text: string; readonly left: string }> {
  const reader = readerOf([Buffer.from(`HTTP/1.1 403 X\r\n${fields}\r\n`), ...body], end);
  const head = await readResponseHead(reader, DEFAULT_LIMITS);
  const text = await readBodyStart(reader, head, { method: "GET", limits: DEFAULT_LIMITS, deadlines });
  return { text, left: Buffer.from(reader.available).toString("latin1") };
}

function chunked(bytes: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from("\r\n0\r\n\r\n"),
  ]);
}

Deno.test("readBodyStart() gives the text however it is framed, coded and cut, and leaves every byte", async (t) => {
  const text = Buffer.from(ERROR);
  const long = Buffer.from(ERROR + "x".repeat(10_000));
  const rows: readonly (readonly [name: string, fields: string, body: Buffer, want?: string])[] = [
    ["a length", `Content-Length: ${text.length}\r\n`, text],
    ["chunks", "Transfer-Encoding: chunked\r\n", chunked(text)],
    ["gzip", `Content-Length: ${gzipSync(text).length}\r\nContent-Encoding: gzip\r\n`, gzipSync(text)],
    ["gzip in chunks", "Transfer-Encoding: chunked\r\nContent-Encoding: GZIP\r\n", chunked(gzipSync(text))],
    [
      "deflate",
      `Content-Length: ${deflateSync(text).length}\r\nContent-Encoding: deflate\r\n`,
      deflateSync(text),
    ],
    ["br", "Transfer-Encoding: chunked\r\nContent-Encoding: br\r\n", chunked(brotliCompressSync(text))],
    ["zstd", "Transfer-Encoding: chunked\r\nContent-Encoding: zstd\r\n", chunked(zstdCompressSync(text))],
    ["identity", `Content-Length: ${text.length}\r\nContent-Encoding: identity\r\n`, text],
    ["another coding", `Content-Length: ${text.length}\r\nContent-Encoding: rot13\r\n`, text, ""],
    ["two codings", `Content-Length: ${text.length}\r\nContent-Encoding: gzip, br\r\n`, text, ""],
    ["no gzip", `Content-Length: ${text.length}\r\nContent-Encoding: gzip\r\n`, text, ""],
    ["unfolds to the limit", ...gzipRow(65_536)],
    ["unfolds to more", ...gzipRow(65_537, "")],
    [
      "malformed chunks",
      "Transfer-Encoding: chunked\r\n",
      Buffer.concat([Buffer.from("zz\r\n"), text]),
      "",
    ],
    ["no body", "Content-Length: 0\r\n", Buffer.alloc(0), ""],
  ];
  for (const [name, fields, body, want = ERROR] of rows) {
    await t.step(`${name}, at once`, async () => {
      assertEquals(await startOf(fields, [body]), { text: want, left: body.toString("latin1") });
    });
    if (body.length === 0 || body.length > 200 || name === "malformed chunks") continue;
    await t.step(`${name}, byte by byte`, async () => {
      const { text, left } = await startOf(fields, [...body].map((byte) => Uint8Array.of(byte)));
      assertEquals({ text, left }, { text: want, left: body.toString("latin1") });
    });
  }
  await t.step("a long one: only its start", async () => {
    const pieces = [long.subarray(0, 4_000), long.subarray(4_000, 4_097), long.subarray(4_097)];
    const { text, left } = await startOf(`Content-Length: ${long.length}\r\n`, pieces);
    assertEquals([text, left], [long.toString("latin1", 0, 4_097), text]);
  });
});

function gzipRow(size: number, want?: string): [fields: string, body: Buffer, want: string] {
  const text = "a".repeat(size);
  const body = gzipSync(text);
  return [`Content-Length: ${body.length}\r\nContent-Encoding: gzip\r\n`, body, want ?? text];
}

Deno.test("readBodyStart() ends with the stream, with its fault, and after a while", async () => {
  assertEquals((await startOf("", [Buffer.from("abc")], "closes")).text, "abc");
  await assertRejects(
    () => startOf("Content-Length: 5\r\n", [Buffer.from("abc")], "breaks"),
    Deno.errors.ConnectionReset,
  );
  const waits: number[] = [];
  const deadlines = {
    start: (ms: number, onDue: () => void) => {
      waits.push(ms);
      onDue();
      return { restart: () => {}, stop: () => {} };
    },
  };
  assertEquals((await startOf("Content-Length: 5\r\n", [], "hangs", deadlines)).text, "");
  assertEquals(waits, [2_000]);
});

Deno.test("dechunk() joins what is there", () => {
  const rows = [
    ["3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"],
    ["3\r\nabc\r\n5\r\nde", "abcde"],
    ["3\r\nab", "ab"],
    ["3\r\nabc\r\n5", "abc"],
    ["1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "ab"],
    ["", ""],
  ] as const;
  for (const [raw, want] of rows) assertEquals(dechunk(Buffer.from(raw)).toString(), want);
});

Deno.test("readBodyStart() waits for nothing behind 4,096 bytes, and for nothing at all afterwards", async () => {
  let stops = 0;
  const deadlines = { start: () => ({ restart: () => {}, stop: () => void stops++ }) }; // none ever passes
  const long = "x".repeat(4_096);
  for (const fields of ["Content-Length: 5000\r\n", ""]) {
    const { text } = await startOf(fields, [Buffer.from(long)], "hangs", deadlines);
    assertEquals(text, long);
  }
  assertEquals(stops, 2);
  await assertRejects(() => startOf("Content-Length: 5\r\n", [], "breaks", deadlines));
  assertEquals(stops, 3);
  const short = startOf("Content-Length: 4096\r\n", [Buffer.from(long.slice(1)), Buffer.from("y")], "hangs");
  assertEquals((await short).text, `${long.slice(1)}y`);
});
