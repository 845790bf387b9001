import { assertEquals, assertRejects } from "@std/assert";
import { parseCidr } from "../../../../core/cidr.ts";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { hasNativeCalls } from "../../../../core/native.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { closeQuietly } from "../../../../proxy/streams/byte_reader.ts";
import { Dialler, type DialTarget, type Resolve, systemResolve } from "../../../../proxy/egress/dialler.ts";
import { startRawUpstream } from "../../../support/echo_upstream.ts";
import { hasFullBacklog, startFullBacklog } from "../../../support/full_backlog.ts";
import { openSockets, settledSockets, soon, startSilentPeer, waitUntil } from "../../../support/sockets.ts";
import { upstreamAuthority } from "../../../support/test_authority.ts";

const isNative = hasNativeCalls();
const CLIENT = { name: "one", version: "1" };
const NEVER = new AbortController().signal;

interface SetUp {
  readonly limits?: Partial<Limits>;
  readonly resolve?: Resolve;
  readonly allow?: readonly string[];
}

async function setUp({ limits = {}, resolve, allow = ["127.0.0.0/8"] }: SetUp = {}) {
  const all = { ...DEFAULT_LIMITS, ...limits };
  const { caPem } = await upstreamAuthority();
  const admission = new Admission(all);
  const dialler = new Dialler({
    limits: all,
    deadlines: new Deadlines(),
    admission,
    resolve: resolve ?? (() => Promise.resolve(["127.0.0.1"])),
    addresses: { denyCidrs: [], allowCidrs: allow.map(parseCidr) },
    caCertsFor: () => [caPem],
    ownAddresses: () => [],
  });
  const target = (port: number, more: Partial<DialTarget> = {}): DialTarget => ({
    scheme: "tcp",
    host: "up.test",
    port,
    client: CLIENT,
    ruleHost: "up.test",
    ...more,
  });
  return { dialler, admission, target };
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => soon("the dial", promise), ProxyError);
  return `${error.code} ${error.reason}`;
}

Deno.test("dial() asks for the addresses once and dials one of those it has checked", async () => {
  await using silent = startSilentPeer();
  let asked = 0;
  const { dialler, target } = await setUp({
    resolve: () => Promise.resolve(asked++ === 0 ? ["127.0.0.1"] : ["169.254.169.254"]),
  });
  const { stream } = await dialler.dial(target(silent.port), NEVER);
  assertEquals(asked, 1);
  stream.close();
  assertEquals(
    await failure(dialler.dial(target(silent.port), NEVER)),
    "upstream.address-denied address-denied",
  );
});

Deno.test("dial() refuses a name when one of its addresses is denied, and dials none", async () => {
  await using silent = startSilentPeer();
  const { dialler, target } = await setUp({ resolve: () => Promise.resolve(["127.0.0.1", "::1"]) });
  assertEquals(
    await failure(dialler.dial(target(silent.port), NEVER)),
    "upstream.address-denied address-denied",
  );
  assertEquals(silent.accepted.length, 0);
});

Deno.test("dial() tries the next address when one refuses", async () => {
  await using silent = startSilentPeer();
  const { dialler, target } = await setUp({ resolve: () => Promise.resolve(["127.0.0.9", "127.0.0.1"]) });
  const { stream } = await dialler.dial(target(silent.port), NEVER);
  stream.close();
});

