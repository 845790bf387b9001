/** Bytes that become frames: in which turns, how many at once, and what is done when they stop in the middle. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { H2 } from "../../../../proxy/http2/error.ts";
import { Fault } from "../../../../proxy/http2/fault.ts";
import { type Driven, FrameLoop } from "../../../../proxy/http2/frame_loop.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { WatchedOutput } from "../../../support/http2_output.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { codeName, makeFrame, parseFrameLine } from "../../../wire/http2/frame_text.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

const HEAD_MS = 1_001;
const IDLE_MS = 1_002;
const LIMITS = { headTimeoutMs: HEAD_MS, bodyIdleTimeoutMs: IDLE_MS };

/** A loop whose frames are written down. */
function setUp({ limits = {}, takes = true }: { limits?: Partial<Limits>; takes?: boolean } = {}) {
  const [far, stream] = makePipe(1_048_576);
  const reader = new ByteReader(stream);
  const deadlines = new FakeDeadlines();
  const watched = new WatchedOutput({ takes, onRoom: () => loop.onRoom() });
  const told: string[] = [];
  const state = { isOver: false, isIdle: false, isExpecting: false };
  const hooks = {
    onFrame: (_name: string) => {},
    readPreface: (_bytes: Uint8Array): number | undefined => 0,
  };
  const driven: Driven = {
    output: watched.output,
    get isOver() {
      return state.isOver;
    },
    get isIdle() {
      return state.isIdle;
    },
    get isExpecting() {
      return state.isExpecting;
    },
    readPreface: (bytes) => hooks.readPreface(bytes),
    onFrame: ({ type, id, payload }) => {
      const name = `${type}/${id}/${payload.length}`;
      told.push(name);
      hooks.onFrame(name);
    },
    onTurnOver: () => void told.push("turn"),
    onFault: ({ scope, h2Code }) => {
      told.push(`${scope} ${codeName(h2Code)}`);
      state.isOver = true;
    },
    onTimeout: () => void told.push("timeout"),
    onPeerGone: (isBetweenFrames, cause) =>
      void told.push(`gone ${isBetweenFrames}${cause === undefined ? "" : ` ${(cause as Error).name}`}`),
  };
  const loop = new FrameLoop(
    { stream, reader, deadlines, limits: { ...DEFAULT_LIMITS, ...LIMITS, ...limits } },
    driven,
  );
  return {
    ...{ loop, far, reader, deadlines, watched, state, hooks },
    /** What was told since it was asked last; turns in which nothing came are left out. */
    told: () => {
      const all = told.splice(0).join(" ");
      return all.replace(/(?:^|(?<=turn ))turn(?: |$)/g, "").trim();
    },
    send: async (...lines: readonly string[]) => {
      await far.write(Buffer.concat(lines.map(parseFrameLine)));
      await settle();
    },
    sendBytes: async (bytes: Uint8Array) => {
      await far.write(bytes);
      await settle();
    },
    async [Symbol.asyncDispose]() {
      state.isOver = true;
      loop.stop();
      watched.take();
      far.close();
      await settle();
    },
  };
}

Deno.test("frames are handed on in order, wherever the bytes are cut, and counted once they are whole", async () => {
  await using made = setUp();
  const running = made.loop.run();
  const bytes = Buffer.concat(["HEADERS 1 EH GET:/", "DATA 1 abc", "PING"].map(parseFrameLine));
  for (const byte of bytes) await made.sendBytes(Buffer.from([byte]));
  const [head] = made.told().split(" ");
  assert(head?.startsWith("1/1/"));
  assertEquals(made.loop.bytesIn, bytes.length);
  await made.send("DATA 1 abc", "PING", "DATA 3 ES");
  assertEquals(made.told(), "0/1/3 6/0/8 0/3/0 turn");
  assertEquals(made.loop.bytesIn, bytes.length + 12 + 17 + 9);
  const ping = parseFrameLine("PING");
  await made.sendBytes(Buffer.concat([parseFrameLine("DATA 5 abc"), ping.subarray(0, 16)]));
  assertEquals([made.told(), made.loop.bytesIn], ["0/5/3 turn", bytes.length + 50]);
  await made.sendBytes(Buffer.concat([ping.subarray(16), ping.subarray(0, 16)]));
  assertEquals([made.told(), made.loop.bytesIn], ["6/0/8 turn", bytes.length + 67]);
  await made.far.closeWrite();
  await running;
  assertEquals(made.told(), "gone false");
});

