import { assertEquals, assertRejects } from "@std/assert";
import { TYPE_A } from "../../../../../core/dns_message.ts";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import { type Exchange, makeExchange } from "../../../../../proxy/egress/names/exchange.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { StreamLinks } from "../../../../../proxy/egress/names/stream_links.ts";
import { ByteReader } from "../../../../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../../../../proxy/streams/socket_stream.ts";
import { startRawUpstream, type Upstream } from "../../../../support/echo_upstream.ts";
import { holdTimers } from "../../../../support/held_timers.ts";
import { a, reply } from "../../../../support/name_server.ts";
import type { RawPeer } from "../../../../support/raw_peer.ts";
import { soon, waitUntil } from "../../../../support/sockets.ts";

const QUESTION = { name: "up.test", type: TYPE_A };
const NEVER = new AbortController().signal;

/** Any bytes are an answer, but for these. */
const anything: Exchange = {
  query: Uint8Array.of(7, 8, 9),
  isAnswer: (bytes) => bytes[0] !== 0xff,
};

interface Server extends Upstream {
  /** Connections that the other side has ended, in that order. */
  readonly ended: readonly number[];
}

/** Answers each question of a connection by `answer`, with the bytes as they are. */
async function serve(answer: (asked: Uint8Array, index: number) => Uint8Array | undefined): Promise<Server> {
  const ended: number[] = [];
  const server = await startRawUpstream(async (peer, index) => {
    try {
      for (;;) {
        const bytes = answer(await readQuestion(peer), index);
        if (bytes) await peer.sendBytes(bytes);
      }
    } finally {
      ended.push(index);
    }
  }, { names: [] });
  return Object.assign(server, { ended });
}

async function readQuestion(peer: RawPeer): Promise<Uint8Array> {
  const [high = 0, low = 0] = latin1(await peer.readBytes(2));
  return latin1(await peer.readBytes(high * 256 + low));
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function framed(...body: readonly number[]): Uint8Array {
  return Uint8Array.of(body.length >> 8, body.length & 0xff, ...body);
}

/** Links whose connections a test can count. */
function linksTo({ port }: Upstream): StreamLinks {
  return new StreamLinks(async () => {
    const stream = new SocketStream(await Deno.connect({ hostname: "127.0.0.1", port }));
    return { stream, reader: new ByteReader(stream), protocol: undefined };
  });
}

async function kindOf(asking: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => soon("the answer", asking), FailedLookup)).kind;
}

Deno.test("ask() sends the length before the question, and takes an answer in pieces of one byte", async () => {
  const asked: string[] = [];
  await using server = await startRawUpstream(async (peer) => {
    asked.push(await peer.readBytes(5));
    for (const byte of framed(...new Uint8Array(300).fill(1))) {
      await peer.sendBytes(Uint8Array.of(byte));
      await new Promise((next) => setTimeout(next));
    }
    await peer.readBytes(1);
  }, { names: [] });
  using links = linksTo(server);
  assertEquals(await links.ask(anything, NEVER), new Uint8Array(300).fill(1));
  assertEquals(asked, ["\0\x03\x07\x08\x09"]);
});

Deno.test("ask() takes an answer of no bytes for one, whatever that answers", async () => {
  await using server = await serve(() => framed());
  using links = linksTo(server);
  assertEquals(await soon("the answer", links.ask(anything, NEVER)), new Uint8Array(0));
});

Deno.test("ask() takes the longest answer, and refuses one byte more", async () => {
  let size: number = NAME_LIMITS.maxAnswerBytes;
  await using server = await serve(() => framed(...new Uint8Array(size)));
  using links = linksTo(server);
  assertEquals((await links.ask(anything, NEVER)).length, NAME_LIMITS.maxAnswerBytes);
  size++;
  assertEquals(await kindOf(links.ask(anything, NEVER)), "too-large");
});

Deno.test("ask() uses a connection again, and another once the server has said more than it was asked", async () => {
  let more: readonly number[] = [];
  await using server = await serve(() => Uint8Array.of(...framed(1, 2), ...more));
  using links = linksTo(server);
  for (let at = 0; at < 3; at++) assertEquals(await links.ask(anything, NEVER), Uint8Array.of(1, 2));
  assertEquals(server.connections, 1);
  more = [0];
  assertEquals(await links.ask(anything, NEVER), Uint8Array.of(1, 2));
  await waitUntil("the connection is closed", () => server.ended.length === 1);
  more = [];
  assertEquals(await links.ask(anything, NEVER), Uint8Array.of(1, 2));
  assertEquals(server.connections, 2);
});

