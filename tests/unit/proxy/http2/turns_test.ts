/** What one client may have done in a turn of the event loop, and one connection. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { setImmediate } from "node:timers";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Http2Error } from "../../../../proxy/http2/error.ts";
import { startHttp2Server } from "../../../../proxy/http2/server.ts";
import { Turns } from "../../../../core/turns.ts";
import type { Http2ServerStream } from "../../../../proxy/http2/types.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import {
  bytes,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  headers,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  streamIds,
} from "../../../attack/http2_frames.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { makePipe } from "../../../wire/pipe.ts";

const GET = headers({ method: "GET", path: "/a", authority: "up.test" });
const get = (id: number) => frame(HEADERS, END_HEADERS | END_STREAM, id, GET);
const post = (id: number) => frame(HEADERS, END_HEADERS, id, GET);

/** A connection whose client has begun with these frames. */
async function connect(
  turns: Turns,
  onRequest: (stream: Http2ServerStream) => Promise<void>,
  ...frames: readonly Uint8Array[]
) {
  const [peer, stream] = makePipe();
  const connection = startHttp2Server({
    stream,
    reader: new ByteReader(stream),
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    turns,
    onRequest,
  });
  const into = new Uint8Array(65_536);
  const dropping = (async () => {
    while (await peer.read(into) !== null);
  })().catch(() => {});
  await peer.write(bytes(PREFACE, frame(SETTINGS, 0, 0, []), ...frames));
  return {
    connection,
    peer,
    async [Symbol.asyncDispose]() {
      connection.close();
      peer.close();
      await Promise.all([connection.closed, dropping]);
    },
  };
}

/** Watches how much `count` grows at most within a turn, until it is stopped. */
function watchTurns(count: () => number): () => number {
  let last = count();
  let most = 0;
  let isWatching = true;
  const look = () => {
    most = Math.max(most, count() - last);
    last = count();
    if (isWatching) setImmediate(look);
  };
  setImmediate(look);
  return () => {
    look();
    isWatching = false;
    return most;
  };
}

Deno.test("Turns does what comes at once, and of many the rest in order in later turns", async () => {
  const turns = new Turns(3);
  const done: number[] = [];
  const stop = watchTurns(() => done.length);
  for (let nth = 0; nth < 10; nth++) turns.run(() => void done.push(nth));
  assertEquals(done, [0, 1, 2]);
  assert(!turns.isIdle);
  await waitUntil("all of it", () => turns.isIdle);
  assertEquals(done, Array.from({ length: 10 }, (_, nth) => nth));
  assertEquals(stop(), 3);
});

Deno.test("Turns lets work that makes work wait for a turn as well", async () => {
  const turns = new Turns(2);
  let done = 0;
  const stop = watchTurns(() => done);
  const work = () => {
    if (++done < 9) turns.run(work);
  };
  turns.run(work);
  await waitUntil("all of it", () => done === 9);
  assertEquals(stop(), 2);
});

Deno.test("requests on many connections of a client begin a few in a turn, and end so", async () => {
  const turns = new Turns(4);
  let begun = 0;
  let ended = 0;
  const onRequest = (stream: Http2ServerStream) => {
    begun++;
    return new Promise<void>((resolve) =>
      stream.onReset = () => {
        ended++;
        resolve();
      }
    );
  };
  const stopBegun = watchTurns(() => begun);
  await using first = await connect(turns, onRequest, ...streamIds(50).map(get));
  await using second = await connect(turns, onRequest, ...streamIds(50).map(get));
  await waitUntil("all have begun", () => begun === 100);
  const mostBegun = stopBegun();
  const stopEnded = watchTurns(() => ended);
  first.connection.close();
  second.connection.close();
  await waitUntil("all have ended", () => ended === 100);
  const mostEnded = stopEnded();
  assert(mostBegun <= 8 && mostEnded <= 8, `${mostBegun} began, ${mostEnded} ended in one turn`);
});

Deno.test("a request that is reset while it waits for its turn is never begun", async () => {
  const turns = new Turns(1);
  for (let nth = 0; nth < 5_000; nth++) turns.run(() => {});
  const begun: number[] = [];
  const onRequest = ({ id }: Http2ServerStream) => {
    begun.push(id);
    return Promise.resolve();
  };
  await using made = await connect(turns, onRequest, ...streamIds(5).map(get));
  while (made.connection.activeStreams < 5) await new Promise((resolve) => setImmediate(resolve));
  await made.peer.write(bytes(...[5, 7].map((id) => frame(RST_STREAM, 0, id, [0, 0, 0, 8]))));
  while (made.connection.counters.resetsIn < 2) await new Promise((resolve) => setImmediate(resolve));
  assertEquals(begun, []); // five thousand pieces of work stand before them
  await waitUntil("the last one has begun", () => begun.includes(9));
  assertEquals(begun, [1, 3, 9]);
});

Deno.test("a stream is cut at once when its connection ends, though its user is told in its turn", async () => {
  const turns = new Turns(1);
  const streams: Http2ServerStream[] = [];
  const told: number[] = [];
  const over = Promise.withResolvers<void>();
  await using made = await connect(
    turns,
    (stream) => {
      streams.push(stream);
      stream.onReset = () => void told.push(stream.id);
      return over.promise;
    },
    ...streamIds(3).flatMap((id) => [post(id), frame(DATA, 0, id, new Uint8Array(100))]),
  );
  await waitUntil(
    "their bodies are here",
    () => streams.filter((each) => each.available.length > 0).length === 3,
  );
  await waitUntil("no turn is used", () => turns.isIdle);
  await new Promise((resolve) => setImmediate(resolve));
  made.connection.close();
  const last = streams.at(-1);
  assert(last && !told.includes(last.id));
  assertEquals(last.available.length, 0); // or whoever reads it would read the same bytes again
  await assertRejects(() => last.fill(), Http2Error);
  await assertRejects(() => last.write(new Uint8Array(1)), Http2Error);
  await waitUntil("all are told", () => told.length === 3);
  over.resolve();
});

Deno.test("a connection that brings frames without end leaves others their turns", async () => {
  const turns = new Turns(8);
  const pieces = Array.from({ length: 2_000 }, () => frame(DATA, 0, 1, [1]));
  let read = 0;
  const stop = watchTurns(() => read);
  await using _made = await connect(
    turns,
    async (stream) => {
      while (await stream.fill()) {
        read += stream.available.length;
        stream.consume(stream.available.length);
      }
    },
    post(1),
    ...pieces,
    frame(DATA, END_STREAM, 1, []),
  );
  await waitUntil("all of it", () => read === 2_000);
  const most = stop();
  assert(most <= 2 * DEFAULT_LIMITS.maxHttp2FramesInTurn, `${most} frames were handled in one turn`);
});
