import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { parseFields } from "../../../../proxy/http1/head_reader.ts";
import { formatAnswer, Http1Request, writeAnswer } from "../../../../proxy/http1/request.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { RequestHead } from "../../../../proxy/message/message.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { moveTime } from "../../../support/moved_time.ts";
import { PiecedBody } from "../../../support/make_exchange.ts";
import { makePipe, type PipeEnd, settle } from "../../../wire/pipe.ts";

interface Options {
  readonly lines?: readonly string[];
  readonly head?: Partial<RequestHead>;
  readonly isTls?: boolean;
  readonly isStopping?: boolean;
  /** What of the body is here. */
  readonly here?: string;
  readonly endWithRequestMs?: number;
  readonly capacity?: number;
}

/** A request on a connection over a pipe. */
function setUp({ lines = [], head, isTls = false, isStopping = false, here = "", ...more }: Options = {}) {
  const deadlines = new FakeDeadlines();
  const [client, stream] = makePipe(more.capacity);
  const reader = new ByteReader(stream, here === "" ? undefined : Buffer.from(here));
  const limits = {
    ...DEFAULT_LIMITS,
    headTimeoutMs: 7_000,
    endWithRequestMs: more.endWithRequestMs ?? 60_000,
  };
  const fields = parseFields(lines, { maxHeaderCount: 9 }, "client.malformed");
  const connection = { stream, reader, isTls, state: { isStopping }, context: { limits, deadlines } };
  const request = new Http1Request(
    { method: "GET", target: "/", version: "HTTP/1.1", fields, ...head },
    connection,
  );
  return { request, client, stream, reader, deadlines, connection };
}

/** What is here to be read. */
async function read(client: PipeEnd): Promise<string> {
  const buffer = new Uint8Array(65_536);
  const count = await client.read(buffer);
  return Buffer.from(buffer.subarray(0, count ?? 0)).toString("latin1");
}

const OK = { version: "HTTP/1.0", status: 200, reason: "OK", fields: [makeField("A", "b")] } as const;
const WHOLE = {
  status: 403,
  phrase: "No",
  fields: [makeField("Content-Length", "2")],
  body: Buffer.from("no"),
};

Deno.test("begin() keeps the connection only when both sides can and want to, and else says that it closes", async (t) => {
  const rows: readonly (readonly [string, Options, body: PiecedBody, closes: boolean])[] = [
    ["usual", {}, new PiecedBody([]), false],
    ["HTTP/1.0", { head: { version: "HTTP/1.0" } }, new PiecedBody([]), true],
    ["the client closes", { lines: ["Connection: x, Close"] }, new PiecedBody([]), true],
    ["the client keeps", { lines: ["Connection: keep-alive"] }, new PiecedBody([]), false],
    ["the proxy stops", { isStopping: true }, new PiecedBody([]), true],
    ["an answer to half a request", { lines: ["Content-Length: 5"], here: "ab" }, new PiecedBody([]), true],
    ["its end is the connection's", {}, Object.assign(new PiecedBody([]), { closeDelimited: true }), true],
  ];
  for (const [name, options, body, closes] of rows) {
    await t.step(name, async () => {
      const { request, client } = setUp(options);
      assertEquals(request.next, "keep");
      await request.begin(OK, Buffer.from("xy"), body);
      assertEquals(
        await read(client),
        `HTTP/1.1 200 OK\r\nA: b\r\n${closes ? "Connection: close\r\n" : ""}\r\nxy`,
      );
      assertEquals(request.next, closes ? "close" : "keep");
    });
  }
});

Deno.test("answer() writes the proxy's own words, and closes behind what could not be read", async (t) => {
  const rows: readonly (readonly [string, Options, status: number, closes: boolean])[] = [
    ["usual", {}, 403, false],
    ...[400, 431, 408].map((status) => [String(status), {}, status, true] as const),
    ["a body that nobody read", { lines: ["Content-Length: 5"] }, 403, true],
    ["the client closes", { lines: ["Connection: close"] }, 403, true],
    ["the proxy stops", { isStopping: true }, 403, true],
  ];
  for (const [name, options, status, closes] of rows) {
    await t.step(name, async () => {
      const { request, client, deadlines } = setUp(options);
      await request.answer({ ...WHOLE, status });
      assertEquals(
        await read(client),
        `HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n${closes ? "Connection: close\r\n" : ""}\r\nno`,
      );
      assertEquals([request.next, deadlines.left], [closes ? "close" : "keep", []]);
    });
  }
  await t.step("HEAD", async () => {
    const { request, client } = setUp({ head: { method: "HEAD" } });
    await request.answer(WHOLE);
    assertEquals(await read(client), "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\n");
  });
  await t.step("a client that is gone", async () => {
    const { request, client } = setUp();
    client.abort();
    await request.answer(WHOLE);
    assertEquals(request.next, "close");
  });
});

Deno.test("writeAnswer() ends a client that reads no answers", async () => {
  const { connection, deadlines, stream } = setUp({ capacity: 4 });
  const written = writeAnswer(connection, WHOLE, { isHead: false, close: false });
  await settle();
  assertEquals([deadlines.left, stream.ended], [[7_000], "no"]);
  deadlines.advance(7_000);
  assertEquals([await written, stream.ended, deadlines.left], [false, "cut", []]);
});