Deno.test("ask() opens a connection when the kept ones are of no use, and says what a fresh one says", async (t) => {
  const rows: readonly (readonly [string, Uint8Array | undefined])[] = [
    ["the server has closed it", undefined],
    ["its answer is too large", Uint8Array.of(0xff, 0xff)],
  ];
  for (const [name, second] of rows) {
    await t.step(name, async () => {
      const asked: number[] = [];
      await using server = await startRawUpstream(async (peer, index) => {
        for (let at = 0; at < 2; at++) {
          await readQuestion(peer);
          asked.push(index);
          if (index === 0 && at === 1 && !second) return;
          await peer.sendBytes(index === 0 && at === 1 && second ? second : framed(1));
        }
      }, { names: [] });
      using links = linksTo(server);
      await links.ask(anything, NEVER);
      assertEquals(await soon("the answer", links.ask(anything, NEVER)), Uint8Array.of(1));
      assertEquals(asked, [0, 0, 1]);
    });
  }
});

Deno.test("ask() tries the kept connections in turn: one that the server has closed says nothing of the others", async () => {
  let asked = 0;
  await using server = await startRawUpstream(async (peer) => {
    for (;;) {
      await readQuestion(peer);
      if (++asked === 3) return;
      await peer.sendBytes(framed(1));
    }
  }, { names: [] });
  using links = linksTo(server);
  await Promise.all([links.ask(anything, NEVER), links.ask(anything, NEVER)]);
  await links.ask(anything, NEVER);
  assertEquals([asked, server.connections], [4, 2]);
});

Deno.test("ask() believes no answer to another question, and asks it no second time", async () => {
  let answers = 0;
  await using server = await serve((asked) => framed(answers++ === 0 ? 1 : 0xff, asked.length));
  using links = linksTo(server);
  await links.ask(anything, NEVER);
  assertEquals(await kindOf(links.ask(anything, NEVER)), "garbage");
  assertEquals([answers, server.connections], [2, 1]);
  await waitUntil("the connection is closed", () => server.ended.length === 1);
});

Deno.test("ask() says away of a server that closes a fresh connection, whatever it said of an answer", async () => {
  await using server = await startRawUpstream(async (peer) => {
    await readQuestion(peer);
    await peer.sendBytes(Uint8Array.of(0, 5, 1));
  }, { names: [] });
  using links = linksTo(server);
  const failure = await assertRejects(() => soon("the answer", links.ask(anything, NEVER)), FailedLookup);
  assertEquals([failure.kind, failure.message], ["away", "the server closed the connection"]);
});

Deno.test("ask() that is given up closes its connection and those kept beside it", async () => {
  using _ = holdTimers(NAME_LIMITS.idleMs);
  await using server = await serve((asked) => (asked.length === 3 ? framed(1) : undefined));
  using links = linksTo(server);
  await Promise.all([links.ask(anything, NEVER), links.ask(anything, NEVER)]);
  assertEquals(server.connections, 2);
  const giveUp = new AbortController();
  const asking = links.ask({ ...anything, query: Uint8Array.of(1) }, giveUp.signal);
  giveUp.abort(new Error("given up"));
  await assertRejects(() => soon("the answer", asking), Error, "given up");
  await waitUntil("both are closed", () => server.ended.length === 2);
  assertEquals(server.connections, 2, "nothing was opened for who has gone");
});

Deno.test("ask() that was given up before sends nothing", async () => {
  let asked = 0;
  await using server = await serve(() => {
    asked++;
    return framed(1);
  });
  using links = linksTo(server);
  const gone = AbortSignal.abort(new Error("given up"));
  await assertRejects(() => soon("the answer", links.ask(anything, gone)), Error, "given up");
  await waitUntil("the connection is closed", () => server.ended.length === 1);
  assertEquals(asked, 0);
});

Deno.test("a signal that aborts after the answer leaves the connection alone", async () => {
  await using server = await serve(() => framed(1));
  using links = linksTo(server);
  const late = new AbortController();
  await links.ask(anything, late.signal);
  late.abort();
  await links.ask(anything, NEVER);
  assertEquals(server.connections, 1);
});

