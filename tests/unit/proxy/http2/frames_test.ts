import { assertEquals } from "@std/assert";
import {
  checkFrame,
  contentOf,
  FLAG,
  FRAME,
  FRAME_HEAD_BYTES,
  frameAt,
  MAX_31_BITS,
  MAX_FRAME_BYTES,
  payloadLength,
  PREFACE,
  readUint31,
  readUint32,
  writeUint32,
} from "../../../../proxy/http2/frames.ts";
import { faultOf } from "../../../support/http2_faults.ts";

Deno.test("frame types, flags and sizes have the numbers of RFC 9113", () => {
  assertEquals({ ...FRAME }, {
    DATA: 0,
    HEADERS: 1,
    PRIORITY: 2,
    RST_STREAM: 3,
    SETTINGS: 4,
    PUSH_PROMISE: 5,
    PING: 6,
    GOAWAY: 7,
    WINDOW_UPDATE: 8,
    CONTINUATION: 9,
  });
  assertEquals({ ...FLAG }, { ACK: 1, END_STREAM: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 });
  assertEquals([FRAME_HEAD_BYTES, MAX_FRAME_BYTES, MAX_31_BITS], [9, 2 ** 14, 2 ** 31 - 1]);
  // RFC 9113 §3.4 has these bytes.
  const hex = PREFACE.reduce((text, byte) => text + byte.toString(16).padStart(2, "0"), "");
  assertEquals(hex, "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a");
});

Deno.test("numbers of 32 and 31 bits are read and written anywhere, each byte in its place", () => {
  const bytes = new Uint8Array([9, 0x81, 0x02, 0x83, 0x04, 9]);
  assertEquals(readUint32(bytes, 1), 0x8102_8304);
  assertEquals(readUint31(bytes, 1), 0x0102_8304);
  const into = new Uint8Array(6).fill(9);
  writeUint32(into, 1, 0x8102_8304);
  assertEquals(into, bytes);
  // What is not there is nothing.
  assertEquals([readUint32(bytes, 6), readUint32(bytes, 4), readUint31(bytes, 5)], [
    0,
    0x0409_0000,
    0x0900_0000,
  ]);
});

Deno.test("frameAt() reads a frame's head, whatever stands before and behind it", () => {
  const bytes = new Uint8Array([7, 7, 0, 0, 3, 8, 0x2d, 0x80, 1, 2, 3, 10, 11, 12, 99]);
  assertEquals(payloadLength(bytes, 2), 3);
  assertEquals(payloadLength(new Uint8Array([0x12, 0x34, 0x56]), 0), 0x123456);
  assertEquals(payloadLength(new Uint8Array(0), 0), 0);
  assertEquals(frameAt(new Uint8Array(0), 0), { type: 0, flags: 0, id: 0, payload: new Uint8Array(0) });
  const { type, flags, id, payload } = frameAt(bytes, 2);
  assertEquals([type, flags, id, [...payload]], [8, 0x2d, 0x010203, [10, 11, 12]]);
});

