/** How a connection ends: its last words, what its streams and its socket get, and what it has counted by then. */
import { assert, assertEquals } from "@std/assert";
import type { Limits } from "../../../../core/limits.ts";
import { Budget } from "../../../../proxy/http2/budget.ts";
import { H2 } from "../../../../proxy/http2/error.ts";
import { startHttp2Server } from "../../../../proxy/http2/server.ts";
import type { Http2ServerOptions, Http2ServerStream } from "../../../../proxy/http2/types.ts";
import { FarEnd, HEAD_MS, IDLE_MS, LINGER_MS } from "../../../support/http2_pipe.ts";
import { settle } from "../../../wire/pipe.ts";

/** A server whose requests wait until they are cut. */
async function setUp(
  { limits = {}, capacity, ...more }:
    & { limits?: Partial<Limits>; capacity?: number }
    & Partial<Omit<Http2ServerOptions, "limits">> = {},
) {
  const peer = new FarEnd(capacity);
  const streams: Http2ServerStream[] = [];
  const cuts: string[] = [];
  const connection = startHttp2Server({
    ...peer.options(limits),
    onRequest: (stream) => {
      streams.push(stream);
      return new Promise((resolve) =>
        stream.onReset = ({ code, h2Code }) => {
          cuts.push(`${stream.id} ${code} ${h2Code}`);
          resolve();
        }
      );
    },
    ...more,
  });
  await peer.send("PREFACE", "SETTINGS", "SETTINGS ACK");
  await peer.got();
  return {
    ...{ peer, connection, streams, cuts },
    async [Symbol.asyncDispose]() {
      connection.close();
      peer.far.close();
      await connection.closed;
    },
  };
}
const post = (id: number) => `HEADERS ${id} EH POST:/`;

Deno.test("close() says GOAWAY once, cuts every stream, ends our direction, and then the socket", async (t) => {
  for (const code of [undefined, H2.NO_ERROR, H2.INTERNAL_ERROR]) {
    await t.step(`${code}`, async () => {
      await using made = await setUp();
      const { peer, connection } = made;
      await peer.send(post(1), post(3));
      assertEquals([connection.activeStreams, connection.isDraining, connection.error], [
        2,
        false,
        undefined,
      ]);
      connection.close(code);
      connection.close(H2.CANCEL);
      const h2Code = code ?? H2.NO_ERROR;
      assertEquals(made.cuts, [`1 client.closed ${h2Code}`, `3 client.closed ${h2Code}`]);
      assertEquals([connection.activeStreams, connection.isDraining], [0, true]);
      assertEquals(connection.error?.code, h2Code === H2.NO_ERROR ? undefined : "client.closed");
      assertEquals(connection.error?.h2Code, h2Code === H2.NO_ERROR ? undefined : h2Code);
      assertEquals(await peer.got(), [`GOAWAY 3 ${h2Code === H2.NO_ERROR ? "NO_ERROR" : "INTERNAL_ERROR"}`]);
      assertEquals([peer.stream.ended, peer.deadlines.left], ["half", [LINGER_MS]]);
      await peer.send("PING", post(5)); // is read, and means nothing
      assertEquals([await peer.got(), made.streams.length], [[], 2]);
      await peer.far.closeWrite();
      await connection.closed;
      assertEquals([peer.stream.ended, peer.deadlines.left], ["closed", []]);
    });
  }
});

Deno.test("a peer that does not go when we have, or does not take our last words, has so long", async () => {
  await using made = await setUp({ capacity: 200 });
  await made.peer.send(post(1));
  made.streams[0]?.respond({ status: 200, fields: [] });
  void made.streams[0]?.write(new Uint8Array(1_000)).catch(() => {}); // fills what the socket has room for
  await settle();
  made.connection.close();
  await settle();
  assertEquals(made.peer.stream.ended, "no");
  made.peer.deadlines.advance(LINGER_MS);
  assertEquals(made.peer.stream.ended, "closed");
});

Deno.test("the peer's end is in order only between frames and without a stream", async (t) => {
  await t.step("in order", async () => {
    await using made = await setUp();
    await made.peer.far.closeWrite();
    await made.connection.closed;
    assertEquals([made.connection.error, await made.peer.got()], [undefined, []]);
  });
  await t.step("inside a frame", async () => {
    await using made = await setUp();
    await made.peer.send("BYTES 000008");
    await made.peer.far.closeWrite();
    await made.connection.closed;
    assertEquals([made.connection.error?.code, made.connection.error?.h2Code], [
      "client.closed",
      H2.NO_ERROR,
    ]);
  });
  await t.step("with a stream", async () => {
    await using made = await setUp();
    await made.peer.send(post(1));
    made.peer.far.abort();
    await made.connection.closed;
    assertEquals([made.connection.error?.code, made.cuts], ["client.closed", ["1 client.closed 0"]]);
    assert(made.connection.error?.cause instanceof Deno.errors.UnexpectedEof);
    assertEquals(await made.peer.stream.ended, "closed");
  });
});

