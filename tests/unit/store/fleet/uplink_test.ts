import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { Uplink } from "../../../../store/fleet/uplink.ts";
import { SealKeys } from "../../../../store/fleet/seal_keys.ts";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
import { type DatabaseOptions, PostgresDatabase } from "../../../../store/postgres/database.ts";
import { keysOf } from "../memory_engine.ts";
import { HandClock } from "../support.ts";
import { keptLog } from "./answers.ts";

/** An uplink that was never opened. */
async function stage() {
  const [clock, log] = [new HandClock(), keptLog()];
  const uplink = new Uplink({
    clock,
    log,
    seal: new SealKeys("/nowhere/mk", await keysOf(1), log),
    address: parseStoreAddress("postgres://u@db.test:5432/d"),
    password: () => Promise.resolve(""),
    caPem: undefined,
    timeoutMs: 1_000,
    name: "n",
    fleet: "default",
    host: "h",
  });
  return { clock, log, uplink };
}

/** What is thrown where a connection is asked for. */
function refusals(uplink: Uplink): ProxyError[] {
  return [() => uplink.watch(), () => uplink.changes()].map((ask) => assertThrows(ask, ProxyError));
}

/** The waits of so many rests, each of which ends at once. */
async function waitsOf(uplink: Uplink, { rests = 1, chance = 1 } = {}): Promise<number[]> {
  const { setTimeout: set } = globalThis;
  const { random } = Math;
  const waits: number[] = [];
  globalThis.setTimeout = ((call: () => void, ms = 0) => {
    waits.push(ms);
    return set(call, 0);
  }) as typeof setTimeout;
  Math.random = () => chance;
  try {
    for (let n = 0; n < rests; n++) await uplink.rest(1_000);
  } finally {
    globalThis.setTimeout = set;
    Math.random = random;
  }
  return waits;
}

Deno.test("Uplink: without connections nothing is asked, and it is said since when", async () => {
  const { uplink, clock } = await stage();
  assertEquals([uplink.isUp, uplink.awaySince], [false, undefined]);
  for (const { code, message } of refusals(uplink)) {
    assertEquals([code, message], [
      "store.away",
      "Cannot change anything: the store at db.test:5432 is away",
    ]);
  }
  uplink.lose(new Error("no route"));
  const since = clock.nowMs;
  clock.nowMs += 1_001;
  uplink.lose(new Error("no route"));
  assertEquals(uplink.awaySince, since);
  for (const { message } of refusals(uplink)) assertStringIncludes(message, "is away for 2 s");
});

Deno.test("Uplink: what is wrong is said once, and an answer says more than none", async () => {
  const { uplink, log } = await stage();
  const refused = new ProxyError("store.refused", "Cannot use the store: no such database", {
    hint: "make it",
  });
  const away = (text: string) => new ProxyError("store.away", text);
  for (
    const error of [
      away("one"),
      away("two"),
      refused,
      away("three"),
      refused,
      new ProxyError("state.newer", "x"),
    ]
  ) {
    uplink.lose(error);
  }
  assertEquals(log.lines, [
    "error the store is away, and no change is taken: one",
    "error the store cannot be used, and no change is taken: Cannot use the store: no such database",
    "error the store cannot be used, and no change is taken: Cannot use the store: no such database", // it was away
  ]);
});

Deno.test("Uplink: a store that cannot be used says why, and what to do about a seal key", async () => {
  const { uplink, log } = await stage();
  uplink.lose(new ProxyError("seal.key-wrong", "Cannot unseal it", { hint: "copy the key" }));
  assertEquals(log.lines, [
    "error the store cannot be used, and no change is taken: Cannot unseal it; copy the key",
  ]);
  for (const { code, message, hint } of refusals(uplink)) {
    assertEquals([code, message, hint], ["store.refused", "Cannot unseal it", "copy the key"]);
  }
  const { uplink: other } = await stage();
  other.lose(new ProxyError("state.newer", "Cannot read it"));
  assertEquals(
    refusals(other).map(({ code, hint }) => [code, hint]),
    Array(2).fill(["store.refused", undefined]),
  );
});

Deno.test("Uplink: once all is known the store counts as there, and its next failure is said again", async () => {
  const { uplink, log, clock } = await stage();
  uplink.lose(new Error("one"));
  uplink.settle();
  assertEquals(uplink.awaySince, undefined);
  assertEquals(await waitsOf(uplink), [1_000]);
  clock.nowMs += 5;
  uplink.lose(new Error("two"));
  assertEquals([uplink.awaySince, log.lines.length], [clock.nowMs, 2]);
});

Deno.test("Uplink: the pause doubles with each failure, up to two seconds, and no two hosts have the same", async () => {
  const { uplink } = await stage();
  const pauses: number[][] = [];
  for (let n = 0; n < 7; n++) {
    uplink.lose(new Error("away"));
    pauses.push([...await waitsOf(uplink, { chance: 1 }), ...await waitsOf(uplink, { chance: 0 })]);
  }
  assertEquals(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000].map((ms) => [ms, ms / 2]));
});

Deno.test("Uplink: a notice ends a rest, or the next one, and no more than one", async () => {
  const { uplink } = await stage();
  uplink.wake();
  uplink.wake();
  assertEquals(await waitsOf(uplink, { rests: 2 }), [1_000]);
  const resting = uplink.rest(60_000);
  uplink.wake();
  await resting;
  assertEquals(await waitsOf(uplink), [1_000]);
  uplink.wake(); // of a rest that is over
  assertEquals(await waitsOf(uplink), []);
});

