import { assert, assertEquals } from "@std/assert";
import { Output } from "../../../../proxy/http2/output.ts";

const HEADERS = 1, CONTINUATION = 9, WINDOW_UPDATE = 8;
const END_STREAM = 1, END_HEADERS = 4;
const MOST = 16_384;

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Uint8Array;
}

/** Takes what is written in pieces of at most `most` bytes. */
class Socket {
  #bytes: number[] = [];
  writes = 0;
  failure: Error | undefined;
  constructor(readonly most = Infinity) {}

  write(bytes: Uint8Array): Promise<number> {
    if (this.failure) return Promise.reject(this.failure);
    this.writes++;
    const taken = bytes.subarray(0, Math.min(bytes.length, this.most));
    for (const byte of taken) this.#bytes.push(byte);
    return Promise.resolve(taken.length);
  }

  frames(): readonly Frame[] {
    const view = new DataView(Uint8Array.from(this.#bytes).buffer);
    const found: Frame[] = [];
    for (let at = 0; at < view.byteLength;) {
      const length = view.getUint8(at) * 65_536 + view.getUint16(at + 1);
      const payload = new Uint8Array(view.buffer, at + 9, length);
      found.push({
        type: view.getUint8(at + 3),
        flags: view.getUint8(at + 4),
        id: view.getUint32(at + 5),
        payload,
      });
      at += 9 + length;
    }
    return found;
  }
}

function open(socket = new Socket()) {
  const told: unknown[] = [];
  return {
    socket,
    told,
    output: new Output(socket, { onRoom: () => told.push("room"), onError: (e) => told.push(e) }),
  };
}

/** Bytes that tell where they stood. */
const block = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);

Deno.test("headers() splits a block where a frame is full: none is too long, the last alone ends it", async (t) => {
  const rows: readonly [length: number, parts: readonly number[]][] = [
    [0, [0]],
    [MOST, [MOST]],
    [MOST + 1, [MOST, 1]],
    [2 * MOST, [MOST, MOST]],
    [2 * MOST + 1, [MOST, MOST, 1]],
  ];
  for (const [length, parts] of rows) {
    for (const endStream of [false, true]) {
      await t.step(`${length} bytes${endStream ? ", and the stream ends" : ""}`, async () => {
        const { output, socket } = open();
        output.headers(7, block(length), endStream);
        await output.flushed();
        const frames = socket.frames();
        assertEquals(
          frames.map(({ type, flags, id, payload }) => [type, flags, id, payload.length]),
          parts.map((size, i) => [
            i === 0 ? HEADERS : CONTINUATION,
            (i === 0 && endStream ? END_STREAM : 0) | (i === parts.length - 1 ? END_HEADERS : 0),
            7,
            size,
          ]),
        );
        assertEquals(frames.flatMap(({ payload }) => [...payload]), [...block(length)]);
      });
    }
  }
});

Deno.test("Output writes the frames of a turn at once and in order, however little the socket takes", async () => {
  for (const most of [Infinity, 1, 5]) {
    const { output, socket, told } = open(new Socket(most));
    output.number(WINDOW_UPDATE, 0x01020304, 0x7fffffff);
    output.frame(HEADERS, 0, 3, block(5_000));
    assertEquals([output.size, socket.writes], [13 + 5_009, 0]);
    await output.flushed();
    const [first, second] = socket.frames();
    assertEquals(first, {
      type: WINDOW_UPDATE,
      flags: 0,
      id: 0x01020304,
      payload: Uint8Array.of(127, 255, 255, 255),
    });
    assertEquals(second?.payload, block(5_000));
    assertEquals([output.size, output.total, told], [0, 13 + 5_009, ["room"]]);
    if (most === Infinity) assertEquals(socket.writes, 1);
    output.rest();
    output.number(WINDOW_UPDATE, 1, 1);
    await output.flushed();
    assertEquals(socket.frames().length, 3);
  }
});

Deno.test("Output takes nothing more once its socket has failed, and says so once", async () => {
  const { output, socket, told } = open();
  socket.failure = new Error("reset");
  output.number(WINDOW_UPDATE, 1, 1);
  await output.flushed();
  assertEquals([told, output.size], [[socket.failure], 0]);
  socket.failure = undefined;
  output.raw(block(9));
  output.frame(HEADERS, 0, 3, block(9));
  output.headers(3, block(9), true);
  output.number(WINDOW_UPDATE, 1, 1);
  await output.flushed();
  await Promise.resolve();
  assertEquals([socket.writes, output.size, told.length], [0, 0, 1]);
  assert(output.total > 0);
});

Deno.test("Output keeps two buffers in turn, gives them back for a long wait, and keeps no large one", async () => {
  const buffers: ArrayBufferLike[] = [];
  const output = new Output({
    write: (bytes) => {
      buffers.push(bytes.buffer);
      return Promise.resolve(bytes.length);
    },
  }, { onRoom: () => {}, onError: () => {} });
  const write = async (size: number) => {
    output.raw(new Uint8Array(size));
    await output.flushed();
    return buffers.at(-1);
  };
  const [first, second, third] = [await write(10), await write(1_024), await write(10)];
  assertEquals([first?.byteLength, second?.byteLength], [1_024, 1_024]);
  assert(first !== second && first === third);
  output.rest();
  const [fourth, fifth] = [await write(10), await write(10)];
  assert(![first, second].includes(fourth) && ![first, second].includes(fifth));
  const [kept, , again] = [await write(65_536), await write(1), await write(1)];
  assert(kept?.byteLength === 65_536 && again === kept);
  const [large, , other] = [await write(65_537), await write(1), await write(1)];
  assert(large?.byteLength === 65_537 || large?.byteLength === 131_072);
  assert(other !== large);
});

Deno.test("Output.rest() loses nothing that waits, and a buffer that grows keeps what is in it", async () => {
  const { output, socket } = open();
  for (let nth = 0; nth < 5; nth++) output.frame(HEADERS, 0, nth, block(700));
  output.rest();
  await output.flushed();
  assertEquals(
    socket.frames().map(({ id, payload }) => [id, payload.length]),
    [0, 1, 2, 3, 4].map((id) => [id, 700]),
  );
  assert(socket.frames().every(({ payload }) => payload.every((byte, i) => byte === block(700)[i])));
});

Deno.test("Output.stop() drops what waits, and whoever waits for it goes on", async () => {
  const { output, socket, told } = open();
  output.number(WINDOW_UPDATE, 1, 1);
  const flushed = output.flushed();
  output.stop();
  await flushed;
  output.number(WINDOW_UPDATE, 1, 1);
  await output.flushed();
  assertEquals([output.size, socket.writes, told], [0, 0, []]);
});
