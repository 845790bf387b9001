import { assert, assertEquals, assertRejects } from "@std/assert";
import { setImmediate } from "node:timers";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { Http2Error } from "../../../../proxy/http2/error.ts";
import { startHttp2Server } from "../../../../proxy/http2/server.ts";
import type { Http2ServerConnection, Http2ServerStream } from "../../../../proxy/http2/types.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import {
  bytes,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  headers,
  INITIAL_WINDOW_SIZE,
  PREFACE,
  setting,
  SETTINGS,
  streamIds,
  WINDOW_UPDATE,
} from "../../../attack/http2_frames.ts";
import { soon, waitUntil } from "../../../support/sockets.ts";
import { makePipe } from "../../../wire/pipe.ts";

const GET = headers({ method: "GET", path: "/a", authority: "up.test" });

/** A server of the codec whose client has begun with these frames; what the server sends is dropped. */
async function startServer(
  onRequest: (stream: Http2ServerStream) => Promise<void>,
  limits: Partial<Limits>,
  ...frames: readonly Uint8Array[]
) {
  const [peer, stream] = makePipe();
  const connection: Http2ServerConnection = startHttp2Server({
    stream,
    reader: new ByteReader(stream),
    limits: { ...DEFAULT_LIMITS, ...limits },
    deadlines: new Deadlines(),
    onRequest,
  });
  const into = new Uint8Array(65_536);
  const dropping = (async () => {
    while (await peer.read(into) !== null);
  })().catch(() => {});
  await peer.write(bytes(PREFACE, ...frames));
  return {
    peer,
    async [Symbol.asyncDispose]() {
      connection.close();
      peer.close();
      await Promise.all([connection.closed, dropping]);
    },
  };
}

const NO_WINDOW = frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0));
const REQUEST = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);

Deno.test("an HTTP/2 peer with a window of nothing is given up after the idle time-out (CVE-2019-9517)", async () => {
  const written = Promise.withResolvers<void>();
  written.promise.catch(() => {});
  await using _made = await startServer(
    (stream) => {
      stream.respond({ status: 200, fields: [] });
      written.resolve(stream.write(new Uint8Array(10), true));
      return written.promise.catch(() => {});
    },
    { bodyIdleTimeoutMs: 50 },
    NO_WINDOW,
    REQUEST,
  );
  const error = await assertRejects(() => soon("the write", written.promise), Http2Error);
  assertEquals(error.code, "client.timeout");
});

Deno.test("an HTTP/2 peer whose window grows by a byte at a time is given up too (CVE-2019-9511)", async () => {
  let error: unknown;
  await using made = await startServer(
    async (stream) => {
      stream.respond({ status: 200, fields: [] });
      await stream.write(new Uint8Array(10_000), true).catch((caught) => error = caught);
    },
    { bodyIdleTimeoutMs: 200, maxHttp2ControlFrames: 1_000_000 },
    NO_WINDOW,
    REQUEST,
  );
  await waitUntil("the write is given up", async () => {
    await made.peer.write(frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1])).catch(() => {});
    return error !== undefined;
  });
  assertEquals(error instanceof Http2Error && error.code, "client.timeout");
});

Deno.test("one WINDOW_UPDATE lets a waiting HTTP/2 write go on to its end", async () => {
  const written = Promise.withResolvers<void>();
  await using made = await startServer(
    async (stream) => {
      stream.respond({ status: 200, fields: [] });
      await stream.write(new Uint8Array(500_000), true);
      written.resolve();
    },
    {},
    frame(SETTINGS, 0, 0, []),
    REQUEST,
  );
  const more = [0, 8, 0, 0];
  await made.peer.write(bytes(frame(WINDOW_UPDATE, 0, 0, more), frame(WINDOW_UPDATE, 0, 1, more)));
  await soon("all of it", written.promise);
});

Deno.test("a burst of HTTP/2 streams in one read leaves others their turns", async () => {
  let requests = 0;
  const turns: number[] = [];
  let isWatching = true;
  const watch = () => {
    if (turns.at(-1) !== requests) turns.push(requests);
    if (isWatching) setImmediate(watch);
  };
  watch();
  const burst = streamIds(400).map((id) => frame(HEADERS, END_HEADERS | END_STREAM, id, GET));
  await using _made = await startServer(
    () => {
      requests++;
      return Promise.resolve();
    },
    {},
    frame(SETTINGS, 0, 0, []),
    ...burst,
  );
  await waitUntil("all of them came", () => requests === 400);
  isWatching = false;
  turns.push(requests);
  const most = Math.max(...turns.map((count, i) => count - (turns[i - 1] ?? 0)));
  assert(most <= 64, `${most} requests were handled in one turn`);
});

Deno.test("nothing that came behind it is read once an HTTP/2 connection is over", async () => {
  const paths: (string | undefined)[] = [];
  const [peer, stream] = makePipe();
  const connection: Http2ServerConnection = startHttp2Server({
    stream,
    reader: new ByteReader(stream),
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    onRequest: ({ head }) => {
      paths.push(head.path);
      connection.close();
      return Promise.resolve();
    },
  });
  const later = headers({ method: "GET", path: "/b", authority: "up.test" });
  await peer.write(
    bytes(
      PREFACE,
      frame(SETTINGS, 0, 0, []),
      REQUEST,
      frame(HEADERS, END_HEADERS | END_STREAM, 3, later),
    ),
  );
  peer.close();
  await connection.closed;
  assertEquals(paths, ["/a"]);
});
