import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { countOf } from "../../../core/histogram.ts";
import type { Mutation } from "../../../store/engine.ts";
import { SWEEP_BATCH } from "../../../store/limits.ts";
import type { StoredRule } from "../../../store/rules.ts";
import { PolicyView, type ViewChange } from "../../../store/view.ts";
import { Writer } from "../../../store/writer.ts";
import { keysOf, makeWriter, MemoryEngine, SharedMemory } from "./memory_engine.ts";
import { HandClock, rule } from "./support.ts";

function row(name: string): Mutation {
  return { key: ["x", name], value: { name } };
}

function ending(name: string, expiresAt: number | undefined, sequence = 0): StoredRule {
  const end = expiresAt === undefined ? {} : { expiresAt };
  return { rule: { ...rule(`${name}.test`), id: name, client: "ci-1", ...end }, clientId: "c", sequence };
}

/** Puts a client there whose rules end then. */
function addRules(view: PolicyView, rules: readonly StoredRule[]): void {
  view.setClient({ record: { name: "ci-1", version: "1", createdAt: 0 }, id: "c", digest: "d" });
  for (const each of rules) view.addRule(each);
}

/** What a writer tells, in order. */
function listen(writer: Writer): string[] {
  const told: string[] = [];
  writer.onChange(() => told.push("told"));
  writer.keepCopies((steps) => Promise.resolve(void told.push(`copied ${steps.length}`)));
  return told;
}

Deno.test("write() begins a change when all before have ended, also those that failed", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  const order: string[] = [];
  const step = (name: string, isFine: boolean) =>
    writer.write(async () => {
      order.push(`${name} begins`);
      await Promise.resolve();
      order.push(`${name} ends`);
      if (!isFine) throw new Error(name);
      return name;
    });
  const ended = await Promise.allSettled([step("a", true), step("b", false), step("c", true)]);
  assertEquals(order, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  assertEquals(ended.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
});

Deno.test("Writer: closing finishes what was asked for, closes the database once and refuses what comes later", async () => {
  const db = new MemoryEngine();
  const writer = await makeWriter({ db });
  const asked = writer.write(() => writer.commit([row("a")], () => {}));
  const closing = writer[Symbol.asyncDispose]();
  await assertRejects(() => writer.write(() => Promise.resolve()), TypeError, "the state is closed");
  await closing;
  assertEquals([db.keys, db.closed], [["x a"], 1]);
  await asked;
  await writer[Symbol.asyncDispose]();
  assertEquals(db.closed, 1);
});

Deno.test("commit() is on the disk before memory, then listeners and then copies know it", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  const told = listen(writer);
  await writer.commit([row("a")], () => {
    told.push(`applied beside ${db.keys}`);
    writer.view.suspendAll(1);
    writer.view.suspendAll(2);
  });
  assertEquals(told, ["applied beside x a", "told", "copied 2"]);
  await writer.commit([], () => writer.view.suspendAll(undefined));
  assertEquals(told.slice(3), ["told", "copied 1"]);
  assertEquals(db.commits.length, 1, "a change of memory alone writes nothing");
  await writer.commit([row("b")], () => {});
  assertEquals(told.slice(5), ["told"], "without a step there is nothing to copy");
});

Deno.test("commit() that fails changes nothing and tells nobody, and is counted", async () => {
  const db = new MemoryEngine();
  const clock = new HandClock();
  await using writer = await makeWriter({ db, clock });
  const told = listen(writer);
  db.isFull = (n) => n === 1;
  const apply = () => void told.push("applied");
  await assertRejects(() => writer.commit([row("a")], apply), Error, "disk is full");
  assertEquals([told, db.keys], [[], []]);
  await writer.commit([row("a")], apply);
  const { writeDuration, writeFailures } = writer.figures();
  assertEquals([countOf(writeDuration), writeFailures], [2, 1]);
});

Deno.test("figures() measures how long commits take, in seconds", async () => {
  const clock = new HandClock();
  const db = new class extends MemoryEngine {
    override commit(mutations: readonly Mutation[]): Promise<void> {
      clock.nowMs += 250;
      return super.commit(mutations);
    }
  }();
  await using writer = await makeWriter({ db, clock });
  await writer.commitRows([row("a")]);
  assertEquals(writer.figures().writeDuration.sum, 0.25);
});

Deno.test("onChange() gives a function that ends it", async () => {
  await using writer = await makeWriter();
  let told = 0;
  const stop = writer.onChange(() => told++);
  await writer.commit([], () => {});
  stop();
  await writer.commit([], () => {});
  assertEquals(told, 1);
});

Deno.test("reseal() takes the keys when their rows are on the disk, and only then", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  const former = writer.keys;
  const keys = await keysOf(2);
  const seal = { sealCheck: new Uint8Array(1), sealKeyId: keys.id };
  db.isFull = (n) => n === 1;
  await assertRejects(() => writer.reseal(keys, seal, [row("a")]), Error, "disk is full");
  assertStrictEquals(writer.keys, former);
  await writer.reseal(keys, seal, [row("a")]);
  assertStrictEquals(writer.keys, keys);
  assertEquals([db.resealed, db.keys], [[seal], ["x a"]]);
  writer.takeKeys(former);
  assertStrictEquals(writer.keys, former);
});