Deno.test("nothing is handed on before whoever made the connection has it", async () => {
  await using made = setUp();
  await made.far.write(parseFrameLine("PING"));
  await made.reader.fill();
  const running = made.loop.run();
  assertEquals(made.told(), "");
  await made.far.closeWrite();
  await running;
  assertEquals(made.told(), "6/0/8 turn gone true");
});

Deno.test("the end of the peer is told with whether it came between frames, and why", async () => {
  await using cut = setUp();
  const running = cut.loop.run();
  cut.far.abort();
  await running;
  assertEquals(cut.told(), "gone true UnexpectedEof");
});

Deno.test("what comes before all frames is read first, and counted", async () => {
  await using made = setUp();
  const running = made.loop.run();
  let isRead = false;
  made.hooks.readPreface = (bytes) => {
    if (isRead) return 0;
    if (bytes.length < 4) return undefined;
    isRead = true;
    return 4;
  };
  await made.sendBytes(Buffer.from("pre"));
  assertEquals([made.told(), made.loop.bytesIn, made.reader.size], ["", 0, 3]);
  await made.sendBytes(Buffer.concat([Buffer.from("f"), parseFrameLine("PING")]));
  assertEquals([made.told(), made.loop.bytesIn], ["6/0/8 turn", 4 + 17]);
  made.hooks.readPreface = () => {
    throw new Fault("connection", H2.PROTOCOL_ERROR, "x");
  };
  await made.send("PING");
  assertEquals(made.told(), "connection PROTOCOL_ERROR turn");
  await made.far.closeWrite();
  await running;
});

Deno.test("a frame has at most 16,384 bytes, known from its head", async () => {
  await using made = setUp();
  const running = made.loop.run();
  await made.sendBytes(makeFrame(0, 0, 1, new Uint8Array(16_384)));
  assertEquals(made.told(), "0/1/16384 turn");
  await made.sendBytes(makeFrame(0, 0, 1, new Uint8Array(16_385)).subarray(0, 9));
  assertEquals(made.told(), "connection FRAME_SIZE_ERROR turn");
  await made.far.closeWrite();
  await running;
});

Deno.test("a turn has so many heads, and what stands behind the last of them", async () => {
  await using made = setUp({ limits: { maxHttp2HeadsInTurn: 2 } });
  const heads = [1, 3].flatMap((id) => [`HEADERS ${id} EH`, `RST_STREAM ${id} CANCEL`]);
  await made.far.write(
    Buffer.concat([...heads, "HEADERS 5 EH", "HEADERS 7 EH", "HEADERS 9 EH"].map(parseFrameLine)),
  );
  const running = made.loop.run();
  await waitUntil("all came", () => made.loop.bytesIn === 5 * 9 + 2 * 13);
  assertEquals(made.told(), "1/1/0 3/1/4 1/3/0 3/3/4 turn 1/5/0 1/7/0 turn 1/9/0 turn");
  await made.far.closeWrite();
  await running;
});

Deno.test("a turn has so many frames, however many reads brought them", async () => {
  await using made = setUp({ limits: { maxHttp2FramesInTurn: 3 } });
  await made.far.write(Buffer.concat(Array.from({ length: 7 }, () => parseFrameLine("PRIORITY 1"))));
  const running = made.loop.run();
  await waitUntil("all came", () => made.loop.bytesIn === 7 * 14);
  assertEquals(made.told(), "2/1/5 2/1/5 2/1/5 turn 2/1/5 2/1/5 2/1/5 turn 2/1/5 turn");
  await made.far.closeWrite();
  await running;
});

