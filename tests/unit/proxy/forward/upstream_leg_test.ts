import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import type { DialTarget } from "../../../../proxy/egress/dialler.ts";
import type { UpstreamConnection } from "../../../../proxy/egress/upstream_connection.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { dialLeg, takeLeg } from "../../../../proxy/forward/upstream_leg.ts";
import type { RequestHead } from "../../../../proxy/message/message.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { makePipe } from "../../../wire/pipe.ts";

interface Options {
  readonly head?: Partial<RequestHead>;
  readonly scheme?: "http" | "https";
  readonly way?: string;
  readonly isUpgrade?: boolean;
  readonly isOnlyNear?: boolean;
  readonly failedDial?: ProxyError;
  readonly dialError?: Error;
  readonly kept?: boolean;
  readonly h2?: { readonly ready?: Promise<void>; readonly hasExtendedConnect?: boolean };
  readonly isInTunnel?: boolean;
}

/** An exchange, and what is asked of the dialler and the pools. */
function setUp({ head, scheme = "https", way, isUpgrade = false, isInTunnel = true, ...more }: Options = {}) {
  const [stream] = makePipe();
  const connection: UpstreamConnection = {
    ...{
      stream,
      reader: new ByteReader(stream),
      isReused: false,
      dialledAt: 0,
      protocol: "http/1.1" as const,
    },
  };
  const dials: (Partial<DialTarget> & { signal?: AbortSignal })[] = [];
  const forgotten: unknown[] = [];
  const taken: unknown[] = [];
  const put: unknown[][] = [];
  const leases: unknown[] = [];
  let released = 0;
  const grant = {};
  const asks: unknown[] = [];
  const target = { scheme, host: "up.test", port: 443, originForm: "/", path: "/", query: undefined };
  const context = {
    dialler: {
      dial: (target: DialTarget, signal: AbortSignal) => {
        dials.push({ ...target, signal });
        return more.dialError ? Promise.reject(more.dialError) : Promise.resolve(connection);
      },
      wayTo: () => way,
    },
    protocols: { forget: (place: unknown) => void forgotten.push(place) },
    clock: { monotonic: () => 7 },
    limits: {},
    pool: {
      take: (key: unknown, isReplayable: boolean) => {
        taken.push([key, isReplayable]);
        return more.kept ? connection : undefined;
      },
      put: (...args: unknown[]) => void put.push(args),
    },
    http2Pool: {
      lease: async (key: unknown, signal: AbortSignal, dial: () => Promise<UpstreamConnection>) => {
        leases.push([key, signal]);
        await dial();
        const { ready = Promise.resolve(), hasExtendedConnect = false } = more.h2 ?? {};
        return { connection: { ready, hasExtendedConnect }, isReused: true, release: () => released++ };
      },
    },
  };
  const failedDial = {
    take: (host: string, nowMs: number) => {
      asks.push([host, nowMs]);
      return more.failedDial;
    },
  };
  const state = { isStopping: false };
  const exchange = {
    ...{
      request: { head: { version: "HTTP/1.1", fields: [], ...head } },
      target,
      grant,
      rule: { host: "*.test" },
    },
    ...{
      client: { name: "one", version: "1" },
      session: { context, state, tunnel: isInTunnel ? { failedDial } : undefined },
    },
    ...(more.isOnlyNear === undefined ? {} : { secret: { isOnlyNear: more.isOnlyNear } }),
    ...(isUpgrade ? { upgrade: { protocol: "websocket", fields: [] } } : {}),
  } as unknown as AdmittedExchange;
  const { host, port } = target;
  const key = { scheme, host, port, grant, way };
  return {
    ...{ exchange, connection, dials, forgotten, taken, put, leases, asks, state, key, target },
    released: () => released,
  };
}

const { signal } = new AbortController();

Deno.test("takeLeg() takes a kept connection of HTTP/1 alone, and says whether it may turn out to be dead", () => {
  const made = setUp({ kept: true });
  assert(takeLeg(made.exchange, true));
  assertEquals(made.taken, [[made.key, true]]);
  const none = setUp();
  assertEquals([takeLeg(none.exchange, false), none.taken], [undefined, [[none.key, false]]]);
  const shared = setUp({ kept: true, head: { version: "HTTP/2" } });
  assertEquals([takeLeg(shared.exchange, true), shared.taken], [undefined, []]);
});

Deno.test("dialLeg() dials for HTTP/1 in absolute form but for upgrades, near where the secret has to stay near", async () => {
  const rows = [
    [{}, false, true],
    [{ isOnlyNear: false }, false, true],
    [{ isOnlyNear: true }, true, true],
    [{ isUpgrade: true }, false, false],
  ] as const;
  for (const [options, isOnlyNear, inAbsoluteForm] of rows) {
    const made = setUp(options);
    await dialLeg(made.exchange, signal, undefined);
    assertEquals(
      made.dials,
      [{
        ...{ ...made.target, client: made.exchange.client, ruleHost: "*.test", isOnlyNear, inAbsoluteForm },
        ...{ alpn: ["http/1.1"], clientCertificate: undefined, signal },
      }] as unknown as typeof made.dials,
    );
    assertEquals([made.leases, made.asks], [[], [["*.test", 7]]]);
  }
});