Deno.test("reseal() refuses a database that cannot exchange rows all at once", async () => {
  const db = new MemoryEngine();
  Object.defineProperty(db, "reseal", { value: undefined });
  await using writer = await makeWriter({ db });
  const seal = { sealCheck: new Uint8Array(1), sealKeyId: "x" };
  await assertRejects(async () => writer.reseal(await keysOf(2), seal, []), TypeError, "one of its hosts");
});

Deno.test("Writer: a database of one host has this host's clock, one of many its own", async () => {
  const clock = new HandClock();
  await using alone = await makeWriter({ clock });
  assertEquals([alone.isShared, await alone.storeTime()], [false, clock.nowMs]);
  const shared = new SharedMemory();
  await using host = await makeWriter({ db: new MemoryEngine(shared), clock });
  assertEquals([host.isShared, await host.storeTime()], [true, shared.nowMs]);
});

Deno.test("write() waits until all hosts have what it committed, and the next change does not", async () => {
  const shared = new SharedMemory();
  await using writer = await makeWriter({ db: new MemoryEngine(shared) });
  const { promise, resolve } = Promise.withResolvers<void>();
  shared.onSpread = promise;
  let isDone = false;
  const first = writer.write(() => Promise.resolve(shared.takeSequence())).then(() => isDone = true);
  assertEquals(await writer.write(() => Promise.resolve("second")), "second");
  assertEquals([isDone, shared.spreads], [false, [1]], "what committed nothing has nothing to wait for");
  resolve();
  await first;
});

Deno.test("adopt() takes another host's change: memory, places, timer, listeners and copies", async () => {
  const clock = new HandClock();
  const db = new MemoryEngine(new SharedMemory());
  await using writer = await makeWriter({ db, clock });
  const told = listen(writer);
  await writer.adopt(() => writer.view.suspendAll(1), 7);
  assertEquals([told, db.commits.length], [["told", "copied 1"], 0]);
  assertEquals(writer.takeSequence(), 7);
  await writer.adopt(() => addRules(writer.view, [ending("a", clock.nowMs + 1)]), 3);
  assertEquals([writer.takeSequence(), writer.takeSequence()], [8, 9], "places never go back");
  clock.nowMs += 1;
  await writer.inTurn(() => Promise.resolve());
  assertEquals(writer.view.ruleCount, 0, "it knows when the rule ends");
});

Deno.test("hold() tells listeners when the policy ends or comes back, and copies each time", async () => {
  const clock = new HandClock();
  await using writer = await makeWriter({ clock });
  const told = listen(writer);
  const now = clock.nowMs;
  await writer.hold(now + 10);
  assertEquals(told.splice(0), ["copied 1"]);
  await writer.hold(now);
  assertEquals(told.splice(0), ["told", "copied 1"]);
  assertEquals(writer.view.isLost(() => clock.nowMs), true);
  await writer.hold(now + 10);
  assertEquals(told.splice(0), ["told", "copied 1"]);
});

Deno.test("commitAhead() that fails has everything taken off again when the write has ended", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  db.isFull = (n) => n === 2;
  const write = writer.write(() => writer.commitAhead([[row("a")], [row("b")], [row("c")]]));
  await assertRejects(() => write, Error, "disk is full");
  await writer.inTurn(() => Promise.resolve());
  assertEquals(db.keys, []);
  assertEquals(db.commits.slice(2), [["a", "b", "c"].map((name) => ({ key: ["x", name] }))]);
});

Deno.test("commitAhead() that succeeds leaves its rows", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  await writer.write(() => writer.commitAhead([[row("a")], [row("b")]]));
  await writer.inTurn(() => Promise.resolve());
  assertEquals([db.keys, db.commits.length], [["x a", "x b"], 2]);
});

Deno.test("sweepLater() takes rows off in batches, and tries those again that it could not take off", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  const rows = Array.from({ length: SWEEP_BATCH + 1 }, (_, i) => row(`${i}`));
  await db.commit(rows);
  db.isFull = (n) => n === 3;
  await writer.write(() => Promise.resolve(writer.sweepLater(rows)));
  for (let n = 0; n < 2; n++) await writer.inTurn(() => Promise.resolve()); // the disk is full at the second batch
  assertEquals(db.commits.map(({ length }) => length), [501, 500, 1, 1]);
  assertEquals(db.keys, []);
  await writer.inTurn(() => Promise.resolve());
  assertEquals(db.commits.length, 4, "what is gone is not swept again");
});

Deno.test("sweepLater() leaves it to the database of a fleet, where a place may be used again", async () => {
  const db = new MemoryEngine(new SharedMemory());
  await using writer = await makeWriter({ db });
  await writer.write(() => Promise.resolve(writer.sweepLater([row("a")])));
  await writer.inTurn(() => Promise.resolve());
  assertEquals(db.commits, []);
});