Deno.test("others have their turn between two of a connection's", async () => {
  await using made = setUp({ limits: { maxHttp2FramesInTurn: 1 } });
  let turns = 0;
  const seen: number[] = [];
  made.hooks.onFrame = () => void seen.push(turns);
  await made.far.write(Buffer.concat(Array.from({ length: 3 }, () => parseFrameLine("PRIORITY 1"))));
  const running = made.loop.run();
  while (seen.length < 3) {
    await new Promise<void>((resolve) => setTimeout(resolve));
    turns++;
  }
  assert((seen[0] ?? 0) <= (seen[1] ?? 0) && made.told() === "2/1/5 turn 2/1/5 turn 2/1/5 turn");
  await made.far.closeWrite();
  await running;
});

Deno.test("nothing behind the end of a connection is handed on, but all of it is read", async () => {
  await using made = setUp();
  const running = made.loop.run();
  made.hooks.onFrame = (name) => made.state.isOver = name.startsWith("6");
  await made.send("DATA 1 a", "PING", "DATA 1 b", "DATA 1 c");
  assertEquals(made.told(), "0/1/1 6/0/8 turn");
  await made.send("PING");
  assertEquals([made.told(), made.reader.size], ["", 0]);
  await made.far.closeWrite();
  await running;
  assertEquals(made.told(), "gone true");
});

Deno.test("what is no fault of the peer's ends the loop", async () => {
  await using made = setUp();
  made.hooks.onFrame = () => {
    throw new RangeError("a bug of ours");
  };
  const running = made.loop.run();
  running.catch(() => {});
  await made.send("PING");
  await assertRejects(() => running, RangeError);
});

Deno.test("a peer that does not take what it is answered is not read until it does", async () => {
  await using made = setUp({ takes: false, limits: { maxHttp2BacklogBytes: 50 } });
  const running = made.loop.run();
  const fill = (bytes: number) => made.watched.output.frame(0, 0, 1, new Uint8Array(bytes - 9));
  await made.send("PING", "PING"); // behind its head there is no deadline
  made.told();
  fill(100); // twice as much as may wait, and no more
  await made.send("PING");
  assertEquals(made.told(), "6/0/8 turn");
  assertEquals(made.deadlines.left, []);
  fill(9);
  await made.send("DATA 1 abc", "DATA 1 abc");
  assertEquals([made.told(), made.deadlines.left], ["", [IDLE_MS]]);
  assertEquals(made.reader.size > 0, true);
  made.loop.onRoom(); // of which there is none yet
  await settle();
  assertEquals(made.told(), "");
  made.watched.take();
  await settle();
  assertEquals([made.told(), made.deadlines.left], ["0/1/3 0/1/3 turn", []]);
  made.loop.onRoom(); // nobody waits
  await made.far.closeWrite();
  await running;
});

Deno.test("frames that fill the way out are the last ones that are handled", async () => {
  await using made = setUp({ takes: false, limits: { maxHttp2BacklogBytes: 50 } });
  const running = made.loop.run();
  made.hooks.onFrame = () => made.watched.output.frame(6, 1, 0, new Uint8Array(51));
  await made.send("PING", "PING", "PING");
  assertEquals(made.told(), "6/0/8 6/0/8 turn");
  made.deadlines.advance(IDLE_MS);
  assertEquals(made.told(), "timeout");
  made.state.isOver = true;
  made.loop.stop();
  await settle();
  await made.far.closeWrite();
  await running;
  assertEquals(made.told(), "gone true");
});

Deno.test("room lets a connection go on whose end has come meanwhile, though there is none", async () => {
  await using made = setUp({ takes: false, limits: { maxHttp2BacklogBytes: 50 } });
  const running = made.loop.run();
  made.watched.output.frame(0, 0, 1, new Uint8Array(200));
  await made.send("PING");
  assertEquals(made.told(), "");
  made.state.isOver = true;
  made.loop.onRoom();
  await settle();
  assertEquals([made.told(), made.reader.size], ["", 0]);
  await made.far.closeWrite();
  await running;
});

