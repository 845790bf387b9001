/** The client role: which requests are opened when, and which of them may be sent again. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Limits } from "../../../../core/limits.ts";
import { startHttp2Client } from "../../../../proxy/http2/client.ts";
import { H2, Http2Error } from "../../../../proxy/http2/error.ts";
import { Turns } from "../../../../core/turns.ts";
import type { Http2ClientStream } from "../../../../proxy/http2/types.ts";
import { FarEnd } from "../../../support/http2_pipe.ts";
import { settle } from "../../../wire/pipe.ts";

async function setUp(
  { limits = {}, settings = "SETTINGS", turns }: {
    readonly limits?: Partial<Limits>;
    readonly settings?: string;
    readonly turns?: Turns;
  } = {},
) {
  const peer = new FarEnd();
  const connection = startHttp2Client({ ...peer.options(limits), ...(turns ? { turns } : {}) });
  if (settings) await peer.send(settings, "SETTINGS ACK");
  await peer.got();
  return {
    ...{ peer, connection },
    open: (
      path: string,
      options: { readonly end?: boolean; readonly signal?: AbortSignal } = { end: true },
    ) =>
      connection.openStream(
        () => ({ method: "GET", scheme: "https", authority: "a", path, protocol: undefined, fields: [] }),
        options,
      ),
    async [Symbol.asyncDispose]() {
      connection.close();
      peer.far.close();
      await connection.closed;
    },
  };
}

/** The lines of requests that were sent. */
const sent = (path: string, id: number, end = true) =>
  `HEADERS ${id}${end ? " ES" : ""} :method=GET :scheme=https :authority=a :path=${path}`;

/** What became of a request: its stream's id, or the error's code and whether it may be sent again. */
async function fate(opening: Promise<Http2ClientStream>): Promise<unknown> {
  try {
    return (await opening).id;
  } catch (error) {
    if (!(error instanceof Http2Error)) return error;
    return [error.code, error.h2Code, error.isUnprocessed];
  }
}
const REFUSED = ["upstream.closed", H2.REFUSED_STREAM, true];

Deno.test("requests have odd ids from 1 on, and END_STREAM where nothing follows their head", async () => {
  await using made = await setUp();
  const [one, three, five] = [
    await made.open("/a"),
    await made.open("/b", { end: false }),
    await made.open("/c", {}),
  ];
  assertEquals([one.id, three.id, five.id], [1, 3, 5]);
  assertEquals(await made.peer.got(), [sent("/a", 1), sent("/b", 3, false), sent("/c", 5, false)]);
  assertEquals([made.connection.activeStreams, made.connection.counters.streams], [3, 3]);
  await three.write(new Uint8Array(0), true);
  assertEquals(await made.peer.got(), ["DATA 3 ES"]);
});

Deno.test("a client says that it takes no push, how large its windows are, and how large a head may be", async () => {
  const peer = new FarEnd();
  const connection = startHttp2Client(
    peer.options({ http2UpstreamWindowBytes: 70_000, maxHeadBytes: 5_000 }),
  );
  assertEquals((await peer.got()).filter((line) => line.startsWith("SETTINGS")), [
    "SETTINGS ENABLE_PUSH=0 INITIAL_WINDOW_SIZE=70000 MAX_HEADER_LIST_SIZE=5000",
  ]);
  connection.close();
  peer.far.close();
  await connection.closed;
});

Deno.test("ready is the peer's first SETTINGS, and the end of a connection that has none", async () => {
  await using made = await setUp({ settings: "" });
  let isReady = false;
  made.connection.ready.then(() => isReady = true);
  await settle();
  assertEquals([isReady, made.connection.hasExtendedConnect], [false, false]);
  await made.peer.send("SETTINGS ENABLE_CONNECT_PROTOCOL=1");
  assertEquals([isReady, made.connection.hasExtendedConnect], [true, true]);

  await using never = await setUp({ settings: "" });
  never.connection.close(H2.CANCEL);
  const error = await assertRejects(() => never.connection.ready, Http2Error);
  assertEquals(error.h2Code, H2.CANCEL);
});

Deno.test("a connection that ends before its SETTINGS is no failure of nobody's", async () => {
  await using made = await setUp({ settings: "" });
  made.peer.far.close();
  await made.connection.closed;
  await settle(); // a rejection that nobody takes would fail the test
  await assertRejects(() => made.connection.ready, Http2Error);
});