Deno.test("commitRows() keeps a row that is written where one waits to be swept, and only that", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  await db.commit([row("a"), row("b"), row("c")]);
  await writer.write(async () => {
    writer.sweepLater([row("a"), row("b"), row("c")]);
    await writer.commitRows([{ key: ["x", "c"] }]); // a removal is no new row
    await writer.commitRows([row("a"), { key: ["x", "b"] }]);
  });
  await writer.inTurn(() => Promise.resolve());
  assertEquals(db.keys, ["x a"]);
  assertEquals(db.commits.at(-1)?.map(({ key }) => key[1]), ["b", "c"]);
});

Deno.test("commitRows() that fails leaves the row to be swept", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  await db.commit([row("a")]);
  db.isFull = (n) => n === 2;
  await assertRejects(() =>
    writer.write(async () => {
      writer.sweepLater([row("a")]);
      await writer.commitRows([row("a")]);
    })
  );
  await writer.inTurn(() => Promise.resolve());
  assertEquals(db.keys, []);
});

Deno.test("Writer: a write at the instant of an expiry finds the rule gone, one before does not", async () => {
  const clock = new HandClock();
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db, clock });
  const at = clock.nowMs + 1_000;
  const [soon, late, never] = [
    ending("soon", at, 1),
    ending("late", at + 1, 2),
    ending("never", undefined, 3),
  ];
  addRules(writer.view, [soon, late, never]);
  writer.armTimer();
  const told = listen(writer);
  const seen = () => writer.inTurn(() => Promise.resolve(writer.view.ruleCount));
  const swept = () => writer.inTurn(() => Promise.resolve(db.commits.flat()));
  clock.nowMs = at - 1;
  assertEquals([await seen(), told.splice(0)], [3, []]);
  clock.nowMs = at;
  assertEquals([await seen(), told.splice(0)], [2, ["told", "copied 1"]]);
  assertEquals(await swept(), [{ key: ["rule", "c", 1] }], "its row goes");
  clock.nowMs = at + 1;
  assertEquals([await seen(), told.splice(0)], [1, ["told", "copied 1"]]);
  clock.nowMs = at + 1_000_000;
  assertEquals([await seen(), told.splice(0)], [1, []]);
});

Deno.test("Writer: the clock ends a rule without any write, sweeps its row, and goes on to the next", async () => {
  const clock = new HandClock();
  const db = new MemoryEngine();
  const view = new PolicyView();
  addRules(view, [ending("a", clock.nowMs + 1, 1), ending("b", clock.nowMs + 2, 2)]);
  await using writer = new Writer({ db, keys: await keysOf(1), view, clock, nextSequence: 3 });
  assertEquals(writer.takeSequence(), 3);
  for (const left of [1, 0]) {
    const { promise, resolve } = Promise.withResolvers<void>();
    writer.onChange(resolve);
    clock.nowMs += 1;
    const keepAlive = setInterval(() => {}, 1_000); // the timer keeps no process running
    await promise;
    clearInterval(keepAlive);
    assertEquals(view.ruleCount, left);
  }
  await writer.inTurn(() => Promise.resolve());
  assertEquals(db.commits.flat(), [{ key: ["rule", "c", 1] }, { key: ["rule", "c", 2] }]);
});

Deno.test("Writer: a rule that another change took before its end ends nothing", async () => {
  const clock = new HandClock();
  await using writer = await makeWriter({ clock });
  const gone = ending("a", clock.nowMs + 1);
  addRules(writer.view, [gone]);
  writer.armTimer();
  writer.view.deleteRules("ci-1", [gone]);
  const told = listen(writer);
  clock.nowMs += 1;
  await writer.inTurn(() => Promise.resolve());
  assertEquals(told, []);
});

Deno.test("Writer: once closed no timer ends a rule, however often it was set", async () => {
  const clock = new HandClock();
  const [writer, late] = [await makeWriter({ clock }), await makeWriter({ clock })];
  for (const { view } of [writer, late]) addRules(view, [ending("a", clock.nowMs + 1)]);
  for (let n = 0; n < 3; n++) writer.armTimer();
  const told = listen(writer);
  await writer[Symbol.asyncDispose]();
  await late[Symbol.asyncDispose]();
  late.armTimer();
  clock.nowMs += 1;
  await new Promise((resolve) => setTimeout(resolve, 5)); // longer than the timer would have waited
  assertEquals([told.length, writer.view.ruleCount, late.view.ruleCount], [0, 1, 1]);
});

Deno.test("keepCopies() gives each step once, in their order", async () => {
  await using writer = await makeWriter();
  const copied: ViewChange[][] = [];
  writer.keepCopies((steps) => Promise.resolve(void copied.push([...steps])));
  for (const since of [1, 2]) await writer.commit([], () => writer.view.suspendAll(since));
  assertEquals(copied, [[{ kind: "all-suspended", since: 1 }], [{ kind: "all-suspended", since: 2 }]]);
});