Deno.test("checkFrame() refuses a length or a place that a frame's type must not have", async (t) => {
  const PLACE = "connection PROTOCOL_ERROR";
  const SIZE = "connection FRAME_SIZE_ERROR";
  // Per type: what a frame of the connection gets, one of a stream, and the lengths that are tried there.
  const rows: readonly (readonly [
    name: string,
    type: number,
    id: number,
    lengths: Readonly<Record<number, string>>,
  ])[] = [
    ["DATA of a stream", 0, 1, { 0: "none", 1: "none" }],
    ["DATA of the connection", 0, 0, { 0: PLACE, 1: PLACE }],
    ["HEADERS of a stream", 1, 1, { 0: "none", 1: "none" }],
    ["HEADERS of the connection", 1, 0, { 1: PLACE }],
    ["PRIORITY of a stream", 2, 1, { 4: "stream FRAME_SIZE_ERROR", 5: "none", 6: "stream FRAME_SIZE_ERROR" }],
    ["PRIORITY of the connection", 2, 0, { 5: PLACE }],
    ["RST_STREAM of a stream", 3, 1, { 3: SIZE, 4: "none", 5: SIZE }],
    ["RST_STREAM of the connection", 3, 0, { 4: PLACE }],
    ["SETTINGS of a stream", 4, 1, { 0: PLACE, 6: PLACE }],
    ["SETTINGS of the connection", 4, 0, { 0: "none", 1: SIZE, 5: SIZE, 6: "none", 7: SIZE, 12: "none" }],
    ["PUSH_PROMISE of a stream", 5, 1, { 4: "none" }],
    ["PUSH_PROMISE of the connection", 5, 0, { 4: PLACE }],
    ["PING of a stream", 6, 1, { 8: PLACE }],
    ["PING of the connection", 6, 0, { 0: SIZE, 7: SIZE, 8: "none", 9: SIZE }],
    ["GOAWAY of a stream", 7, 1, { 8: PLACE }],
    ["GOAWAY of the connection", 7, 0, { 7: SIZE, 8: "none", 9: "none" }],
    ["WINDOW_UPDATE of a stream", 8, 1, { 3: SIZE, 4: "none", 5: SIZE }],
    ["WINDOW_UPDATE of the connection", 8, 0, { 3: SIZE, 4: "none", 5: SIZE }],
    ["CONTINUATION of a stream", 9, 1, { 0: "none", 1: "none" }],
    ["CONTINUATION of the connection", 9, 0, { 1: PLACE }],
    ["an unknown type", 10, 0, { 0: "none", 3: "none" }],
    ["an unknown type of a stream", 255, 1, { 0: "none", 3: "none" }],
  ];
  for (const [name, type, id, lengths] of rows) {
    await t.step(name, () => {
      for (const [length, expected] of Object.entries(lengths)) {
        const payload = new Uint8Array(Number(length));
        assertEquals(faultOf(() => checkFrame({ type, flags: 0, id, payload })), expected, `${length} bytes`);
      }
    });
  }
  await t.step("an acknowledgement sets nothing; the flag means nothing else", () => {
    const check = (type: number, flags: number, length: number) =>
      faultOf(() => checkFrame({ type, flags, id: 0, payload: new Uint8Array(length) }));
    assertEquals([check(4, 1, 0), check(4, 1, 6), check(4, 2, 6), check(6, 1, 8)], [
      "none",
      SIZE,
      "none",
      "none",
    ]);
  });
});

Deno.test("contentOf() takes padding and the old priority fields away", async (t) => {
  const PADDED = 8;
  const PRIORITY = 32;
  const cut = "connection FRAME_SIZE_ERROR";
  const tooLong = "connection PROTOCOL_ERROR";
  const rows: readonly (readonly [
    name: string,
    type: number,
    flags: number,
    payload: readonly number[],
    expected: readonly number[] | string,
  ])[] = [
    ["nothing to take", 0, 0, [1, 2], [1, 2]],
    ["no byte", 0, 0, [], []],
    ["padding", 0, PADDED, [2, 7, 8, 0, 0], [7, 8]],
    ["padding of no bytes", 0, PADDED, [0, 7, 8], [7, 8]],
    ["nothing but padding", 0, PADDED, [2, 0, 0], []],
    ["nothing but a pad length", 0, PADDED, [0], []],
    ["padding as long as the frame", 0, PADDED, [1], tooLong],
    ["padding by one byte too long", 0, PADDED, [3, 0, 0], tooLong],
    ["a pad length that is not there", 0, PADDED, [], cut],
    ["HEADERS without any of it", 1, 4, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]],
    ["priority", 1, PRIORITY, [0, 0, 0, 0, 15, 7, 8], [7, 8]],
    ["nothing but priority", 1, PRIORITY, [0, 0, 0, 0, 15], []],
    ["priority that is cut off", 1, PRIORITY, [0, 0, 0, 0], cut],
    ["priority that only HEADERS have", 0, PRIORITY, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]],
    ["both", 1, PADDED | PRIORITY, [1, 0, 0, 0, 0, 15, 7, 0], [7]],
    ["both, and nothing else", 1, PADDED | PRIORITY, [1, 0, 0, 0, 0, 15, 0], []],
    ["both, cut off", 1, PADDED | PRIORITY, [0, 0, 0, 0, 0], cut],
    ["both, the padding reaching into the priority", 1, PADDED | PRIORITY, [2, 0, 0, 0, 0, 15, 0], tooLong],
  ];
  for (const [name, type, flags, payload, expected] of rows) {
    await t.step(name, () => {
      const frame = { type, flags, id: 1, payload: new Uint8Array(payload) };
      if (typeof expected === "string") assertEquals(faultOf(() => contentOf(frame)), expected);
      else assertEquals([...contentOf(frame)], expected);
    });
  }
});