Deno.test("as many streams are open as both sides allow, the others wait for their places in order", async () => {
  const limits = { maxHttp2Streams: 2 };
  await using made = await setUp({ limits, settings: "SETTINGS MAX_CONCURRENT_STREAMS=5" });
  assertEquals(made.connection.maxStreams, 2);
  const all = ["/a", "/b", "/c", "/d"].map((path) => made.open(path));
  await all[0];
  assertEquals(await made.peer.got(), [sent("/a", 1), sent("/b", 3)]);
  await made.peer.send("HEADERS 3 ES EH :status=204");
  assertEquals(await made.peer.got(), [sent("/c", 5)]);
  await made.peer.send("RST_STREAM 1 CANCEL");
  assertEquals(await made.peer.got(), [sent("/d", 7)]);
  assertEquals((await Promise.all(all)).map(({ id }) => id), [1, 3, 5, 7]);

  await using less = await setUp({ limits, settings: "SETTINGS MAX_CONCURRENT_STREAMS=1" });
  assertEquals(less.connection.maxStreams, 1);
  await less.open("/a");
  const second = less.open("/b");
  await less.peer.send("SETTINGS MAX_CONCURRENT_STREAMS=2");
  assertEquals((await second).id, 3);
});

Deno.test("a head that cannot be made or sent fails alone, and takes no id", async () => {
  await using made = await setUp();
  const bug = new RangeError("no head");
  const { connection } = made;
  assertEquals(
    await fate(connection.openStream(() => {
      throw bug;
    })),
    bug,
  );
  const fields = [{ key: "a", value: "b\r\nc: d" }];
  const head = { method: "GET", scheme: "https", authority: "a", path: "/", protocol: undefined, fields };
  assert(await fate(connection.openStream(() => head)) instanceof TypeError);
  assertEquals((await made.open("/a")).id, 1);
  assertEquals(await made.peer.got(), [sent("/a", 1)]);
});

Deno.test("a request that is given up before it has a place is never sent", async () => {
  await using made = await setUp({ settings: "SETTINGS MAX_CONCURRENT_STREAMS=1" });
  const before = AbortSignal.abort("before");
  assertEquals(await fate(made.open("/a", { signal: before })), "before");
  const first = await made.open("/b");
  const controller = new AbortController();
  const waiting = fate(made.open("/c", { signal: controller.signal }));
  const next = made.open("/d", { end: true });
  await settle();
  controller.abort("meanwhile");
  assertEquals(await waiting, "meanwhile");
  first.reset(H2.CANCEL);
  assertEquals(await fate(next), 3);
  assertEquals(await made.peer.got(), [sent("/b", 1), "RST_STREAM 1 CANCEL", sent("/d", 3)]);
});

Deno.test("a signal is listened to only while its request waits", async () => {
  const listening = new Set<unknown>();
  const { signal } = new AbortController();
  signal.addEventListener = (_type: string, listener: unknown) => void listening.add(listener);
  signal.removeEventListener = (_type: string, listener: unknown) => void listening.delete(listener);
  await using made = await setUp({ settings: "SETTINGS MAX_CONCURRENT_STREAMS=1" });
  const first = await made.open("/a", { signal });
  assertEquals(listening.size, 0);
  const second = made.open("/b", { signal });
  assertEquals(listening.size, 1);
  first.reset(H2.CANCEL);
  await second;
  await settle();
  assertEquals(listening.size, 0);
  const third = fate(made.open("/c", { signal }));
  assertEquals(listening.size, 1);
  made.connection.close();
  await settle();
  assertEquals(listening.size, 0);
  assertEquals(await third, ["upstream.closed", H2.NO_ERROR, true]);
});

Deno.test("shutDown() lets what is under way go on, and nothing new in", async () => {
  await using made = await setUp({ settings: "SETTINGS MAX_CONCURRENT_STREAMS=2" });
  const { connection, peer } = made;
  const streams = [await made.open("/a"), await made.open("/b")];
  const waiting = fate(made.open("/c"));
  assertEquals(connection.isDraining, false);
  connection.shutDown();
  assertEquals([connection.isDraining, await waiting, await fate(made.open("/d"))], [true, REFUSED, REFUSED]);
  await peer.got();
  await peer.send("HEADERS 1 ES EH :status=204");
  assertEquals([await peer.got(), connection.activeStreams], [[], 1]); // its place stays free
  await peer.send("HEADERS 3 ES EH :status=204");
  for (const stream of streams) assertEquals((await stream.response()).status, 204);
  assertEquals(await peer.got(), ["GOAWAY 0 NO_ERROR"]);
  await peer.far.closeWrite();
  await connection.closed;
  assertEquals(connection.error, undefined);
});

Deno.test("shutDown() of a connection that has nothing to do ends it", async () => {
  await using made = await setUp();
  made.connection.shutDown();
  assertEquals(await made.peer.got(), ["GOAWAY 0 NO_ERROR"]);
  await made.peer.far.closeWrite();
  await made.connection.closed;
});

