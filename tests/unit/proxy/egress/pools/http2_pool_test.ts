import { assert, assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { isProxyError, ProxyError } from "../../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../../core/limits.ts";
import type { UpstreamConnection } from "../../../../../proxy/egress/upstream_connection.ts";
import { Http2Pool } from "../../../../../proxy/egress/pools/http2_pool.ts";
import type { PoolKey } from "../../../../../proxy/egress/pools/pool.ts";
import { Grants } from "../../../../../proxy/grants.ts";
import { startHttp2Server } from "../../../../../proxy/http2/server.ts";
import { Turns } from "../../../../../core/turns.ts";
import type { Http2ServerConnection } from "../../../../../proxy/http2/types.ts";
import { IDLE_UPSTREAMS, LocalCounts } from "../../../../../proxy/records/counts.ts";
import { ByteReader } from "../../../../../proxy/streams/byte_reader.ts";
import { TestPolicy } from "../../../../support/test_policy.ts";
import { makePipe, settle } from "../../../../wire/pipe.ts";

const NEVER = new AbortController().signal;

/** A pool whose dials reach servers of the codec that never answer, and allow so many streams at once. */
function setUp(limits: Partial<Limits> = {}, streams = 2) {
  const policy = new TestPolicy();
  const client = policy.addClient("one", "token");
  const rule = policy.allow("one", { host: "a.test" });
  const credential = policy.setCredential({ secret: "key", host: "a.test", headers: [] });
  const counts = new LocalCounts();
  const all = { ...DEFAULT_LIMITS, ...limits };
  const grants = new Grants(policy);
  const asked: string[] = [];
  const admission = {
    turnsOf: (name: string) => {
      asked.push(`turns of ${name}`);
      return new Turns(8);
    },
    growth: (name: string) => {
      asked.push(`growth of ${name}`);
      return { take: () => false, give: () => {} };
    },
  };
  const pool = new Http2Pool({ limits: all, deadlines: new Deadlines(), grants, counts, admission });
  const key: PoolKey = { scheme: "https", host: "a.test", port: 443, grant: { client, rule, credential } };
  const servers: Http2ServerConnection[] = [];
  const dial = (): Promise<UpstreamConnection> => {
    const [far, stream] = makePipe();
    servers.push(startHttp2Server({
      stream: far,
      reader: new ByteReader(far),
      limits: { ...DEFAULT_LIMITS, maxHttp2Streams: streams },
      deadlines: new Deadlines(),
      onRequest: () => Promise.resolve(),
    }));
    const dialledAt = performance.now();
    return Promise.resolve({
      protocol: "h2",
      stream,
      reader: new ByteReader(stream),
      isReused: false,
      dialledAt,
    });
  };
  const lease = async (at = key) => {
    const got = await pool.lease(at, NEVER, dial);
    await got.connection.ready;
    return got;
  };
  return {
    ...{ policy, client, rule, credential, pool, key, servers, dial, lease, asked },
    idle: () => counts.of(IDLE_UPSTREAMS),
    async [Symbol.asyncDispose]() {
      pool.close();
      await Promise.all(servers.map(({ closed }) => closed));
      await settle();
      assertEquals(counts.of(IDLE_UPSTREAMS), 0);
      assertEquals(grants.size, 0); // what has ended holds no grant
    },
  };
}

Deno.test("lease() shares a connection for exactly the same key", async (t) => {
  await using setup = setUp();
  const { policy, key, client, rule, credential, lease, pool, dial } = setup;
  const first = await lease();
  assertEquals(first.isReused, false);
  const again = await lease();
  assert(again.connection === first.connection && again.isReused);
  assertEquals(setup.asked, ["turns of one", "growth of one"]); // a client's own, on all its connections
  const { grant } = key;
  const newer = policy.setCredential({ secret: "key", host: "a.test", headers: [] });
  const rows: readonly (readonly [string, PoolKey])[] = [
    ["host", { ...key, host: "b.test" }],
    ["port", { ...key, port: 8443 }],
    ["client", { ...key, grant: { ...grant, client: policy.addClient("two", "other") } }],
    ["client version", { ...key, grant: { ...grant, client: { ...client, version: "x" } } }],
    ["no secret", { ...key, grant: { client, rule } }],
    ["secret", { ...key, grant: { ...grant, credential: { ...credential, secret: "other" } } }],
    ["secret version", { ...key, grant: { ...grant, credential: newer } }],
    ["rule's host", { ...key, grant: { ...grant, rule: policy.allow("one", { host: "*" }) } }],
  ];
  for (const [name, other] of rows) {
    await t.step(`another ${name}`, async () => {
      const { connection, isReused, release } = await pool.lease(other, NEVER, dial);
      assert(!isReused && connection !== first.connection);
      release();
    });
  }
  first.release();
  again.release();
});

Deno.test("lease() opens another connection when the streams of the first are all taken", async () => {
  await using setup = setUp({ maxHttp2UpstreamsPerKey: 2 }, 2);
  const { lease, servers } = setup;
  const leases = [await lease(), await lease(), await lease(), await lease()];
  assertEquals(servers.length, 2);
  assertEquals(leases.map(({ connection }) => connection === leases[0]?.connection), [
    ...[true, true],
    ...[false, false],
  ]);
  const queued = await lease();
  assertEquals(servers.length, 2, "above the limit it waits on one of them");
  leases[0]?.release();
  assert((await lease()).connection === leases[0]?.connection, "the first with room");
  for (const { release } of [queued, ...leases.slice(1)]) release();
});

Deno.test("lease() makes do with a full connection when another cannot be dialled", async () => {
  await using setup = setUp({}, 1);
  const { pool, key, lease, servers } = setup;
  const first = await lease();
  const failing = () => Promise.reject(new ProxyError("upstream.refused", "Cannot dial"));
  const second = await pool.lease(key, NEVER, failing);
  assert(second.connection === first.connection && second.isReused);
  assertEquals(servers.length, 1);
  first.release();
  second.release();
});

Deno.test("a hundred requests at once dial once", async () => {
  await using setup = setUp({}, 100);
  const { lease, servers } = setup;
  const leases = await Promise.all(Array.from({ length: 100 }, () => lease()));
  assertEquals(servers.length, 1);
  for (const { release } of leases) release();
});

Deno.test("who waits for another's dial fails with it, and dials itself when that was given up", async () => {
  await using setup = setUp();
  const { pool, key, dial } = setup;
  const failing = () => Promise.reject(new ProxyError("upstream.refused", "Cannot dial"));
  const first = pool.lease(key, NEVER, failing);
  const second = pool.lease(key, NEVER, dial);
  for (const each of [first, second]) {
    assert(isProxyError(await assertRejects(() => each), "upstream.refused"));
  }
  const cancel = new AbortController();
  const given = pool.lease(key, cancel.signal, async () => {
    await settle();
    throw cancel.signal.reason;
  });
  const waiting = pool.lease(key, NEVER, dial);
  const gone = pool.lease(key, AbortSignal.abort(new ProxyError("client.closed", "gone")), dial);
  cancel.abort(new ProxyError("client.closed", "gone"));
  for (const each of [given, gone]) {
    assert(isProxyError(await assertRejects(() => each), "client.closed"));
  }
  (await waiting).release();
});

Deno.test("idle connections are bounded, and those beside the first of a key with them", async () => {
  await using setup = setUp({ maxIdleUpstream: 2 }, 1);
  const { lease, key, idle, servers } = setup;
  const leases = [];
  for (const port of [1, 2, 3]) leases.push(await lease({ ...key, port }));
  assertEquals(idle(), 0); // each is accounted for by the client connection whose request it carries
  for (const { release } of leases) release();
  await settle();
  assertEquals(idle(), 2);
  await servers[2]?.closed;
  assertEquals(leases[2]?.connection.isDraining, true);
  const busy = await lease({ ...key, port: 1 });
  const beside = await lease({ ...key, port: 1 });
  assert(busy.connection !== beside.connection);
  assertEquals(idle(), 2);
  const queued = await lease({ ...key, port: 1 });
  assert(queued.isReused, "no room for a third");
  for (const { release } of [busy, beside, queued]) release();
});

Deno.test("add() keeps a connection for a while, for a request that may never come", async () => {
  await using setup = setUp({ idleUpstreamTimeoutMs: 50 });
  const { pool, key, dial, idle } = setup;
  const connection = pool.add(key, await dial());
  assertEquals(idle(), 1);
  await connection.closed;
  await settle();
  assertEquals(idle(), 0);
});

Deno.test("a connection that is leaving is given to nobody", async () => {
  await using setup = setUp();
  const { lease, servers } = setup;
  const first = await lease();
  servers[0]?.shutDown();
  await settle();
  const second = await lease();
  assert(second.connection !== first.connection && !second.isReused);
  first.release();
  second.release();
});

Deno.test("the client's or the secret's end closes it, the rule's only when it rests", async (t) => {
  await t.step("secret", async () => {
    await using setup = setUp();
    const { connection } = await setup.lease();
    setup.policy.removeCredential("key");
    await connection.closed;
  });
  await t.step("client", async () => {
    await using setup = setUp();
    const { connection } = await setup.lease();
    setup.policy.removeClient("one");
    await connection.closed;
  });
  await t.step("rule", async () => {
    await using setup = setUp();
    const { connection, release } = await setup.lease();
    setup.policy.revoke(setup.rule);
    await settle();
    assertEquals(connection.isDraining, false); // another rule's requests may share it
    release();
    await connection.closed;
  });
});

Deno.test("retire() ends idle connections at once, and those in use with the requests that use them", async () => {
  await using setup = setUp();
  const { pool, lease, key, servers, dial } = setup;
  const idle = await lease();
  idle.release();
  const elsewhere = { ...key, port: 8443 };
  const busy = await lease(elsewhere);
  pool.retire();
  await servers[0]?.closed;
  assert(!busy.connection.isDraining);
  const next = await lease(elsewhere);
  assert(next.connection !== busy.connection && !next.isReused);
  busy.release();
  await servers[1]?.closed;
  next.release();
  assertEquals((await lease(elsewhere)).connection, next.connection);
  // What was being dialled when that happened serves the request that waits for it, and no other.
  const late = await pool.lease({ ...key, port: 9443 }, NEVER, async () => {
    const upstream = await dial();
    await settle();
    pool.retire();
    return upstream;
  });
  await late.connection.ready;
  assert((await lease({ ...key, port: 9443 })).connection !== late.connection);
});

Deno.test("who waits for a connection beside a full one makes do with that when the dial is given up", async () => {
  await using setup = setUp({}, 1);
  const { pool, key, dial, lease, servers } = setup;
  const first = await lease();
  const cancel = new AbortController();
  const { promise: dialling, reject: fail } = Promise.withResolvers<UpstreamConnection>();
  const given = pool.lease(key, cancel.signal, () => dialling);
  const waiting = pool.lease(key, NEVER, dial);
  await settle();
  assertEquals(setup.idle(), 1); // the place for it is taken
  const gone = new ProxyError("client.closed", "gone");
  cancel.abort(gone);
  fail(gone);
  assertEquals(await assertRejects(() => given), gone); // who has gone gets none
  const second = await waiting;
  assert(second.connection === first.connection && second.isReused);
  assertEquals([servers.length, setup.idle()], [1, 0]);
  first.release();
  second.release();
});

Deno.test("a connection whose dial ends after the pool is closed does so too", async () => {
  await using setup = setUp();
  const { pool, key, dial } = setup;
  const { connection } = await pool.lease(key, NEVER, async () => {
    const upstream = await dial();
    pool.close();
    return upstream;
  });
  await connection.closed;
});

Deno.test("a connection that is leaving comes to no rest when its last request is over", async () => {
  await using setup = setUp();
  const { lease, servers, idle } = setup;
  const [first, second] = [await lease(), await lease()];
  first.release();
  assertEquals(idle(), 0); // one is in use still
  servers[0]?.shutDown();
  await settle();
  second.release();
  assertEquals(idle(), 0);
});

Deno.test("requests that wait on full connections wait where the fewest do", async () => {
  await using setup = setUp({ maxHttp2UpstreamsPerKey: 2 }, 1);
  const { lease } = setup;
  const leases = [];
  for (let at = 0; at < 6; at++) leases.push(await lease());
  const [first, second] = leases.map(({ connection }) => connection);
  const on = leases.map(({ connection }) => connection === first ? 1 : connection === second ? 2 : 3);
  assertEquals(on, [1, 2, 1, 2, 1, 2]);
  for (const { release } of leases) release();
});