Deno.test("a socket that fails ends the connection, and what is left behind was given up", async () => {
  const resets = new Budget(2, 0);
  await using made = await setUp({ resets });
  await made.peer.send(post(1), post(3));
  assertEquals(resets.isSpent, false);
  made.peer.stream.write = () => Promise.reject(new Deno.errors.BrokenPipe("gone"));
  made.streams[0]?.respond({ status: 200, fields: [] });
  await settle();
  assertEquals(made.cuts, ["1 client.closed 0", "3 client.closed 0"]);
  assert(made.connection.error?.cause instanceof Deno.errors.BrokenPipe);
  assertEquals(resets.isSpent, true);
});

Deno.test("an error of ours ends the connection as one", async () => {
  const bug = new RangeError("a bug");
  await using made = await setUp({
    onRefused: () => {
      throw bug;
    },
  });
  await made.peer.send("HEADERS 1 ES EH GET:/ X=1");
  const { error } = made.connection;
  assertEquals([error?.code, error?.h2Code, error?.cause], ["internal", H2.INTERNAL_ERROR, bug]);
  assertEquals(await made.peer.got(), ["GOAWAY 1 INTERNAL_ERROR"]);
  await made.connection.closed;
});

Deno.test("a peer that is too slow with a head is told so, and one that does not take a body loses its stream", async () => {
  await using slow = await setUp();
  await slow.peer.send(post(1));
  await slow.peer.send("HEADERS 3 GET:/");
  assertEquals(slow.peer.deadlines.left, [HEAD_MS]);
  slow.peer.deadlines.advance(HEAD_MS);
  assertEquals(slow.cuts, ["1 client.timeout 11"]);
  assertEquals([slow.connection.error?.code, slow.connection.error?.h2Code], [
    "client.timeout",
    H2.ENHANCE_YOUR_CALM,
  ]);
  assertEquals(await slow.peer.got(), ["GOAWAY 1 ENHANCE_YOUR_CALM"]);

  await using stalled = await setUp();
  await stalled.peer.send("SETTINGS INITIAL_WINDOW_SIZE=3", post(1), post(3));
  stalled.streams[0]?.respond({ status: 200, fields: [] });
  const written = stalled.streams[0]?.write(new Uint8Array(10)).catch((error) => error.code);
  await stalled.peer.got();
  assertEquals(stalled.peer.deadlines.left, [IDLE_MS]);
  stalled.peer.deadlines.advance(IDLE_MS);
  assertEquals([await written, stalled.cuts], ["client.timeout", ["1 client.timeout 8"]]);
  assertEquals([await stalled.peer.got(), stalled.connection.error], [["RST_STREAM 1 CANCEL"], undefined]);
  assertEquals([stalled.connection.activeStreams, stalled.connection.counters.resetsOut], [1, 1]);
});

Deno.test("faults are the peer's: malformed, or a limit where it asks for too much", async () => {
  await using bad = await setUp();
  await bad.peer.send(post(1));
  await bad.peer.send("PUSH_PROMISE 1");
  assertEquals([bad.cuts, bad.connection.error?.code], [["1 client.malformed 1"], "client.malformed"]);
  await using flood = await setUp({ limits: { maxHttp2ControlFrames: 5 } });
  await flood.peer.send(post(1));
  await flood.peer.send("PING", "PING", "PING", "PING", "PING", "PING");
  assertEquals([flood.cuts, flood.connection.error?.code], [["1 limit.reached 11"], "limit.reached"]);
});

Deno.test("a fault of a stream resets it and tells its user, once", async () => {
  await using made = await setUp();
  await made.peer.send(post(1), "WINDOW_UPDATE 1 0", "DATA 1 a"); // which came before the peer knew
  assertEquals(await made.peer.got(), ["RST_STREAM 1 PROTOCOL_ERROR"]);
  assertEquals([made.cuts, made.streams.length, made.connection.activeStreams], [[], 0, 0]); // within one read
  await made.peer.send(post(3));
  await made.peer.send("WINDOW_UPDATE 3 0");
  assertEquals([made.cuts, await made.peer.got()], [["3 client.malformed 1"], [
    "RST_STREAM 3 PROTOCOL_ERROR",
  ]]);
});

