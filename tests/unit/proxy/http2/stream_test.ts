/** A stream of either role beside a connection that writes down what it is told: states, body, credit, and how it is cut. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ClientStream } from "../../../../proxy/http2/client_stream.ts";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { ServerStream } from "../../../../proxy/http2/server_stream.ts";
import { faultOf } from "../../../support/http2_faults.ts";
import { fields, WatchedLink } from "../../../support/http2_stream_link.ts";

const OK = { status: 200, fields: [] };
const bytes = (count: number) => new Uint8Array(count);

/** Request 5, with a window of 100 bytes. */
function openServer({ length, window = 100 }: { readonly length?: number; readonly window?: number } = {}) {
  const link = new WatchedLink();
  const head = {
    method: "POST",
    scheme: "https",
    authority: "a.test",
    path: "/",
    protocol: undefined,
    fields: [],
  };
  const stream = new ServerStream(5, link, {
    windows: { receive: window, send: 70 },
    request: { head, contentLength: length },
    isBodyless: false,
  });
  return { link, stream, data: (count: number, end = false) => stream.receiveData(bytes(count), count, end) };
}

function openClient({ method = "POST", end = false } = {}) {
  const link = new WatchedLink();
  const windows = { receive: 100, send: 70 };
  return { link, stream: new ClientStream(3, link, { windows, method, maxInterim: 3, end }) };
}

/** What a promise is now, without waiting for it. */
async function stateOf(promise: Promise<unknown>): Promise<unknown> {
  const none = {};
  // More turns than any chain of promises here is long.
  const late = (async () => {
    for (let nth = 0; nth < 20; nth++) await Promise.resolve();
    return none;
  })();
  const state = await Promise.race([
    promise.catch((error) => error instanceof Http2Error ? error.h2Code : error),
    late,
  ]);
  return state === none ? "waits" : state;
}

Deno.test("fill() waits for so many bytes, or for the end of the body", async (t) => {
  await t.step("one byte, where nothing is said", async () => {
    const { stream, data } = openServer();
    const filled = stream.fill();
    assertEquals(await stateOf(filled), "waits");
    data(1);
    assertEquals(await stateOf(filled), true);
    assertEquals(await stateOf(stream.fill()), true);
    stream.consume(1);
    assertEquals(await stateOf(stream.fill()), "waits");
  });
  await t.step("as many as the last call says", async () => {
    const { stream, data } = openServer();
    const first = stream.fill(2);
    const second = stream.fill(4);
    data(3);
    assertEquals([await stateOf(first), await stateOf(second)], ["waits", "waits"]);
    data(1);
    assertEquals([await stateOf(first), await stateOf(second)], [true, true]);
    assertEquals(await stateOf(stream.fill(4)), true);
    assertEquals(await stateOf(stream.fill(5)), "waits");
  });
  await t.step("fewer than were waited for, at the end", async () => {
    const { stream, data } = openServer();
    const filled = stream.fill(9);
    data(3, true);
    assertEquals(await stateOf(filled), true);
    stream.consume(2);
    assertEquals(await stateOf(stream.fill(9)), true);
    stream.consume(1);
    assertEquals(await stateOf(stream.fill(9)), false);
  });
  await t.step("the one byte that the end brings", async () => {
    const { stream, data } = openServer();
    const filled = stream.fill(9);
    data(1, true);
    assertEquals(await stateOf(filled), true);
  });
  await t.step("none, at the end", async () => {
    const { stream, data } = openServer();
    const filled = stream.fill();
    data(0, true);
    assertEquals(await stateOf(filled), false);
    assertEquals(await stateOf(stream.fill()), false);
  });
  await t.step("the cut", async () => {
    const { stream } = openServer();
    const filled = stream.fill();
    stream.receiveReset(H2.CANCEL);
    assertEquals(await stateOf(filled), H2.CANCEL);
    assertEquals(await stateOf(stream.fill()), H2.CANCEL);
  });
  await t.step("the cut, though whoever asked has gone: it is no error of the process", async () => {
    const { stream } = openServer();
    stream.fill();
    stream.receiveReset(H2.CANCEL);
    await new Promise((resolve) => setTimeout(resolve));
  });
});