Deno.test("heads and control frames have their time, bodies and silence have not", async (t) => {
  const partial = async (line: string, count: number) => {
    const made = setUp();
    const running = made.loop.run();
    assertEquals(made.deadlines.left, [HEAD_MS]); // for the first SETTINGS
    await made.send("PING");
    assertEquals(made.deadlines.left, []);
    made.told();
    const bytes = parseFrameLine(line);
    await made.sendBytes(bytes.subarray(0, count));
    return { made, running, rest: bytes.subarray(count) };
  };
  const rows: readonly (readonly [name: string, line: string, count: number, isDue: boolean])[] = [
    ["one byte of a head", "HEADERS 1 EH a=1", 1, true],
    ["a head's head", "HEADERS 1 EH a=1", 9, true],
    ["a control frame", "PING", 16, true],
    ["a body's head", "DATA 1 abc", 9, false],
    ["a body's head up to its type", "DATA 1 abc", 4, false],
    ["a body's length alone", "DATA 1 abc", 3, true],
    ["a body", "DATA 1 abc", 11, false],
  ];
  for (const [name, line, count, isDue] of rows) {
    await t.step(name, async () => {
      const { made, running, rest } = await partial(line, count);
      assertEquals(made.deadlines.left, isDue ? [HEAD_MS] : []);
      await made.sendBytes(rest);
      assertEquals(made.deadlines.left, []);
      await made.far.closeWrite();
      await running;
      await made[Symbol.asyncDispose]();
    });
  }
  await t.step("it does not move with more bytes of the same head", async () => {
    const { made, running, rest } = await partial("PING", 5);
    made.deadlines.advance(1);
    await made.sendBytes(rest.subarray(0, 1));
    await made.sendBytes(rest.subarray(1, 2));
    assertEquals([made.told(), made.deadlines.left], ["", [HEAD_MS - 1]]);
    made.deadlines.advance(HEAD_MS - 1);
    assertEquals(made.told(), "timeout");
    await made.far.closeWrite();
    await running;
    await made[Symbol.asyncDispose]();
  });
  await t.step("inside of what has to come in one go", async () => {
    await using made = setUp();
    const running = made.loop.run();
    made.hooks.onFrame = (name) => made.state.isExpecting = name.startsWith("1");
    await made.send("PING");
    assertEquals(made.deadlines.left, []);
    await made.send("HEADERS 1");
    assertEquals(made.deadlines.left, [HEAD_MS]);
    await made.send("CONTINUATION 1 EH");
    assertEquals(made.deadlines.left, []);
    await made.far.closeWrite();
    await running;
  });
  await t.step("it is due", async () => {
    await using made = setUp();
    const running = made.loop.run();
    made.deadlines.advance(HEAD_MS);
    assertEquals(made.told(), "timeout");
    await made.far.closeWrite();
    await running;
  });
  await t.step("not once it is over", async () => {
    await using made = setUp();
    const running = made.loop.run();
    await made.send("PING");
    made.hooks.onFrame = () => made.state.isOver = true;
    await made.sendBytes(Buffer.concat([parseFrameLine("PING"), Buffer.from([0])]));
    assertEquals(made.deadlines.left, []);
    await made.far.closeWrite();
    await running;
  });
  await t.step("not while the peer is not read: that has its own time", async () => {
    await using made = setUp({ takes: false, limits: { maxHttp2BacklogBytes: 50 } });
    const running = made.loop.run();
    await made.send("PING");
    made.hooks.onFrame = () => made.watched.output.frame(0, 0, 1, new Uint8Array(200));
    await made.send("PING", "PING");
    assertEquals(made.deadlines.left, [IDLE_MS]);
    made.loop.stop();
    await made.far.closeWrite();
    made.state.isOver = true;
    await running;
  });
  await t.step("stopped", async () => {
    await using made = setUp();
    const running = made.loop.run();
    made.loop.stop();
    assertEquals(made.deadlines.left, []);
    await made.far.closeWrite();
    await running;
  });
});

Deno.test("an idle connection gives its buffers back before it waits", async () => {
  await using made = setUp();
  const rests: string[] = [];
  made.reader.rest = () => void rests.push("reader");
  made.watched.output.rest = () => void rests.push("output");
  const running = made.loop.run();
  await made.send("PING");
  assertEquals(rests, []);
  made.state.isIdle = true;
  await made.send("PING");
  assertEquals(rests, ["reader", "output"]);
  await made.far.closeWrite();
  await running;
});
