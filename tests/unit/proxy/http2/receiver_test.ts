/** What each frame of a peer does, and what it costs: beside a connection that writes down what it is told. */
import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { Budget } from "../../../../proxy/http2/budget.ts";
import { ClientStream } from "../../../../proxy/http2/client_stream.ts";
import { H2 } from "../../../../proxy/http2/error.ts";
import { DataSender, ReceiveWindow } from "../../../../proxy/http2/flow.ts";
import { frameAt } from "../../../../proxy/http2/frames.ts";
import { Receiver } from "../../../../proxy/http2/receiver.ts";
import { ServerStream } from "../../../../proxy/http2/server_stream.ts";
import { INITIAL_PEER_SETTINGS } from "../../../../proxy/http2/settings.ts";
import type { StreamCore } from "../../../../proxy/http2/stream.ts";
import { faultOf } from "../../../support/http2_faults.ts";
import { WatchedOutput } from "../../../support/http2_output.ts";
import { WatchedLink } from "../../../support/http2_stream_link.ts";
import { codeName, parseFrameLine } from "../../../wire/http2/frame_text.ts";

const IDLE_FROM = 9;

interface Setting {
  readonly isFromServer?: boolean;
  readonly limits?: Partial<Limits>;
  readonly control?: number;
  readonly peerResets?: Budget;
  /** Bytes of the connection's window. */
  readonly window?: number;
  /** The first SETTINGS did not come. */
  readonly isNew?: boolean;
}

/** A receiver whose streams are 1, 3 and 5, open; 7 is closed; those from 9 on are idle. */
function setUp(
  { isFromServer = false, limits = {}, control = 100, peerResets, window = 1_000, isNew = false }: Setting =
    {},
) {
  const told: string[] = [];
  const watched = new WatchedOutput();
  const budget = new Budget(control + 1, 0); // the first SETTINGS cost one
  const link = new WatchedLink();
  const windows = { receive: 500, send: 0 };
  const head = {
    method: "POST",
    scheme: "https",
    authority: "a",
    path: "/",
    protocol: undefined,
    fields: [],
  };
  const make = (id: number): StreamCore =>
    isFromServer
      ? new ClientStream(id, link, { windows, method: "GET", maxInterim: 3, end: false })
      : new ServerStream(id, link, {
        windows,
        request: { head, contentLength: undefined },
        isBodyless: false,
      });
  const streams = new Map([1, 3, 5].map((id) => [id, make(id)]));
  const peer = { ...INITIAL_PEER_SETTINGS };
  const all = { ...DEFAULT_LIMITS, http2ResetsPerSecond: 0, ...limits };
  const receiver = new Receiver({
    limits: all,
    isFromServer,
    streams,
    peer,
    output: watched.output,
    sender: new DataSender({
      output: watched.output,
      deadlines: new Deadlines(),
      control: budget,
      maxBacklogBytes: 1_000_000,
      stallTimeoutMs: 1_000,
      minProgressBytes: 1,
      onStall: () => {},
    }),
    window: new ReceiveWindow(window),
    control: budget,
    peerResets,
    isIdle: (id) => id % 2 === 0 || id >= IDLE_FROM,
    giveCredit: (count) => void (count !== 0 && told.push(`credit ${count}`)),
    cut: (id, { h2Code, isFlood }) =>
      void told.push(`cut ${id} ${codeName(h2Code)}${isFlood ? " flood" : ""}`),
    onHeaders: ({ id, end, list }) => void told.push(`headers ${id} ${end} ${list?.length}`),
    onGoAway: (lastId, code) => void told.push(`goaway ${lastId} ${code}`),
    onSettings: () => void told.push("settings"),
    onSettingsSeen: () => void told.push("seen"),
  });
  /** Takes frames, and says how the last of them was taken. */
  const take = (...lines: readonly string[]) => {
    let fault = "none";
    for (const line of lines) fault = faultOf(() => receiver.take(frameAt(parseFrameLine(line), 0)));
    return fault;
  };
  if (!isNew) {
    take("SETTINGS");
    told.length = 0;
  }
  return {
    ...{ receiver, streams, peer, take, budget, link },
    frames: async () => (await watched.frames()).filter((line) => isNew || line !== "SETTINGS ACK"),
    told: () => told.splice(0),
    /** Tokens of the control budget that are left. */
    left: () => {
      let count = 0;
      while (budget.take()) count++;
      return count;
    },
  };
}

const BAD = "connection PROTOCOL_ERROR";
const CLOSED = "connection STREAM_CLOSED";
const FLOOD = "connection ENHANCE_YOUR_CALM flood";

