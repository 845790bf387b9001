/** What giving requests up costs a client: a stream, a connection, and all of its connections together. */
import { assert, assertEquals } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { isProxyError, type ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { Budget } from "../../../../proxy/http2/budget.ts";
import { startHttp2Server } from "../../../../proxy/http2/server.ts";
import type { Http2ServerStream } from "../../../../proxy/http2/types.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import {
  bytes,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  headers,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  streamIds,
  WINDOW_UPDATE,
} from "../../../attack/http2_frames.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

const GET = headers({ method: "GET", path: "/a", authority: "up.test" });
const get = (id: number) => frame(HEADERS, END_HEADERS | END_STREAM, id, GET);
const cancel = (id: number) => frame(RST_STREAM, 0, id, [0, 0, 0, 8]);
const growByNothing = (id: number) => frame(WINDOW_UPDATE, 0, id, [0, 0, 0, 0]);

/** A server whose requests are under way until they are cut, unless `answers`. */
async function open(
  { resets, limits = {}, answers = false, lingers }: {
    readonly resets?: Budget;
    readonly limits?: Partial<Limits>;
    readonly answers?: boolean;
    /** What its requests wait for when they were cut. */
    readonly lingers?: Promise<void>;
  },
) {
  const [peer, stream] = makePipe();
  const begun: number[] = [];
  const refused: ProxyError[] = [];
  const connection = startHttp2Server({
    stream,
    reader: new ByteReader(stream),
    limits: { ...DEFAULT_LIMITS, http2ResetsPerSecond: 0, ...limits },
    deadlines: new Deadlines(),
    ...(resets ? { resets } : {}),
    async onRequest(request: Http2ServerStream) {
      begun.push(request.id);
      if (answers) request.respond({ status: 204, fields: [] }, true);
      else await new Promise<void>((resolve) => request.onReset = () => resolve());
      await lingers;
    },
    onRefused: (error) => void refused.push(error),
  });
  const into = new Uint8Array(65_536);
  const dropping = (async () => {
    while (await peer.read(into) !== null);
  })().catch(() => {});
  const send = async (...frames: readonly Uint8Array[]) => {
    await peer.write(bytes(...frames));
    await settle();
  };
  await send(PREFACE, frame(SETTINGS, 0, 0, []));
  return {
    begun,
    refused,
    connection,
    send,
    async [Symbol.asyncDispose]() {
      connection.close();
      peer.close();
      await Promise.all([connection.closed, dropping]);
    },
  };
}

Deno.test("a request that is reset within the read that brought it is never begun", async (t) => {
  for (const [name, end] of [["by its peer", cancel], ["by us", growByNothing]] as const) {
    await t.step(name, async () => {
      await using made = await open({});
      await made.send(...streamIds(20).flatMap((id) => [get(id), end(id)]), get(41));
      await waitUntil("the last one came", () => made.begun.length > 0);
      assertEquals(made.begun, [41]);
    });
  }
});

Deno.test("a client's connection may give up so many requests, and more when others were answered", async (t) => {
  for (const [answered, last] of [[0, 5], [1, 8]] as const) {
    await t.step(`${answered} answered beside each`, async () => {
      const limits = { maxHttp2ClientResets: 4 };
      await using made = await open({ limits, answers: true });
      const ids = streamIds(50);
      const next = () => ids[made.connection.counters.streams] ?? 0;
      let given = 0;
      while (made.connection.error === undefined) {
        const id = next();
        await made.send(get(id), cancel(id));
        given++;
        for (let nth = 0; nth < answered; nth++) await made.send(get(next()));
      }
      assertEquals(given, last);
      assert(isProxyError(made.connection.error, "limit.reached"), String(made.connection.error));
    });
  }
});

Deno.test("a client that gave up too many gets no new streams on any connection, and one record for each", async () => {
  const resets = new Budget(3, 0);
  await using first = await open({ resets });
  await using second = await open({ resets });
  await second.send(get(1));
  await first.send(get(1), get(3), get(5));
  await first.send(cancel(1), cancel(3), cancel(5));
  await second.send(get(3), get(5));
  assertEquals(second.begun, [1]);
  assertEquals(second.connection.activeStreams, 1); // what is under way goes on
  assertEquals(second.refused.map(({ code, reason }) => [code, reason]), [["limit.reached", "quota"]]);
  assertEquals([first.connection.error, second.connection.error], [undefined, undefined]);
});

Deno.test("refused streams are resets of their connection, which ends", async () => {
  const resets = new Budget(1, 0);
  resets.charge(1);
  await using made = await open({ resets, limits: { maxHttp2ClientResets: 4 } });
  await made.send(...streamIds(5).map(get));
  assert(isProxyError(made.connection.error, "limit.reached"), String(made.connection.error));
  assertEquals(made.begun, []);
});

Deno.test("requests that are left behind with their connection were given up", async () => {
  const resets = new Budget(3, 0);
  {
    await using made = await open({ resets });
    await made.send(get(1), get(3), get(5));
    assert(!resets.isSpent);
    await made.send(frame(RST_STREAM, 0, 9, [0, 0, 0, 8])); // an error of the whole connection
    assert(made.connection.error !== undefined);
  }
  assert(resets.isSpent);
});

Deno.test("what ends with our own close was not given up", async () => {
  const resets = new Budget(1, 0);
  {
    await using made = await open({ resets });
    await made.send(get(1));
  }
  assert(!resets.isSpent);
});

Deno.test("a budget: a debt is bounded, and paid as time goes by", async () => {
  const budget = new Budget(10, 1_000);
  assert(budget.isWhole);
  budget.charge(1_000_000);
  assert(budget.isSpent && !budget.isWhole && !budget.take());
  await waitUntil("20 have come", () => budget.isWhole);
  assert(budget.take());
});

Deno.test("clients that owe nothing are forgotten, those that do are not", () => {
  const admission = new Admission({
    ...DEFAULT_LIMITS,
    maxHttp2ResetsPerClient: 5,
    http2ResetsPerClientPerSecond: 0,
  });
  const owing = admission.resetsOf("owing");
  owing.charge(5);
  const fair = admission.resetsOf("fair");
  for (let nth = 0; nth < 3_000; nth++) admission.resetsOf(`client-${nth}`);
  assert(admission.resetsOf("owing") === owing);
  assert(admission.resetsOf("fair") !== fair);
});

Deno.test("what is being done for streams that are gone counts: twice as many as may be open, and no more", async () => {
  const { promise: lingers, resolve } = Promise.withResolvers<void>();
  await using server = await open({ limits: { maxHttp2Streams: 2 }, lingers });
  await server.send(get(1), get(3));
  await waitUntil("the requests are begun", () => server.begun.length === 2);
  await server.send(cancel(1), cancel(3));
  await server.send(get(5), get(7));
  await waitUntil("the requests are begun", () => server.begun.length === 4);
  await server.send(cancel(5), cancel(7));
  await server.send(get(9));
  assertEquals(server.begun, [1, 3, 5, 7]);
  resolve();
  await settle();
  await server.send(get(11));
  await waitUntil("the requests are begun", () => server.begun.length === 5);
  assertEquals(server.begun.at(-1), 11);
});
