import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { startHttp2Client } from "../../../../proxy/http2/client.ts";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { Http2Leg } from "../../../../proxy/http2/upstream.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { formatFrame, parseFrameLine, PREFACE, splitFrames } from "../../../wire/http2/frame_text.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

/** A leg to a peer whose frames the test writes. */
async function setUp(...hello: readonly string[]) {
  return await connect({}, ...hello);
}

async function connect({ isReused = false }: { readonly isReused?: boolean }, ...hello: readonly string[]) {
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
  let over = 0;
  return {
    connection,
    leg: new Http2Leg(connection, { isReused, onOver: () => over++ }),
    send,
    over: () => over,
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
  const { leg, send, got, over } = setup;
  await leg.send(head, BODY, true);
  leg.end(undefined);
  await settle();
  assertEquals(await got(), ["HEADERS 1", "DATA 1 a k"]);
  await send("HEADERS 1 ES EH :status=401", "RST_STREAM 1 NO_ERROR");
  const response = await leg.readHead();
  assertEquals(response.status, 401);
  assertEquals(leg.bodyOf(response).done, true);
  leg.release();
  assertEquals(over(), 1);
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

Deno.test("send() ends the stream with its head or its first piece where nothing follows", async (t) => {
  const rows:
    readonly (readonly [name: string, first: Uint8Array, isWhole: boolean, got: readonly string[]])[] = [
      ["no body", BODY.subarray(0, 0), true, ["HEADERS 1 ES"]],
      ["a body that comes", BODY.subarray(0, 0), false, ["HEADERS 1"]],
      ["a byte, and no more", BODY.subarray(0, 1), true, ["HEADERS 1", "DATA 1 ES a"]],
      ["the start of a body", BODY.subarray(0, 6), false, ["HEADERS 1", "DATA 1 a kept"]],
    ];
  for (const [name, first, isWhole, expected] of rows) {
    await t.step(name, async () => {
      await using setup = await setUp("SETTINGS");
      await setup.leg.send(head, first, isWhole);
      await settle();
      assertEquals(await setup.got(), expected);
    });
  }
  await t.step("an end, and trailers, behind nothing", async () => {
    for (const trailers of [undefined, [{ name: "a", key: "a", value: "1" }]]) {
      await using setup = await setUp("SETTINGS");
      await setup.leg.send(head, BODY.subarray(0, 0), false);
      setup.leg.end(trailers);
      await settle();
      assertEquals(await setup.got(), ["HEADERS 1", trailers ? "HEADERS 1 ES" : "DATA 1 ES"]);
    }
  });
  await t.step("the rest of it", async () => {
    await using setup = await setUp("SETTINGS");
    await setup.leg.send(head, BODY.subarray(0, 0), false);
    await setup.leg.write(BODY.subarray(0, 1), false);
    await setup.leg.write(BODY.subarray(2, 6), true);
    await settle();
    assertEquals(await setup.got(), ["HEADERS 1", "DATA 1 a", "DATA 1 ES kept"]);
  });
});

Deno.test("a request says in HTTP/2's words what it is", async () => {
  const [far, stream] = makePipe();
  far.close();
  const connection = startHttp2Client({
    stream,
    reader: new ByteReader(stream),
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
  });
  await connection.closed;
  const heads: unknown[] = [];
  const openStream: typeof connection.openStream = (make) => {
    heads.push(make());
    return Promise.reject(new Error("enough"));
  };
  const options = { isReused: false, onOver: () => {} };
  const leg = new Http2Leg({ ...connection, openStream } as typeof connection, options);
  await assertRejects(() => leg.send(head, BODY, true), Error, "enough");
  const upgrade = () => ({ ...head(), method: "GET", protocol: "websocket", isTargetSensitive: true });
  await assertRejects(() => leg.send(upgrade, BODY, true), Error, "enough");
  const place = { scheme: "https", authority: "a.test", path: "/", fields: [] };
  assertEquals(heads, [
    { ...place, method: "POST", protocol: undefined, isPathSensitive: false },
    { ...place, method: "CONNECT", protocol: "websocket", isPathSensitive: true },
  ]);
});

Deno.test("fateAfter() says whether the upstream may have acted on the request", async () => {
  const closed = (code: number, isUnprocessed = false) =>
    new Http2Error("upstream.closed", code, "Cannot go on: x", { isUnprocessed });
  await using fresh = await connect({ isReused: false }, "SETTINGS");
  await using reused = await connect({ isReused: true }, "SETTINGS");
  const rows: readonly (readonly [error: unknown, fate: string])[] = [
    [new TypeError("x"), "seen"],
    [closed(H2.HTTP_1_1_REQUIRED), "misplaced"],
    [closed(H2.HTTP_1_1_REQUIRED, true), "misplaced"],
    [closed(H2.REFUSED_STREAM, true), "unseen"],
    [closed(H2.NO_ERROR), "seen"],
  ];
  for (const { leg } of [fresh, reused]) {
    for (const [error, fate] of rows) assertEquals(leg.fateAfter(error), fate, `${error}`);
  }
  fresh.connection.close();
  reused.connection.close();
  const malformed = new Http2Error("upstream.malformed", H2.NO_ERROR, "Cannot go on: x");
  // A kept connection that ends may have ended before it saw the request.
  assertEquals([fresh.leg.fateAfter(closed(0)), fresh.leg.fateAfter(malformed)], ["seen", "seen"]);
  assertEquals([reused.leg.fateAfter(closed(0)), reused.leg.fateAfter(malformed)], ["unknown", "seen"]);
});

Deno.test("an answer is read from its head on, and not before something was sent", async () => {
  await using setup = await setUp("SETTINGS");
  const { leg, send, got } = setup;
  await assertRejects(() => leg.readHead(), TypeError);
  const none = { version: "HTTP/2" as const, status: 200, reason: "", fields: [] };
  assertThrows(() => leg.bodyOf(none), TypeError);
  assertThrows(() => leg.takeOver(), TypeError);
  leg.end(undefined);
  await leg.write(BODY, true);
  assertEquals(await got(), []);
  await leg.send(head, BODY.subarray(0, 0), false);
  await send("HEADERS 1 EH :status=103", "HEADERS 1 EH :status=200 a=b", "DATA 1 abc");
  const interim = await leg.readHead();
  assertEquals([interim.status, interim.version, interim.reason, leg.bodyOf(interim).done], [
    103,
    "HTTP/2",
    "",
    true,
  ]);
  const response = await leg.readHead();
  assertEquals([response.status, response.fields.map(({ key }) => key)], [200, ["a"]]);
  const body = leg.bodyOf(response);
  assertEquals([body.done, await body.fill(), body.take().length], [false, true, 3]);
  await leg.takeOver().stream.write(BODY.subarray(0, 1));
  await settle();
  assertEquals(await got(), ["HEADERS 1", "DATA 1 a"]);
});

Deno.test("a status below 200 has no body, 200 has one", async () => {
  await using setup = await setUp("SETTINGS");
  await setup.leg.send(head, BODY.subarray(0, 0), true);
  const done = (status: number) =>
    setup.leg.bodyOf({ version: "HTTP/2" as const, status, reason: "", fields: [] }).done;
  assertEquals([done(199), done(200)], [true, false]);
});

Deno.test("peekBody() waits for the start of a body, and no longer than it may", async () => {
  await using setup = await setUp("SETTINGS");
  const { leg, send } = setup;
  const none = { version: "HTTP/2" as const, status: 400, reason: "", fields: [] };
  const deadlines = new FakeDeadlines();
  assertEquals(await leg.peekBody(none, deadlines), ""); // nothing was sent
  await leg.send(head, BODY.subarray(0, 0), true);
  await send("HEADERS 1 EH :status=400", "DATA 1 {{x*4000}}");
  const response = await leg.readHead();
  const late = leg.peekBody(response, deadlines);
  await settle();
  assertEquals(deadlines.left, [2_000]);
  deadlines.advance(2_000);
  assertEquals(await late, "x".repeat(4_000));
  const whole = leg.peekBody(response, deadlines);
  await send("DATA 1 ES {{y*97}}");
  assertEquals([await whole, deadlines.left], ["x".repeat(4_000) + "y".repeat(96), []]);
  assertEquals(leg.bodyOf(response).take().length > 0, true); // nothing of it was taken

  await using bodyless = await setUp("SETTINGS");
  await bodyless.leg.send(head, BODY.subarray(0, 0), true);
  await bodyless.send("HEADERS 1 ES EH :status=400");
  assertEquals(await bodyless.leg.peekBody(await bodyless.leg.readHead(), deadlines), "");
  assertEquals(deadlines.left, []);
});

Deno.test("close() resets the stream, or takes a request back that waits for its place; it is over once", async () => {
  await using setup = await setUp("SETTINGS");
  await setup.leg.send(head, BODY.subarray(0, 0), true);
  setup.leg.close();
  setup.leg.close();
  setup.leg.release();
  assertEquals([await setup.got(), setup.over()], [["HEADERS 1 ES", "RST_STREAM 1 CANCEL"], 1]);

  await using full = await setUp("SETTINGS MAX_CONCURRENT_STREAMS=0");
  const sent = full.leg.send(head, BODY, true);
  full.leg.close();
  const error = await assertRejects(() => sent, Http2Error);
  assertEquals([error.code, error.h2Code, full.over()], ["upstream.closed", H2.CANCEL, 1]);
  await full.send("SETTINGS MAX_CONCURRENT_STREAMS=1");
  assertEquals(await full.got(), []);
});
