import { assertEquals, assertRejects } from "@std/assert";
import type { CopyKeeper } from "../../../../store/fleet/copy_keeper.ts";
import { type HostFigures, NO_FIGURES } from "../../../../store/fleet/host_figures.ts";
import type { Hosts } from "../../../../store/fleet/hosts.ts";
import { Pulse } from "../../../../store/fleet/pulse.ts";
import { makeWriter } from "../memory_engine.ts";
import { assertCode, HandClock } from "../support.ts";
import { answeringStore, keptLog } from "./answers.ts";

const GRACE_MS = 60_000;

/** Of a machine that has just started. */
class MachineClock extends HandClock {
  readonly #startedAt = this.nowMs;
  override monotonic(): number {
    return this.nowMs - this.#startedAt;
  }
}

/** A pulse whose host says what it does, in order. */
async function stage({ graceMs = GRACE_MS, isKnown = true, isTaken = false } = {}) {
  const clock = new MachineClock();
  const writer = await makeWriter({ clock });
  const log = keptLog();
  const { db, asked } = answeringStore();
  const done: string[] = [];
  const store = { isKnown, isTaken };
  const told: HostFigures[] = [];
  const hosts = {
    sayHello: () => Promise.resolve(void done.push("hello")),
    beat: (figures: HostFigures) => {
      done.push("beat");
      told.push(figures);
      return Promise.resolve(store.isKnown);
    },
    isTaken: () => Promise.resolve(store.isTaken),
    look: () => Promise.resolve(void done.push("look")),
  };
  const keeper = {
    contact: (atMs: number, grace: number) => Promise.resolve(void done.push(`contact ${atMs} ${grace}`)),
  };
  const pulse = new Pulse({
    own: { id: "i", instance: "p", name: "me", version: "1", graceMs },
    hosts: hosts as unknown as Hosts,
    keeper: keeper as unknown as CopyKeeper,
    clock,
    log,
    db: () => db,
    onEnter: () => done.push("entered"),
  });
  const beat = async () => {
    await (await pulse.beat())();
    return done.splice(0);
  };
  return { clock, writer, log, asked, done, store, told, pulse, beat };
}

Deno.test("Pulse: entering the fleet makes what was told before count no more", async () => {
  const { pulse, done } = await stage();
  await pulse.enter();
  assertEquals(done, ["entered", "hello"]);
});

Deno.test("Pulse: the first beat of a host that began with its copy enters the fleet, later ones tell what it does", async () => {
  const { pulse, writer, clock, beat, told } = await stage();
  await pulse.begin(writer, clock.nowMs + GRACE_MS);
  assertEquals(await beat(), ["entered", "hello", `contact ${clock.nowMs} ${GRACE_MS}`, "look"]);
  clock.nowMs += 3_000;
  const figures = { ...NO_FIGURES, allowed: 7 };
  pulse.figures = () => figures;
  assertEquals(await beat(), ["beat"]);
  assertEquals(told, [figures]);
  pulse.stop();
});

Deno.test("Pulse: a beat is due twenty times in a grace, at least every five seconds and at most ten times a second", async () => {
  for (
    const [graceMs, beatMs] of [[60_000, 3_000], [1_000, 100], [2_000, 100], [2_020, 101], [100_000, 5_000], [
      3_600_000,
      5_000,
    ]]
  ) {
    const { pulse, writer, clock, beat } = await stage({ graceMs: graceMs ?? 0 });
    await pulse.begin(writer, Infinity);
    await pulse.enter();
    await beat();
    clock.nowMs += (beatMs ?? 0) - 1;
    assertEquals(await beat(), []);
    clock.nowMs += 1;
    assertEquals((await beat())[0], "beat");
    assertEquals(await beat(), []);
    pulse.hurry();
    assertEquals((await beat())[0], "beat");
    pulse.stop();
  }
});

Deno.test("Pulse: the policy counts for a grace from before the host told that it lives", async () => {
  const { pulse, writer, clock, beat } = await stage();
  const begun = clock.nowMs;
  await pulse.begin(writer, begun + 10);
  assertEquals(writer.view.heldUntilMs, begun + 10);
  await pulse.enter();
  const caughtUp = await pulse.beat();
  clock.nowMs += 7;
  assertEquals(writer.view.heldUntilMs, begun + 10, "it has not caught up yet");
  await caughtUp();
  assertEquals(writer.view.heldUntilMs, begun + GRACE_MS);
  assertEquals(
    await beat(),
    ["entered", "hello", "beat", `contact ${begun} ${GRACE_MS}`, "look"],
  );
  pulse.stop();
});