Deno.test("the first frame is SETTINGS, which are no acknowledgement", () => {
  assertEquals(setUp({ isNew: true }).take("PING"), BAD);
  assertEquals(setUp({ isNew: true }).take("SETTINGS ACK"), BAD);
  assertEquals(setUp({ isNew: true }).take("WINDOW_UPDATE 0 1"), BAD);
  const { take, receiver, told } = setUp({ isNew: true });
  assertEquals(receiver.isExpecting, true);
  assertEquals(take("SETTINGS"), "none");
  assertEquals([receiver.isExpecting, told()], [false, ["settings"]]);
  assertEquals([take("SETTINGS ACK"), told()], ["none", ["seen"]]);
  assertEquals(take("HEADERS 9 ES GET:/"), "none");
  assertEquals(receiver.isExpecting, true); // the rest of the block
  assertEquals(take("CONTINUATION 9 EH a=1"), "none");
  assertEquals([receiver.isExpecting, told()], [false, ["headers 9 true 5"]]);
});

Deno.test("a block is in one piece, and a frame is checked before its meaning", () => {
  const { take, told } = setUp();
  assertEquals(take("CONTINUATION 9 EH a=1"), BAD);
  assertEquals(take("HEADERS 9 GET:/", "PING"), BAD);
  assertEquals(setUp().take("FRAME 6 0 0 00"), "connection FRAME_SIZE_ERROR");
  assertEquals(setUp().take("PUSH_PROMISE 1"), BAD);
  assertEquals(setUp({ isFromServer: true }).take("PUSH_PROMISE 1"), BAD);
  assertEquals(told(), []);
});

Deno.test("an error of a stream cuts it, is paid for, and leaves the connection alone", () => {
  const peerResets = new Budget(2, 0);
  const { take, told } = setUp({ limits: { maxHttp2ClientResets: 2 }, peerResets });
  assertEquals([take("FRAME 2 0 1 00"), told()], ["none", ["cut 1 FRAME_SIZE_ERROR"]]);
  assertEquals(peerResets.isSpent, false);
  assertEquals([take("FRAME 2 0 3 00"), told()], ["none", ["cut 3 FRAME_SIZE_ERROR"]]);
  assertEquals(peerResets.isSpent, true);
  assertEquals([take("FRAME 2 0 5 00"), told()], [FLOOD, []]);
});

Deno.test("resets have a budget: a client's connection another than an upstream's", () => {
  const resets = (isFromServer: boolean) => {
    const limits = { maxHttp2Resets: 3, maxHttp2ClientResets: 1 };
    const { take } = setUp({ isFromServer, limits });
    let count = 0;
    while (take("RST_STREAM 7 CANCEL") === "none") count++;
    return count;
  };
  assertEquals([resets(true), resets(false)], [3, 1]);
});

Deno.test("RST_STREAM cuts its stream with its code, counts, and needs one that is not idle", () => {
  const peerResets = new Budget(2, 0);
  const { take, streams, receiver } = setUp({ peerResets });
  assertEquals(take("RST_STREAM 1 REFUSED_STREAM"), "none");
  assertEquals([streams.get(1)?.error?.h2Code, streams.get(3)?.error], [H2.REFUSED_STREAM, undefined]);
  assertEquals(take("RST_STREAM 7 CANCEL"), "none");
  assertEquals([receiver.resetsIn, peerResets.isSpent], [2, true]);
  assertEquals([take("RST_STREAM 9 CANCEL"), receiver.resetsIn], [BAD, 3]);
});

Deno.test("who ends streams in order may give up more: half a one for each", () => {
  const peerResets = new Budget(4, 0);
  const { take, receiver } = setUp({ limits: { maxHttp2ClientResets: 2 }, peerResets });
  assertEquals(take("RST_STREAM 7 CANCEL", "RST_STREAM 7 CANCEL"), "none");
  receiver.onWhole();
  assertEquals(take("RST_STREAM 7 CANCEL"), FLOOD);
  peerResets.charge(100);
  receiver.onWhole();
  assertEquals(take("RST_STREAM 7 CANCEL"), "none");
  assertEquals(take("RST_STREAM 7 CANCEL"), FLOOD);
  // A debt of four: eight pay it, and the tenth makes it one that can be taken.
  const debt = new Budget(4, 0);
  debt.charge(100);
  const other = setUp({ peerResets: debt }).receiver;
  for (let nth = 0; nth < 9; nth++) other.onWhole();
  assertEquals(debt.isSpent, true);
  other.onWhole();
  assertEquals(debt.isSpent, false);
});