Deno.test("dialLeg() of HTTP/2 leases a connection of its key, with a dial that offers nothing else", async () => {
  const certificate = { cert: "c", key: "k" } as unknown as Parameters<typeof dialLeg>[2];
  const made = setUp({ head: { version: "HTTP/2" } });
  const leg = await dialLeg(made.exchange, signal, certificate);
  assertEquals(made.leases, [[made.key, signal]]);
  const [{ alpn, inAbsoluteForm, clientCertificate } = {}] = made.dials;
  assertEquals([alpn, inAbsoluteForm, clientCertificate, made.released()], [["h2"], false, certificate, 0]);
  leg.close();
  assertEquals(made.released(), 1);
});

Deno.test("dialLeg() keeps ways apart: a parent that takes requests changes no protocol", () => {
  const rows = [
    [{ way: "p", scheme: "http", isUpgrade: true }, "tunnel by p"],
    [{ way: "p", scheme: "http" }, "p"],
    [{ way: "p", isUpgrade: true }, "p"],
    [{ scheme: "http", isUpgrade: true }, undefined],
  ] as const;
  for (const [options, way] of rows) {
    const made = setUp(options);
    takeLeg(made.exchange, true);
    assertEquals(made.taken, [[{ ...made.key, way }, true]]);
  }
});

Deno.test("dialLeg() tells once that the dial for the tunnel has failed, without another", async () => {
  const failedDial = new ProxyError("upstream.dns", "x");
  const made = setUp({ failedDial });
  assertStrictEquals(await dialLeg(made.exchange, signal).catch((error) => error), failedDial);
  assertEquals([made.dials, made.forgotten], [[], [made.target]]);
  const outside = setUp({ isInTunnel: false });
  await dialLeg(outside.exchange, signal);
  assertEquals([outside.dials.length, outside.asks], [1, []]);
});

Deno.test("dialLeg() forgets what an upstream spoke when it cannot be had, and has the tunnel chosen anew on a mismatch", async (t) => {
  const mismatch = new ProxyError("upstream.tls", "x", { reason: "protocol-mismatch" });
  const rows: readonly (readonly [string, Error, Options, isForgotten: boolean, isStopping: boolean])[] = [
    ["another failure", new ProxyError("upstream.refused", "x"), {}, true, false],
    ["a mismatch", mismatch, {}, true, true],
    ["a mismatch without a tunnel", mismatch, { isInTunnel: false }, true, false],
    ["our own limit", new ProxyError("limit.reached", "x"), {}, false, false],
    ["a bug", new TypeError("x"), {}, false, false],
  ];
  for (const [name, dialError, options, isForgotten, isStopping] of rows) {
    await t.step(name, async () => {
      const made = setUp({ dialError, ...options });
      assertStrictEquals(await dialLeg(made.exchange, signal).catch((error) => error), dialError);
      assertEquals([made.forgotten, made.state.isStopping], [isForgotten ? [made.target] : [], isStopping]);
    });
  }
});

Deno.test("dialLeg() sends nothing of a client's to what does not speak HTTP/2 in clear", async (t) => {
  const head = { version: "HTTP/2" } as const;
  const failing = (error: Error) => {
    const ready = Promise.reject(error);
    ready.catch(() => {});
    return { ready };
  };
  for (const code of ["upstream.malformed", "upstream.closed"] as const) {
    await t.step(code, async () => {
      const made = setUp({ head, scheme: "http", h2: failing(new ProxyError(code, "x")) });
      const error = await assertRejects(() => dialLeg(made.exchange, signal), ProxyError);
      assertEquals([error.code, error.reason, error.message, made.released()], [
        ...[
          "upstream.malformed",
          "protocol-mismatch",
          "Cannot open the stream: up.test:443 does not speak HTTP/2 without TLS",
          1,
        ],
      ]);
    });
  }
  await t.step("another failure", async () => {
    const failure = new ProxyError("upstream.timeout", "x");
    const made = setUp({ head, scheme: "http", h2: failing(failure) });
    assertStrictEquals(await dialLeg(made.exchange, signal).catch((error) => error), failure);
    assertEquals(made.released(), 1);
  });
  await t.step("over TLS it is known", async () => {
    const made = setUp({ head, h2: failing(new ProxyError("upstream.closed", "x")) });
    assert(await dialLeg(made.exchange, signal));
  });
});

Deno.test("dialLeg() opens a :protocol only where the upstream has announced that it takes it", async () => {
  const head = { version: "HTTP/2", protocol: "websocket" } as const;
  const made = setUp({ head });
  const error = await assertRejects(() => dialLeg(made.exchange, signal), ProxyError);
  assertEquals([error.code, error.reason, error.message], [
    ...[
      "upstream.malformed",
      "protocol-mismatch",
      "Cannot open the stream: up.test does not take :protocol over HTTP/2",
    ],
  ]);
  assertEquals([made.forgotten, made.released()], [[made.target], 1]);
  assert(await dialLeg(setUp({ head, h2: { hasExtendedConnect: true } }).exchange, signal));
  assert(await dialLeg(setUp({ head: { version: "HTTP/2" } }).exchange, signal));
  const unready = Promise.reject(new ProxyError("upstream.closed", "x"));
  const never = setUp({ head, h2: { ready: unready, hasExtendedConnect: true } });
  assertEquals(
    (await assertRejects(() => dialLeg(never.exchange, signal), ProxyError)).code,
    "upstream.closed",
  );
});