Deno.test("isLast is true when all that is left lies here: ended, in one piece, without trailers", () => {
  const { stream, data } = openServer({ window: 10_000 });
  assertEquals(stream.isLast, false);
  data(1_000);
  data(2_000);
  assertEquals([stream.available.length < 3_000, stream.isLast], [true, false]);
  data(5, true);
  let left = 3_005;
  for (const isLast of [false, false, true]) {
    assertEquals([stream.isLast, stream.available.length === left], [isLast, isLast]);
    left -= stream.available.length;
    stream.consume(stream.available.length);
  }

  const trailed = openServer();
  trailed.data(5);
  trailed.stream.receiveHeaders(fields("x=1"), true);
  assertEquals(trailed.stream.isLast, false);
  assertEquals(trailed.stream.trailers?.map(({ key }) => key), ["x"]);
  assertEquals(stream.trailers, undefined);
});

Deno.test("what is consumed is credit: for the connection always, for the stream by half windows while more may come", async (t) => {
  await t.step("by half windows", () => {
    const { stream, link, data } = openServer();
    data(100);
    assertEquals(stream.peek(3).length, 3);
    stream.consume(49);
    assertEquals(link.told(), ["credit 49"]);
    stream.consume(1);
    assertEquals(link.told(), ["WINDOW_UPDATE 5 50", "credit 1"]);
    assertEquals(stream.available.length, 50);
  });
  await t.step("padding is consumed at once", () => {
    const { stream, link } = openServer();
    stream.receiveData(bytes(10), 59, false);
    assertEquals(link.told(), []);
    stream.receiveData(bytes(0), 1, false);
    assertEquals(link.told(), ["WINDOW_UPDATE 5 50"]);
  });
  await t.step("not behind the end of the body", () => {
    const { stream, link, data } = openServer();
    data(60, true);
    stream.consume(60);
    assertEquals(link.told(), ["credit 60"]);
  });
  await t.step("not once it was cut: it was returned then", () => {
    const { stream, link, data } = openServer();
    data(60);
    stream.reset(H2.CANCEL);
    assertEquals(link.told(), ["RST_STREAM 5 CANCEL", "credit 60", "drop 5", "remove 5"]);
    stream.consume(60);
    assertEquals(link.told(), []);
  });
});

Deno.test("a window that grows sends its growth with its credit, and gives it back once, when nothing lies here", async (t) => {
  const grown = () => {
    const opened = openServer();
    const { stream, link, data } = opened;
    link.growth = 100;
    data(60);
    stream.consume(50);
    assertEquals(link.told(), ["grow 100", "WINDOW_UPDATE 5 150", "credit 50"]);
    link.growth = 0;
    return opened;
  };
  await t.step("by so much more may come", () => {
    const { stream, data } = grown();
    data(190);
    assertEquals(faultOf(() => data(1)), "stream FLOW_CONTROL_ERROR");
    assertEquals(stream.error, undefined); // that is for the connection to do
  });
  await t.step("the end, and then the last byte is read", () => {
    const { stream, link, data } = grown();
    data(0, true);
    assertEquals(link.told(), []);
    stream.consume(9);
    assertEquals(link.told(), ["credit 9"]);
    stream.consume(1);
    assertEquals(link.told(), ["credit 1", "shrink 100"]);
    stream.respond(OK, true);
    stream.reset(H2.CANCEL);
    assertEquals(link.told(), ["HEADERS 5 ES :status=200", "remove 5"]);
  });
  await t.step("all is read, and then the end", () => {
    const { stream, link, data } = grown();
    stream.consume(10);
    assertEquals(link.told(), ["credit 10"]);
    data(0, true);
    assertEquals(link.told(), ["shrink 100"]);
  });
  await t.step("cut", () => {
    const { stream, link } = grown();
    stream.fail(link.makeError(H2.CANCEL, "x"));
    assertEquals(link.told(), ["credit 10", "shrink 100", "drop 5", "remove 5"]);
  });
  await t.step("over in order, and given up unread", () => {
    const { stream, link, data } = grown();
    data(0, true);
    stream.respond(OK, true);
    link.told();
    stream.reset(H2.CANCEL);
    assertEquals(link.told(), ["credit 10", "shrink 100"]);
    assertEquals(stream.error, undefined);
  });
  await t.step("it is asked with the time since credit was sent last", async () => {
    const { stream, link, data } = openServer();
    await new Promise((resolve) => setTimeout(resolve, 30));
    data(100);
    stream.consume(50);
    stream.consume(50);
    const [first = 0, second = 0] = link.grewAfterMs;
    assert(first >= 25 && second < first && second >= 0, `${link.grewAfterMs}`);
  });
});

