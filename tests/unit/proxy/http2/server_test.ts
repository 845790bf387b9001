/** The server role: which streams become requests, how an end in order is said, and what is refused how. */
import { assertEquals, assertRejects } from "@std/assert";
import { startHttp2Server } from "../../../../proxy/http2/server.ts";
import { H2 } from "../../../../proxy/http2/error.ts";
import type { Http2ServerOptions, Http2ServerStream } from "../../../../proxy/http2/types.ts";
import type { Limits } from "../../../../core/limits.ts";
import { Turns } from "../../../../core/turns.ts";
import { FarEnd, LINGER_MS } from "../../../support/http2_pipe.ts";
import { settle } from "../../../wire/pipe.ts";

const HELLO = "MAX_CONCURRENT_STREAMS=100 INITIAL_WINDOW_SIZE=262144 MAX_HEADER_LIST_SIZE=65536";

/** A server whose requests wait for `answer`, which ends them with 204; its client has said hello. */
async function setUp(
  { limits = {}, hello = true, ...more }:
    & { limits?: Partial<Limits>; hello?: boolean }
    & Partial<Omit<Http2ServerOptions, "limits">> = {},
) {
  const peer = new FarEnd();
  const requests = new Map<number, Http2ServerStream>();
  const finish = new Map<number, () => void>();
  const refused: string[] = [];
  let idle = 0;
  const connection = startHttp2Server({
    ...peer.options(limits),
    onRequest: (stream) => {
      requests.set(stream.id, stream);
      return new Promise((resolve) => finish.set(stream.id, resolve));
    },
    onRefused: ({ code, h2Code }) => void refused.push(`${code} ${h2Code}`),
    onIdle: () => void idle++,
    ...more,
  });
  if (hello) {
    await peer.send("PREFACE", "SETTINGS", "SETTINGS ACK");
    await peer.got();
  }
  return {
    ...{ peer, connection, requests, refused, ids: () => [...requests.keys()], idle: () => idle },
    /** Its handler settles. */
    finish: (id: number) => finish.get(id)?.(),
    answer: async (id: number) => {
      requests.get(id)?.respond({ status: 204, fields: [] }, true);
      finish.get(id)?.();
      await settle();
    },
    async [Symbol.asyncDispose]() {
      connection.close();
      for (const each of finish.values()) each();
      peer.far.close();
      await connection.closed;
    },
  };
}
const get = (id: number) => `HEADERS ${id} ES EH GET:/`;

Deno.test("Extended CONNECT is said in the first SETTINGS or later, once, and taken only then", async (t) => {
  const connect = (id: number) =>
    `HEADERS ${id} EH :method=CONNECT :scheme=https :authority=a :path=/ :protocol=websocket`;
  await t.step("from the beginning", async () => {
    await using made = await setUp({ hasExtendedConnect: true, hello: false });
    assertEquals((await made.peer.got())[0], `SETTINGS ${HELLO} ENABLE_CONNECT_PROTOCOL=1`);
    made.connection.announceExtendedConnect();
    await made.peer.send("PREFACE", "SETTINGS", connect(1));
    assertEquals([await made.peer.got(), made.ids()], [["SETTINGS ACK"], [1]]);
  });
  await t.step("later", async () => {
    await using made = await setUp({ hello: false });
    assertEquals((await made.peer.got())[0], `SETTINGS ${HELLO}`);
    await made.peer.send("PREFACE", "SETTINGS", connect(1));
    assertEquals([await made.peer.got(), made.ids()], [["SETTINGS ACK", "RST_STREAM 1 PROTOCOL_ERROR"], []]);
    made.connection.announceExtendedConnect();
    made.connection.announceExtendedConnect();
    await made.peer.send(connect(3));
    assertEquals([await made.peer.got(), made.ids()], [["SETTINGS ENABLE_CONNECT_PROTOCOL=1"], [3]]);
  });
  await t.step("not once it is leaving", async () => {
    await using made = await setUp();
    made.connection.shutDown();
    await made.peer.got();
    made.connection.announceExtendedConnect();
    assertEquals(await made.peer.got(), []);
  });
});

