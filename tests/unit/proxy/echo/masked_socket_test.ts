/** What an upstream sends after a change of protocol: payloads of WebSocket, or every byte. */
import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { Deadlines } from "../../../../core/deadlines.ts";
import { FrameSpans, maskedSocket } from "../../../../proxy/echo/masked_socket.ts";
import { Needles } from "../../../../proxy/echo/needles.ts";
import type { ByteStream } from "../../../../proxy/streams/byte_reader.ts";

const SECRET = "sk-planted-0123456789";
const STARS = "*".repeat(SECRET.length);

/** A frame with a head of the size that its payload needs, or of one that is told. */
function frame(
  payload: string | number,
  { head = "auto", mask }: { head?: "auto" | 2 | 8; mask?: string } = {},
) {
  const body = Buffer.from(typeof payload === "string" ? payload : "x".repeat(payload));
  const wanted = head === "auto" ? (body.length < 126 ? 0 : body.length < 65_536 ? 2 : 8) : head;
  const bit = mask === undefined ? 0 : 0x80;
  const size = Buffer.alloc(wanted);
  if (wanted === 2) size.writeUInt16BE(body.length);
  if (wanted === 8) size.writeBigUInt64BE(BigInt(body.length));
  const second = wanted === 0 ? body.length : wanted === 2 ? 126 : 127;
  return Buffer.concat([Buffer.of(0x81, second | bit), size, Buffer.from(mask ?? "", "hex"), body]);
}

Deno.test("FrameSpans finds the payload behind each size of head, wherever the bytes are cut", async (t) => {
  const rows: readonly (readonly [name: string, bytes: Buffer, payload: readonly [number, number]])[] = [
    ["empty", frame(0), [2, 2]],
    ["a byte", frame(1), [2, 3]],
    ["125", frame(125), [2, 127]],
    ["126", frame(126), [4, 130]],
    ["65,535", frame(65_535), [4, 65_539]],
    ["65,536", frame(65_536), [10, 65_546]],
    ["a small one of 2", frame(5, { head: 2 }), [4, 9]],
    ["a small one of 8", frame(5, { head: 8 }), [10, 15]],
    ["masked", frame(5, { mask: "01020304" }), [6, 11]],
    ["masked, 2", frame(130, { mask: "01020304" }), [8, 138]],
  ];
  for (const [name, bytes, [start, end]] of rows) {
    await t.step(name, () => {
      const twice = Buffer.concat([bytes, bytes]);
      const spans = [{ start, end }, { start: bytes.length + start, end: bytes.length + end }]
        .filter((span) => span.end > span.start);
      assertEquals(new FrameSpans().next(twice), spans);
      if (twice.length > 1_000) return;
      const cut = new FrameSpans();
      const places = [...twice].flatMap((_, i) =>
        cut.next(twice.subarray(i, i + 1)).map((span) => [i, span])
      );
      const expected = spans.flatMap((span) =>
        Array.from({ length: span.end - span.start }, (_, i) => [span.start + i, { start: 0, end: 1 }])
      );
      assertEquals(places, expected);
    });
  }
});

/** A stream that sends these pieces, and what it was told. */
function makeStream(pieces: readonly (string | Uint8Array)[]) {
  const left = pieces.map((piece) => typeof piece === "string" ? Buffer.from(piece) : piece);
  const told: unknown[] = [];
  const stream: ByteStream = {
    read(into) {
      const next = left.shift();
      if (!next) return Promise.resolve(null);
      into.set(next);
      return Promise.resolve(next.length);
    },
    write(bytes) {
      told.push(Buffer.from(bytes).toString());
      return Promise.resolve(bytes.length);
    },
    closeWrite() {
      told.push("closeWrite");
      return Promise.resolve();
    },
    close: () => void told.push("close"),
  };
  return { stream, told };
}

function masked(
  stream: ByteStream,
  { first = "", isWebSocket = false, onEcho = () => true }: {
    first?: string | Uint8Array;
    isWebSocket?: boolean;
    onEcho?: (count: number) => boolean;
  },
): ByteStream {
  return maskedSocket(stream, {
    needles: new Needles([SECRET]),
    deadlines: new Deadlines(),
    onEcho,
    first: typeof first === "string" ? Buffer.from(first) : first,
    isWebSocket,
  });
}