Deno.test("Pulse: contact, look and sweep come in their own time", async () => {
  const { pulse, writer, clock, beat, asked } = await stage();
  const { random } = Math;
  Math.random = () => 0.5; // a sweep each minute
  try {
    await pulse.begin(writer, Infinity);
    await pulse.enter();
    await beat();
    const begun = clock.nowMs;
    const came = new Map<string, number[]>();
    for (let second = 0.5; second <= 61; second += 0.5) {
      clock.nowMs = begun + second * 1_000;
      pulse.hurry();
      const sweeps = asked.length;
      for (const each of await beat()) {
        const [kind = ""] = each.split(" ");
        came.set(kind, [...came.get(kind) ?? [], second]);
      }
      if (asked.length > sweeps) came.set("sweep", [...came.get("sweep") ?? [], second]);
    }
    assertEquals(came.get("contact"), [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]); // ten in a grace
    assertEquals(came.get("look"), [15, 30, 45, 60]); // four in a grace
    assertEquals(came.get("sweep"), [60]);
  } finally {
    Math.random = random;
    pulse.stop();
  }
});

Deno.test("Pulse: a sweep comes in half a minute to one and a half, and a look at least every 15 seconds", async () => {
  const { random } = Math;
  for (const [chance, seconds] of [[0, 30], [1, 90]] as const) {
    Math.random = () => chance;
    try {
      const { pulse, writer, clock, beat, asked } = await stage({ graceMs: 3_600_000 });
      await pulse.begin(writer, Infinity);
      await pulse.enter();
      await beat();
      assertEquals(asked.length, 1);
      clock.nowMs += 14_999;
      pulse.hurry();
      assertEquals(await beat(), ["beat"]);
      clock.nowMs += 1;
      pulse.hurry();
      assertEquals(await beat(), ["beat", "look"]);
      clock.nowMs += seconds * 1_000 - 15_001;
      pulse.hurry();
      await beat();
      assertEquals(asked.length, 1);
      clock.nowMs += 1;
      pulse.hurry();
      await beat();
      assertEquals(asked.length, 2);
      pulse.stop();
    } finally {
      Math.random = random;
    }
  }
});

Deno.test("Pulse.renewContact() has the contact written with the next beat", async () => {
  const { pulse, writer, clock, beat } = await stage();
  await pulse.begin(writer, Infinity);
  await pulse.enter();
  await beat();
  assertEquals(await beat(), []);
  pulse.renewContact();
  assertEquals(await beat(), ["beat", `contact ${clock.nowMs} ${GRACE_MS}`]);
  pulse.stop();
});

Deno.test("Pulse: a host that was forgotten enters anew, one whose place is taken denies", async () => {
  const { pulse, writer, clock, beat, store } = await stage();
  await pulse.begin(writer, clock.nowMs + GRACE_MS);
  await pulse.enter();
  await beat();
  store.isKnown = false;
  pulse.hurry();
  assertEquals(await beat(), ["beat", "entered", "hello"]);
  store.isTaken = true;
  pulse.hurry();
  await assertCode(pulse.beat(), "store.refused");
  assertEquals([writer.view.heldUntilMs, writer.view.isLost(() => clock.nowMs)], [0, true]);
});

Deno.test("Pulse: says that the policy is in force again, when it was not", async () => {
  const { pulse, writer, clock, log, beat } = await stage();
  await pulse.begin(writer, clock.nowMs);
  assertEquals(writer.view.isLost(() => clock.nowMs), true);
  await pulse.enter();
  await beat();
  assertEquals(log.lines, ["info the store answers: the policy is in force again"]);
  pulse.hurry();
  await beat();
  assertEquals(log.lines.length, 1);
  pulse.stop();
});

Deno.test("Pulse: denies everything when its time is over, and says so", async () => {
  const { pulse, writer, clock, log } = await stage();
  let isTold: () => void = () => {};
  const told = new Promise<void>((resolve) => isTold = resolve);
  await pulse.begin(writer, clock.nowMs + 2);
  writer.onChange(() => isTold());
  clock.nowMs += 2;
  const keepAlive = setInterval(() => {}, 1_000); // the timer keeps no process running
  await told;
  clearInterval(keepAlive);
  assertEquals(writer.view.heldUntilMs, 0);
  assertEquals(log.lines.map((line) => line.slice(0, 34)), ["error the store has been away for "]);
});

Deno.test("Pulse: only the last time counts, and none once it is stopped", async () => {
  const { pulse, writer, clock, log } = await stage();
  await pulse.begin(writer, clock.nowMs + 1);
  await pulse.begin(writer, clock.nowMs + GRACE_MS);
  clock.nowMs += 1;
  await new Promise((resolve) => setTimeout(resolve, 5));
  const { pulse: other, writer: view, clock: now, log: said } = await stage();
  await other.begin(view, now.nowMs + 1);
  other.stop();
  now.nowMs += 1;
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals([log.lines, said.lines], [[], []]);
  pulse.stop();
});

Deno.test("Pulse: holds nothing before there is a policy", async () => {
  const { pulse } = await stage();
  await pulse.enter();
  const caughtUp = await pulse.beat();
  await assertRejects(caughtUp, TypeError, "before there is one");
});
