/** Windows in both directions: what may leave, in which turns, and what is given back when. */
import { assertEquals, assertRejects } from "@std/assert";
import { Budget } from "../../../../proxy/http2/budget.ts";
import { DataSender, Outgoing, ReceiveWindow } from "../../../../proxy/http2/flow.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { faultOf } from "../../../support/http2_faults.ts";
import { WatchedOutput } from "../../../support/http2_output.ts";

Deno.test("ReceiveWindow lets its size in, and gives credit back by halves", () => {
  const window = new ReceiveWindow(100);
  assertEquals([window.size, window.take(100), window.take(0)], [100, true, true]);
  assertEquals([window.give(49), window.give(1), window.give(49)], [0, 50, 0]);
  assertEquals([window.take(50), window.take(1)], [true, false]);
});

Deno.test("ReceiveWindow tells the peer at once of a window that is larger than what it begins with", () => {
  assertEquals([new ReceiveWindow(100, 50).give(0), new ReceiveWindow(100, 51).give(0)], [50, 0]);
  const window = new ReceiveWindow(100, 60);
  assertEquals([window.take(60), window.take(1)], [true, false]);
});

Deno.test("ReceiveWindow.grow() is credit, and may be taken back", () => {
  const window = new ReceiveWindow(100);
  window.grow(100);
  assertEquals([window.size, window.give(0)], [200, 100]);
  assertEquals([window.take(200), window.take(1)], [true, false]);
  const smaller = new ReceiveWindow(100);
  smaller.grow(-40);
  assertEquals([smaller.size, smaller.give(50), smaller.give(20)], [60, 0, 30]);
});

/** A sender, the frames that leave, and the deadlines of writes that wait: of 1,234 ms. */
function setUp(
  { takes = true, maxBacklogBytes = 1_000_000, control = new Budget(100, 0) }: {
    readonly takes?: boolean;
    readonly maxBacklogBytes?: number;
    readonly control?: Budget;
  } = {},
) {
  const watched = new WatchedOutput({ takes, onRoom: () => sender.resume() });
  const deadlines = new FakeDeadlines();
  const stalled: number[] = [];
  const sender = new DataSender({
    output: watched.output,
    deadlines,
    control,
    maxBacklogBytes,
    stallTimeoutMs: 1_234,
    minProgressBytes: 100,
    onStall: (id) => void stalled.push(id),
  });
  /** Lines without the bytes themselves: `DATA 1 ES 5`. */
  const sent = async () =>
    (await watched.frames()).map((line) => {
      const [, id, rest = ""] = /^DATA (\d+) ?(.*)$/s.exec(line) ?? [];
      const [, end = "", text = ""] = /^(ES)? ?(.*)$/s.exec(rest) ?? [];
      const count = /\*(\d+)\}\}$/.exec(text)?.[1] ?? text.length;
      return `${id}${end && " ES"} ${count}`;
    });
  return { ...{ watched, deadlines, stalled, sender, sent }, out: new Outgoing(1, 100_000) };
}
const bytes = (count: number) => new Uint8Array(count).fill(0x78);

Deno.test("send() cuts into frames of 16,384 bytes, and only the last one ends the stream", async () => {
  const { sender, sent, out, deadlines } = setUp();
  await sender.send(out, bytes(16_384 + 16_384 + 5), true);
  assertEquals(await sent(), ["1 16384", "1 16384", "1 ES 5"]);
  await sender.send(new Outgoing(3, 100_000), bytes(5), false);
  await sender.send(new Outgoing(5, 100_000), bytes(16_384), true);
  assertEquals(await sent(), ["3 5", "5 ES 16384"]);
  assertEquals([out.window, deadlines.left], [100_000 - 32_773, []]);
});

Deno.test("send() needs no window for an end without a byte, not even while others wait", async () => {
  const { sender, sent, out } = setUp();
  await sender.send(new Outgoing(3, 0), bytes(0), true);
  await sender.send(new Outgoing(5, 0), bytes(0), false);
  assertEquals(await sent(), ["3 ES 0"]);
  const waiting = sender.send(out, bytes(65_535 + 1), false); // one byte more than the connection lets
  assertEquals(await sent(), ["1 16384", "1 16384", "1 16384", "1 16383"]);
  await sender.send(new Outgoing(7, 0), bytes(0), true);
  assertEquals(await sent(), ["7 ES 0"]);
  sender.addWindow(1);
  await waiting;
  assertEquals(await sent(), ["1 1"]);
});

