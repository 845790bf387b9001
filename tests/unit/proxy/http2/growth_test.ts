/** Windows for upstreams that are far away: when they grow, by how much, and when what they grew by is free again. */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { startHttp2Client } from "../../../../proxy/http2/client.ts";
import { H2 } from "../../../../proxy/http2/error.ts";
import { PREFACE } from "../../../../proxy/http2/frames.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { formatFrame, parseFrameLine, splitFrames } from "../../../wire/http2/frame_text.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";
import { bytes, DATA, END_STREAM, frame } from "../../../attack/http2_frames.ts";

const WINDOW = 65_536;
const HALF = WINDOW / 2;
const PIECE = 16_384;

/** A connection to an upstream whose frames the test writes, with one request, after a round trip of at least so long. */
async function open(
  { ackAfterMs, max = 1_000_000 }: { readonly ackAfterMs: number | undefined; readonly max?: number },
) {
  const [far, stream] = makePipe(1_048_576);
  let grown = 0;
  const startedAt = performance.now();
  const connection = startHttp2Client({
    stream,
    reader: new ByteReader(stream),
    limits: {
      ...DEFAULT_LIMITS,
      http2UpstreamWindowBytes: WINDOW,
      http2ConnectionWindowBytes: 2 * WINDOW,
      maxHttp2UpstreamWindowBytes: 4 * WINDOW,
    },
    deadlines: new Deadlines(),
    growth: {
      take: (count) => grown + count <= max && (grown += count) > 0,
      give: (count) => void (grown -= count),
    },
  });
  const frames: string[] = [];
  const reading = (async () => {
    const buffer = new Uint8Array(65_536);
    let rest = Buffer.alloc(0);
    let skip = PREFACE.length;
    for (let count = await far.read(buffer); count !== null; count = await far.read(buffer)) {
      const all = Buffer.concat([rest, buffer.subarray(0, count)]);
      const split = splitFrames(all.subarray(skip));
      skip = 0;
      rest = Buffer.from(split.rest);
      frames.push(...split.frames.map((each) => formatFrame(each, [])));
    }
  })().catch(() => {});
  const send = async (...pieces: readonly Uint8Array[]) => {
    await far.write(bytes(...pieces));
    await settle();
  };
  await send(parseFrameLine("SETTINGS"));
  if (ackAfterMs !== undefined) {
    await waitUntil("a round trip is over", () => performance.now() >= startedAt + ackAfterMs);
    await send(parseFrameLine("SETTINGS ACK"));
  }
  const roundTripMs = performance.now() - startedAt; // at most
  const request = await connection.openStream(
    () => ({
      method: "GET",
      scheme: "https",
      authority: "up.test",
      path: "/",
      protocol: undefined,
      fields: [],
    }),
    { end: true },
  );
  await send(parseFrameLine("HEADERS 1 EH :status=200"));
  await request.response();
  const credit = (id: number) =>
    frames.flatMap((line) => {
      const [type, of, count] = line.split(" ");
      return type === "WINDOW_UPDATE" && of === String(id) ? [Number(count)] : [];
    });
  /** Brings half a window, and has it read. */
  const half = async () => {
    for (let at = 0; at < HALF; at += PIECE) await send(frame(DATA, 0, 1, new Uint8Array(PIECE)));
    readAll();
    await settle();
  };
  const readAll = () => {
    while (request.available.length > 0) request.consume(request.available.length);
  };
  return {
    ...{ connection, request, credit, half, readAll, send, roundTripMs },
    grown: () => grown,
    async [Symbol.asyncDispose]() {
      connection.close();
      far.close();
      await Promise.all([connection.closed, reading]);
    },
  };
}

/** A peer that is so far away that this machine is never too slow for it. */
const FAR = { ackAfterMs: 700 };

Deno.test("an upstream's window doubles while half of it is read within two round trips, up to the most", async () => {
  await using made = await open(FAR);
  for (let nth = 0; nth < 12; nth++) await made.half();
  assertEquals(made.credit(1), [HALF + WINDOW, WINDOW + 2 * WINDOW, 2 * WINDOW, 2 * WINDOW]);
  assertEquals(made.grown(), 3 * WINDOW);
  // So has the connection's, of which less than half was not given back yet.
  const sum = made.credit(0).reduce((all, each) => all + each, 65_535);
  assert(sum - 12 * HALF > 5 * HALF, `${sum}`);
});

Deno.test("an upstream's window does not grow without a reason, nor without room", async (t) => {
  await t.step("a round trip that nobody knows", async () => {
    await using made = await open({ ackAfterMs: undefined });
    for (let nth = 0; nth < 4; nth++) await made.half();
    assertEquals([made.credit(1), made.grown()], [[HALF, HALF, HALF, HALF], 0]);
  });
  await t.step("a reader, or an upstream, that takes more than two round trips for half of it", async () => {
    await using made = await open({ ackAfterMs: 0 });
    for (let nth = 0; nth < 4; nth++) {
      const until = performance.now() + 3 * made.roundTripMs;
      await waitUntil("that time is over", () => performance.now() >= until);
      await made.half();
    }
    assertEquals([made.credit(1), made.grown()], [[HALF, HALF, HALF, HALF], 0]);
  });
  await t.step("room that others have", async () => {
    await using made = await open({ ...FAR, max: WINDOW });
    for (let nth = 0; nth < 6; nth++) await made.half();
    assertEquals([made.credit(1), made.grown()], [[HALF + WINDOW, WINDOW, WINDOW], WINDOW]);
  });
});

Deno.test("what a window grew by is free again when its stream is over and read, or cut", async (t) => {
  const last = frame(DATA, END_STREAM, 1, new Uint8Array(100));
  await t.step("read", async () => {
    await using made = await open(FAR);
    await made.half();
    await made.send(last);
    assertEquals(made.grown(), WINDOW); // it could be held for ever
    made.readAll();
    assertEquals(made.grown(), 0);
    assertEquals(made.connection.activeStreams, 0);
  });
  await t.step("read before it ended", async () => {
    await using made = await open(FAR);
    await made.half();
    await made.send(frame(DATA, END_STREAM, 1, []));
    assertEquals(made.grown(), 0);
  });
  await t.step("ended, and given up unread", async () => {
    await using made = await open(FAR);
    await made.half();
    await made.send(last);
    made.request.reset(H2.CANCEL);
    assertEquals(made.grown(), 0);
  });
  await t.step("given up", async () => {
    await using made = await open(FAR);
    await made.half();
    made.request.reset(H2.CANCEL);
    assertEquals(made.grown(), 0);
  });
  await t.step("with its connection", async () => {
    await using made = await open(FAR);
    await made.half();
    made.connection.close();
    assertEquals(made.grown(), 0);
  });
});

Deno.test("Admission.growth() is bounded for a client and for all of them", () => {
  const limits = { ...DEFAULT_LIMITS, maxHttp2GrowthBytes: 30, maxHttp2GrowthBytesPerClient: 20 };
  const admission = new Admission(limits);
  const [one, other] = [admission.growth("one"), admission.growth("other")];
  assert(one.take(20) && !one.take(1));
  assert(other.take(10) && !other.take(1));
  one.give(20);
  assert(other.take(10) && !other.take(1));
});
