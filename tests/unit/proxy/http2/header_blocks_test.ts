/** Header blocks in one piece and in many, and what bounds them before they are decoded. */
import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import type { Frame } from "../../../../proxy/http2/frames.ts";
import { HeaderBlocks } from "../../../../proxy/http2/header_blocks.ts";
import { faultOf } from "../../../support/http2_faults.ts";
import { literal } from "../../../wire/http2/frame_text.ts";

const HEADERS = 1;
const CONTINUATION = 9;
const END_STREAM = 1;
const END_HEADERS = 4;
const PADDED = 8;

const frame = (type: number, flags: number, payload: Uint8Array, id = 3): Frame => ({
  type,
  flags,
  id,
  payload,
});
const blocks = (limits: Partial<Limits> = {}) => new HeaderBlocks({ ...DEFAULT_LIMITS, ...limits });
const [A, B, C] = [literal("a", "1"), literal("b", "2"), literal("c", "3")];

Deno.test("a block in one frame is whole at once, without its padding", () => {
  const reader = blocks();
  const padded = Buffer.concat([Buffer.from([2]), A, Buffer.alloc(2)]);
  const whole = reader.add(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, padded));
  assertEquals([whole?.id, whole?.end, whole?.list?.map(({ key }) => key), reader.isOpen], [
    3,
    true,
    ["a"],
    false,
  ]);
  assertEquals(reader.add(frame(HEADERS, END_HEADERS, B))?.end, false);
});

Deno.test("a block in many frames is whole with the last; END_STREAM is said by the first", () => {
  for (const end of [true, false]) {
    const reader = blocks();
    const all = Buffer.concat([A, B, C]);
    // Cut inside a field; the buffer of a frame is used again once it was handled.
    const first = new Uint8Array(all.subarray(0, 7));
    assertEquals(reader.add(frame(HEADERS, end ? END_STREAM : 0, first)), undefined);
    first.fill(0xff);
    assertEquals(reader.isOpen, true);
    const second = new Uint8Array(all.subarray(7, 11));
    // A CONTINUATION has neither padding nor END_STREAM, whatever its flags are.
    assertEquals(reader.add(frame(CONTINUATION, PADDED | (end ? 0 : END_STREAM), second)), undefined);
    second.fill(0xff);
    const whole = reader.add(frame(CONTINUATION, END_HEADERS, all.subarray(11)));
    assertEquals([whole?.id, whole?.end, whole?.list?.map(({ key, value }) => key + value)], [3, end, [
      "a1",
      "b2",
      "c3",
    ]]);
    assertEquals(reader.isOpen, false);
  }
});

Deno.test("a block in two frames has both of them", () => {
  const reader = blocks();
  reader.add(frame(HEADERS, 0, A));
  const whole = reader.add(frame(CONTINUATION, END_HEADERS, B));
  assertEquals(whole?.list?.map(({ key }) => key), ["a", "b"]);
});

Deno.test("admit() lets nothing between the frames of a block, and no CONTINUATION without one", () => {
  const reader = blocks();
  const admit = (type: number, id: number) => faultOf(() => reader.admit(frame(type, 0, A, id)));
  const BAD = "connection PROTOCOL_ERROR";
  assertEquals([admit(HEADERS, 3), admit(0, 0), admit(CONTINUATION, 3)], ["none", "none", BAD]);
  reader.add(frame(HEADERS, 0, A));
  assertEquals(
    [admit(CONTINUATION, 3), admit(CONTINUATION, 5), admit(HEADERS, 3), admit(0, 3), admit(6, 0)],
    [
      "none",
      BAD,
      BAD,
      BAD,
      BAD,
    ],
  );
  reader.add(frame(CONTINUATION, END_HEADERS, B));
  assertEquals([admit(CONTINUATION, 3), admit(HEADERS, 5)], [BAD, "none"]);
});

Deno.test("a block has at most so many bytes and so many CONTINUATIONs", () => {
  const FLOOD = "connection ENHANCE_YOUR_CALM flood";
  const add = (limits: Partial<Limits>, ...pieces: readonly Uint8Array[]) => {
    const reader = blocks(limits);
    return pieces.map((piece, i) => {
      const flags = i === pieces.length - 1 ? END_HEADERS : 0;
      return faultOf(() => reader.add(frame(i === 0 ? HEADERS : CONTINUATION, flags, piece)));
    });
  };
  const two = { maxHttp2Continuations: 2 };
  assertEquals(add(two, A, B, C), ["none", "none", "none"]);
  assertEquals(add(two, A, B, C, A), ["none", "none", "none", FLOOD]);
  const { length } = A;
  assertEquals(add({ maxHeadBytes: 3 * length }, A, B, C), ["none", "none", "none"]);
  assertEquals(add({ maxHeadBytes: 3 * length - 1 }, A, B, C), ["none", "none", FLOOD]);
  assertEquals(add({ maxHeadBytes: length }, A), ["none"]);
  assertEquals(add({ maxHeadBytes: length - 1 }, A), [FLOOD]);
});

Deno.test("a header list above the limits is undefined, one at them is not", () => {
  const list = (limits: Partial<Limits>) =>
    blocks(limits).add(frame(HEADERS, END_HEADERS, Buffer.concat([A, B])))?.list?.length;
  assertEquals([list({ maxHeaderCount: 2 }), list({ maxHeaderCount: 1 })], [2, undefined]);
  assertEquals([list({ maxHeadBytes: 2 * 34 }), list({ maxHeadBytes: 2 * 34 - 1 })], [2, undefined]);
});