Deno.test("a write waits for the stream's window, which opens by WINDOW_UPDATE and by SETTINGS, up and down", async () => {
  const { sender, sent, deadlines } = setUp();
  const out = new Outgoing(1, 3);
  let isDone = false;
  const done = sender.send(out, bytes(10), true).then(() => isDone = true);
  assertEquals([await sent(), out.window, isDone, deadlines.left], [["1 3"], 0, false, [1_234]]);
  sender.addWindow(1_000); // of no use to it
  sender.addStreamWindow(out, -5);
  sender.addStreamWindow(out, 5);
  assertEquals([await sent(), out.window], [[], 0]);
  sender.addStreamWindow(out, 1);
  assertEquals([await sent(), isDone], [["1 1"], false]);
  sender.addStreamWindow(out, 6);
  await done;
  assertEquals([await sent(), out.waiting, out.window], [["1 ES 6"], undefined, 0]);
  assertEquals(deadlines.left, []);
  sender.addStreamWindow(out, 9); // nothing waits
  assertEquals([await sent(), out.window], [[], 9]);
});

Deno.test("a window that SETTINGS close takes the stream out of the line, and holds up nobody else", async () => {
  const { sender, sent } = setUp({ takes: false, maxBacklogBytes: 50 });
  const [one, three] = [new Outgoing(1, 1_000), new Outgoing(3, 1_000)];
  await sender.send(new Outgoing(9, 100), bytes(60), false); // the socket is full
  const first = sender.send(one, bytes(5), false);
  const second = sender.send(three, bytes(6), false);
  first.catch(() => {});
  sender.addStreamWindow(one, -1_000);
  sender.resume();
  assertEquals(await sent(), ["9 60"]);
  sender.drop(one, new Error("x"));
  assertEquals(await first.catch(() => "rejected"), "rejected");
  assertEquals(three.waiting !== undefined, true);
  sender.drop(three, new Error("x"));
  await assertRejects(() => second);
});

Deno.test("streams that wait for the connection's window have a frame each in turn, those that came first first", async () => {
  const { sender, sent, out } = setUp();
  await sender.send(out, bytes(65_535), false);
  await sent();
  const [three, five] = [new Outgoing(3, 1_000_000), new Outgoing(5, 1_000_000)];
  const all = [
    sender.send(three, bytes(40_000), true),
    sender.send(five, bytes(20_000), true),
  ];
  sender.addWindow(100); // what is open belongs to the first
  assertEquals(await sent(), ["3 100"]);
  sender.addWindow(100_000);
  await Promise.all(all);
  assertEquals(await sent(), ["5 16384", "3 16384", "5 ES 3616", "3 16384", "3 ES 7132"]);
  const rest = sender.send(new Outgoing(7, 100_000), bytes(40_101), true);
  assertEquals(await sent(), ["7 16384", "7 16384", "7 7332"]);
  sender.addWindow(1);
  await rest;
});

Deno.test("a stream whose own window is shut holds up nobody behind it", async () => {
  const { sender, sent, out } = setUp();
  await sender.send(out, bytes(65_535), false);
  await sent();
  const shut = new Outgoing(3, 0);
  const waiting = sender.send(shut, bytes(5), true);
  const last = sender.send(new Outgoing(7, 1), bytes(1), true);
  // To the byte: what is left of its window behind a frame is sent as well.
  const open = new Outgoing(5, 16_385);
  const other = sender.send(open, bytes(20_000), true);
  sender.resume();
  sender.addWindow(16_390);
  await last;
  assertEquals(await sent(), ["7 ES 1", "5 16384", "5 1"]);
  sender.addStreamWindow(shut, 10);
  assertEquals(await sent(), ["3 4"]); // and then the connection has none
  sender.drop(shut, new Error("x"));
  sender.drop(open, new Error("x"));
  await assertRejects(() => waiting);
  await assertRejects(() => other);
});

Deno.test("who comes while others wait does not overtake them", async () => {
  const { sender, sent, out } = setUp();
  await sender.send(out, bytes(65_530), false);
  const first = sender.send(new Outgoing(3, 1_000), bytes(10), true);
  assertEquals((await sent()).at(-1), "3 5");
  const second = sender.send(new Outgoing(5, 1_000), bytes(3), true);
  assertEquals(await sent(), []);
  sender.addWindow(8);
  await Promise.all([first, second]);
  assertEquals(await sent(), ["3 ES 5", "5 ES 3"]);
});

