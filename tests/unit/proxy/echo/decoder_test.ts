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
