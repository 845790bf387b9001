import { assertEquals } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../../core/limits.ts";
import { ByteReader, type ByteStream } from "../../../../../proxy/streams/byte_reader.ts";
import { Grants } from "../../../../../proxy/grants.ts";
import { type PoolKey, UpstreamPool } from "../../../../../proxy/egress/pools/pool.ts";
import type { UpstreamConnection } from "../../../../../proxy/egress/upstream_connection.ts";
import { LEAST_SLEEP_MS } from "../../../../../core/wake_watch.ts";
import { FakeDeadlines } from "../../../../support/fake_deadlines.ts";
import { waitUntil } from "../../../../support/sockets.ts";
import { TestPolicy } from "../../../../support/test_policy.ts";

/** A connection whose upstream says and does what the test calls for. */
class FakeUpstream implements ByteStream, UpstreamConnection {
  readonly protocol = "http/1.1";
  readonly stream = this;
  readonly reader = new ByteReader(this);
  readonly dialledAt = performance.now();
  isReused = false;
  isClosed = false;
  readonly #said = Promise.withResolvers<number | null>();

  say(count: number | null): void {
    this.#said.resolve(count);
  }

  read(): Promise<number | null> {
    return this.#said.promise;
  }

  write(bytes: Uint8Array): Promise<number> {
    return Promise.resolve(bytes.length);
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.isClosed = true;
    this.say(null);
  }
}

function setUp(
  limits: Partial<Limits> = {},
  now?: () => number,
  wallNow = now,
  deadlines = new Deadlines(),
) {
  const policy = new TestPolicy();
  const client = policy.addClient("one", "token");
  const rule = policy.allow("one", { host: "a.test" });
  const credential = policy.setCredential({ secret: "key", host: "a.test", headers: [] });
  const grants = new Grants(policy);
  const pool = new UpstreamPool({
    limits: { ...DEFAULT_LIMITS, ...limits },
    deadlines,
    grants,
    ...(now ? { now } : {}),
    ...(wallNow ? { wallNow } : {}),
  });
  const key: PoolKey = { scheme: "https", host: "a.test", port: 443, grant: { client, rule, credential } };
  return { policy, client, rule, credential, grants, pool, key, [Symbol.dispose]: () => pool.close() };
}

Deno.test("take() gives back the connection that was used last, for exactly the same key", async (t) => {
  using setup = setUp();
  const { policy, pool, key, client, rule, credential } = setup;
  const other = policy.addClient("two", "other");
  const wide = policy.allow("one", { host: "*" });
  const { grant } = key;
  const rows: readonly (readonly [string, PoolKey])[] = [
    ["scheme", { ...key, scheme: "http" }],
    ["host", { ...key, host: "b.test" }],
    ["port", { ...key, port: 8443 }],
    ["way", { ...key, way: "http://parent.test:3128" }],
    ["client", { ...key, grant: { ...grant, client: other } }],
    ["client version", { ...key, grant: { ...grant, client: { ...client, version: "x" } } }],
    ["secret", { ...key, grant: { client, rule } }],
    ["secret version", { ...key, grant: { ...grant, credential: { ...credential, version: "x" } } }],
    // A wider rule may not reach the private address that the exact one may.
    ["host pattern of the rule", { ...key, grant: { ...grant, rule: wide } }],
  ];
  const [first, second] = [new FakeUpstream(), new FakeUpstream()];
  pool.put(key, first);
  pool.put(key, second);
  for (const [name, another] of rows) {
    await t.step(`not for another ${name}`, () => assertEquals(pool.take(another, true), undefined));
  }
  assertEquals(pool.take({ ...key, grant: { ...grant, rule: { ...rule, id: "same host" } } }, true), second);
  assertEquals([second.isReused, pool.size], [true, 1]);
  assertEquals(pool.take(key, true), first);
  assertEquals(pool.take(key, true), undefined);
});

Deno.test("put() closes what is beyond the bounds", () => {
  using setup = setUp({ maxIdleUpstream: 3, maxIdleUpstreamPerKey: 2 });
  const { pool, key } = setup;
  const made = Array.from({ length: 5 }, () => new FakeUpstream());
  for (const connection of made.slice(0, 3)) pool.put(key, connection);
  for (const connection of made.slice(3)) pool.put({ ...key, port: 8443 }, connection);
  assertEquals(made.map(({ isClosed }) => isClosed), [false, false, true, false, true]);
  assertEquals(pool.size, 3);
});