Deno.test("a body is as long as was announced, and none comes where none may", async (t) => {
  const WRONG = "stream PROTOCOL_ERROR";
  await t.step("exactly", () => {
    const { stream, data } = openServer({ length: 5 });
    assertEquals(faultOf(() => data(3)), "none");
    assertEquals(faultOf(() => data(2)), "none");
    assertEquals(faultOf(() => data(0, true)), "none");
    assertEquals(stream.available.length, 5);
  });
  await t.step(
    "its last byte with the end",
    () => assertEquals(faultOf(() => openServer({ length: 5 }).data(5, true)), "none"),
  );
  await t.step("one byte more", () => {
    const { stream, link, data } = openServer({ length: 5 });
    assertEquals(faultOf(() => data(6)), WRONG);
    assertEquals([stream.available.length, link.told()], [0, []]);
  });
  await t.step("one byte less", () => {
    const { stream, data } = openServer({ length: 5 });
    assertEquals(faultOf(() => data(4, true)), WRONG);
    assertEquals(stream.available.length, 0); // or its credit would be given twice
  });
  await t.step("less, and then trailers", () => {
    const { stream, data } = openServer({ length: 5 });
    data(4);
    assertEquals(faultOf(() => stream.receiveHeaders(fields("x=1"), true)), WRONG);
  });
  await t.step("all, and then trailers", () => {
    const { stream, data } = openServer({ length: 5 });
    data(5);
    assertEquals(faultOf(() => stream.receiveHeaders(fields("x=1"), true)), "none");
  });
  await t.step("padding is no body", () => {
    const { stream } = openServer({ length: 5 });
    assertEquals(faultOf(() => stream.receiveData(bytes(5), 20, true)), "none");
  });
  await t.step("behind the end", () => {
    const { stream, data } = openServer();
    data(1, true);
    assertEquals(faultOf(() => data(1)), "stream STREAM_CLOSED");
    assertEquals(faultOf(() => stream.receiveHeaders(fields("x=1"), true)), "stream STREAM_CLOSED");
  });
  await t.step("more than the window", () => {
    assertEquals(faultOf(() => openServer().data(100)), "none");
    assertEquals(faultOf(() => openServer().data(101)), "stream FLOW_CONTROL_ERROR");
    assertEquals(
      faultOf(() => openServer().stream.receiveData(bytes(1), 101, true)),
      "stream FLOW_CONTROL_ERROR",
    );
  });
  await t.step("trailers that do not end it, or are none", () => {
    assertEquals(faultOf(() => openServer().stream.receiveHeaders(fields("x=1"), false)), WRONG);
    assertEquals(faultOf(() => openServer().stream.receiveHeaders(fields("content-length=1"), true)), WRONG);
  });
});