Deno.test("dial() says what kept it from connecting", async (t) => {
  await using silent = startSilentPeer();
  const rows: readonly (readonly [string, SetUp, Partial<DialTarget>, string])[] = [
    ["no address", { resolve: () => Promise.resolve([]) }, {}, "upstream.dns dns"],
    ["no such name", { resolve: () => Promise.reject(new Error("ENOTFOUND")) }, {}, "upstream.dns dns"],
    ["an address that is none", { resolve: () => Promise.resolve(["fe80::1%lo"]) }, {}, "upstream.dns dns"],
    [
      // What cannot be read cannot be checked, and a later reader might make an address of it.
      "an address that is none beside a good one",
      { resolve: () => Promise.resolve(["127.0.0.1", "127.1"]) },
      {},
      "upstream.dns dns",
    ],
    [
      "no answer from the resolver",
      {
        resolve: () => new Promise(() => {}),
        limits: { resolveTimeoutMs: 100 },
      },
      {},
      "upstream.timeout dns",
    ],
    ["refused", {}, { port: 1 }, "upstream.refused connect-refused"],
    [
      "unreachable",
      { allow: ["255.255.255.255/32"] },
      { host: "255.255.255.255" },
      "upstream.unreachable connect-unreachable",
    ],
    [
      "a silent TLS peer",
      { limits: { handshakeTimeoutMs: 150 } },
      { scheme: "https" },
      "upstream.timeout connect-timeout",
    ],
  ];
  for (const [name, options, more, expected] of rows) {
    await t.step(name, async () => {
      const { dialler, target } = await setUp(options);
      assertEquals(await failure(dialler.dial(target(silent.port, more), NEVER)), expected);
    });
  }
});

Deno.test({
  ignore: !hasFullBacklog,
  name: "dial() shares one connect time-out among the addresses of a name",
}, async (t) => {
  await using full = await startFullBacklog();
  for (const count of [1, 3, 40]) {
    await t.step(`${count} addresses`, async () => {
      const { dialler, target } = await setUp({
        limits: { connectTimeoutMs: 800 },
        resolve: () => Promise.resolve(Array.from({ length: count }, () => "127.0.0.1")),
      });
      const startedAt = performance.now();
      assertEquals(await failure(dialler.dial(target(full.port), NEVER)), "upstream.timeout connect-timeout");
      const tookMs = performance.now() - startedAt;
      assertEquals(tookMs >= 790 && tookMs < 2_400, true, `${tookMs} ms`);
    });
  }
});

Deno.test("dial() gives up at once when its signal says so, wherever it is", async (t) => {
  await using silent = startSilentPeer();
  const reason = new ProxyError("policy.revoked", "Cannot go on: gone", { reason: "revoked" });
  await t.step("in the look-up", async () => {
    const { dialler, target, admission } = await setUp({ resolve: () => new Promise(() => {}) });
    const cancel = new AbortController();
    const dialling = dialler.dial(target(silent.port), cancel.signal);
    cancel.abort(reason);
    assertEquals(await failure(dialling), "policy.revoked revoked");
    assertEquals(typeof admission.tryDial("one", { host: "up.test", port: 1 }), "function");
  });
  await t.step("before it began", async () => {
    const { dialler, target } = await setUp();
    assertEquals(
      await failure(dialler.dial(target(silent.port), AbortSignal.abort(reason))),
      "policy.revoked revoked",
    );
    assertEquals(
      await failure(dialler.dial(target(silent.port, { host: "127.0.0.1" }), AbortSignal.abort(reason))),
      "policy.revoked revoked",
    );
  });
  await t.step({
    name: "in the connect",
    ignore: !hasFullBacklog,
    fn: async () => {
      await using full = await startFullBacklog();
      const { dialler, target } = await setUp();
      const cancel = new AbortController();
      const dialling = dialler.dial(target(full.port), cancel.signal);
      setTimeout(() => cancel.abort(reason), 20);
      assertEquals(await failure(dialling), "policy.revoked revoked");
    },
  });
  await t.step("in the handshake", async () => {
    const { dialler, target } = await setUp();
    const cancel = new AbortController();
    const known = silent.accepted.length;
    const dialling = dialler.dial(target(silent.port, { scheme: "https" }), cancel.signal);
    dialling.catch(() => {});
    await waitUntil("it is connected", () => silent.accepted.length > known);
    cancel.abort(reason);
    assertEquals(await failure(dialling), "policy.revoked revoked");
  });
});

Deno.test({ ignore: !isNative, name: "a handshake that is stuck leaves no descriptor behind" }, async () => {
  await using silent = startSilentPeer();
  const { dialler, target } = await setUp({ limits: { handshakeTimeoutMs: 100 } });
  const before = await settledSockets();
  const dials = Array.from(
    { length: 5 },
    () => failure(dialler.dial(target(silent.port, { scheme: "https" }), NEVER)),
  );
  assertEquals(new Set(await Promise.all(dials)).size, 1);
  await waitUntil("ours are freed", () => openSockets() === before + silent.accepted.length);
});

