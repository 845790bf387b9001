import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { START_BYTES, START_WAIT_MS, textOf } from "../../../../proxy/message/body_start.ts";
import { makeField } from "../../../../proxy/message/fields.ts";

/** The text of content with these codings. */
const read = (content: Uint8Array, ...codings: string[]) =>
  textOf({ fields: codings.map((coding) => makeField("Content-Encoding", coding)) }, content);

Deno.test("textOf() undoes each coding that servers send, and takes a cut one as far as it goes", async (t) => {
  const text = `{"code":"x"}${crypto.randomUUID().repeat(100)}`;
  const plain = Buffer.from(text);
  const rows: readonly (readonly [coding: string, Uint8Array])[] = [
    ["gzip", gzipSync(plain)],
    ["x-gzip", gzipSync(plain)],
    ["deflate", deflateSync(plain)],
    ["br", brotliCompressSync(plain)],
    ["zstd", zstdCompressSync(plain)],
  ];
  for (const [coding, bytes] of rows) {
    await t.step(coding, () => {
      assertEquals(read(bytes, coding.toUpperCase()), text);
      const cut = read(bytes.subarray(0, bytes.length - 3), coding);
      assertEquals(text.startsWith(cut), true);
      assertEquals(read(bytes.subarray(1), coding), "", "what is damaged is not read");
    });
  }
  assertEquals([read(plain), read(plain, "identity")], [text, text]);
  assertEquals([read(plain, "compress"), read(gzipSync(gzipSync(plain)), "gzip", "gzip")], ["", ""]);
  assertEquals(read(plain, "identity, identity"), "");
});

Deno.test("textOf() unfolds to 65,536 bytes and no more, and gives a character for each byte", () => {
  for (
    const [coding, pack] of [["gzip", gzipSync], ["deflate", deflateSync], [
      "br",
      brotliCompressSync,
    ]] as const
  ) {
    assertEquals(read(pack(Buffer.alloc(65_536, "a")), coding).length, 65_536, coding);
    assertEquals(read(pack(Buffer.alloc(65_537, "a")), coding), "", coding);
  }
  assertEquals(read(zstdCompressSync(Buffer.alloc(65_537, "a")), "zstd"), "");
  assertEquals(read(new Uint8Array([0xc3, 0xbc])), "\xc3\xbc");
});

Deno.test("how much of an answer is looked at, and for how long it is held", () => {
  assertEquals([START_BYTES, START_WAIT_MS], [4_096, 2_000]);
});