async function readAll(stream: ByteStream, size = 7): Promise<Buffer> {
  const parts: Buffer[] = [];
  const into = new Uint8Array(size);
  for (let count; (count = await stream.read(into)) !== null;) parts.push(Buffer.from(into.slice(0, count)));
  return Buffer.concat(parts);
}

Deno.test("maskedSocket() masks every byte of a protocol that it does not know, what was read before included", async () => {
  const { stream } = makeStream([`b ${SECRET.slice(0, 9)}`, `${SECRET.slice(9)} c`]);
  const counts: number[] = [];
  const onEcho = (count: number) => counts.push(count) > 0;
  const out = await readAll(masked(stream, { first: `a ${SECRET} `, onEcho }));
  assertEquals([out.toString(), counts], [`a ${STARS} b ${STARS} c`, [1, 1]]);
});

Deno.test("maskedSocket() masks payloads across frames, and no frame's head", async () => {
  const [one, two] = [frame(`a ${SECRET.slice(0, 9)}`), frame(`${SECRET.slice(9)} b`)];
  const { stream } = makeStream([one.subarray(3), two]);
  const out = await readAll(masked(stream, { first: one.subarray(0, 3), isWebSocket: true }));
  const plain = Buffer.concat([frame(`a ${STARS.slice(0, 9)}`), frame(`${STARS.slice(9)} b`)]);
  assertEquals(out, plain);
  // In a head the same bytes mean something else: a length of 115 and more, as text "sk-…".
  const long = frame("x".repeat(0x73), {});
  const again = makeStream([long]);
  assertEquals(await readAll(masked(again.stream, { isWebSocket: true })), long);
});

Deno.test("maskedSocket() gives what the reader has room for, and its end again and again", async () => {
  const { stream } = makeStream(["abcdef"]);
  const socket = masked(stream, { first: "12" });
  const into = new Uint8Array(4);
  assertEquals([await socket.read(into), Buffer.from(into.subarray(0, 2)).toString()], [2, "12"]);
  assertEquals([await socket.read(into), Buffer.from(into).toString()], [4, "abcd"]);
  assertEquals([await socket.read(into), Buffer.from(into.subarray(0, 2)).toString()], [2, "ef"]);
  assertEquals([await socket.read(into), await socket.read(into)], [null, null]);
});

Deno.test("maskedSocket() gives what is here without waiting for more", async () => {
  const { stream } = makeStream([]);
  let reads = 0;
  stream.read = () => {
    reads++;
    return new Promise(() => {});
  };
  const into = new Uint8Array(9);
  assertEquals([await masked(stream, { first: "hello" }).read(into), reads], [5, 0]);
});

Deno.test("maskedSocket() gives the beginning of a credential that ends with the stream", async () => {
  const { stream } = makeStream([`x ${SECRET.slice(0, 8)}`]);
  assertEquals((await readAll(masked(stream, {}))).toString(), `x ${SECRET.slice(0, 8)}`);
  const empty = makeStream([]);
  assertEquals(
    (await readAll(masked(empty.stream, { first: SECRET.slice(0, 8) }))).toString(),
    SECRET.slice(0, 8),
  );
});

Deno.test("maskedSocket() ends with what onEcho throws, and leaves what onEcho lets through", async () => {
  const cut = masked(makeStream([SECRET]).stream, {
    onEcho: () => {
      throw new RangeError("cut");
    },
  });
  await assertRejects(() => readAll(cut), RangeError, "cut");
  const logged = masked(makeStream([SECRET]).stream, { onEcho: () => false });
  assertEquals((await readAll(logged)).toString(), SECRET);
});

Deno.test("maskedSocket() passes on what goes the other way, and both ends", async () => {
  const { stream, told } = makeStream([]);
  const socket = masked(stream, {});
  await socket.write(Buffer.from(SECRET));
  await socket.closeWrite();
  socket.close();
  assertEquals(told, [SECRET, "closeWrite", "close"]);
});
