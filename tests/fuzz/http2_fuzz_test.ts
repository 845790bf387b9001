/**
 * Properties of the HTTP/2 codec over hostile frames, in both roles. `FUZZ_RUNS` and `FUZZ_SEED` override the number of runs
 * and the seed; both are printed with a failure.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Deadlines } from "../../core/deadlines.ts";
import { isProxyError } from "../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { startHttp2Client } from "../../proxy/http2/client.ts";
import { Fault } from "../../proxy/http2/fault.ts";
import { HpackDecoder } from "../../proxy/http2/hpack.ts";
import { HeaderBlockWriter } from "../../proxy/http2/hpack_encoder.ts";
import { startHttp2Server } from "../../proxy/http2/server.ts";
import type { Http2Connection, Http2Stream } from "../../proxy/http2/types.ts";
import { ByteReader } from "../../proxy/streams/byte_reader.ts";
import { literal, makeFrame, PREFACE, splitFrames } from "../wire/http2/frame_text.ts";
import { makePipe, settle } from "../wire/pipe.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 1_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_261_127);
const LIMITS = {
  ...DEFAULT_LIMITS,
  maxHeadBytes: 400,
  maxHttp2Streams: 4,
  maxHttp2Continuations: 2,
  maxHttp2Resets: 6,
  maxHttp2ClientResets: 6,
  http2ResetsPerSecond: 0,
  maxHttp2ControlFrames: 12,
  http2ControlFramesPerSecond: 0,
};

/** A test that holds for every value; its name carries the seed. */
function property<T>(name: string, values: fc.Arbitrary<T>, holds: (value: T) => void | Promise<void>): void {
  Deno.test(`${name} [seed ${SEED}]`, async () => {
    await fc.assert(fc.asyncProperty(values, async (value) => await holds(value)), {
      numRuns: NUM_RUNS,
      seed: SEED,
    });
  });
}

const REQUEST = Buffer.concat([
  Buffer.from("8287", "hex"),
  literal(":authority", "up.test"),
  literal(":path", "/a"),
]);
const blocks = fc.oneof(
  fc.constantFrom(
    REQUEST,
    Buffer.concat([REQUEST, literal("content-length", "3")]),
    Buffer.concat([REQUEST, literal("x", "y", 0x40)]),
    Buffer.from("88", "hex"),
    Buffer.from("be", "hex"),
    literal("x", "y"),
    literal("X", "y"),
    literal(":status", "103"),
    Buffer.alloc(0),
  ),
  fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
);
const numbers = fc.oneof(fc.constantFrom(0, 1, 7, 65_535, 0x7fff_ffff, 0xffff_ffff), fc.nat({ max: 300 }))
  .map((value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  });
const settings = fc.array(fc.tuple(fc.nat({ max: 9 }), numbers), { maxLength: 3 })
  .map((pairs) => Buffer.concat(pairs.flatMap(([id, value]) => [Buffer.from([0, id]), value])));
const ids = fc.constantFrom(0, 1, 1, 1, 2, 3, 3, 5, 7, 9, 11, 0x8000_0001);
const frames = fc.oneof(
  fc.tuple(fc.constantFrom(0, 1, 4, 5, 5, 5, 13, 37), ids, blocks).map(([flags, id, block]) =>
    makeFrame(1, flags, id, block)
  ),
  fc.tuple(fc.constantFrom(0, 0, 1, 8), ids, fc.uint8Array({ maxLength: 5 })).map(([flags, id, bytes]) =>
    makeFrame(0, flags, id, bytes)
  ),
  fc.tuple(fc.constantFrom(3, 8), ids, numbers).map(([type, id, value]) => makeFrame(type, 0, id, value)),
  fc.tuple(fc.constantFrom(0, 4), ids, blocks).map(([flags, id, block]) => makeFrame(9, flags, id, block)),
  settings.map((payload) => makeFrame(4, 0, 0, payload)),
  fc.constantFrom(
    makeFrame(6, 0, 0, Buffer.alloc(8)),
    makeFrame(6, 1, 0, Buffer.alloc(8)),
    makeFrame(4, 1, 0, Buffer.alloc(0)),
    makeFrame(7, 0, 0, Buffer.alloc(8)),
    makeFrame(5, 4, 1, Buffer.alloc(4)),
  ),
  fc.tuple(fc.nat({ max: 12 }), fc.nat({ max: 255 }), ids, fc.uint8Array({ maxLength: 9 }))
    .map(([type, flags, id, bytes]) => makeFrame(type, flags, id, bytes)),
);
const streams = fc.record({
  frames: fc.array(frames, { maxLength: 25 }),
  /** A byte that is changed, somewhere. */
  flip: fc.option(fc.record({ at: fc.nat({ max: 2_000 }), by: fc.nat({ max: 255 }) })),
  pieces: fc.array(fc.nat({ max: 60 }), { maxLength: 6 }),
});