Deno.test("DATA is for the connection's window first, also of a stream that is none any more", () => {
  assertEquals(setUp({ window: 10 }).take("DATA 1 {{x*10}}"), "none");
  assertEquals(setUp({ window: 10 }).take("DATA 1 {{x*11}}"), "connection FLOW_CONTROL_ERROR");
  assertEquals(setUp({ window: 10 }).take("DATA 1 pad=9 a"), "connection FLOW_CONTROL_ERROR");
  const { take, told, receiver, streams } = setUp({ window: 50 });
  assertEquals(take("DATA 9 abc"), BAD);
  assertEquals(take("DATA 7 abc"), CLOSED);
  receiver.rememberReset(7);
  assertEquals([take("DATA 7 pad=5 abc"), told()], ["none", ["credit 9"]]);
  assertEquals([take("DATA 1 pad=5 abc"), told()], ["none", ["credit 6"]]);
  assertEquals(streams.get(1)?.available.length, 3);
  assertEquals([take("DATA 1 ES abc"), told()], ["none", []]);
  // Refused by the stream, its bytes are nobody's.
  assertEquals([take("DATA 1 abcd"), told()], ["none", ["credit 4", "cut 1 STREAM_CLOSED"]]);
});

Deno.test("frames that bring nothing cost one of the control budget, others give one back", async (t) => {
  const rows: readonly (readonly [name: string, line: string, cost: number, fault?: string])[] = [
    ["DATA", "DATA 1 a", -1],
    ["DATA and the end", "DATA 1 ES a", -1],
    ["DATA without a byte", "DATA 1", 1],
    ["DATA of padding alone", "DATA 1 pad=3", 1],
    ["the end without a byte", "DATA 1 ES", 0],
    ["DATA of a stream that we have reset", "DATA 5 a", 0], // one back, one paid
    ["DATA without a byte of one", "DATA 5", 2],
    ["HEADERS", "HEADERS 9 EH GET:/", -1],
    ["HEADERS that go on", "HEADERS 9 GET:/", 0],
    ["PRIORITY", "PRIORITY 9", 1],
    ["RST_STREAM", "RST_STREAM 1 CANCEL", 0],
    ["SETTINGS", "SETTINGS", 1],
    ["an acknowledgement", "SETTINGS ACK", 1],
    ["PING", "PING", 1],
    ["a PING's answer that nobody waits for", "PING ACK", 1],
    ["GOAWAY", "GOAWAY 0 NO_ERROR", 1],
    ["WINDOW_UPDATE", "WINDOW_UPDATE 0 1", 1],
    ["WINDOW_UPDATE of a closed stream", "WINDOW_UPDATE 7 1", 1],
    ["an unknown frame", "FRAME 99 0 0 00", 1],
  ];
  for (const [name, line, cost] of rows) {
    await t.step(name, () => {
      const { take, left, budget, streams, receiver } = setUp({ control: 20 });
      streams.delete(5);
      receiver.rememberReset(5);
      budget.charge(10);
      assertEquals(take(line), "none");
      assertEquals(left(), 10 - cost);
    });
    if (cost <= 0) continue;
    await t.step(`${name}, without end`, () => {
      const { take, budget, streams, receiver } = setUp({ control: 5 });
      streams.delete(5);
      receiver.rememberReset(5);
      budget.charge(5);
      assertEquals(take(line), FLOOD);
    });
  }
});

Deno.test("WINDOW_UPDATE opens the window that it names, and is an error where it opens nothing", async () => {
  const { take, told, streams, frames } = setUp({ isFromServer: true });
  const stream = streams.get(1);
  assertEquals(take("WINDOW_UPDATE 1 7"), "none");
  assertEquals([stream?.outgoing.window, streams.get(3)?.outgoing.window], [7, 0]);
  assertEquals(take("WINDOW_UPDATE 0 7", "WINDOW_UPDATE 7 7"), "none");
  assertEquals(take("WINDOW_UPDATE 9 7"), BAD);
  assertEquals([take("WINDOW_UPDATE 1 0"), told()], ["none", ["cut 1 PROTOCOL_ERROR"]]);
  assertEquals(take("WINDOW_UPDATE 0 0"), BAD);
  assertEquals(take("WINDOW_UPDATE 7 0"), BAD);
  assertEquals(take("WINDOW_UPDATE 9 0"), BAD);
  assertEquals(take(`WINDOW_UPDATE 0 ${2 ** 31 - 1}`), "connection FLOW_CONTROL_ERROR");
  assertEquals([take(`WINDOW_UPDATE 3 ${2 ** 31 - 1}`), told()], ["none", []]);
  assertEquals([take("WINDOW_UPDATE 3 1"), told()], ["none", ["cut 3 FLOW_CONTROL_ERROR"]]);
  assertEquals(await frames(), []);
});

