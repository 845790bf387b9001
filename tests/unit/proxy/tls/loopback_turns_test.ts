/** What goes on at once in the loopback hop: strangers while ours are on their way, and listeners that go under them. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { hasNativeCalls } from "../../../../core/native.ts";
import { Interceptor, type ServerCertificate } from "../../../../proxy/tls/loopback.ts";
import type { TlsSession } from "../../../../proxy/tls/loopback_session.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { holdTimers } from "../../../support/held_timers.ts";
import { watchNoDelay } from "../../../support/no_delay.ts";
import { settledSockets, soon, type TcpPair, tcpPair, waitUntil } from "../../../support/sockets.ts";
import { proxyAuthority } from "../../../support/test_authority.ts";

hasNativeCalls();
const realConnect = Deno.connect;

async function setUp(limits: Partial<Limits> = {}) {
  const { caPem, issue } = await proxyAuthority();
  const clock = { now: Date.now() };
  const deadlines = new FakeDeadlines();
  const ports = new Set<number>();
  const interceptor = new Interceptor({
    ...{ ports, deadlines, now: () => clock.now },
    limits: { ...DEFAULT_LIMITS, ...limits },
  });
  const certificate = await issue(["a.test"]);
  /** Ends TLS on the far end of a new connection. */
  const begin = (pair: TcpPair, load = (): Promise<ServerCertificate> => Promise.resolve(certificate)) => {
    const session = interceptor.terminate(pair.far, new Uint8Array(0), "a.test", load);
    session.catch(() => {});
    return session;
  };
  /** The same with a client that shakes hands. */
  const open = async (load?: () => Promise<ServerCertificate>) => {
    const pair = await tcpPair();
    const session = begin(pair, load);
    const tls = await Deno.startTls(pair.near, {
      ...{ hostname: "a.test", caCerts: [caPem], alpnProtocols: ["h2", "http/1.1"] },
    });
    const shaken = tls.handshake();
    shaken.catch(() => {});
    return { pair, session, tls, shaken };
  };
  return {
    ...{ interceptor, ports, deadlines, clock, certificate, begin, open },
    /** How many connections are kept that nobody has registered. */
    unclaimed: () => deadlines.left.filter((ms) => ms <= 2_000).length,
    [Symbol.asyncDispose]: () => interceptor.close(),
  };
}

type Opened = Awaited<ReturnType<Awaited<ReturnType<typeof setUp>>["open"]>>;

async function finish({ session, tls, pair }: Opened): Promise<void> {
  const opened = await soon("the session", session);
  tls.close();
  opened.close();
  await soon("every descriptor is closed", opened.done);
  pair[Symbol.dispose]();
}

/** Our own connects are under way, `before` they have begun or `after` they are accepted, until a test lets each go on. */
function holdConnects(ports: ReadonlySet<number>, when: "before" | "after") {
  const held: PromiseWithResolvers<void>[] = [];
  const connect = async (options: Deno.ConnectOptions) => {
    if (!ports.has(options.port)) return await realConnect(options);
    const wait = Promise.withResolvers<void>();
    const conn = when === "after" ? await realConnect(options) : undefined;
    held.push(wait);
    await wait.promise;
    return conn ?? await realConnect(options);
  };
  Deno.connect = connect as typeof Deno.connect;
  return { held, [Symbol.dispose]: () => Deno.connect = realConnect };
}

Deno.test("strangers are kept for two seconds while one of ours is on its way, 64 of them beside it", async () => {
  const before = await settledSockets();
  {
    await using setup = await setUp();
    using connects = holdConnects(setup.ports, "before");
    using pair = await tcpPair();
    const session = setup.begin(pair);
    await waitUntil("it connects", () => connects.held.length === 1);
    const [port = 0] = setup.ports;
    const strangers: Deno.Conn[] = [];
    const knock = async () =>
      strangers[strangers.push(await realConnect({ port, hostname: "127.0.0.1" })) - 1];
    const isClosed = async (at: number) =>
      await soon("the end", strangers[at]?.read(new Uint8Array(1)) ?? Promise.reject()) === null;
    for (let at = 1; at <= 65; at++) {
      await knock();
      await waitUntil("it is kept", () => setup.unclaimed() === at);
    }
    setup.deadlines.advance(1);
    await knock();
    assert(await isClosed(0));
    await waitUntil("the newest is kept", () => setup.deadlines.left.includes(2_000));
    assertEquals(setup.unclaimed(), 65);
    setup.deadlines.advance(1_998);
    assertEquals(setup.unclaimed(), 65);
    setup.deadlines.advance(1);
    assert(await isClosed(1));
    assertEquals(setup.unclaimed(), 1);

    connects.held[0]?.reject(new Error("no more descriptors"));
    await assertRejects(() => soon("the failure", session), Error, "no more descriptors");
    assert(await isClosed(65)); // nobody is on the way any more
    assertEquals([setup.unclaimed(), await pair.near.read(new Uint8Array(1))], [0, null]);
    await setup.interceptor.close();
    assertEquals([setup.ports.size, setup.interceptor.listenerCount], [0, 0]);
    for (const stranger of strangers) stranger.close();
  }
  assertEquals(await settledSockets(), before);
});