Deno.test("write() and end() send in order, and once our side is ended nothing", async (t) => {
  await t.step("a body in two pieces", async () => {
    const { stream, link } = openServer();
    stream.respond(OK);
    assertEquals(await stateOf(stream.write(bytes(3))), undefined);
    assertEquals(await stateOf(stream.write(bytes(0))), undefined);
    assertEquals(await stateOf(stream.write(bytes(2), true)), undefined);
    assertEquals(link.told(), ["HEADERS 5 :status=200", "DATA 5 3", "DATA 5 ES 2"]);
    stream.end();
    assertEquals(link.told(), []);
    assertThrows(() => stream.write(bytes(1)), TypeError);
  });
  await t.step("an end without a byte", () => {
    const { stream, link } = openServer();
    stream.respond(OK);
    stream.write(bytes(0), true);
    assertEquals(link.told(), ["HEADERS 5 :status=200", "DATA 5 ES 0"]);
    assertThrows(() => stream.write(bytes(1)), TypeError);
  });
  for (const [name, trailers] of [["no", undefined], ["empty", []]] as const) {
    await t.step(`an end with ${name} trailers`, () => {
      const { stream, link } = openServer();
      stream.respond(OK);
      stream.end(trailers);
      stream.end();
      assertEquals(link.told(), ["HEADERS 5 :status=200", "DATA 5 ES 0"]);
    });
  }
  await t.step("trailers", () => {
    const { stream, link } = openServer();
    stream.respond(OK);
    stream.end([{ key: "a", value: "1" }, { key: "b", value: "2" }]);
    assertEquals(link.told(), ["HEADERS 5 :status=200", "HEADERS 5 ES a=1 b=2"]);
  });
  await t.step("before the head: a bug of its user", () => {
    const { stream, link } = openServer();
    assertThrows(() => stream.write(bytes(1)), TypeError);
    assertThrows(() => stream.end(), TypeError);
    assertEquals(link.told(), []);
  });
  await t.step("while a write waits: a bug of its user", async () => {
    const { stream, link } = openServer();
    stream.respond(OK);
    link.isFull = true;
    const sent = stream.write(bytes(9));
    assertThrows(() => stream.write(bytes(1)), TypeError);
    assertThrows(() => stream.end(), TypeError);
    assertEquals(await stateOf(sent), "waits");
    link.take();
    assertEquals(await stateOf(sent), undefined);
    link.isFull = false;
    stream.end();
    assertEquals(link.told(), ["HEADERS 5 :status=200", "DATA 5 9", "DATA 5 ES 0"]);
  });
});

Deno.test("a stream is removed when both sides are ended, and not before", async (t) => {
  await t.step("theirs first", () => {
    const { stream, link, data } = openServer();
    data(0, true);
    stream.respond(OK);
    assertEquals(link.told(), ["HEADERS 5 :status=200"]);
    stream.write(bytes(1), true);
    assertEquals(link.told(), ["DATA 5 ES 1", "remove 5"]);
  });
  await t.step("ours first", () => {
    const { stream, link, data } = openServer();
    stream.respond(OK, true);
    assertEquals(link.told(), ["HEADERS 5 ES :status=200"]);
    data(0, true);
    assertEquals(link.told(), ["remove 5"]);
  });
  await t.step("ours when the last write has left", async () => {
    const { stream, link, data } = openServer();
    data(0, true);
    stream.respond(OK);
    link.isFull = true;
    const sent = stream.write(bytes(1), true);
    assertEquals(link.told(), ["HEADERS 5 :status=200", "DATA 5 ES 1"]);
    link.take();
    await sent;
    assertEquals(link.told(), ["remove 5"]);
  });
  await t.step("ours with trailers", () => {
    const { stream, link, data } = openServer();
    data(0, true);
    stream.respond(OK);
    stream.end([{ key: "a", value: "1" }]);
    assertEquals(link.told(), ["HEADERS 5 :status=200", "HEADERS 5 ES a=1", "remove 5"]);
  });
});

Deno.test("reset() cuts both sides and everything that waits, and does not tell its user", async () => {
  const { stream, link, data } = openServer();
  const told: unknown[] = [];
  stream.onReset = (error) => told.push(error);
  stream.respond(OK);
  link.isFull = true;
  const sent = stream.write(bytes(9));
  data(7);
  const filled = stream.fill(20);
  link.told();
  stream.reset(H2.CANCEL);
  assertEquals(link.told(), ["RST_STREAM 5 CANCEL", "credit 7", "drop 5", "remove 5"]);
  assertEquals([stream.error?.h2Code, told, stream.available.length], [H2.CANCEL, [], 0]);
  assertEquals([await stateOf(sent), await stateOf(filled)], [H2.CANCEL, H2.CANCEL]);
  // What is called later finds it cut, and does nothing.
  stream.reset(H2.NO_ERROR);
  stream.end();
  stream.receiveReset(H2.NO_ERROR);
  stream.fail(link.makeError(H2.NO_ERROR, "x"));
  assertEquals(link.told(), []);
  assertEquals(stream.error?.h2Code, H2.CANCEL);
  await assertRejects(() => stream.write(bytes(1)), Http2Error);
  assertThrows(() => stream.respond(OK), Http2Error);
  assertEquals(faultOf(() => data(1)), "stream STREAM_CLOSED");
});