Deno.test("nothing is put behind more than the backlog, and all of it follows when there is room", async () => {
  const { watched, sender, sent, out } = setUp({ takes: false, maxBacklogBytes: 20_000 });
  const done = sender.send(out, bytes(60_000), true);
  assertEquals(await sent(), ["1 16384", "1 16384"]); // the second begins below it
  assertEquals(watched.output.size, 2 * (16_384 + 9));
  sender.resume();
  sender.addStreamWindow(out, 1);
  assertEquals(await sent(), []);
  watched.take();
  await done;
  assertEquals(await sent(), ["1 16384", "1 ES 10848"]);
});

Deno.test("exactly a full backlog takes nothing more", async () => {
  const { sender, sent, out } = setUp({ takes: false, maxBacklogBytes: 109 });
  await sender.send(out, bytes(100), false);
  const waiting = sender.send(out, bytes(1), false);
  assertEquals(await sent(), ["1 100"]);
  sender.drop(out, new Error("x"));
  await assertRejects(() => waiting);
});

Deno.test("windows beyond 2^31-1 are the peer's error: the stream's or the connection's", () => {
  const { sender } = setUp();
  const most = 2 ** 31 - 1;
  assertEquals(faultOf(() => sender.addWindow(most - 65_535)), "none");
  assertEquals(faultOf(() => sender.addWindow(1)), "connection FLOW_CONTROL_ERROR");
  const out = new Outgoing(1, 0);
  assertEquals(faultOf(() => sender.addStreamWindow(out, most)), "none");
  assertEquals(faultOf(() => sender.addStreamWindow(out, 1)), "stream FLOW_CONTROL_ERROR");
});

Deno.test("drop() ends the write that waits, and its deadline, and nothing of it leaves later", async () => {
  const { sender, sent, out, deadlines } = setUp();
  await sender.send(out, bytes(65_535), false);
  await sent();
  const done = sender.send(out, bytes(10), true);
  sender.drop(out, new Error("gone"));
  await assertRejects(() => done, Error, "gone");
  assertEquals([out.waiting, deadlines.left], [undefined, []]);
  sender.drop(out, new Error("again"));
  sender.addWindow(1_000);
  assertEquals(await sent(), []);
  await sender.send(new Outgoing(3, 100), bytes(5), true); // nobody stands before it
  assertEquals(await sent(), ["3 ES 5"]);
});

Deno.test("a write that waits has to get on: its deadline moves with so many bytes, and tells whose it is", async () => {
  const { sender, deadlines, stalled } = setUp();
  const out = new Outgoing(7, 10);
  const done = sender.send(out, bytes(1_000), true);
  deadlines.advance(1);
  // From what had left when it was moved last: crumbs add up.
  for (const [step, leftMs] of [[99, 1_233], [1, 1_234], [99, 1_233], [1, 1_234]] as const) {
    sender.addStreamWindow(out, step);
    assertEquals(deadlines.left, [leftMs]);
    if (leftMs === 1_234) deadlines.advance(1);
  }
  deadlines.advance(1_233);
  assertEquals(stalled, [7]);
  sender.drop(out, new Error("x"));
  await assertRejects(() => done);
});

Deno.test("a frame pays for two WINDOW_UPDATEs, a crumb for none unless it is all there is", async (t) => {
  // 64 bytes are a part; fewer are what a window of bytes lets through.
  const rows: readonly (readonly [name: string, window: number, write: number, paid: number])[] = [
    ["63 of more", 63, 100, 0],
    ["64 of more", 64, 100, 2],
    ["5, and no more", 100, 5, 2],
    ["the end of a longer one", 100_000, 16_384 + 5, 4],
    ["nothing", 0, 5, 0],
  ];
  for (const [name, window, write, paid] of rows) {
    await t.step(name, () => {
      const control = new Budget(100, 0);
      control.charge(100);
      const { sender } = setUp({ control });
      const out = new Outgoing(1, window);
      sender.send(out, bytes(write), false).catch(() => {});
      let count = 0;
      while (control.take()) count++;
      assertEquals(count, paid);
      sender.drop(out, new Error("x"));
    });
  }
});
