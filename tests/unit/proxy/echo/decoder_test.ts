import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import * as zlib from "node:zlib";
import { ProxyError } from "../../../../core/errors.ts";
import { Decoder, decoderOf } from "../../../../proxy/echo/decoder.ts";

const TEXT = "a credential that an answer holds";
const ENCODED: Readonly<Record<string, Uint8Array>> = {
  gzip: zlib.gzipSync(TEXT),
  "x-gzip": zlib.gzipSync(TEXT),
  deflate: zlib.deflateSync(TEXT),
  "raw deflate": zlib.deflateRawSync(TEXT),
  br: zlib.brotliCompressSync(TEXT),
  zstd: zlib.zstdCompressSync(TEXT),
  "zstd behind a frame to be skipped": Buffer.concat([
    Buffer.from("522a4d1802000000abcd", "hex"),
    zlib.zstdCompressSync(TEXT),
  ]),
};

/** What comes of pieces, and whether all of it could be decoded. */
async function decode(
  coding: string,
  pieces: readonly Uint8Array[],
): Promise<[text: string, isBroken: boolean]> {
  const make = decoderOf(coding);
  if (!make) throw new TypeError(coding);
  let text = "";
  const decoder = new Decoder(make, (more) => text += more);
  try {
    for (const piece of pieces) await decoder.write(piece);
    return [text, decoder.isBroken];
  } finally {
    decoder.close();
  }
}

Deno.test("Decoder decodes each coding, however the body is cut", async (t) => {
  for (const [name, bytes] of Object.entries(ENCODED)) {
    const coding = name.replace("raw ", "").replace(/ .*/, "");
    await t.step(name, async () => {
      assertEquals(await decode(coding, [bytes]), [TEXT, false]);
      assertEquals(await decode(coding, Array.from(bytes, (byte) => new Uint8Array([byte]))), [TEXT, false]);
      assertEquals(await decode(coding, [new Uint8Array(0), bytes, new Uint8Array(0)]), [TEXT, false]);
    });
  }
});

Deno.test("Decoder decodes frame after frame", async () => {
  for (const coding of ["gzip", "zstd"]) {
    const bytes = ENCODED[coding] ?? new Uint8Array(0);
    assertEquals(await decode(coding, [Buffer.concat([bytes, bytes])]), [TEXT + TEXT, false], coding);
    const [start, rest] = [bytes.subarray(0, 10), Buffer.concat([bytes.subarray(10), bytes])];
    assertEquals(await decode(coding, [start, rest]), [TEXT + TEXT, false], `${coding}, cut in the first`);
  }
});

Deno.test("Decoder looks at nothing that is not in its coding", async (t) => {
  const rows: readonly [coding: string, hex: string][] = [
    ["gzip", "1f8c0800"],
    ["gzip", "1e8b0800"],
    ["zstd", "29b52ffd"],
    ["zstd", "28b42ffd"],
    ["zstd", "28b52efd"],
    ["zstd", "28b52ffe"],
    ["zstd", "622a4d18"],
    ["zstd", "502b4d18"],
    ["zstd", "502a4c18"],
    ["zstd", "502a4d19"],
  ];
  for (const [coding, hex] of rows) {
    const rest = (ENCODED[coding] ?? new Uint8Array(0)).subarray(4);
    await t.step(`${coding} ${hex}`, async () => {
      assertEquals(await decode(coding, [Buffer.concat([Buffer.from(hex, "hex"), rest])]), ["", false]);
    });
  }
  await t.step("a coding that is not known", () => assertEquals(decoderOf("compress"), undefined));
});

Deno.test("Decoder says when it could not go on", async () => {
  const bytes = Uint8Array.from(ENCODED["gzip"] ?? []);
  bytes.fill(0xff, 10, 20);
  assertEquals((await decode("gzip", [bytes]))[1], true);
});

Deno.test("Decoder takes 4,096 frames and no more, and passes on what is thrown at a text", async () => {
  const empty = zlib.zstdCompressSync("");
  assertEquals(await decode("zstd", [Buffer.concat(Array(4_096).fill(empty))]), ["", false]);
  const error = await assertRejects(
    () => decode("zstd", [Buffer.concat(Array(4_097).fill(empty))]),
    ProxyError,
    "too many frames",
  );
  assertEquals(error.code, "upstream.malformed");
  const make = decoderOf("gzip");
  if (!make) throw new TypeError();
  const decoder = new Decoder(make, () => {
    throw new RangeError("enough");
  });
  await assertRejects(() => decoder.write(zlib.gzipSync(TEXT)), RangeError, "enough");
  await decoder.write(zlib.gzipSync(TEXT)); // over: nothing is looked at any more
});

Deno.test("decoderOf() takes a deflate with and without the header of zlib, by each bit of it", async (t) => {
  const raw = zlib.deflateRawSync(TEXT);
  const rows: readonly [name: string, bytes: Uint8Array][] = [
    ...[1, 3, 6, 9].map((
      level,
    ): [string, Uint8Array] => [`level ${level}`, zlib.deflateSync(TEXT, { level })]),
    ["a small window", zlib.deflateSync(TEXT, { windowBits: 9 })],
    ["raw", raw],
    // A stored block begins with 0, and so on: no method 8, or no check of 31.
    ["raw and stored", zlib.deflateRawSync(TEXT, { level: 0 })],
    ["raw and fixed", zlib.deflateRawSync(TEXT, { strategy: zlib.constants.Z_FIXED })],
  ];
  for (const [name, bytes] of rows) {
    await t.step(name, async () => assertEquals(await decode("deflate", [bytes]), [TEXT, false]));
  }
});

Deno.test("Decoder refuses what decodes to more than a hundred bytes for each, beyond 64 MiB", async () => {
  const received = 80_000;
  const bytes = zlib.gzipSync(Buffer.alloc(64 * 1_048_576 + 100 * received));
  const lengthOf = async (body: Uint8Array) => {
    const make = decoderOf("gzip");
    if (!make) throw new TypeError();
    let length = 0;
    const decoder = new Decoder(make, (text) => length += text.length);
    try {
      await decoder.write(body);
      return length;
    } finally {
      decoder.close();
    }
  };
  // What is behind the end was received too.
  const behind = Buffer.alloc(received - bytes.length);
  assertEquals(await lengthOf(Buffer.concat([bytes, behind])), 64 * 1_048_576 + 100 * received);
  const error = await assertRejects(() => lengthOf(Buffer.concat([bytes, behind.subarray(1)])), ProxyError);
  assertEquals([error.code, error.message], [
    "upstream.malformed",
    "Cannot pass the response on: it decodes to too much",
  ]);
});
