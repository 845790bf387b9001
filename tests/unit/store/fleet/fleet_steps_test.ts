/** What a host asks of its store and does, step by step; with a server: `fleet_test.ts`. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { type StoredClient, writeClient } from "../../../../store/clients.ts";
import type { Mutation } from "../../../../store/engine.ts";
import { type SpreadNote, withSpreadNote } from "../../../../store/fleet/spread_note.ts";
import { RULE_PREFIX } from "../../../../store/rules.ts";
import { keysOf } from "../memory_engine.ts";
import { assertCode } from "../support.ts";
import { GRACE_MS, type ScriptedFleet, scriptedFleet } from "./scripted_fleet.ts";

function client(name: string): Mutation {
  const stored: StoredClient = { record: { name, version: "1", createdAt: 0 }, id: name, digest: name };
  return writeClient(stored);
}

const WAY = { origin: "https://a.test:1", caPem: "CA" };
const AWAY = new ProxyError("store.away", "Cannot reach the store");

/** Runs a test with a host that has begun and has made its first look. */
async function withHost(run: (host: ScriptedFleet) => Promise<void>): Promise<void> {
  await using host = await scriptedFleet();
  const writer = await host.begin();
  try {
    host.store.take();
    await run(host);
  } finally {
    await host.fleet[Symbol.asyncDispose]();
    await writer[Symbol.asyncDispose]();
  }
}

/** How far a change has spread, and what was waited for between two looks at the others, each of which takes `tookMs`. */
async function spreadOf({ fleet, clock }: ScriptedFleet, tookMs: (waitMs: number) => number) {
  const { setTimeout: set } = globalThis;
  const waits: number[] = [];
  globalThis.setTimeout = ((call: () => void, ms = 0) => {
    if (ms === 0 || ms >= 1_000) return set(call, ms); // of the copy, and of what holds the policy
    waits.push(ms);
    clock.nowMs += tookMs(ms);
    return set(call, 0);
  }) as typeof setTimeout;
  const note: SpreadNote = {};
  try {
    await withSpreadNote(note, () => fleet.spread(1));
  } finally {
    globalThis.setTimeout = set;
  }
  return { waits, spread: note.spread };
}

Deno.test("Fleet: a host enters before it reads, and its policy counts from before it said so", async () => {
  await using host = await scriptedFleet();
  const { fleet, store, clock } = host;
  const [begunAt, next] = [clock.nowMs, await keysOf(2)];
  assertEquals([fleet.status.heldUntilMs, fleet.status.sequence], [0, -1]);
  store.answers.set("hello", () => {
    clock.nowMs += 3;
    store.proven = next; // another key has come since
    return [];
  });
  store.position = { sequence: 4, changeId: "c4" };
  const { start } = await fleet.join();
  assertEquals(start, { position: store.position, heldUntilMs: begunAt + GRACE_MS });
  assertEquals(store.take(), ["open", "proven", "listen", "open", "hello", "all", "proven"]);
  assertEquals(fleet.sealKey.id, next.id);
  await fleet[Symbol.asyncDispose]();
});

Deno.test("Fleet: a host that joins takes no rule of a newer version for one of its own", async () => {
  await using host = await scriptedFleet();
  host.store.rows = [{ key: [...RULE_PREFIX, "client", 1, "id"], value: { host: "a.test", never: 1 } }];
  await assertCode(host.fleet.join(), "state.newer");
  await host.fleet[Symbol.asyncDispose]();
});

Deno.test("Fleet: what needs a policy is refused before there is one", async () => {
  await using host = await scriptedFleet();
  assertThrows(() => host.fleet.beginRotation(undefined), TypeError, "before it has begun");
  await assertRejects(() => host.fleet.cancelRotation(), TypeError, "before it has begun");
  await host.fleet[Symbol.asyncDispose]();
});

Deno.test("Fleet: the first looks, and one at which nothing has come", async () => {
  await using host = await scriptedFleet();
  const { fleet, store, clock, rests, look } = host;
  store.position = { sequence: 1, changeId: "c1" };
  fleet.logWays.own = () => WAY;
  const writer = await host.begin();
  assertEquals([fleet.status.sequence, fleet.status.heldUntilMs], [1, clock.nowMs + GRACE_MS]);
  assertEquals(store.take().slice(7), [
    ...["beat", "position", "dropped", "applied", "contact", "look", "forget", "sweep", "way", "settled"],
    ...["beat", "position", "contact", "former gone"], // at once: the key is in its place
  ]);
  await look();
  assertEquals(store.take(), ["position"]);
  clock.nowMs += 2_000;
  await look();
  assertEquals(store.take(), ["beat", "position"]);
  assertEquals(fleet.status.heldUntilMs, clock.nowMs + GRACE_MS);
  assertEquals(new Set(rests), new Set([1_000]));
  assertEquals([fleet.status.behindMs, store.opened.length], [0, 2]);
  await fleet[Symbol.asyncDispose]();
  await writer[Symbol.asyncDispose]();
});

