import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { startHttp2Client } from "../../../../proxy/http2/client.ts";
import { Http2Leg } from "../../../../proxy/http2/upstream.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { formatFrame, parseFrameLine, PREFACE, splitFrames } from "../../../wire/http2/frame_text.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

/** A leg to a peer whose frames the test writes. */
async function setUp(...hello: readonly string[]) {
  const [far, stream] = makePipe();
  const connection = startHttp2Client({
    stream,
    reader: new ByteReader(stream),
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
  });
  const send = async (...lines: readonly string[]) => {
    for (const line of lines) await far.write(parseFrameLine(line));
    await settle();
  };
  await send(...hello);
  let isOver = false;
  return {
    leg: new Http2Leg(connection, { isReused: false, onOver: () => isOver = true }),
    send,
    isOver: () => isOver,
    /** The DATA, RST_STREAM and last HEADERS that the peer has got since. */
    got: async () => {
      const buffer = new Uint8Array(65_536);
      let count = 0;
      while (stream.unread > 0) count += await far.read(buffer.subarray(count)) ?? 0;
      const bytes = Buffer.from(buffer.subarray(0, count));
      const start = bytes.indexOf(PREFACE) === 0 ? PREFACE.length : 0;
      return splitFrames(bytes.subarray(start)).frames
        .filter(({ type }) => type === 0 || type === 1 || type === 3)
        .map((frame) => formatFrame(frame, []));
    },
    async [Symbol.asyncDispose]() {
      connection.close();
      far.close();
      await connection.closed;
    },
  };
}

const head = () => ({
  method: "POST",
  target: "/",
  version: "HTTP/2" as const,
  scheme: "https",
  authority: "a.test",
  protocol: undefined,
  fields: [],
});
const BODY = Buffer.from("a kept body");

Deno.test("an answer that comes before a kept body was taken is the answer", async () => {
  await using setup = await setUp("SETTINGS INITIAL_WINDOW_SIZE=3");
  const { leg, send, got, isOver } = setup;
  await leg.send(head, BODY, true);
  leg.end(undefined);
  await settle();
  assertEquals(await got(), ["HEADERS 1", "DATA 1 a k"]);
  await send("HEADERS 1 ES EH :status=401", "RST_STREAM 1 NO_ERROR");
  const response = await leg.readHead();
  assertEquals(response.status, 401);
  assertEquals(leg.bodyOf(response).done, true);
  leg.release();
  assertEquals(isOver(), true);
});

Deno.test("a kept body is followed by its end and its trailers, however late it is taken", async (t) => {
  for (const trailers of [undefined, [{ name: "x-sum", key: "x-sum", value: "1" }]]) {
    await t.step(trailers ? "trailers" : "none", async () => {
      await using setup = await setUp("SETTINGS INITIAL_WINDOW_SIZE=3");
      const { leg, send, got } = setup;
      await leg.send(head, BODY, trailers === undefined);
      leg.end(trailers);
      await settle();
      await got();
      await send("WINDOW_UPDATE 1 100");
      await settle();
      assertEquals(
        await got(),
        trailers ? ["DATA 1 ept body", "HEADERS 1 ES"] : ["DATA 1 ES ept body"],
      );
    });
  }
});
