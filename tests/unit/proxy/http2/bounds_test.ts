/** What a peer may not do with time and with our memory: slow heads, windows of a byte, answers that nobody reads. */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { Deadlines } from "../../../../core/deadlines.ts";
import { isProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { startHttp2Server } from "../../../../proxy/http2/server.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { formatFrame, parseFrameLine, PREFACE, splitFrames } from "../../../wire/http2/frame_text.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

/** A server that answers with as many bytes as the path says, to a peer whose frames the test writes. */
async function setUp(limits: Partial<Limits>, ...hello: readonly string[]) {
  const [far, stream] = makePipe(65_536);
  const errors: unknown[] = [];
  const connection = startHttp2Server({
    stream,
    reader: new ByteReader(stream),
    limits: { ...DEFAULT_LIMITS, lingerTimeoutMs: 200, ...limits },
    deadlines: new Deadlines(),
    async onRequest(request) {
      request.onReset = (error) => errors.push(error);
      request.respond({ status: 200, fields: [] });
      await request.write(new Uint8Array(Number(request.head.path?.slice(1))), true);
    },
  });
  const frames: string[] = [];
  const read = async () => {
    const buffer = new Uint8Array(65_536);
    let bytes = Buffer.alloc(0);
    for (let count = await far.read(buffer); count !== null; count = await far.read(buffer)) {
      const { frames: more, rest } = splitFrames(Buffer.concat([bytes, buffer.subarray(0, count)]));
      bytes = Buffer.from(rest);
      frames.push(...more.map((frame) => formatFrame(frame, [])));
    }
  };
  const send = async (...lines: readonly string[]) => {
    await far.write(Buffer.concat(lines.map(parseFrameLine)));
    await settle();
  };
  await far.write(PREFACE);
  await send(...hello);
  return {
    connection,
    errors,
    frames,
    send,
    sendBytes: (bytes: Uint8Array) => far.write(bytes),
    /** From now on the peer reads. */
    reads: () => void read().catch(() => {}),
    async [Symbol.asyncDispose]() {
      connection.close();
      far.close();
      await connection.closed;
    },
  };
}

Deno.test("a frame that is begun and not finished: the connection ends when its time is up", async (t) => {
  const rows = [
    { name: "no SETTINGS", bytes: "", hello: [] },
    { name: "inside a frame's head", bytes: "00000401", hello: ["SETTINGS"] },
    { name: "inside HEADERS", bytes: "00000a0105000000018287", hello: ["SETTINGS"] },
    { name: "between HEADERS and CONTINUATION", bytes: "000002010100000001 8287", hello: ["SETTINGS"] },
  ];
  for (const { name, bytes, hello } of rows) {
    await t.step(name, async () => {
      await using peer = await setUp({ headTimeoutMs: 300 }, ...hello);
      peer.reads();
      await peer.sendBytes(Buffer.from(bytes.replace(" ", ""), "hex"));
      await peer.connection.closed;
      const { error } = peer.connection;
      assert(isProxyError(error, "client.timeout"), String(error));
      assertEquals(peer.frames.at(-1), "GOAWAY 0 ENHANCE_YOUR_CALM");
    });
  }
});

Deno.test("windows that are opened byte by byte are no progress; by thousands they are", async (t) => {
  for (const [step, isEnough] of [[1, false], [2_000, true]] as const) {
    await t.step(`${step} bytes at a time`, async () => {
      const limits = { bodyIdleTimeoutMs: 1_000, minHttp2ProgressBytes: 4_096 };
      await using peer = await setUp(limits, "SETTINGS INITIAL_WINDOW_SIZE=1", "HEADERS 1 ES EH GET:/20000");
      peer.reads();
      const until = performance.now() + 10_000;
      let isOver = false;
      // A hundred updates a second, and no more than it has budget for.
      while (!isOver && performance.now() < until) {
        await peer.send(`WINDOW_UPDATE 1 ${step}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
        isOver = peer.errors.length > 0 || peer.frames.some((frame) => frame.startsWith("DATA 1 ES"));
      }
      const [error] = peer.errors;
      if (isEnough) assertEquals(error, undefined);
      else {
        assert(error instanceof Http2Error && isProxyError(error, "client.timeout"), String(error));
        assertEquals(peer.frames.at(-1), "RST_STREAM 1 CANCEL");
        assertEquals(error.h2Code, H2.CANCEL);
      }
    });
  }
});

Deno.test("windows that grow by a byte are control frames without end; a window's worth is not", async (t) => {
  for (const [step, isFlood] of [[1, true], [1_000, false]] as const) {
    await t.step(`${step} bytes at a time`, async () => {
      const limits = { maxHttp2ControlFrames: 20, http2ControlFramesPerSecond: 0 };
      await using peer = await setUp(limits, "SETTINGS INITIAL_WINDOW_SIZE=1", "HEADERS 1 ES EH GET:/60000");
      peer.reads();
      for (let nth = 0; nth < 50 && !peer.connection.error; nth++) await peer.send(`WINDOW_UPDATE 1 ${step}`);
      assertEquals(
        isProxyError(peer.connection.error, "limit.reached"),
        isFlood,
        String(peer.connection.error),
      );
    });
  }
});

Deno.test("a peer that reads nothing is not read, what waits for it is bounded, and it is given up", async () => {
  const limits = { maxHttp2BacklogBytes: 4_096, bodyIdleTimeoutMs: 500, maxHttp2ControlFrames: 1_000_000 };
  await using peer = await setUp(limits, "SETTINGS", "HEADERS 1 ES EH GET:/60000");
  // PINGs for 17 MB, each of which has to be answered.
  const pings = Buffer.concat(Array.from({ length: 3_000 }, () => parseFrameLine("PING")));
  const flooding = (async () => {
    for (let i = 0; i < 300; i++) {
      for (let at = 0; at < pings.length;) at += await peer.sendBytes(pings.subarray(at));
    }
  })().catch(() => {}); // it has been given up
  await waitUntil("it is given up", () => peer.connection.error !== undefined);
  assert(isProxyError(peer.connection.error, "client.timeout"), String(peer.connection.error));
  await peer.connection.closed;
  await flooding;
  const { bytesIn, bytesOut } = peer.connection.counters;
  assert(bytesIn < 200_000 && bytesOut < 200_000, `${bytesIn} bytes were handled, ${bytesOut} waited for it`);
});

Deno.test("who leaves says so when the peer has answered a PING of eight bytes, and not before", async () => {
  await using peer = await setUp({ lingerTimeoutMs: 120_000 }, "SETTINGS");
  peer.reads();
  peer.connection.shutDown();
  await waitUntil("it has sent a PING", () => peer.frames.some((frame) => frame.startsWith("PING")));
  const payload = /^PING ([0-9a-f]{16})$/.exec(peer.frames.find((frame) => frame.startsWith("PING")) ?? "")
    ?.[1];
  assert(payload, peer.frames.join("; "));
  await peer.send("PING ACK 0000000000000000");
  const said = () => peer.frames.filter((frame) => frame.startsWith("GOAWAY"));
  assertEquals(said(), ["GOAWAY 2147483647 NO_ERROR"]);
  await peer.send(`PING ACK ${payload}`);
  await waitUntil("it has left", () => said().length > 1);
  assertEquals(said()[1], "GOAWAY 0 NO_ERROR");
});