Deno.test("formatAnswer() has an empty phrase where there is none", () => {
  const { phrase: _, ...whole } = WHOLE;
  const bytes = formatAnswer(whole, { isHead: false, close: true });
  assertEquals(
    Buffer.from(bytes).toString(),
    "HTTP/1.1 403 \r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
  );
});

Deno.test("inform() passes interim answers on, but not to HTTP/1.0", async () => {
  const { request, client } = setUp();
  await request.inform({ ...OK, status: 103, reason: "Hints" });
  assertEquals(await read(client), "HTTP/1.1 103 Hints\r\nA: b\r\n\r\n");
  const old = setUp({ head: { version: "HTTP/1.0" } });
  await old.request.inform({ ...OK, status: 103 });
  assertEquals(old.client.unread, 0);
  await old.request.write(Buffer.from("x"), true);
  assertEquals(await read(old.client), "x");
});

Deno.test("switchProtocols() hands over the connection with what was read ahead; cut() ends it so that it shows", async () => {
  const { request, client, stream } = setUp({ here: "early" });
  const raw = await request.switchProtocols({ ...OK, status: 101, reason: "X" });
  assertEquals([raw.stream === stream, Buffer.from(raw.first).toString(), request.next], [
    true,
    "early",
    "taken",
  ]);
  assertEquals(await read(client), "HTTP/1.1 101 X\r\nA: b\r\n\r\n");
  const cut = setUp();
  cut.request.cut();
  assertEquals([cut.stream.ended, cut.request.next], ["cut", "taken"]);
});

Deno.test("a request whose body could be read in two ways is none", () => {
  assertThrows(
    () => setUp({ lines: ["Content-Length: 1", "Content-Length: 1"] }),
    ProxyError,
    "Content-Length",
  );
});

Deno.test("watch() tells of a client that goes, unless it has only ended its side together with its request", async (t) => {
  const begin = (options: Options = {}, mayReadAhead?: boolean) => {
    const made = setUp(options);
    let times = 0;
    made.request.watch(() => times++, mayReadAhead);
    return { ...made, times: () => times };
  };
  await t.step("it breaks off", async () => {
    const { client, times } = begin();
    await settle();
    assertEquals(times(), 0);
    client.abort();
    await settle();
    assertEquals(times(), 1);
  });
  await t.step("it ends right away in clear, and waits", async () => {
    const { client, times } = begin();
    await client.closeWrite();
    await settle();
    assertEquals(times(), 0);
  });
  await t.step("it ends later", async () => {
    const { client, times } = begin({ endWithRequestMs: 0 });
    await client.closeWrite();
    await settle();
    assertEquals(times(), 1);
  });
  await t.step("it ends within TLS", async () => {
    const { client, times } = begin({ isTls: true });
    await client.closeWrite();
    await settle();
    assertEquals(times(), 1);
  });
  await t.step("it ends while a person is asked", async () => {
    const { client, times } = begin({}, true);
    await client.closeWrite();
    await settle();
    assertEquals(times(), 1);
  });
  await t.step("it ends right after a person was asked, long after its request", async () => {
    using time = moveTime();
    const { request, client, times } = begin({ endWithRequestMs: 500 }, true);
    time.later(500);
    let gone = 0;
    request.watch(() => gone++);
    await client.closeWrite();
    await settle();
    assertEquals([gone, times()], [1, 0]);
  });
  await t.step("it sends more", async () => {
    const { client, times } = begin({ isTls: true });
    await client.write(Buffer.from("GET"));
    await client.closeWrite();
    await settle();
    assertEquals(times(), 0);
  });
  await t.step("it has sent more already", async () => {
    const { client, times, reader } = begin({ isTls: true, here: "GET" });
    await client.closeWrite();
    await settle();
    assertEquals([times(), reader.reading, reader.ended], [0, false, false]);
    const ahead = begin({ isTls: true, here: "GET" }, true);
    await ahead.client.closeWrite();
    await settle();
    assertEquals(ahead.times(), 1);
  });
  await t.step("it sends more while a person is asked", async () => {
    const { client, times } = begin({}, true);
    await client.write(Buffer.from("GET"));
    await settle();
    assertEquals(times(), 0);
  });
  await t.step("it breaks off while a person is asked, and had sent more already", async () => {
    const { client, times } = begin({ here: "GET" }, true);
    client.abort();
    await settle();
    assertEquals(times(), 1);
  });
  await t.step("it has an answer of the proxy's", async () => {
    const { request, client, times } = begin({ isTls: true });
    await request.answer(WHOLE);
    client.abort();
    await settle();
    assertEquals(times(), 0);
  });
  await t.step("it has its last byte", async () => {
    const { request, client, times } = begin({ isTls: true });
    await request.begin(OK, Buffer.from("x"), new PiecedBody([]));
    client.abort();
    await settle();
    assertEquals(times(), 0);
    const within = begin({ isTls: true });
    await within.request.begin(OK, Buffer.from("x"), new PiecedBody(["y"]));
    await within.request.write(Buffer.from("y"), false);
    within.client.abort();
    await settle();
    assertEquals(within.times(), 1);
    const last = begin({ isTls: true });
    await last.request.begin(OK, Buffer.from("x"), new PiecedBody(["y"]));
    await last.request.write(Buffer.from("y"), true);
    last.client.abort();
    await settle();
    assertEquals(last.times(), 0);
  });
});

Deno.test("write() rejects once the client is gone", async () => {
  const { request, client } = setUp();
  client.abort();
  await assertRejects(() => request.write(new Uint8Array(1), false));
  request.end();
});