Deno.test("a body goes on when the peer has taken what waits for it", async () => {
  await using made = await setUp({ limits: { maxHttp2BacklogBytes: 20_000 }, capacity: 10_000 });
  await made.peer.send(post(1));
  const [stream] = made.streams;
  stream?.respond({ status: 200, fields: [] });
  const written = stream?.write(new Uint8Array(60_000).fill(0x78), true);
  const frames = await made.peer.got();
  await written;
  assertEquals([...frames, ...await made.peer.got()], [
    "HEADERS 1 :status=200",
    "DATA 1 {{x*16384}}",
    "DATA 1 {{x*16384}}",
    "DATA 1 {{x*16384}}",
    "DATA 1 ES {{x*10848}}",
  ]);
});

Deno.test("a connection without a stream keeps no buffers while it waits", async () => {
  let rests = 0;
  const peer = new FarEnd();
  const options = peer.options();
  options.reader.rest = () => void rests++;
  const over = Promise.withResolvers<void>();
  const connection = startHttp2Server({ ...options, onRequest: () => over.promise });
  await peer.send("PREFACE", "SETTINGS");
  assert(rests > 0);
  await peer.send(post(1));
  const before = rests;
  await peer.send("PING");
  assertEquals(rests, before);
  over.resolve();
  connection.close();
  peer.far.close();
  await connection.closed;
});

Deno.test("our last words reach a peer that has ended its direction, and no deadline but theirs runs", async () => {
  await using made = await setUp({ capacity: 10 });
  const { peer, connection } = made;
  await peer.send(post(1), "HEADERS 3");
  assertEquals(peer.deadlines.left, [HEAD_MS]);
  await peer.send("PING"); // inside a block
  await peer.far.closeWrite();
  await settle();
  assertEquals(peer.deadlines.left, [LINGER_MS]);
  assertEquals(await peer.got(), ["GOAWAY 1 PROTOCOL_ERROR"]);
  await connection.closed;
  assertEquals(peer.deadlines.left, []);
});

Deno.test("counters are of the whole life, in frames", async () => {
  await using made = await setUp();
  const { peer, connection } = made;
  const before = connection.counters;
  assertEquals([before.streams, before.resetsIn, before.resetsOut, before.bytesIn], [0, 0, 0, 24 + 9 + 9]);
  await peer.send(post(1), post(3), "RST_STREAM 1 CANCEL", "PING");
  made.streams.find(({ id }) => id === 3)?.reset(H2.CANCEL);
  await settle();
  const { streams, resetsIn, resetsOut, bytesOut } = connection.counters;
  assertEquals([streams, resetsIn, resetsOut, bytesOut - before.bytesOut], [2, 1, 1, 17 + 13]);
});

Deno.test("the first header block says that no table is kept, and no other", async () => {
  await using made = await setUp();
  await made.peer.send(post(1), post(3));
  for (const stream of made.streams) stream.respond({ status: 204, fields: [] });
  await settle();
  const bytes = new Uint8Array(100);
  const count = await made.peer.far.read(bytes);
  const head = (id: number, ...block: number[]) => [0, 0, block.length, 1, 4, 0, 0, 0, id, ...block];
  assertEquals([...bytes.subarray(0, count ?? 0)], [...head(1, 0x20, 0x89), ...head(3, 0x89)]);
});

Deno.test("credit of the connection is for the reader's bytes, and none is sent once it is over", async () => {
  const limits = { http2ConnectionWindowBytes: 65_535, http2StreamWindowBytes: 100_000 };
  await using made = await setUp({ limits });
  const { peer, connection } = made;
  await peer.send(post(1), "DATA 1 {{x*10000}}", "DATA 1 {{x*10000}}", "DATA 1 {{x*10000}}");
  const [stream] = made.streams;
  const read = (count: number) => {
    for (let left = count; left > 0;) {
      const part = Math.min(left, stream?.available.length ?? left);
      stream?.consume(part);
      left -= part;
    }
  };
  await peer.send("DATA 1 {{x*10000}}");
  read(32_767);
  assertEquals(await peer.got(), []);
  read(1);
  assertEquals(await peer.got(), ["WINDOW_UPDATE 0 32768"]);
  await peer.send("DATA 1 {{x*10000}}", "DATA 1 {{x*10000}}", "DATA 1 {{x*10000}}");
  connection.close();
  assertEquals(await peer.got(), ["GOAWAY 1 NO_ERROR"]);
});