Deno.test("connections are kept for a time, so many of them, the last that was used first", async () => {
  using timers = holdTimers(NAME_LIMITS.idleMs);
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  const used: number[] = [];
  await using server = await startRawUpstream(async (peer, index) => {
    for (;;) {
      await readQuestion(peer);
      used.push(index);
      await wait;
      await peer.sendBytes(framed(1));
    }
  }, { names: [] });
  using links = linksTo(server);
  const asking = Array.from({ length: NAME_LIMITS.maxIdle + 1 }, () => links.ask(anything, NEVER));
  await waitUntil("all were asked", () => used.length === NAME_LIMITS.maxIdle + 1);
  go();
  await Promise.all(asking);
  assertEquals(timers.pending.length, NAME_LIMITS.maxIdle, "one more is closed");
  assertEquals(timers.unrefed, NAME_LIMITS.maxIdle, "none keeps the process");
  await links.ask(anything, NEVER);
  const last = used.at(-1);
  await links.ask(anything, NEVER);
  assertEquals([used.at(-1), server.connections], [last, NAME_LIMITS.maxIdle + 1]);
  timers.fire(NAME_LIMITS.idleMs);
  await links.ask(anything, NEVER);
  assertEquals(server.connections, NAME_LIMITS.maxIdle + 2, "none of those kept is left");
});

Deno.test("a connection in use has no timer, and the one whose time is over is closed and no other", async () => {
  using timers = holdTimers(NAME_LIMITS.idleMs);
  await using server = await serve((asked) => (asked.length === 3 ? framed(1) : undefined));
  using links = linksTo(server);
  await Promise.all([links.ask(anything, NEVER), links.ask(anything, NEVER)]);
  const giveUp = new AbortController();
  const asking = links.ask({ ...anything, query: Uint8Array.of(1) }, giveUp.signal);
  assertEquals(timers.pending.length, 1);
  timers.fire(NAME_LIMITS.idleMs);
  await waitUntil("the idle one is closed", () => server.ended.length === 1);
  giveUp.abort();
  await assertRejects(() => asking);
});

Deno.test("one idle connection's end takes no other with it", async () => {
  using timers = holdTimers(NAME_LIMITS.idleMs);
  await using server = await serve(() => framed(1));
  using links = linksTo(server);
  await Promise.all([links.ask(anything, NEVER), links.ask(anything, NEVER)]);
  timers.fire(NAME_LIMITS.idleMs, 1);
  await waitUntil("one is closed", () => server.ended.length === 1);
  await links.ask(anything, NEVER);
  assertEquals(server.connections, 2);
});

Deno.test("leave() closes what is kept, and what is opened later is kept again", async () => {
  await using server = await serve(() => framed(1));
  using links = linksTo(server);
  await links.ask(anything, NEVER);
  links.leave();
  await waitUntil("it is closed", () => server.ended.length === 1);
  await links.ask(anything, NEVER);
  await links.ask(anything, NEVER);
  assertEquals(server.connections, 2);
});

Deno.test("what is answered after the end is kept by nobody", async () => {
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  let asked = 0;
  let ended = 0;
  await using server = await startRawUpstream(async (peer) => {
    await readQuestion(peer);
    asked++;
    await wait;
    await peer.sendBytes(framed(1));
    await peer.readBytes(1).catch(() => ended++);
  }, { names: [] });
  const links = linksTo(server);
  const asking = links.ask(anything, NEVER);
  await waitUntil("it was asked", () => asked === 1);
  links[Symbol.dispose]();
  go();
  assertEquals(await asking, Uint8Array.of(1));
  await waitUntil("the connection is closed", () => ended === 1);
});

Deno.test("makeExchange() takes an answer under its id alone", async () => {
  const { query, isAnswer } = makeExchange(QUESTION, 0x0102);
  assertEquals([query[0], query[1]], [1, 2]);
  const answer = reply({ bytes: query }, { answers: [a("up.test", "10.0.0.1")] });
  assertEquals(isAnswer(answer), true);
  assertEquals(isAnswer(reply({ bytes: query }, { id: 0x0103 })), false);
  assertEquals(
    await Promise.resolve(makeExchange({ ...QUESTION, type: 28 }, 0x0102).isAnswer(answer)),
    false,
  );
});