Deno.test("reset() cuts a stream of which one side is open", () => {
  const answered = openServer();
  answered.stream.respond(OK, true);
  answered.link.told();
  answered.stream.reset(H2.NO_ERROR);
  assertEquals(answered.link.told(), ["RST_STREAM 5 NO_ERROR", "drop 5", "remove 5"]);
  const asked = openServer();
  asked.data(7, true);
  asked.stream.reset(H2.CANCEL);
  assertEquals(asked.link.told(), ["RST_STREAM 5 CANCEL", "credit 7", "drop 5", "remove 5"]);
});

Deno.test("fail() cuts at once and tells its user in its turn", async () => {
  const { stream, link, data } = openServer();
  const told: number[] = [];
  stream.onReset = (error) => told.push(error.h2Code);
  data(7);
  const filled = stream.fill(20);
  let tell: (() => void) | undefined;
  stream.fail(link.makeError(H2.CANCEL, "x"), (later) => tell = later);
  assertEquals(link.told(), ["credit 7"]);
  assertEquals([stream.error?.h2Code, stream.available.length, told], [H2.CANCEL, 0, []]);
  assertEquals(await stateOf(filled), "waits");
  tell?.();
  assertEquals([link.told(), told], [["drop 5", "remove 5"], [H2.CANCEL]]);
  assertEquals(await stateOf(filled), H2.CANCEL);

  const other = openServer();
  other.stream.onReset = (error) => told.push(error.h2Code);
  other.stream.fail(other.link.makeError(H2.NO_ERROR, "x"));
  assertEquals(told, [H2.CANCEL, H2.NO_ERROR]);
});

Deno.test("the peer's RST_STREAM cuts, and says whether the request was acted on", () => {
  for (const [code, isUnprocessed] of [[H2.CANCEL, false], [H2.REFUSED_STREAM, true]] as const) {
    const { stream, link } = openClient();
    const told: boolean[] = [];
    stream.onReset = (error) => told.push(error.isUnprocessed);
    stream.receiveReset(code);
    assertEquals([stream.error?.h2Code, told], [code, [isUnprocessed]]);
    assertEquals(link.told(), ["drop 3", "remove 3"]);
  }
});

Deno.test("a server that has answered whole and resets wants no more of the body: its answer stays good", async (t) => {
  const answered = (isWhole: boolean) => {
    const opened = openClient();
    opened.stream.receiveHeaders(fields(":status=200"), false);
    opened.stream.receiveData(bytes(4), 4, isWhole);
    return opened;
  };
  await t.step("whole", async () => {
    const { stream, link } = answered(true);
    const told: unknown[] = [];
    stream.onReset = (error) => told.push(error);
    link.isFull = true;
    const sent = stream.write(bytes(9));
    link.told();
    stream.receiveReset(H2.NO_ERROR);
    assertEquals(link.told(), ["drop 3", "remove 3"]);
    assertEquals([stream.error, told, stream.available.length], [undefined, [], 4]);
    assertEquals(await stateOf(sent), H2.NO_ERROR);
    assertEquals(await stateOf(stream.write(bytes(1))), H2.NO_ERROR);
    stream.end();
    stream.end([{ key: "a", value: "1" }]);
    assertEquals(link.told(), []);
    assertEquals((await stream.response()).status, 200);
    assertEquals(await stateOf(stream.fill()), true);
    stream.consume(4);
    assertEquals(await stateOf(stream.fill()), false);
  });
  await t.step("not whole", () => {
    const { stream } = answered(false);
    stream.receiveReset(H2.NO_ERROR);
    assertEquals([stream.error?.h2Code, stream.available.length], [H2.NO_ERROR, 0]);
  });
  await t.step("of a client's there is nothing that would stay good", () => {
    const { stream, data } = openServer();
    data(4, true);
    stream.receiveReset(H2.NO_ERROR);
    assertEquals([stream.error?.h2Code, stream.available.length], [H2.NO_ERROR, 0]);
  });
});