Deno.test("shutDown() says GOAWAY twice with a round trip between, in which requests still come", async (t) => {
  const PING = "PING 736c696365727078";
  await t.step("answered", async () => {
    await using made = await setUp();
    const { peer, connection } = made;
    await peer.send(get(1));
    assertEquals(connection.isDraining, false);
    connection.shutDown();
    connection.shutDown();
    assertEquals(connection.isDraining, true);
    assertEquals(await peer.got(), ["GOAWAY 2147483647 NO_ERROR", PING]);
    assertEquals(peer.deadlines.left, [LINGER_MS]);
    await peer.send(get(3), PING.replace("PING", "PING ACK"));
    assertEquals([await peer.got(), made.ids(), peer.deadlines.left], [["GOAWAY 3 NO_ERROR"], [1, 3], []]);
    await peer.send(get(5));
    assertEquals(await peer.got(), ["RST_STREAM 5 REFUSED_STREAM"]);
    await made.answer(1);
    await made.answer(3);
    assertEquals(await peer.got(), [
      "HEADERS 1 ES :status=204",
      "HEADERS 3 ES :status=204",
      "GOAWAY 5 NO_ERROR",
    ]);
    await peer.far.closeWrite();
    await connection.closed;
    assertEquals(connection.error, undefined);
  });
  await t.step("not answered", async () => {
    await using made = await setUp();
    const { peer, connection } = made;
    await peer.send(get(1));
    connection.shutDown();
    await peer.got();
    peer.deadlines.advance(LINGER_MS);
    assertEquals(await peer.got(), ["GOAWAY 1 NO_ERROR"]);
    await peer.send(PING.replace("PING", "PING ACK")); // late
    assertEquals(await peer.got(), []);
  });
  await t.step("closed meanwhile: its deadline is over", async () => {
    await using made = await setUp();
    made.connection.shutDown();
    made.connection.close();
    assertEquals(made.peer.deadlines.left, [LINGER_MS]); // of the socket
    made.peer.far.close();
    await made.connection.closed;
    assertEquals(made.peer.deadlines.left, []);
  });
});

Deno.test("a client that goes away is served to the end of what is under way", async () => {
  await using made = await setUp();
  await made.peer.send(get(1), "GOAWAY 0 NO_ERROR");
  assertEquals([made.connection.isDraining, made.connection.activeStreams], [true, 1]);
  await made.answer(1);
  assertEquals(await made.peer.got(), ["HEADERS 1 ES :status=204", "GOAWAY 1 NO_ERROR"]);
});

Deno.test("a client's ids are odd and go up; what comes for others is an error", async (t) => {
  const rows: readonly (readonly [name: string, line: string, expected: string])[] = [
    ["an even id", get(8), "GOAWAY 5 PROTOCOL_ERROR"],
    ["an id that was passed over", get(3), "GOAWAY 5 STREAM_CLOSED"],
    ["an id that is over", get(5), "GOAWAY 5 STREAM_CLOSED"],
    ["DATA of the next id", "DATA 7 a", "GOAWAY 5 PROTOCOL_ERROR"],
    ["DATA of the last one", "DATA 5 a", "GOAWAY 5 STREAM_CLOSED"],
    ["DATA of an even id", "DATA 2 a", "GOAWAY 5 PROTOCOL_ERROR"],
  ];
  for (const [name, line, expected] of rows) {
    await t.step(name, async () => {
      await using made = await setUp();
      await made.peer.send(get(5));
      await made.answer(5);
      await made.peer.got();
      await made.peer.send(line);
      assertEquals(await made.peer.got(), [expected]);
    });
  }
});

Deno.test("so many streams are open at once, and twice as many handlers run", async () => {
  await using made = await setUp({ limits: { maxHttp2Streams: 2 } });
  const { peer } = made;
  await peer.send(get(1), get(3), get(5));
  assertEquals([await peer.got(), made.ids(), made.refused], [["RST_STREAM 5 REFUSED_STREAM"], [1, 3], []]);
  await peer.send("RST_STREAM 1 CANCEL", "RST_STREAM 3 CANCEL");
  await peer.send(get(7), get(9));
  await peer.send("RST_STREAM 7 CANCEL");
  await peer.send(get(11));
  assertEquals([await peer.got(), made.ids()], [["RST_STREAM 11 REFUSED_STREAM"], [1, 3, 7, 9]]);
  made.finish(1);
  await settle();
  await peer.send(get(13));
  assertEquals([await peer.got(), made.ids()], [[], [1, 3, 7, 9, 13]]);
});

Deno.test("a request whose handler is done is closed, a handler that fails is an internal error", async () => {
  await using made = await setUp({
    onRequest: (stream) => {
      if (stream.id === 1) return Promise.reject(new RangeError("a bug"));
      if (stream.id > 3) stream.respond({ status: 200, fields: [] }, true);
      return Promise.resolve();
    },
  });
  await made.peer.send(get(1), get(3), get(5), "HEADERS 7 EH POST:/");
  assertEquals((await made.peer.got()).toSorted(), [
    "HEADERS 5 ES :status=200",
    "HEADERS 7 ES :status=200",
    "RST_STREAM 1 INTERNAL_ERROR",
    "RST_STREAM 3 INTERNAL_ERROR",
    "RST_STREAM 7 NO_ERROR",
  ]);
  assertEquals([made.connection.activeStreams, made.connection.counters.resetsOut], [0, 3]);
});

