import { assert, assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import type { Exchange } from "../../../../../proxy/egress/names/exchange.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { Http2Link } from "../../../../../proxy/egress/names/http2_link.ts";
import type { Http2RequestHead, Http2ServerStream } from "../../../../../proxy/http2/types.ts";
import { ByteReader } from "../../../../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../../../../proxy/streams/socket_stream.ts";
import { holdTimers } from "../../../../support/held_timers.ts";
import { type Http2Upstream, startHttp2Upstream } from "../../../../support/http2_upstream.ts";
import { soon, startSilentPeer, waitUntil } from "../../../../support/sockets.ts";
import { parseFrameLine } from "../../../../wire/http2/frame_text.ts";
import { makePipe, settle } from "../../../../wire/pipe.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const NEVER = new AbortController().signal;
const NOTHING = new Promise<void>(() => {});
const DNS = { key: "content-type", value: "application/dns-message" };

/** Any bytes are an answer, but for an empty one. */
const exchange: Exchange = { query: Uint8Array.of(7, 8, 9), isAnswer: (bytes) => bytes.length > 0 };

interface Stage extends AsyncDisposable {
  readonly link: Http2Link;
  readonly upstream: Http2Upstream;
  /** Connections that the server has seen end. */
  readonly ended: number;
  /** How often a connection was to be opened. */
  readonly opened: number;
  ask(signal?: AbortSignal): Promise<readonly number[]>;
}

interface StageOptions {
  readonly host?: string;
  readonly port?: number;
  readonly open?: (attempt: number) => Promise<unknown>;
}

/** A server in clear and a link to it that takes it for one over TLS. */
async function stage(
  handle: (stream: Http2ServerStream, nth: number) => Promise<void> | void,
  { host = "dns.test", port = 443, open }: StageOptions = {},
): Promise<Stage> {
  const known = new Set<unknown>();
  let [ended, opened, asked] = [0, 0, 0];
  const upstream = await startHttp2Upstream({
    isClear: true,
    handle: async (stream, connection) => {
      if (!known.has(connection)) {
        known.add(connection);
        void connection.closed.then(() => ended++);
      }
      while (await stream.fill()) stream.consume(stream.available.length);
      await handle(stream, asked++);
    },
  });
  const server = { scheme: "https", host, port, path: "/dns-query" } as const;
  const link = new Http2Link(server, new Deadlines(), async () => {
    opened++;
    await open?.(opened);
    const stream = new SocketStream(await Deno.connect({ hostname: "127.0.0.1", port: upstream.port }));
    return { stream, reader: new ByteReader(stream), protocol: "h2" };
  });
  return {
    link,
    upstream,
    get ended() {
      return ended;
    },
    get opened() {
      return opened;
    },
    ask: async (signal = NEVER) => [...await soon("the answer", link.ask(exchange, signal))],
    [Symbol.asyncDispose]: async () => {
      link[Symbol.dispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

async function say(stream: Http2ServerStream, ...bytes: readonly number[]): Promise<void> {
  stream.respond({ status: 200, fields: [DNS] });
  await stream.write(Uint8Array.from(bytes), true);
}

async function kindOf(asking: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => soon("the answer", asking), FailedLookup)).kind;
}

Deno.test("ask() sends the question as RFC 8484 has it", async (t) => {
  const rows: readonly (readonly [string, StageOptions, authority: string])[] = [
    ["the usual port", { host: "dns.test", port: 443 }, "dns.test"],
    ["another port", { host: "dns.test", port: 8443 }, "dns.test:8443"],
    ["an IPv6 address", { host: "fd00::53", port: 8443 }, "[fd00::53]:8443"],
  ];
  for (const [name, place, authority] of rows) {
    await t.step(name, async () => {
      const heads: Http2RequestHead[] = [];
      await using s = await stage(async (stream) => {
        heads.push(stream.head);
        await say(stream, 1, 2);
      }, place);
      assertEquals(await s.ask(), [1, 2]);
      assertEquals(heads.map(({ fields: _, ...head }) => head), [
        { method: "POST", scheme: "https", authority, path: "/dns-query", protocol: undefined },
      ]);
      assertEquals(heads[0]?.fields.map(({ key, value }) => [key, value]), [
        ["accept", "application/dns-message"],
        ["content-type", "application/dns-message"],
        ["content-length", "3"],
      ]);
    });
  }
});

Deno.test("ask() takes a whole answer of the right type alone, and cuts every other", async (t) => {
  const type = (value: string) => [{ key: "content-type", value }];
  const most = new Uint8Array(NAME_LIMITS.maxAnswerBytes).fill(1);
  const rows: readonly {
    readonly name: string;
    readonly status?: number;
    readonly fields?: readonly { readonly key: string; readonly value: string }[];
    readonly body?: Uint8Array;
    readonly failure?: string;
  }[] = [
    { name: "with a parameter, in capitals", fields: type("Application/DNS-Message ; charset=x") },
    { name: "another type", fields: type("text/html"), failure: "garbage" },
    { name: "no type", fields: [], failure: "garbage" },
    { name: "another success", status: 206, failure: "servfail" },
    { name: "a failure", status: 502, failure: "servfail" },
    { name: "the longest", body: most },
    { name: "one byte more", body: Uint8Array.of(...most, 1), failure: "too-large" },
    { name: "no answer to this", body: new Uint8Array(0), failure: "garbage" },
  ];
  for (const { name, status = 200, fields = [DNS], body = Uint8Array.of(1), failure } of rows) {
    await t.step(name, async () => {
      let cut = 0;
      await using s = await stage(async (stream) => {
        stream.onReset = () => cut++;
        stream.respond({ status: 103, fields: [] });
        stream.respond({ status, fields });
        await stream.write(body, failure === undefined || body.length === 0);
        if (failure !== undefined) await NOTHING;
      });
      const asking = s.ask();
      if (failure === undefined) assertEquals(await asking, [...body]);
      else assertEquals(await kindOf(asking), failure);
      if (failure !== undefined && body.length > 0) await waitUntil("it is cut", () => cut === 1);
      assertEquals(s.upstream.connections, 1, "what the server says is not asked for again");
      assertEquals(s.opened, 1);
    });
  }
});

Deno.test("ask() puts questions on one connection, and on another when that has ended or was refused", async () => {
  await using s = await stage(async (stream, nth) => {
    if (nth === 2) stream.reset(7); // REFUSED_STREAM
    else await say(stream, nth);
  });
  assertEquals(await s.ask(), [0]);
  assertEquals(await s.ask(), [1]);
  assertEquals(s.upstream.connections, 1);
  assertEquals(await s.ask(), [3]);
  assertEquals(s.upstream.connections, 2);
  await waitUntil("the old one ends", () => s.ended === 1);
});

Deno.test("ask() does not ask again about what was no answer on a connection that was there", async () => {
  await using s = await stage(async (stream, nth) => {
    if (nth === 1) stream.respond({ status: 500, fields: [] }, true);
    else await say(stream, nth);
  });
  await s.ask();
  assertEquals(await kindOf(s.ask()), "servfail");
  assertEquals(await s.ask(), [2]);
  assertEquals(s.upstream.connections, 1, "and the connection is as good as before");
});

Deno.test("ask() tries to connect once, and the next question anew", async () => {
  await using s = await stage((stream) => say(stream, 1), {
    open: (nth) => (nth === 1 ? Promise.reject(new Error("no route")) : Promise.resolve()),
  });
  const failure = await assertRejects(() => s.ask(), FailedLookup);
  assertEquals([failure.kind, failure.message, s.opened], ["away", "no route", 1]);
  assertEquals(await s.ask(), [1]);
  assertEquals(s.opened, 2);
});

Deno.test("ask() keeps the words of a connection that took too long", async () => {
  const late = new FailedLookup("away", "connecting took too long");
  await using s = await stage((stream) => say(stream, 1), { open: () => Promise.reject(late) });
  assert(await assertRejects(() => s.ask()) === late);
});

Deno.test("ask() asks no server that did not agree on HTTP/2, and closes the connection", async () => {
  await using peer = startSilentPeer();
  const server = { scheme: "https", host: "dns.test", port: 443, path: "/" } as const;
  using link = new Http2Link(server, new Deadlines(), async () => {
    const stream = new SocketStream(await Deno.connect({ hostname: "127.0.0.1", port: peer.port }));
    return { stream, reader: new ByteReader(stream), protocol: undefined };
  });
  assertEquals(await kindOf(link.ask(exchange, NEVER)), "away");
  await waitUntil("it is accepted", () => peer.accepted.length === 1);
  assertEquals(await soon("the end", peer.accepted[0]?.read(new Uint8Array(1)) ?? Promise.resolve(0)), null);
});

Deno.test("ask() that is given up is cut, and its connection left when nothing was heard on it", async () => {
  let cut = 0;
  await using s = await stage(async (stream, nth) => {
    if (nth > 0) return await say(stream, nth);
    stream.onReset = () => cut++;
    await NOTHING;
  });
  const gone = watchSignal();
  const asking = s.ask(gone.signal);
  await waitUntil("it was asked", () => s.upstream.requests.length === 1);
  gone.abort(new Error("given up"));
  await assertRejects(() => soon("the end", asking), Error, "given up");
  assertEquals(gone.listeners, 0);
  await waitUntil("it is cut", () => cut === 1);
  assertEquals(s.upstream.requests.length, 1, "it is not asked again");
  assertEquals(await s.ask(), [1]);
  assertEquals(s.upstream.connections, 2);
});

Deno.test("ask() gives up a question that the server does not let through", async () => {
  const [far, stream] = makePipe();
  await far.write(parseFrameLine("SETTINGS INITIAL_WINDOW_SIZE=1"));
  const server = { scheme: "https", host: "dns.test", port: 443, path: "/" } as const;
  const link = new Http2Link(
    server,
    new Deadlines(),
    () => Promise.resolve({ stream, reader: new ByteReader(stream), protocol: "h2" }),
  );
  const gone = watchSignal();
  const asking = link.ask(exchange, gone.signal);
  await settle();
  gone.abort(new Error("given up"));
  await assertRejects(() => soon("the end", asking), Error, "given up");
  assertEquals(gone.listeners, 0);
  link[Symbol.dispose]();
  far.close();
  await settle();
});

Deno.test("ask() that is given up on a connection that was there is not asked again", async () => {
  await using s = await stage(async (stream, nth) => {
    if (nth > 0) await NOTHING;
    await say(stream, 1);
  });
  await s.ask();
  const gone = new AbortController();
  const asking = s.ask(gone.signal);
  await waitUntil("it was asked", () => s.upstream.requests.length === 2);
  gone.abort(new Error("given up"));
  await assertRejects(() => soon("the end", asking), Error, "given up");
  assertEquals([s.upstream.requests.length, s.upstream.connections], [2, 1]);
});

Deno.test("a slow name is no reason to leave a connection on which others are answered", async () => {
  await using s = await stage(async (stream, nth) => {
    if (nth === 0) await NOTHING;
    await say(stream, nth);
  });
  const gone = new AbortController();
  const slow = s.ask(gone.signal);
  await waitUntil("it was asked", () => s.upstream.requests.length === 1);
  await s.ask();
  gone.abort();
  await assertRejects(() => slow);
  await s.ask();
  assertEquals(s.upstream.connections, 1);
});

Deno.test("ask() lets go of its signal", async () => {
  await using s = await stage((stream) => say(stream, 1));
  const { signal, listeners } = watchSignal();
  await s.ask(signal);
  assertEquals(listeners, 0);
});

Deno.test("a question that is given up while connecting leaves the connection for the next", async () => {
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using s = await stage((stream) => say(stream, 1), { open: () => wait });
  const gone = new AbortController();
  const first = s.ask(gone.signal);
  gone.abort(new Error("given up"));
  await assertRejects(() => soon("the end", first), Error, "given up");
  const second = s.ask();
  go();
  assertEquals(await soon("the answer", second), [1]);
  assertEquals(s.opened, 1);
  assertEquals(s.upstream.requests.length, 1, "nothing was sent for who has gone");
});

Deno.test("leave() has what is under way answered, on a connection that ends with it, and asks the rest on another", async () => {
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using s = await stage(async (stream, nth) => {
    if (nth === 0) await wait;
    await say(stream, nth + 1);
  });
  s.link.leave();
  const first = s.ask();
  await waitUntil("it was asked", () => s.upstream.requests.length === 1);
  s.link.leave();
  assertEquals(await s.ask(), [2]);
  assertEquals([s.upstream.connections, s.ended], [2, 0]);
  go();
  assertEquals(await first, [1]);
  await waitUntil("the old one ends", () => s.ended === 1);
  await s.ask();
  assertEquals(s.upstream.connections, 2);
});

Deno.test("giving up on a connection that was left does not leave the one that is there now", async () => {
  await using s = await stage(async (stream, nth) => {
    if (nth === 0 || nth === 2) await NOTHING;
    await say(stream, nth);
  });
  const gone = new AbortController();
  const first = s.ask(gone.signal);
  await waitUntil("it was asked", () => s.upstream.requests.length === 1);
  s.link.leave();
  await s.ask();
  const last = new AbortController();
  const slow = s.ask(last.signal);
  await waitUntil("it was asked", () => s.upstream.requests.length === 3);
  gone.abort();
  await assertRejects(() => first);
  await s.ask();
  assertEquals(s.upstream.connections, 2);
  last.abort();
  await assertRejects(() => slow);
});

Deno.test("a connection that nobody asks on is left after a time", async () => {
  using timers = holdTimers(NAME_LIMITS.idleMs);
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using s = await stage(async (stream, nth) => {
    if (nth === 1) await wait;
    await say(stream, 1);
  });
  await s.ask();
  assertEquals([timers.pending, timers.unrefed], [[NAME_LIMITS.idleMs], 1]);
  const slow = s.ask();
  await waitUntil("it was asked", () => s.upstream.requests.length === 2);
  await s.ask();
  assertEquals(timers.pending, [], "one is still asked");
  go();
  await slow;
  timers.fire(NAME_LIMITS.idleMs);
  await waitUntil("it ends", () => s.ended === 1);
  await s.ask();
  assertEquals(s.upstream.connections, 2);
  s.link.leave();
  timers.fire(NAME_LIMITS.idleMs); // there is none to leave any more
});

Deno.test("the end closes all connections, and leaves no timer", async (t) => {
  await t.step("with a question under way", async () => {
    using timers = holdTimers(NAME_LIMITS.idleMs);
    await using s = await stage(() => NOTHING);
    const asking = s.ask();
    await waitUntil("it was asked", () => s.upstream.requests.length === 1);
    s.link[Symbol.dispose]();
    assertEquals(await kindOf(asking), "away");
    await waitUntil("it ends", () => s.ended === 1);
    assertEquals(timers.pending, []);
  });
  await t.step("with none", async () => {
    using timers = holdTimers(NAME_LIMITS.idleMs);
    await using s = await stage((stream) => say(stream, 1));
    await s.ask();
    s.link[Symbol.dispose]();
    await waitUntil("it ends", () => s.ended === 1);
    assertEquals(timers.pending, []);
  });
  await t.step("while connecting", async () => {
    await using peer = startSilentPeer();
    const { promise: wait, resolve: go } = Promise.withResolvers<void>();
    const server = { scheme: "https", host: "dns.test", port: 443, path: "/" } as const;
    const link = new Http2Link(server, new Deadlines(), async () => {
      await wait;
      const stream = new SocketStream(await Deno.connect({ hostname: "127.0.0.1", port: peer.port }));
      return { stream, reader: new ByteReader(stream), protocol: "h2" };
    });
    const asking = link.ask(exchange, NEVER);
    link[Symbol.dispose]();
    go();
    assertEquals(await kindOf(asking), "away");
    await waitUntil("it is accepted", () => peer.accepted.length === 1);
    assertEquals(
      await soon("the end", peer.accepted[0]?.read(new Uint8Array(1)) ?? Promise.resolve(0)),
      null,
    );
  });
});