Deno.test("Fleet: a change of others is said to be in force when the copy from before is gone", async () => {
  await withHost(async ({ store, fleet, look }) => {
    store.add(client("new"));
    await look();
    const notes = store.take();
    assertEquals(notes.filter((what) => ["dropped", "applied"].includes(what)), ["dropped", "applied"]);
    assertEquals(store.parameters.get("applied")?.slice(3), ["1", "c1"]);
    assertEquals(fleet.status.sequence, 1);
  });
});

Deno.test("Fleet: a host that the store has forgotten enters anew, and says everything again", async () => {
  await withHost(async ({ store, fleet, clock, look }) => {
    fleet.logWays.own = () => WAY;
    store.standing = { ...store.standing, nextKeyId: "next" };
    store.answers.set(
      "next seal",
      () => [{ next_seal_check: new Uint8Array(1), next_seal_key_id: "next" }],
    );
    store.answers.set("without key", () => [{ name: "host-2" }]);
    await look();
    const said = ["applied", "way", "next key"];
    assertEquals(store.take().filter((what) => said.includes(what)), ["way", "next key"]);
    await look();
    assertEquals(store.take().filter((what) => said.includes(what)), []);
    store.answers.set("beat", () => []);
    clock.nowMs += GRACE_MS / 20;
    await look();
    assertEquals(store.take().filter((what) => said.includes(what) || what === "hello"), [
      ...["hello", "applied", "way", "next key"],
    ]);
  });
});

Deno.test("Fleet: a store that comes back is told at once who is there and what is in force, of the past that it was", async () => {
  await withHost(async ({ store, fleet, log, clock, look }) => {
    await look();
    store.add(client("new"));
    await look();
    store.take();
    store.opened[0]?.destroy();
    const since = clock.nowMs;
    store.answers.set("listen", () => Promise.reject(AWAY));
    await look();
    assertEquals(fleet.status.awaySince, since);
    assertEquals(log.lines, [`error the store is away, and no change is taken: ${AWAY.message}`]);
    await assertCode(fleet.list(), "store.away");
    store.answers.delete("listen");
    store.take();
    await look();
    assertEquals(store.take(), [
      ...["open", "proven", "listen", "open", "id of 1", "applied", "beat", "position"],
    ]);
    assertEquals(store.parameters.get("applied")?.slice(3), ["1", "c1"]);
    assertEquals(fleet.status.awaySince, undefined);
    assertEquals(log.lines.slice(1), ["info the store is back: db.test:5432"]);
  });
});

Deno.test("Fleet: a store of another past is given up, and nothing is taken from it", async () => {
  await withHost(async ({ store, fleet, log, look }) => {
    store.add(client("new"));
    await look();
    store.opened[1]?.destroy();
    store.changes.splice(0, 1, { sequence: 1, changeId: "other", mutations: [] });
    await look();
    assertEquals(log.lines.map((line) => line.includes("lacks changes that are in force")), [true]);
    await assertCode(fleet.list(), "store.refused");
  });
});

Deno.test("Fleet: what was used of budgets is below the host's id, and goes by no change", async () => {
  await withHost(async ({ store, fleet }) => {
    store.rows = [{ key: ["used", "id-1", "a1"], value: { used: 1 } }];
    assertEquals(await Array.fromAsync(fleet.rows(["used", "a1"])), [{
      key: ["used", "a1"],
      value: { used: 1 },
    }]);
    await fleet.commit([{ key: ["used", "a1"], value: {} }, { key: ["used", "b2"] }]);
    assertEquals(store.take(), ["rows used id-1 a1", "quietly +used/id-1/a1 -used/id-1/b2"]);
    for (
      const mutations of [
        [{ key: ["client", "used"], value: {} }],
        [{ key: ["used", "a1"], value: {} }, { key: ["client", "x"], value: {} }],
      ]
    ) {
      await assertRejects(() => fleet.commit(mutations), TypeError, "outside of a turn");
    }
    assertEquals([store.take(), await fleet.sizeBytes(), await fleet.storeTime()], [[], 7, 11] as unknown[]);
  });
});

Deno.test("Fleet: a change is made on all that others have changed, and ends the switches of clients that go", async () => {
  await withHost(async ({ store, fleet }) => {
    store.add(client("theirs"));
    const made = await fleet.exclusive(async () => {
      assertEquals(fleet.status.sequence, 1);
      await fleet.commit([client("client"), { key: ["secret", "client"] }, { key: ["client", "old"] }]);
      return "done";
    });
    assertEquals(made, { value: "done", sequence: 2 });
    assertEquals(fleet.status.sequence, 2);
    assertEquals(store.take().filter((what) => /^(commit|turn|quietly)/.test(what)), [
      "turn",
      "commit +client/client -secret/client -client/old -mode/old",
    ]);
    assertEquals(await fleet.exclusive(() => Promise.resolve(1)), { value: 1, sequence: undefined });
    await assertRejects(() => fleet.commit([client("late")]), TypeError, "outside of a turn");
  });
});