property(
  "a server ends with its own codes alone, says only whole frames, and leaves nothing",
  streams,
  (value) => play("server", value),
);
property("a client does so too", streams, (value) => play("client", value));

async function play(role: "server" | "client", value: {
  readonly frames: readonly Buffer[];
  readonly flip: { readonly at: number; readonly by: number } | null;
  readonly pieces: readonly number[];
}): Promise<void> {
  const bytes = Buffer.concat([
    role === "server" ? PREFACE : Buffer.alloc(0),
    makeFrame(4, 0, 0, Buffer.alloc(0)),
    ...value.frames,
  ]);
  if (value.flip && value.flip.at < bytes.length) bytes[value.flip.at] = value.flip.by;
  const [peer, stream] = makePipe();
  const out: Buffer[] = [];
  const reading = collect(peer, out);
  const errors: unknown[] = [];
  const options = { stream, reader: new ByteReader(stream), limits: LIMITS, deadlines: new Deadlines() };
  let connection: Http2Connection;
  if (role === "server") {
    connection = startHttp2Server({
      ...options,
      async onRequest(request) {
        try {
          request.respond({ status: 200, fields: [] });
          await copy(request, request);
        } catch (error) {
          errors.push(error);
        }
      },
    });
  } else {
    const client = startHttp2Client(options);
    connection = client;
    for (let i = 0; i < 3; i++) {
      const head = {
        method: "POST",
        scheme: "https",
        authority: "up.test",
        path: "/",
        protocol: undefined,
        fields: [],
      };
      client.openStream(() => head, { end: i === 0 }).then(async (request) => {
        if (i > 0) await request.write(new Uint8Array(100), i === 1);
        while ((await request.response()).status < 200);
        while (await request.fill()) request.consume(request.available.length);
      }).catch((error) => errors.push(error));
    }
    await settle();
  }
  let at = 0;
  for (const size of [...value.pieces, bytes.length]) {
    const piece = bytes.subarray(at, at + size);
    at += piece.length;
    if (piece.length > 0) await peer.write(piece).catch(() => {});
    await settle();
  }
  peer.close();
  await connection.closed;
  await settle();
  await reading;
  for (const error of [...errors, connection.error]) {
    assert(error === undefined || isProxyError(error), `not our own error: ${error}`);
    assert(!isProxyError(error, "internal"), `a bug: ${error}`);
  }
  assertEquals(connection.activeStreams, 0);
  const said = Buffer.concat(out).subarray(role === "client" ? PREFACE.length : 0);
  assertEquals(splitFrames(said).rest.length, 0, "a frame that is not whole");
}

async function copy(from: Http2Stream, to: Http2Stream): Promise<void> {
  while (await from.fill()) {
    const bytes = from.available;
    const isLast = from.isLast;
    await to.write(bytes, isLast);
    from.consume(bytes.length);
    if (isLast) return;
  }
  to.end(from.trailers);
}

async function collect(
  stream: { read(into: Uint8Array): Promise<number | null> },
  out: Buffer[],
): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let count = await stream.read(buffer); count !== null; count = await stream.read(buffer)) {
      out.push(Buffer.from(buffer.slice(0, count)));
    }
  } catch {
    // Closed by us.
  }
}

const texts = fc.uint8Array({ maxLength: 40 }).map((bytes) =>
  Buffer.from(bytes).toString("latin1").replace(/[^\t\x20-\x7e\x80-\xff]/g, "").trim().replace(
    /^[\t ]+|[\t ]+$/g,
    "",
  )
);
property(
  "HPACK: what is written is read",
  fc.array(fc.tuple(fc.stringMatching(/^[a-z0-9-]{1,20}$/), texts, fc.boolean()), { maxLength: 20 }),
  (fields) => {
    const writer = new HeaderBlockWriter();
    writer.begin();
    for (const [name, value, isSensitive] of fields) writer.pair(name, value, isSensitive);
    const list = new HpackDecoder({ maxBytes: 65_536, maxFields: 256 }).decode(writer.bytes) ?? [];
    assertEquals(
      list.map(({ key, value, isSensitive }) => [key, value, isSensitive]),
      fields.map((field) => [...field]),
    );
  },
);

property(
  "HPACK: any bytes are a bounded list or a fault of the connection",
  fc.array(fc.oneof(blocks, fc.uint8Array({ maxLength: 60 })), { maxLength: 12 }),
  (all) => {
    const decoder = new HpackDecoder({ maxBytes: 400, maxFields: 8 });
    try {
      for (const block of all) {
        const list = decoder.decode(block);
        assert(
          list === undefined || (list.length <= 8 && list.reduce((sum, { size }) => sum + size, 0) <= 400),
        );
      }
    } catch (error) {
      assert(error instanceof Fault && error.scope === "connection", String(error));
    }
  },
);