Deno.test("what is accepted before it is registered is claimed then, and others of ours stay", async () => {
  await using setup = await setUp();
  using connects = holdConnects(setup.ports, "after");
  const made = [await setup.open(), await setup.open()];
  await waitUntil("both are accepted", () => connects.held.length === 2 && setup.unclaimed() === 2);
  for (const [at, { session, shaken }] of made.entries()) {
    connects.held[at]?.resolve();
    await soon("the session", session);
    assertEquals([setup.unclaimed(), (await soon("the handshake", shaken)).alpnProtocol], [
      1 - at,
      "http/1.1",
    ]);
  }
  assertEquals(setup.deadlines.left, []); // the handshakes' own neither
  await Promise.all(made.map(finish));
});

Deno.test("a listener that is dropped stays until those that are on their way to it have shaken hands", async () => {
  await using setup = await setUp();
  for (const state of ["being opened", "open already"]) {
    const first = state === "open already" ? await setup.open() : undefined;
    await first?.session;
    {
      using connects = holdConnects(setup.ports, "before");
      const made = await setup.open();
      await waitUntil("it connects", () => connects.held.length === 1);
      setup.interceptor.forget();
      await new Promise((next) => setTimeout(next, 0));
      assertEquals([setup.ports.size, setup.interceptor.has("a.test")], [1, false], state);
      connects.held[0]?.resolve();
      await finish(made);
    }
    await waitUntil("the listener is closed", () => setup.ports.size === 0);
    if (first) await finish(first);
  }
});

Deno.test("a connection that fails after it was opened is closed", async () => {
  await using setup = await setUp();
  const opened: Deno.TcpConn[] = [];
  const connect = async (options: Deno.ConnectOptions) => {
    const conn = await realConnect(options);
    opened.push(conn);
    return Object.defineProperty(conn, "setNoDelay", {
      value: () => {
        throw new Error("not connected");
      },
    });
  };
  using pair = await tcpPair();
  Deno.connect = connect as typeof Deno.connect;
  try {
    await assertRejects(() => soon("the failure", setup.begin(pair)), Error, "not connected");
  } finally {
    Deno.connect = realConnect;
  }
  assertEquals(opened.length, 1);
  await assertRejects(() => opened[0]?.read(new Uint8Array(1)) ?? Promise.resolve(), Deno.errors.BadResource);
});

Deno.test("our end of a loopback connection sends small pieces at once", async () => {
  await using setup = await setUp();
  using watch = await watchNoDelay();
  const made = await setup.open();
  await made.session;
  assertEquals(watch.ports.length, 1);
  await finish(made);
});

Deno.test("a certificate is in use up to renewAt, and its listener is closed then", async () => {
  await using setup = await setUp();
  let loads = 0;
  const renewAt = setup.clock.now + 1_000;
  const load = () => Promise.resolve({ ...setup.certificate, renewAt: renewAt + 1_000 * loads++ });
  for (const [now, expected] of [[renewAt - 1, 1], [renewAt - 1, 1], [renewAt, 2], [renewAt, 2]] as const) {
    setup.clock.now = now;
    await finish(await setup.open(load));
    assertEquals(loads, expected);
    await waitUntil("there is one listener", () => setup.ports.size === 1);
  }
});

