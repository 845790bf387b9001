import { assertEquals, assertRejects } from "@std/assert";
import { watchSignal } from "../../../../support/watched_signal.ts";
import { type Release, Turns } from "../../../../../proxy/egress/names/turns.ts";

const NEVER = new AbortController().signal;

Deno.test("take() lets clients take turns, each within its share, and forgets who has gone", async () => {
  const turns = new Turns(3, 2);
  const order: string[] = [];
  const held: Release[] = [];
  const take = (client: string, signal = NEVER) =>
    turns.take(client, signal).then((release) => {
      order.push(client);
      held.push(release);
    });
  const gone = new AbortController();
  const all = ["a", "a", "a", "a"].map((client) => take(client));
  const aborted = take("a", gone.signal);
  all.push(take("b"), take("b"), take("c"));
  gone.abort(new Error("gone"));
  await assertRejects(() => aborted, Error, "gone");
  assertEquals(order, ["a", "a", "b"], "the third place is not for a");
  held.shift()?.();
  await Promise.resolve();
  await new Promise((next) => setTimeout(next, 0));
  assertEquals(order, ["a", "a", "b", "c"], "whoever had one last waits longest");
  while (order.length < 7) {
    const release = held.shift();
    release?.();
    release?.(); // twice is once
    await new Promise((next) => setTimeout(next, 0));
  }
  await Promise.all(all);
  assertEquals(order.slice(4).sort(), ["a", "a", "b"]);
  await assertRejects(() => turns.take("d", AbortSignal.abort(new Error("late"))), Error, "late");
});

/** Takes a place, and tells when it is there. */
function take(turns: Turns, client: string, signal = NEVER) {
  const state: { release?: Release } = {};
  const taken = turns.take(client, signal).then((release) => {
    state.release = release;
  });
  return { taken, has: () => state.release !== undefined, release: () => state.release?.() };
}

const settled = () => new Promise((next) => setTimeout(next, 0));

Deno.test("take() gives so many places of one client, and so many of all, to the last", async (t) => {
  for (const [name, clients] of [["one client", ["a", "a", "a"]], ["all", ["a", "b", "c"]]] as const) {
    await t.step(name, async () => {
      const turns = new Turns(name === "all" ? 2 : 9, 2);
      const all = clients.map((client) => take(turns, client));
      await settled();
      assertEquals(all.map(({ has }) => has()), [true, true, false]);
      all[0]?.release();
      all[0]?.release(); // gives no second place back
      await settled();
      assertEquals(all[2]?.has(), true);
      const next = take(turns, clients[2]);
      await settled();
      assertEquals(next.has(), false);
      all[1]?.release();
      await settled();
      assertEquals(next.has(), true);
    });
  }
});

Deno.test("take() prefers who has fewer places, whoever came first", async () => {
  const turns = new Turns(2, 9);
  const [one, other] = [take(turns, "a"), take(turns, "a")];
  const waiting = [take(turns, "a"), take(turns, "b")];
  await settled();
  one.release();
  await settled();
  assertEquals(waiting.map(({ has }) => has()), [false, true]);
  other.release();
  await settled();
  assertEquals(waiting.map(({ has }) => has()), [true, true]);
});

Deno.test("who gives up while it waits takes no place, and leaves nothing on its signal", async () => {
  const turns = new Turns(1, 1);
  const first = take(turns, "a");
  const watched = watchSignal();
  const gone = take(turns, "a", watched.signal);
  const second = take(turns, "a", watchSignal().signal);
  await settled();
  watched.abort(new Error("gone"));
  await assertRejects(() => gone.taken, Error, "gone");
  assertEquals(watched.listeners, 0);
  first.release();
  await settled();
  assertEquals(second.has(), true);
  const late = watchSignal();
  second.release();
  const third = take(turns, "b", late.signal);
  await settled();
  assertEquals([third.has(), late.listeners], [true, 0]);
  late.abort(); // has its place, and keeps it
  const fourth = take(turns, "c");
  await settled();
  assertEquals(fourth.has(), false);
  third.release();
  await settled();
  assertEquals(fourth.has(), true);
});

Deno.test("nothing is known of a client that has gone, having waited or not", async () => {
  const turns = new Turns(1, 1);
  const first = take(turns, "a");
  const gone = watchSignal();
  const waiting = take(turns, "b", gone.signal);
  await settled();
  assertEquals(turns.size, 2);
  gone.abort(new Error("gone"));
  await assertRejects(() => waiting.taken, Error, "gone");
  assertEquals(turns.size, 1);
  first.release();
  assertEquals(turns.size, 0);
});
