import { assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { type Http2SessionOptions, serveHttp2 } from "../../../../proxy/accept/http2_session.ts";
import type { ConnectionState, ProxyContext } from "../../../../proxy/context.ts";
import { startHttp2Client } from "../../../../proxy/http2/client.ts";
import type { Http2ClientConnection } from "../../../../proxy/http2/types.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { soon, waitUntil } from "../../../support/sockets.ts";
import { Engine, TOKEN } from "../../../wire/harness.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

/** Longer than any wait here: what must not decide. */
const NEVER_MS = 3_600_000;
const ROOMY = { headTimeoutMs: NEVER_MS, keepAliveTimeoutMs: NEVER_MS, lingerTimeoutMs: NEVER_MS };

interface SetUp {
  readonly limits?: Partial<Limits>;
  readonly options?: Partial<Http2SessionOptions>;
  /** Hosts of rules that `up.test` may be reached by. */
  readonly rules?: readonly string[];
  /** The upstream reads and says nothing. */
  readonly isSilent?: boolean;
  readonly context?: (context: ProxyContext) => Partial<ProxyContext>;
}

/** A client of HTTP/2 in a tunnel to `up.test`, whose upstreams refuse, or are silent. */
function setUp({ limits = {}, options = {}, rules = [], isSilent = false, context }: SetUp = {}) {
  const engine = new Engine({ limits: { ...ROOMY, ...limits }, ...(isSilent ? { onDial: () => {} } : {}) });
  const made = rules.map((host) => engine.policy.allow("one", { host }));
  const client = engine.policy.clientByToken(TOKEN);
  if (!client) throw new TypeError("the client is gone");
  const [near, stream] = makePipe();
  const state: ConnectionState = {
    ...{ source: "192.0.2.1", origin: { src: "192.0.2.1:1", proxyPort: 1 } },
    ...{ isIdle: false, isStopping: false, identify: () => true },
  };
  let isOver = false;
  const served = serveHttp2({
    ...{ stream, reader: new ByteReader(stream), state, origin: state.origin, isTls: true, isHttp2: true },
    context: { ...engine.context, ...context?.(engine.context) },
    tunnel: { scheme: "https", host: "up.test", port: 443, client },
  }, { hasRule: true, upstream: undefined, ...options }).then(() => isOver = true);
  const connection = startHttp2Client({
    stream: near,
    reader: new ByteReader(near),
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
  });
  const open = (path = "/", protocol?: string) =>
    connection.openStream(() => ({
      ...{ method: protocol ? "CONNECT" : "GET", scheme: "https", authority: "up.test", path },
      ...{ protocol, fields: [] },
    }), { signal: new AbortController().signal, end: protocol === undefined } as never);
  return {
    ...{ engine, state, served, connection, open, rules: made, stream },
    isOver: () => isOver,
    ask: async (path = "/") => {
      const asked = await open(path);
      const { status } = await soon("an answer", asked.response());
      while (await asked.fill()) asked.consume(asked.available.length);
      return status;
    },
    async [Symbol.asyncDispose]() {
      connection.close();
      await soon("the end of the session", Promise.all([served, connection.closed]));
      await waitUntil("its requests have ended", () => engine.context.grants.size === 0);
      await settle();
      await engine[Symbol.asyncDispose]();
    },
  };
}

Deno.test("serveHttp2() ends a connection without a request in time, and after requests when it has rested", async (t) => {
  await t.step("without one", async () => {
    await using setup = setUp({ limits: { headTimeoutMs: 50 } });
    await soon("the end", setup.served);
    assertEquals([setup.state.isIdle, setup.stream.ended], [false, "closed"]);
  });
  await t.step("after one", async () => {
    await using setup = setUp({ limits: { keepAliveTimeoutMs: 50 }, options: { hasRule: false } });
    assertEquals(await setup.ask(), 403);
    await soon("the end", setup.served);
  });
  await t.step("not before", async () => {
    await using setup = setUp({ options: { hasRule: false } });
    for (let at = 0; at < 2; at++) assertEquals(await setup.ask(), 403);
    assertEquals([setup.isOver(), setup.connection.isDraining], [false, false]);
  });
});

Deno.test("serveHttp2() is idle before, between and after requests, and not while one is under way", async () => {
  const seen: boolean[] = [];
  await using setup = setUp({
    options: { hasRule: false },
    context: ({ admission }) => {
      admission.tryStream = () => {
        seen.push(setup.state.isIdle);
        return () => {};
      };
      return {};
    },
  });
  await settle();
  for (let at = 0; at < 2; at++) {
    assertEquals(setup.state.isIdle, true);
    await setup.ask();
    await settle();
  }
  assertEquals([setup.state.isIdle, seen], [true, [false, false]]);
});

Deno.test("serveHttp2() that is to stop before its first request ends by itself", async () => {
  await using setup = setUp({ rules: ["up.test"] });
  setup.state.isStopping = true;
  assertEquals(await setup.ask(), 502);
  await soon("the end", setup.served);
});

Deno.test("serveHttp2() lives as long as some rule covers the tunnel, whichever", async (t) => {
  await t.step("the last one goes", async () => {
    await using setup = setUp({ rules: ["up.test", "*.test"] });
    const { engine, rules: [first, second] } = setup;
    if (first) engine.policy.revoke(first);
    await settle();
    assertEquals([setup.isOver(), setup.connection.isDraining], [false, false]);
    if (second) engine.policy.revoke(second);
    await soon("the end", setup.served);
  });
  await t.step("there is none", async () => {
    await using setup = setUp();
    await soon("the end", setup.served);
  });
  await t.step("none is needed", async () => {
    await using setup = setUp({ options: { hasRule: false }, rules: ["up.test"] });
    const [rule] = setup.rules;
    if (rule) setup.engine.policy.revoke(rule);
    await settle();
    assertEquals(await setup.ask(), 403);
  });
  await t.step("what is still open then has a moment", async () => {
    await using setup = setUp({
      ...{ rules: ["*"], limits: { lingerTimeoutMs: 50 }, options: { hasRule: true }, isSilent: true },
    });
    const stream = await setup.open();
    await waitUntil("it is under way", () => setup.engine.dials.length === 1);
    const [rule] = setup.rules;
    if (rule) setup.engine.policy.revoke(rule);
    await soon("the end", setup.served);
    await assertRejects(async () => {
      for (;;) await stream.response();
    });
  });
  await t.step("nothing of it is held afterwards", async () => {
    const setup = setUp({ rules: ["up.test"] });
    setup.connection.close();
    await soon("the end", setup.served);
    assertEquals(setup.engine.context.grants.size, 0);
    await setup[Symbol.asyncDispose]();
  });
});

Deno.test("serveHttp2() refuses a request that it may not take, and gives back the place of each", async (t) => {
  await t.step("too many", async () => {
    await using setup = setUp({
      options: { hasRule: false },
      context: ({ admission }) => {
        admission.tryStream = () => undefined;
        return {};
      },
    });
    assertEquals(await setup.ask(), 429);
    await waitUntil("it is logged", () => setup.engine.lines.some((line) => line.includes("reason=quota")));
  });
  await t.step("the log cannot be written", async () => {
    await using setup = setUp({
      options: { hasRule: false },
      context: ({ audit }) => {
        Object.defineProperty(audit, "isWritable", { value: false });
        return {};
      },
    });
    assertEquals(await setup.ask(), 503);
  });
  await t.step("places", async () => {
    let [taken, released] = [0, 0];
    const names: string[] = [];
    await using setup = setUp({
      options: { hasRule: false },
      context: ({ admission }) => {
        admission.tryStream = (name) => {
          taken++;
          names.push(name);
          return () => void released++;
        };
        return {};
      },
    });
    for (let at = 0; at < 3; at++) await setup.ask();
    await settle();
    assertEquals([taken, released, names], [3, 3, ["one", "one", "one"]]);
  });
});

Deno.test("serveHttp2() offers Extended CONNECT once the upstream does", async (t) => {
  const upstream = (has: boolean, ready: Promise<void>) =>
    ({ ready, hasExtendedConnect: has }) as unknown as Http2ClientConnection;
  const gone = Promise.reject(new Error("gone"));
  gone.catch(() => {});
  const rows: readonly (readonly [string, Http2ClientConnection | undefined, boolean])[] = [
    ["it does", upstream(true, Promise.resolve()), true],
    ["it does not", upstream(false, Promise.resolve()), false],
    ["it has failed", upstream(true, gone), false],
    ["nobody has asked it", undefined, false],
  ];
  for (const [name, connection, expected] of rows) {
    await t.step(name, async () => {
      await using setup = setUp({ rules: ["up.test"], options: { upstream: connection } });
      await soon("its settings", setup.connection.ready);
      await settle();
      await settle();
      assertEquals(setup.connection.hasExtendedConnect, expected);
    });
  }
  await t.step("it is known to", async () => {
    const protocols = { hasExtendedConnect: () => true } as unknown as ProxyContext["protocols"];
    await using known = setUp({ rules: ["up.test"], context: () => ({ protocols }) });
    await soon("its settings", known.connection.ready);
    assertEquals(known.connection.hasExtendedConnect, true);
    await using without = setUp({ options: { hasRule: false }, context: () => ({ protocols }) });
    await soon("its settings", without.connection.ready);
    assertEquals(without.connection.hasExtendedConnect, false);
  });
});