Deno.test("Uplink: one that was never opened is closed", async () => {
  const { uplink } = await stage();
  await uplink[Symbol.asyncDispose]();
  assertEquals(uplink.isUp, false);
});

/** Connections in the place of those to a server, by the order in which they are opened. */
function fakeConnections(runs: readonly (string | Error)[], aheadMs: readonly number[] = []) {
  const { open } = PostgresDatabase;
  const opened: DatabaseOptions[] = [];
  const asked: string[] = [];
  const links: { isOpen: boolean }[] = [];
  PostgresDatabase.open = (options) => {
    const nth = opened.push(options) - 1;
    const serverRun = runs[nth] ?? "";
    if (serverRun instanceof Error) return Promise.reject(serverRun);
    const link = {
      isOpen: true,
      host: { host: `db${nth}.test`, port: 5432 },
      destroy: () => void (link.isOpen = false),
      query: (sql: string) => Promise.resolve(void asked.push(`${nth} ${sql}`)),
    };
    links.push(link);
    const db = {
      ...{ link, serverRun, aheadMs: aheadMs[nth] ?? 0 },
      [Symbol.asyncDispose]: () => Promise.resolve(void (link.isOpen = false)),
    };
    return Promise.resolve(db as unknown as PostgresDatabase);
  };
  return {
    ...{ opened, asked, open: () => links.map(({ isOpen }) => isOpen), links },
    [Symbol.dispose]: () => void (PostgresDatabase.open = open),
  };
}

/** One whose store is sealed with its key. */
function provenStage() {
  const [clock, log] = [new HandClock(), keptLog()];
  const seal = { proven: () => Promise.resolve() } as unknown as SealKeys;
  const address = parseStoreAddress("postgres://u@a.test:5432,b.test:5432/d");
  const uplink = new Uplink({
    ...{
      clock,
      log,
      seal,
      address,
      caPem: undefined,
      timeoutMs: 1_000,
      name: "n",
      fleet: "default",
      host: "h",
    },
    password: () => Promise.resolve(""),
  });
  return { clock, log, uplink };
}

Deno.test("Uplink: both connections lead to one server, and notices come on the first", async () => {
  using connections = fakeConnections(["run", "run"]);
  const { uplink, clock } = provenStage();
  await uplink.open();
  assertEquals(uplink.isUp, true);
  assertEquals(connections.asked, ["0 LISTEN slicer_proxy"]);
  assertEquals(
    connections.opened.map(({ address }) => address.hosts.map((host) => "host" in host && host.host)),
    [
      ["a.test", "b.test"],
      ["db0.test"],
    ],
  );
  assertEquals(connections.opened.map(({ now }) => now()), [clock.nowMs, clock.nowMs]);
  connections.opened[0]?.onNotice?.("other");
  assertEquals(await waitsOf(uplink), [1_000]);
  connections.opened[0]?.onNotice?.("default");
  assertEquals(await waitsOf(uplink), []);
});

Deno.test("Uplink: an address that leads to two servers is a store that is away", async () => {
  using connections = fakeConnections(["run", "another"]);
  const { uplink } = provenStage();
  const { code, message, hint } = await assertRejects(() => uplink.open(), ProxyError);
  assertEquals([code, message, hint], [
    "store.away",
    "Cannot use the store at db0.test:5432: it leads to two servers",
    "stop the one that was the primary before",
  ]);
  assertEquals([connections.open(), uplink.isUp], [[true, false], false] as unknown[]);
  uplink.lose(new Error("x"));
  assertEquals(connections.open(), [false, false]);
});

Deno.test("Uplink: opened anew, lost or closed it has no connection of before", async () => {
  using connections = fakeConnections(["run", "run", "run", "run"]);
  const { uplink } = provenStage();
  await uplink.open();
  await uplink.open();
  assertEquals(connections.open(), [false, false, true, true]);
  uplink.lose(new Error("cut"));
  assertEquals([connections.open(), uplink.isUp], [[false, false, false, false], false] as unknown[]);
  await uplink.open();
  await uplink[Symbol.asyncDispose]();
  assertEquals([connections.open(), uplink.isUp], [Array(6).fill(false), false] as unknown[]);
});

Deno.test("Uplink: a store that is back is said once, and only when it was away", async () => {
  using _ = fakeConnections([]);
  const { uplink, log } = provenStage();
  await uplink.open();
  uplink.settle();
  assertEquals(log.lines, []);
  uplink.lose(new Error("cut"));
  await uplink.open();
  for (let n = 0; n < 2; n++) uplink.settle();
  assertEquals(log.lines.slice(1), ["info the store is back: db2.test:5432"]);
});

Deno.test("Uplink: a clock that is wrong is said once, and which way", async () => {
  for (
    const [aheadMs, said] of [
      [[1_500, 0, 1_500, 0], ["warn this host's clock is 1.5 s behind the store's"]],
      [[-2_000, 0, 9_000, 0], ["warn this host's clock is 2 s ahead of the store's"]],
      [[0, 0, 0, 0], []],
    ] as const
  ) {
    using _ = fakeConnections([], aheadMs);
    const { uplink, log } = provenStage();
    for (let n = 0; n < 2; n++) await uplink.open();
    assertEquals(log.lines, [...said]);
  }
});

Deno.test("Uplink: with one of the two gone nothing is asked on the other", async () => {
  for (const gone of [0, 1]) {
    using connections = fakeConnections([]);
    const { uplink } = provenStage();
    await uplink.open();
    const link = connections.links[gone];
    if (link) link.isOpen = false;
    assertEquals(uplink.isUp, false);
    assertEquals(refusals(uplink).map(({ code }) => code), ["store.away", "store.away"]);
  }
});