Deno.test("GOAWAY: what is above its number may be sent again, with its code", async (t) => {
  for (
    const [name, code] of [["NO_ERROR", H2.NO_ERROR], ["ENHANCE_YOUR_CALM", H2.ENHANCE_YOUR_CALM]] as const
  ) {
    await t.step(name, async () => {
      await using made = await setUp({ settings: "SETTINGS MAX_CONCURRENT_STREAMS=3" });
      const { connection, peer } = made;
      const streams = [await made.open("/a"), await made.open("/b"), await made.open("/c")];
      const waiting = fate(made.open("/d"));
      assertEquals(connection.goAwayCode, undefined);
      await peer.send(`GOAWAY 3 ${name}`);
      assertEquals(streams.map(({ error }) => error && [error.code, error.h2Code, error.isUnprocessed]), [
        undefined,
        undefined,
        ["upstream.closed", code, true],
      ]);
      const later = code === H2.NO_ERROR ? H2.REFUSED_STREAM : code;
      assertEquals(await waiting, ["upstream.closed", later, true]);
      assertEquals(await fate(made.open("/e")), REFUSED);
      assertEquals([connection.goAwayCode, connection.isDraining, connection.activeStreams], [code, true, 2]);
      // Why it went away is why the others are cut.
      peer.far.close();
      await connection.closed;
      assertEquals(streams[0]?.error?.h2Code, code);
      assertEquals([streams[0]?.error?.isUnprocessed, connection.error?.h2Code], [false, code]);
    });
  }
});

Deno.test("streams that GOAWAY cuts are told in their client's turn", async () => {
  const turns = new Turns(1);
  await using made = await setUp({ turns });
  const told: number[] = [];
  const active: number[] = [];
  for (const path of ["/a", "/b", "/c"]) {
    const stream = await made.open(path);
    stream.onReset = () => {
      told.push(stream.id);
      active.push(made.connection.activeStreams);
    };
  }
  await made.peer.far.write(new Uint8Array([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
  while (told.length === 0) await new Promise((resolve) => setTimeout(resolve));
  assertEquals(made.connection.activeStreams, 0);
  while (told.length < 3) await settle();
  assertEquals(told, [1, 3, 5]);
  assertEquals(active.slice(1), [0, 0]); // those that wait to be told are gone already
});

Deno.test("who asks for another stream while streams are cut gets none", async () => {
  await using made = await setUp();
  const fates: Promise<unknown>[] = [];
  await made.open("/a");
  for (const path of ["/b", "/c"]) {
    const stream = await made.open(path);
    stream.onReset = () => void fates.push(fate(made.open("/again")));
  }
  await made.peer.send("GOAWAY 3 NO_ERROR");
  made.connection.close();
  assertEquals(await Promise.all(fates), [REFUSED, REFUSED]);
});

Deno.test("the end of a connection rejects who waits: the peer has not seen it", async () => {
  await using made = await setUp({ settings: "SETTINGS MAX_CONCURRENT_STREAMS=1" });
  const stream = await made.open("/a");
  const waiting = fate(made.open("/b"));
  made.connection.close(H2.INTERNAL_ERROR);
  assertEquals(await waiting, ["upstream.closed", H2.INTERNAL_ERROR, true]);
  assertEquals([stream.error?.h2Code, stream.error?.isUnprocessed], [H2.INTERNAL_ERROR, false]);
  assertEquals([made.connection.isDraining, await fate(made.open("/c"))], [true, REFUSED]);
});

Deno.test("answers to requests that were never sent, or to ids that are not ours, end the connection", async (t) => {
  const rows = [
    ["the next id", "HEADERS 3 ES EH :status=200", "GOAWAY 0 PROTOCOL_ERROR"],
    ["an even id", "HEADERS 2 ES EH :status=200", "GOAWAY 0 PROTOCOL_ERROR"],
    ["a WINDOW_UPDATE of the next id", "WINDOW_UPDATE 3 1", "GOAWAY 0 PROTOCOL_ERROR"],
    ["one that is over", "HEADERS 1 ES EH :status=200", "GOAWAY 0 STREAM_CLOSED"],
  ] as const;
  for (const [name, line, expected] of rows) {
    await t.step(name, async () => {
      await using made = await setUp();
      await made.open("/a");
      await made.peer.send("HEADERS 1 ES EH :status=200");
      await made.peer.got();
      await made.peer.send(line);
      assertEquals(await made.peer.got(), [expected]);
    });
  }
  await t.step("one that we have reset", async () => {
    await using made = await setUp();
    (await made.open("/a")).reset(H2.CANCEL);
    await made.peer.got();
    await made.peer.send("HEADERS 1 ES EH :status=200");
    assertEquals([await made.peer.got(), made.connection.error], [[], undefined]);
  });
});
