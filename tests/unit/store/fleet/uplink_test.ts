import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { Uplink } from "../../../../store/fleet/uplink.ts";
import { SealKeys } from "../../../../store/fleet/seal_keys.ts";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
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