Deno.test(
  { ignore: !isNative, name: "closing under a blocked write leaves no descriptor behind" },
  async () => {
    const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
    await using upstream = await startRawUpstream(async () => await held);
    const { dialler, target } = await setUp();
    const before = await settledSockets();
    const { stream } = await dialler.dial(target(upstream.port, { scheme: "https" }), NEVER);
    assertEquals(openSockets(), before + 2);
    const filled = (async () => {
      for (;;) await stream.write(new Uint8Array(1_048_576));
    })().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 300)); // until the peer's buffers are full
    stream.close();
    await soon("the write ends", filled);
    await waitUntil("ours is freed", () => openSockets() === before + 1);
    letGo();
  },
);

Deno.test("dial() counts until the handshake is over, and gives back after every outcome", async () => {
  await using silent = startSilentPeer();
  const { dialler, target } = await setUp({
    limits: { maxPendingDialsPerClient: 1, handshakeTimeoutMs: 100 },
  });
  const first = dialler.dial(target(silent.port, { scheme: "https" }), NEVER);
  assertEquals(await failure(dialler.dial(target(silent.port), NEVER)), "limit.reached quota");
  const { stream } = await dialler.dial(
    target(silent.port, { client: { name: "two", version: "1" } }),
    NEVER,
  );
  stream.close();
  assertEquals(await failure(first), "upstream.timeout connect-timeout");
  (await dialler.dial(target(silent.port), NEVER)).stream.close();
});

Deno.test("systemResolve() reads the machine's host file and rejects what has no address", async () => {
  assertEquals((await systemResolve("localhost")).every((ip) => ip === "127.0.0.1" || ip === "::1"), true);
  await assertRejects(() => systemResolve("no-such-name.invalid"));
});

Deno.test("dial() verifies the certificate for the host, names and addresses", async (t) => {
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ["up.test", "up.test", undefined],
    ["127.0.0.1", "127.0.0.1", undefined],
    ["under_score.test", "under_score.test", undefined],
    ["up.test", "other.test", "upstream.tls tls-wrong-name"],
    ["up.test", "127.0.0.1", "upstream.tls tls-wrong-name"],
  ];
  for (const [certified, host, expected] of rows) {
    await t.step(`${host} with a certificate for ${certified}`, async () => {
      await using upstream = await startRawUpstream(async (peer) => {
        await (peer.conn as Deno.TlsConn).handshake();
      }, { names: [certified] });
      const { dialler, target } = await setUp();
      const dialling = dialler.dial(target(upstream.port, { scheme: "https", host }), NEVER);
      if (expected) assertEquals(await failure(dialling), expected);
      else closeQuietly((await dialling).stream);
    });
  }
});

Deno.test({
  ignore: !hasFullBacklog,
  name:
    "dial() does not wait for addresses that swallow connects, and begins with the good one the next time",
}, async () => {
  await using full = await startFullBacklog();
  using good = Deno.listen({ hostname: "127.0.0.2", port: full.port });
  const { dialler, target, admission } = await setUp({
    limits: { connectAttemptDelayMs: 200 },
    resolve: () => Promise.resolve([...Array.from({ length: 5 }, () => "127.0.0.1"), "127.0.0.2"]),
  });
  const before = await settledSockets();
  const timed = async () => {
    const startedAt = performance.now();
    const dialling = soon("the dial", dialler.dial(target(full.port), NEVER));
    (await good.accept()).close();
    (await dialling).stream.close();
    return performance.now() - startedAt;
  };
  const firstMs = await timed();
  assertEquals(firstMs >= 990 && firstMs < 5_000, true, `${firstMs} ms`); // the delays, not the connect time-out
  const secondMs = await timed();
  assertEquals(secondMs < 990, true, `${secondMs} ms`);
  await waitUntil("losers are closed", () => openSockets() === before);
  assertEquals(typeof admission.tryExtraConnect("one", { host: "up.test", port: full.port }), "function");
});