Deno.test("Fleet: a change that fails is told to its caller, and costs the connections only when the store is away", async () => {
  await withHost(async ({ store, fleet }) => {
    for (const error of [new TypeError("x"), new ProxyError("store.refused", "x")]) {
      assertEquals(await fleet.exclusive(() => Promise.reject(error)).catch((thrown) => thrown), error);
      assertEquals([fleet.status.awaySince, store.opened[0]?.isOpen], [undefined, true]);
    }
    assertEquals(await fleet.exclusive(() => Promise.reject(AWAY)).catch((thrown) => thrown), AWAY);
    assertEquals([fleet.status.awaySince !== undefined, store.opened[0]?.isOpen], [true, false]);
  });
});

Deno.test("Fleet: a call waits two seconds for hosts that lack its change, looking often at first", async () => {
  await withHost(async (host) => {
    const { store } = host;
    const slow = { live: 2, id: "id-2", name: "host-2", instance: "p", grace_ms: GRACE_MS, beats: 1 };
    store.answers.set("waiting", () => [slow]);
    store.add(client("new"));
    await host.look();
    store.take();
    const { waits, spread } = await spreadOf(host, () => 200);
    assertEquals(waits, [2, 5, 10, 20, 40, 80, 100, 100, 100, 100]);
    assertEquals(spread, { live: 2, waitingFor: ["host-2"] });
    assertEquals(store.parameters.get("waiting"), ["mine", "1", "10000"], "all are named at the end");
    assertEquals(store.take(), Array(11).fill("waiting"));
    store.answers.set("waiting", () => {
      assertEquals(store.parameters.get("waiting"), ["mine", "1", "100"]);
      return [{ live: 2, id: null }];
    });
    assertEquals(await spreadOf(host, () => 0), { waits: [], spread: { live: 2, waitingFor: [] } });
  });
});

Deno.test("Fleet: a call whose store goes does not know how far its change has spread", async () => {
  await withHost(async (host) => {
    host.store.answers.set("waiting", () => Promise.reject(AWAY));
    assertEquals(await spreadOf(host, () => 0), {
      waits: [],
      spread: { live: 0, waitingFor: [], isUnknown: true },
    });
  });
});

Deno.test("Fleet: a call says what is in force here before it waits for the others", async () => {
  await withHost(async (host) => {
    const { fleet, store } = host;
    const { sequence } = await fleet.exclusive(() => fleet.commit([client("new")]));
    store.take();
    await fleet.spread(sequence ?? 0);
    assertEquals(store.take(), ["dropped", "applied", "waiting"]);
    await fleet.spread(sequence ?? 0);
    assertEquals(store.take(), ["waiting"]);
  });
});

Deno.test("Fleet: a host that leaves keeps a copy, makes it useless, says goodbye and is gone, in this order", async () => {
  await using host = await scriptedFleet();
  const { fleet, store } = host;
  const writer = await host.begin();
  store.take();
  await fleet[Symbol.asyncDispose]();
  assertEquals(store.take(), ["forgotten", "goodbye", "closed", "closed", "unlocked"]);
  assertEquals(store.copied, [0]);
  await writer[Symbol.asyncDispose]();
});

Deno.test("Fleet: a host that leaves while the store is away comes back with its policy", async () => {
  await using host = await scriptedFleet();
  const { fleet, store, log } = host;
  const writer = await host.begin();
  store.take();
  store.opened[0]?.destroy();
  await fleet[Symbol.asyncDispose]();
  assertEquals(store.take(), ["closed", "closed", "unlocked"]);
  assertEquals(store.copied, [0]);
  assertEquals(log.lines, []);
  await writer[Symbol.asyncDispose]();
});

Deno.test("Fleet: a host whose goodbye fails says so, and is gone all the same", async () => {
  await using host = await scriptedFleet();
  const { fleet, store, log } = host;
  const writer = await host.begin();
  store.answers.set("goodbye", () => Promise.reject(new Error("cut")));
  await fleet[Symbol.asyncDispose]();
  assertEquals(store.take().slice(-3), ["closed", "closed", "unlocked"]);
  assertEquals(log.lines, ["warn the fleet was not told that this host stops: cut"]);
  await writer[Symbol.asyncDispose]();
});

Deno.test("Fleet: a store that hangs holds a stop up for no longer than one question, and no timer stays", async () => {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const open = new Set<unknown>();
  globalThis.setTimeout = ((call: () => void, ms: number) => {
    const id = set(() => {
      open.delete(id);
      call();
    }, ms);
    open.add(id);
    return id;
  }) as typeof setTimeout;
  globalThis.clearTimeout = (id) => {
    open.delete(id);
    clear(id);
  };
  try {
    await using host = await scriptedFleet({ timeoutMs: 20 });
    const { fleet, store } = host;
    const writer = await host.begin();
    const hanging = Promise.withResolvers<void>();
    store.answers.set("position", () => {
      hanging.resolve();
      return new Promise(() => {});
    });
    store.opened[0]?.options.onNotice?.("mine");
    await hanging.promise;
    await fleet.stop();
    assertEquals([fleet.status.awaySince !== undefined, open.size], [true, 0]);
    await fleet[Symbol.asyncDispose]();
    await writer[Symbol.asyncDispose]();
  } finally {
    globalThis.setTimeout = set;
    globalThis.clearTimeout = clear;
  }
});