Deno.test("a request that is reset within its read takes no turn from others", async () => {
  let taken = 0;
  const turns = new Turns(8);
  const run = turns.run.bind(turns);
  turns.run = (work) => {
    taken++;
    run(work);
  };
  await using made = await setUp({ turns });
  await made.peer.send(get(1), "RST_STREAM 1 CANCEL", get(3));
  assertEquals([made.ids(), taken], [[3], 1]);
});

Deno.test("onIdle is called when the last stream is over, each time", async () => {
  await using made = await setUp();
  await made.peer.send(get(1), get(3));
  await made.answer(1);
  assertEquals(made.idle(), 0);
  await made.answer(3);
  assertEquals(made.idle(), 1);
  await made.peer.send(get(5));
  await made.peer.send("RST_STREAM 5 CANCEL");
  assertEquals(made.idle(), 2);
  await made.peer.send(get(7));
  made.connection.close(); // which is no rest
  assertEquals(made.idle(), 2);
});

Deno.test("a request that is malformed is told and reset, and takes no place", async () => {
  await using made = await setUp();
  await made.peer.send("HEADERS 1 ES EH GET:/ X=1", "HEADERS 3 ES EH GET:/ content-length=1");
  assertEquals(await made.peer.got(), ["RST_STREAM 1 PROTOCOL_ERROR", "RST_STREAM 3 PROTOCOL_ERROR"]);
  assertEquals(made.refused, ["client.malformed 1", "client.malformed 1"]);
  assertEquals([made.connection.activeStreams, made.ids()], [0, []]);
});

Deno.test("a head that is too large gets 431, and a reset unless its request is over", async () => {
  await using made = await setUp({ limits: { maxHeaderCount: 4, maxHttp2ClientResets: 2 } });
  await made.peer.send("HEADERS 1 ES EH GET:/ a=1", "HEADERS 3 EH POST:/ a=1");
  assertEquals(await made.peer.got(), [
    "HEADERS 1 ES :status=431",
    "HEADERS 3 ES :status=431",
    "RST_STREAM 3 NO_ERROR",
  ]);
  assertEquals(made.refused, ["client.malformed 0", "client.malformed 0"]);
  await made.peer.send("HEADERS 5 ES EH GET:/ a=1"); // resets that it has no budget for
  assertEquals(await made.peer.got(), ["GOAWAY 5 ENHANCE_YOUR_CALM"]);
});

Deno.test("a trailer section that is too large resets its stream", async () => {
  await using made = await setUp({ limits: { maxHeaderCount: 4 } });
  await made.peer.send("HEADERS 1 EH POST:/", "HEADERS 1 ES EH a=1 b=1 c=1 d=1 e=1");
  assertEquals(await made.peer.got(), ["RST_STREAM 1 ENHANCE_YOUR_CALM"]);
});

Deno.test("a preface that is none ends the connection, as early as it is known", async () => {
  await using made = await setUp({ hello: false });
  await made.peer.got();
  await made.peer.send("BYTES 50524920"); // PRI
  assertEquals(await made.peer.got(), []);
  await made.peer.send("BYTES 2f"); // and no *
  assertEquals(await made.peer.got(), ["GOAWAY 0 PROTOCOL_ERROR"]);
  assertEquals(made.connection.error?.h2Code, H2.PROTOCOL_ERROR);
});

Deno.test("what is under way is cut with the connection", async () => {
  await using made = await setUp();
  await made.peer.send("HEADERS 1 EH POST:/");
  const filled = made.requests.get(1)?.fill();
  made.connection.close(H2.INTERNAL_ERROR);
  await assertRejects(() => Promise.resolve(filled));
  assertEquals(made.requests.get(1)?.error?.h2Code, H2.INTERNAL_ERROR);
});

Deno.test("a request has the trailers of its client, and its end with them", async () => {
  await using made = await setUp();
  await made.peer.send("HEADERS 1 EH POST:/", "DATA 1 ab");
  const stream = made.requests.get(1);
  assertEquals([await stream?.fill(), stream?.isLast, stream?.trailers], [true, false, undefined]);
  const rest = stream?.fill(3);
  await made.peer.send("HEADERS 1 ES EH a=1");
  assertEquals([await rest, stream?.trailers?.map(({ name, value }) => [name, value])], [true, [["a", "1"]]]);
});
