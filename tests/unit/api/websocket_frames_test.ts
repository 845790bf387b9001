import { assertEquals, assertThrows } from "@std/assert";
import { formatFrame, OPCODE, readFrame } from "../../../api/websocket_frames.ts";
import { ProxyError } from "../../../core/errors.ts";

/** A frame as a server sends it: not masked. */
function serverFrame(first: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const head = length < 126
    ? [first, length]
    : length < 65_536
    ? [first, 126, length >> 8, length & 0xff]
    : [first, 127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff];
  return new Uint8Array([...head, ...payload]);
}

Deno.test("readFrame() reads a frame of any length, and waits for its end", async (t) => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
    await t.step(`${length} bytes`, () => {
      const payload = new Uint8Array(length).fill(7);
      const bytes = serverFrame(0x82, payload);
      for (const cut of [0, 1, 2, 3, 9, bytes.length - 1]) {
        if (cut < bytes.length) assertEquals(readFrame(bytes.subarray(0, cut), 70_000), undefined, `${cut}`);
      }
      const found = readFrame(new Uint8Array([...bytes, 1, 2, 3]), 70_000);
      assertEquals(found?.length, bytes.length);
      assertEquals(found?.frame, { opcode: OPCODE.binary, isFinal: true, payload });
    });
  }
});

Deno.test("readFrame() refuses what a server may not send", async (t) => {
  const rows: readonly (readonly [string, Uint8Array])[] = [
    ["a reserved bit", serverFrame(0xc2, new Uint8Array(1))],
    ["masked", new Uint8Array([0x82, 0x81, 1, 2, 3, 4, 5])],
    ["an unknown kind", serverFrame(0x83, new Uint8Array(0))],
    ["an unknown control", serverFrame(0x8b, new Uint8Array(0))],
    ["a ping in pieces", serverFrame(0x09, new Uint8Array(0))],
    ["a long ping", serverFrame(0x89, new Uint8Array(126))],
    ["a byte above the limit", serverFrame(0x82, new Uint8Array(1_001))],
    ["2^63 bytes", new Uint8Array([0x82, 127, 128, 0, 0, 0, 0, 0, 0, 0])],
  ];
  for (const [name, bytes] of rows) {
    await t.step(name, () => {
      assertEquals(assertThrows(() => readFrame(bytes, 1_000), ProxyError).code, "upstream.malformed");
    });
  }
  assertEquals(readFrame(serverFrame(0x82, new Uint8Array(1_000)), 1_000)?.frame.payload.length, 1_000);
});

Deno.test("formatFrame() masks, and a server that unmasks finds the message", async (t) => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
    await t.step(`${length} bytes`, () => {
      const payload = crypto.getRandomValues(new Uint8Array(Math.min(length, 65_536)));
      const bytes = formatFrame(OPCODE.text, payload);
      assertEquals(bytes[0], 0x81);
      assertEquals((bytes[1] ?? 0) & 0x80, 0x80);
      const start = bytes.length - payload.length;
      const mask = bytes.subarray(start - 4, start);
      assertEquals(bytes.subarray(start).map((byte, i) => byte ^ (mask[i % 4] ?? 0)), payload);
      assertEquals(readFrame(serverFrame(0x81, payload), 70_000)?.length, start - 4 + payload.length);
    });
  }
});