Deno.test("an idle connection is closed", async (t) => {
  type Setup = ReturnType<typeof setUp>;
  const rows: readonly (readonly [string, (setup: Setup, connection: FakeUpstream) => void])[] = [
    ["when bytes come that nobody asked for", (_, connection) => connection.say(5)],
    ["when the upstream ends it", (_, connection) => connection.say(null)],
    ["after its time", () => {}],
    ["when its rule is revoked", ({ policy, rule }) => policy.revoke(rule)],
    ["when its client is deleted", ({ policy }) => policy.removeClient("one")],
    ["when its secret is replaced", ({ policy, credential }) => void policy.setCredential(credential)],
    ["when the pool is closed", ({ pool }) => pool.close()],
  ];
  for (const [name, happen] of rows) {
    await t.step(name, async () => {
      using setup = setUp({ idleUpstreamTimeoutMs: name === "after its time" ? 50 : 60_000 });
      const connection = new FakeUpstream();
      setup.pool.put(setup.key, connection);
      assertEquals(connection.isClosed, false);
      happen(setup, connection);
      await waitUntil("it is closed", () => connection.isClosed);
      assertEquals(setup.pool.size, 0);
      assertEquals(setup.pool.take(setup.key, true), undefined);
    });
  }
});

Deno.test("take() gives no connection on which bytes came in the same turn", async () => {
  using setup = setUp();
  const connection = new FakeUpstream();
  setup.pool.put(setup.key, connection);
  const taken = connection.read().then(() => setup.pool.take(setup.key, true));
  connection.say(5);
  assertEquals(await taken, undefined);
  assertEquals(connection.isClosed, true);
});

Deno.test("put() closes a connection with bytes left, at its end, without a grant, or after close()", async (t) => {
  type Setup = ReturnType<typeof setUp>;
  const rows:
    readonly (readonly [string, (setup: Setup, connection: FakeUpstream) => Promise<unknown> | void])[] = [
      ["bytes left", (_, connection) => (connection.say(3), connection.reader.fill())],
      ["at its end", (_, connection) => (connection.say(null), connection.reader.fill())],
      ["without a grant", ({ policy }) => policy.removeClient("one")],
      ["after close()", ({ pool }) => pool.close()],
    ];
  for (const [name, prepare] of rows) {
    await t.step(name, async () => {
      using setup = setUp();
      const connection = new FakeUpstream();
      await prepare(setup, connection);
      setup.pool.put(setup.key, connection);
      assertEquals([connection.isClosed, setup.pool.size], [true, 0]);
    });
  }
});

/** A pool whose time a test moves, and what becomes of a connection that is idle for so long. */
function setUpIdle(limits: Partial<Limits> = {}) {
  let at = 1_000_000;
  const setup = setUp(limits, () => at);
  const { pool, key } = setup;
  const idleFor = (ms: number, announcedMs?: number) => {
    const connection = new FakeUpstream();
    pool.put(key, connection, announcedMs);
    at += ms;
    return {
      connection,
      isFor: (isReplayable: boolean) => {
        const isTaken = pool.take(key, isReplayable) === connection;
        if (isTaken) connection.close();
        return isTaken;
      },
    };
  };
  return { ...setup, idleFor };
}

Deno.test("take() gives a request that cannot be replayed only a connection of at most a second, at first", () => {
  using setup = setUpIdle();
  assertEquals(setup.idleFor(1_000).isFor(false), true);
  const older = setup.idleFor(1_001);
  assertEquals(older.isFor(false), false);
  assertEquals(older.isFor(true), true); // it can be sent again
});

Deno.test("take() stays a second below the time that an upstream announces", () => {
  using setup = setUpIdle();
  assertEquals(setup.idleFor(4_000, 5_000).isFor(false), true);
  assertEquals(setup.idleFor(4_001, 5_000).isFor(true), false);
  assertEquals(setup.idleFor(500, 1_000).isFor(false), true); // half of a short one
  const late = setup.idleFor(501, 1_000);
  assertEquals([late.isFor(true), late.connection.isClosed], [false, true]);
  const never = setup.idleFor(0, 0);
  assertEquals([never.isFor(true), never.connection.isClosed], [false, true]);
});

Deno.test("take() stays a second below the time after which an upstream has closed a connection", async () => {
  using setup = setUpIdle();
  const first = setup.idleFor(2_400);
  first.connection.say(null);
  await waitUntil("it is closed", () => first.connection.isClosed);
  assertEquals(setup.idleFor(1_400).isFor(true), true);
  assertEquals(setup.idleFor(1_401).isFor(true), false);
});

Deno.test("take() gives a request that cannot be replayed an older connection once one was open for longer", () => {
  using setup = setUpIdle();
  assertEquals(setup.idleFor(30_000).isFor(true), true);
  assertEquals(setup.idleFor(29_000).isFor(false), true);
  const older = setup.idleFor(29_001);
  assertEquals([older.isFor(false), older.isFor(true)], [false, true]);
});

