import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CopyKeeper, rowsOf, type TakenPolicy } from "../../../../store/fleet/copy_keeper.ts";
import type { LocalCopy } from "../../../../store/fleet/local_copy.ts";
import { decodeBatch } from "../../../../store/postgres/row_batch.ts";
import { PolicyView } from "../../../../store/view.ts";
import { keysOf } from "../memory_engine.ts";
import { rule } from "../support.ts";
import { keptLog } from "./answers.ts";

const keys = await keysOf(1);

/** A keeper on a disk that says what is done to it, and timers that the test fires. */
function stage(rows = 1) {
  const done: string[] = [];
  const log = keptLog();
  const disk = { isFull: false };
  const on = (what: string) =>
    disk.isFull ? Promise.reject(new Error("disk is full")) : Promise.resolve(void done.push(what));
  const copy = {
    drop: () => on("drop"),
    save: ({ sequence }: { sequence: number }, { rows }: { rows: string }) =>
      on(`save ${sequence} ${decodeBatch(rows, 0).filter(({ value }) => value?.expiresAt === 5).length}`),
    saveContact: (atMs: number, graceMs: number) => on(`contact ${atMs} ${graceMs}`),
  };
  const taken = { sequence: 1, before: () => Promise.resolve() };
  const take = async (): Promise<TakenPolicy> => {
    await taken.before();
    const list = Array.from(
      { length: rows },
      (_, i) => ({ key: ["rule", "c", i], value: { id: `${i}`, expiresAt: 5 } }),
    );
    return { position: { sequence: taken.sequence, changeId: undefined }, rows: list, keys };
  };
  return { done, log, disk, taken, keeper: new CopyKeeper(copy as unknown as LocalCopy, take, log) };
}

/** The waits before a copy is written, which end when the test says so; how many were given up. */
function handTimers(): Disposable & { readonly waits: number[]; cleared: number; fire: () => void } {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const timers = {
    waits: [] as number[],
    cleared: 0,
    fire: () => {},
    [Symbol.dispose]: () => void Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }),
  };
  globalThis.setTimeout = ((call: () => void, ms = 0) => {
    if (ms === 0) return set(call, 0);
    timers.waits.push(ms);
    timers.fire = call;
    const timer = set(() => {}, 0);
    return timer;
  }) as typeof setTimeout;
  globalThis.clearTimeout = ((timer: ReturnType<typeof setTimeout> | undefined) => {
    if (timer !== undefined) timers.cleared++;
    clear(timer);
  }) as typeof clearTimeout;
  return timers;
}

Deno.test("CopyKeeper writes the copy when nothing has dropped it for a second", async () => {
  using timers = handTimers();
  const { keeper, done } = stage(600);
  await keeper.drop();
  await keeper.drop();
  assertEquals([timers.waits, timers.cleared], [[1_000, 1_000], 1] as unknown[]);
  timers.fire();
  await keeper[Symbol.asyncDispose]();
  await keeper.contact(0, 0);
  while (done.length < 4) await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(done.slice(0, 2), ["drop", "drop"]);
  assertEquals(done.includes("save 1 600"), true);
});

Deno.test("CopyKeeper writes at its end what is still to be written, and nothing after it", async () => {
  using timers = handTimers();
  const { keeper, done } = stage();
  keeper.saveSoon();
  await keeper[Symbol.asyncDispose]();
  assertEquals([done, timers.cleared], [["save 1 1"], 1] as unknown[]);
  await keeper[Symbol.asyncDispose]();
  assertEquals(done.length, 1);
  keeper.saveSoon();
  assertEquals(timers.waits.length, 1);
  const { keeper: idle, done: nothing } = stage();
  await idle[Symbol.asyncDispose]();
  assertEquals(nothing, []);
});

Deno.test("CopyKeeper does not write what was taken before a drop", async () => {
  using _ = handTimers();
  for (const [rows, saved] of [[1, []], [0, []], [1_000, []]] as const) {
    const { keeper, done, taken } = stage(rows);
    taken.before = async () => {
      taken.before = () => Promise.resolve();
      await keeper.drop();
    };
    keeper.saveSoon();
    const closed = keeper[Symbol.asyncDispose]();
    await closed;
    assertEquals(done, ["drop", ...saved]);
  }
});

Deno.test("CopyKeeper rejects when a copy that is wrong cannot be removed, and goes on", async () => {
  using _ = handTimers();
  const { keeper, done, disk } = stage();
  disk.isFull = true;
  await assertRejects(() => keeper.drop(), Error, "disk is full");
  disk.isFull = false;
  await keeper.drop();
  assertEquals(done, ["drop"]);
  await keeper[Symbol.asyncDispose]();
});

Deno.test("CopyKeeper says what cannot be written, and never rejects by it", async () => {
  using _ = handTimers();
  const { keeper, done, disk, log } = stage();
  disk.isFull = true;
  await keeper.contact(1, 2);
  keeper.saveSoon();
  await keeper[Symbol.asyncDispose]();
  assertEquals(log.lines.length, 2);
  for (const line of log.lines) {
    assertStringIncludes(line, "will not start while the store is away: disk is full");
  }
  disk.isFull = false;
  await keeper.contact(3, 4);
  assertEquals(done, ["contact 3 4"]);
});

Deno.test("rowsOf() is everything in a view", async () => {
  const view = new PolicyView();
  view.setClient({ record: { name: "one", version: "1", createdAt: 0 }, id: "c", digest: "d" });
  const stored = {
    rule: { ...rule("a.test"), id: "r", client: "one", expiresAt: 900 },
    clientId: "c",
    sequence: 3,
  };
  view.addRule(stored);
  const record = {
    name: "key",
    host: "a.test",
    type: "bearer",
    version: "1",
    cleartext: false,
    createdAt: 0,
  };
  view.setSecret({ record, value: "v" });
  view.setCa({ record: { hostgroup: "g", version: "1", certPem: "c", importedAt: 0 }, keyPem: "k" });
  const kinds = async () =>
    (await rowsOf(view, keys, 100)).map(({ key, expireInMs }) => [key.join(" "), expireInMs]);
  const always = [["client one", undefined], ["rule c 3", 900], ["secret key", undefined], [
    "ca g",
    undefined,
  ]];
  assertEquals(await kinds(), always);
  view.suspendAll(5);
  view.switchMode({ mode: "audit", client: "one", untilMs: 150 });
  view.switchMode({ mode: "audit", client: "two", untilMs: 100 });
  assertEquals(await kinds(), [...always, ["suspended all", undefined], ["mode one", 50]]);
  view.setClient({
    record: { name: "one", version: "1", createdAt: 0, suspendedSince: 1 },
    id: "c",
    digest: "d",
  });
  view.suspendAll(undefined);
  assertEquals((await kinds()).length, 5);
});

Deno.test("CopyKeeper keeps no process from its end by what it has still to write", async () => {
  using timers = handTimers();
  const { unrefTimer } = Deno;
  let freed = 0;
  Deno.unrefTimer = () => void freed++;
  try {
    const { keeper } = stage();
    keeper.saveSoon();
    assertEquals([timers.waits.length, freed], [1, 1]);
    await keeper[Symbol.asyncDispose]();
  } finally {
    Deno.unrefTimer = unrefTimer;
  }
});