Deno.test("SETTINGS are acknowledged, change what the streams may send, and are told once they hold", async () => {
  const { take, told, peer, streams, frames } = setUp({ isNew: true });
  assertEquals(take("SETTINGS MAX_CONCURRENT_STREAMS=7 INITIAL_WINDOW_SIZE=65540"), "none");
  assertEquals([peer.maxConcurrentStreams, peer.initialWindowSize], [7, 65_540]);
  assertEquals([...streams.values()].map(({ outgoing }) => outgoing.window), [5, 5, 5]);
  assertEquals([await frames(), told()], [["SETTINGS ACK"], ["settings"]]);
  assertEquals(take("SETTINGS INITIAL_WINDOW_SIZE=65530"), "none");
  assertEquals(streams.get(3)?.outgoing.window, -5);
  assertEquals([await frames(), told()], [["SETTINGS ACK"], ["settings"]]);
  assertEquals(take("SETTINGS ACK"), "none");
  assertEquals([await frames(), told()], [[], ["seen"]]);
  assertEquals([take("SETTINGS MAX_FRAME_SIZE=1"), told()], [BAD, []]);
});

Deno.test("SETTINGS that make a stream's window too large are an error of the connection, which tells nobody", () => {
  const { take, told } = setUp();
  assertEquals(
    take("WINDOW_UPDATE 1 70000", `SETTINGS INITIAL_WINDOW_SIZE=${2 ** 31 - 1}`),
    "connection FLOW_CONTROL_ERROR",
  );
  assertEquals(told(), []);
});

Deno.test("push is for a server to leave off, and nothing that a client would turn on", () => {
  assertEquals(setUp({ isFromServer: true }).take("SETTINGS ENABLE_PUSH=1"), BAD);
  assertEquals(setUp({ isFromServer: false }).take("SETTINGS ENABLE_PUSH=1"), "none");
});

Deno.test("PING is answered with its own bytes, once; an answer is ours only if it has our bytes", async () => {
  const { take, receiver, frames, left } = setUp({ control: 10 });
  assertEquals(take("PING 0102030405060708"), "none");
  assertEquals(await frames(), ["PING ACK 0102030405060708"]);
  let pongs = 0;
  receiver.ping(() => pongs++);
  assertEquals(await frames(), ["PING 736c696365727078"]); // slicerpx
  assertEquals([take("PING ACK 736c696365727079"), pongs], ["none", 0]);
  assertEquals([take("PING ACK 736c696365727078"), pongs], ["none", 1]);
  assertEquals([take("PING ACK 736c696365727078"), pongs], ["none", 1]);
  assertEquals([await frames(), left()], [[], 10 - 3]);
});

Deno.test("GOAWAY is told with the stream and the code that it names", () => {
  const { take, told } = setUp();
  assertEquals(take("GOAWAY 7 CANCEL"), "none");
  assertEquals(take("FRAME 7 0 0 80000003ffffffff"), "none");
  assertEquals(told(), ["goaway 7 8", `goaway 3 ${2 ** 32 - 1}`]);
});

Deno.test("what comes for a closed stream is an error, unless we have reset it lately", () => {
  const { receiver } = setUp({ limits: { maxHttp2RememberedResets: 2 } });
  const check = (id: number) => faultOf(() => receiver.checkClosedStream(id));
  assertEquals([check(7), check(9)], [CLOSED, BAD]);
  for (const id of [1, 3]) receiver.rememberReset(id);
  assertEquals([check(1), check(3)], ["none", "none"]);
  receiver.rememberReset(5); // which makes it forget the oldest
  assertEquals([check(1), check(3), check(5)], [CLOSED, "none", "none"]);
});

Deno.test("what is no fault of the peer's is not taken for one", () => {
  const { streams, receiver } = setUp();
  const stream = streams.get(1);
  if (stream) {
    stream.onReset = () => {
      throw new RangeError("a bug of ours");
    };
  }
  let error: unknown;
  try {
    receiver.take(frameAt(Buffer.from(parseFrameLine("RST_STREAM 1 CANCEL")), 0));
  } catch (caught) {
    error = caught;
  }
  assertEquals(error instanceof RangeError, true);
});