Deno.test("take() learns from a connection that was open to the end of its time", async () => {
  using setup = setUpIdle({ idleUpstreamTimeoutMs: 50 });
  const { connection } = setup.idleFor(30_000);
  await waitUntil("its time is over", () => connection.isClosed);
  assertEquals(setup.idleFor(29_000).isFor(false), true);
});

Deno.test("what comes on a connection that is in use again ends nothing", async () => {
  using setup = setUp();
  const { pool, key } = setup;
  const connection = new FakeUpstream();
  pool.put(key, connection);
  assertEquals(pool.take(key, true), connection);
  connection.say(5);
  await new Promise((next) => setTimeout(next));
  assertEquals(connection.isClosed, false);
  connection.close();
});

Deno.test("put() gives a large buffer back while nothing is read", () => {
  using setup = setUp();
  const connection = new FakeUpstream();
  let rests = 0;
  connection.reader.rest = () => void rests++;
  setup.pool.put(setup.key, connection);
  assertEquals(rests, 1);
});

Deno.test("retire() closes what is idle, and keeps nothing that was dialled before", () => {
  using setup = setUp();
  const { pool, key } = setup;
  const [idle, inUse] = [new FakeUpstream(), new FakeUpstream()];
  pool.put(key, idle);
  pool.put(key, inUse);
  assertEquals(pool.take(key, true), inUse);
  pool.retire();
  assertEquals([idle.isClosed, inUse.isClosed, pool.size], [true, false, 0]);
  pool.put(key, inUse);
  assertEquals([inUse.isClosed, pool.size], [true, 0]);
  const later = new FakeUpstream();
  pool.put(key, later);
  assertEquals(pool.take(key, true), later);
  later.close();
});

Deno.test("take() gives no connection that was idle while the machine slept", () => {
  let [wall, now] = [1_000_000, 0];
  using setup = setUp({}, () => now, () => wall);
  const { pool, key } = setup;
  const [before, after] = [new FakeUpstream(), new FakeUpstream()];
  pool.put(key, before);
  wall += 60_000; // the steady clock stood still
  now += 10;
  assertEquals([pool.take(key, true), before.isClosed], [undefined, true]);
  pool.put(key, after);
  wall += 500;
  now += 500;
  assertEquals(pool.take(key, true), after);
  after.close();
});

Deno.test("take() takes a machine that slept for the least time that counts for one that slept", () => {
  for (const [sleptMs, isTaken] of [[LEAST_SLEEP_MS - 1, true], [LEAST_SLEEP_MS, false]] as const) {
    let wall = 1_000_000;
    using setup = setUp({}, () => 0, () => wall);
    const connection = new FakeUpstream();
    setup.pool.put(setup.key, connection);
    wall += sleptMs;
    assertEquals(setup.pool.take(setup.key, true) === connection, isTaken);
    connection.close();
  }
});

Deno.test("a connection that is in use has no deadline and holds no grant, and each rest has a time of its own", () => {
  const deadlines = new FakeDeadlines();
  let now = 0;
  using setup = setUp({ idleUpstreamTimeoutMs: 60_000 }, () => now, undefined, deadlines);
  const { pool, key, grants } = setup;
  const connection = new FakeUpstream();
  for (let use = 0; use < 3; use++) {
    pool.put(key, connection);
    assertEquals([deadlines.left, grants.size, pool.size], [[60_000], 1, 1]);
    now += 10_000;
    deadlines.advance(10_000);
    assertEquals(pool.take(key, true), connection);
    assertEquals([deadlines.left, grants.size, pool.size], [[], 0, 0]);
  }
  pool.put(key, connection, 2); // as short as anybody says
  assertEquals([deadlines.left, connection.isClosed], [[1], false]);
  deadlines.advance(1);
  assertEquals([deadlines.left, grants.size, connection.isClosed], [[], 0, true]);
});

Deno.test("a connection that ends among others takes none of them with it", async () => {
  using setup = setUp();
  const { pool, key } = setup;
  const [first, second, third] = [new FakeUpstream(), new FakeUpstream(), new FakeUpstream()];
  for (const connection of [first, second, third]) pool.put(key, connection);
  second.say(null);
  await waitUntil("it is closed", () => second.isClosed);
  assertEquals(pool.size, 2);
  assertEquals([pool.take(key, true), pool.take(key, true)], [third, first] as UpstreamConnection[]);
  assertEquals([pool.take(key, true), pool.size], [undefined, 0]);
  for (const connection of [first, third]) connection.close();
});