Deno.test("a certificate that is being loaded when all are forgotten serves whoever asked for it, and nobody else", async () => {
  await using setup = await setUp();
  const loading = Promise.withResolvers<ServerCertificate>();
  const first = await setup.open(() => loading.promise);
  let loads = 0;
  const load = () => Promise.resolve((loads++, setup.certificate));
  const second = await setup.open(load);
  setup.interceptor.forget();
  loading.resolve(setup.certificate);
  await Promise.all([finish(first), finish(second)]);
  assertEquals([loads, setup.interceptor.listenerCount], [1, 1]);
  await waitUntil("the forgotten one is closed", () => setup.ports.size === 1);
});

Deno.test("a certificate that cannot be had takes no newer one away", async () => {
  await using setup = await setUp();
  const loading = Promise.withResolvers<ServerCertificate>();
  using pair = await tcpPair();
  const failing = setup.begin(pair, () => loading.promise);
  setup.interceptor.forget();
  const made = await setup.open();
  await made.session;
  loading.reject(new Error("no key"));
  await assertRejects(() => soon("the failure", failing), Error, "no key");
  assertEquals(setup.interceptor.has("a.test"), true);
  await finish(made);
});

async function failure(session: Promise<TlsSession>): Promise<string> {
  const error = await assertRejects(() => soon("the failure", session), ProxyError);
  return `${error.code} ${error.reason}`;
}

Deno.test("after a failed handshake the alert has a tenth of a second, and no more where the client has gone", async (t) => {
  using timers = holdTimers(100);
  await t.step("it has gone", async () => {
    await using setup = await setUp();
    using pair = await tcpPair();
    const session = setup.begin(pair);
    await pair.near.closeWrite();
    assertEquals(await failure(session), "client.closed client-closed");
    assertEquals(timers.pending, []);
  });
  await t.step("it stays", async () => {
    await using setup = await setUp();
    using pair = await tcpPair();
    const session = setup.begin(pair);
    await pair.near.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    await waitUntil("the alert is on its way", () => timers.pending.length === 1);
    timers.fire(100);
    assertEquals(await failure(session), "client.malformed tls-no-client-hello");
  });
});

Deno.test("a client that goes before its connection is accepted is waited for no longer, and leaves nothing open", async () => {
  const before = await settledSockets();
  const realListen = Deno.listenTls;
  const accepting = Promise.withResolvers<void>();
  Deno.listenTls = (options) => {
    const listener = realListen(options);
    const accept = listener.accept.bind(listener);
    return Object.defineProperty(listener, "accept", { value: () => accepting.promise.then(accept) });
  };
  try {
    await using setup = await setUp({ halfCloseTimeoutMs: 1_000, handshakeTimeoutMs: 60_000 });
    using pair = await tcpPair();
    const session = setup.begin(pair);
    await pair.near.closeWrite();
    await waitUntil("its end is known", () => setup.deadlines.left.includes(1_000));
    setup.deadlines.advance(1_000);
    assertEquals(await failure(session), "client.closed client-closed");
    accepting.resolve();
    assertEquals(await settledSockets(), before + 2); // the near end and the listener
  } finally {
    Deno.listenTls = realListen;
  }
  assertEquals(await settledSockets(), before);
});

Deno.test("a client that goes while it shakes hands has no session", async () => {
  await using setup = await setUp({ halfCloseTimeoutMs: 1_000, handshakeTimeoutMs: 60_000 });
  const first = await setup.open();
  await first.session;
  const prototype: Deno.TlsConn = Object.getPrototypeOf(first.tls);
  const real = prototype.handshake;
  const ours: Deno.TlsConn[] = [];
  const held = Promise.withResolvers<void>();
  const pair = await tcpPair();
  prototype.handshake = async function (this: Deno.TlsConn) {
    const info = await real.call(this);
    ours.push(this);
    await held.promise;
    return info;
  };
  try {
    const session = setup.begin(pair);
    const tls = await Deno.startTls(pair.near, {
      hostname: "a.test",
      caCerts: [(await proxyAuthority()).caPem],
    });
    await real.call(tls);
    await waitUntil("hands are shaken", () => ours.length === 1);
    tls.close();
    await waitUntil("its end is known", () => setup.deadlines.left.includes(1_000));
    setup.deadlines.advance(1_000);
    await new Promise((next) => setTimeout(next, 20));
    held.resolve();
    assertEquals(await failure(session), "client.closed client-closed");
  } finally {
    prototype.handshake = real;
    pair[Symbol.dispose]();
  }
  await finish(first);
});
