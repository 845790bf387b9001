import { assertEquals, assertRejects } from "@std/assert";
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
