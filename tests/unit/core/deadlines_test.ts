import { assertEquals } from "@std/assert";
import { Deadlines } from "../../../core/deadlines.ts";

Deno.test("a deadline fires once, not early, and not after stop()", async () => {
  const deadlines = new Deadlines();
  const fired: string[] = [];
  const startedAt = performance.now();
  const { promise, resolve } = Promise.withResolvers<number>();
  deadlines.start(150, () => {
    fired.push("due");
    resolve(performance.now() - startedAt);
  });
  deadlines.start(10, () => fired.push("stopped")).stop();
  const tookMs = await promise;
  assertEquals(tookMs >= 150, true, `fired after ${tookMs} ms`);
  assertEquals(fired, ["due"]);
});

Deno.test("restart() moves a deadline, and starts a stopped one again", async () => {
  const deadlines = new Deadlines();
  const startedAt = performance.now();
  const moved = Promise.withResolvers<number>();
  const deadline = deadlines.start(50, () => moved.resolve(performance.now() - startedAt));
  deadline.stop();
  deadline.restart(50);
  deadline.restart(400);
  assertEquals(await moved.promise >= 400, true);
});

Deno.test("a long deadline, which counts from the next tick, is not early either, and moves like any other", async () => {
  const deadlines = new Deadlines();
  const startedAt = performance.now();
  const due = Promise.withResolvers<number>();
  const stopped = deadlines.start(1_000, () => due.reject(new Error("it was stopped")));
  const moved = deadlines.start(1_000, () => due.resolve(performance.now() - startedAt));
  await new Promise<void>((resolve) => deadlines.start(300, resolve)); // ticks have gone by
  stopped.stop();
  moved.restart(1_000);
  assertEquals(await due.promise >= 1_300, true);
});

Deno.test("a callback may stop and start other deadlines", async () => {
  const deadlines = new Deadlines();
  const fired: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const second = deadlines.start(10, () => fired.push("never"));
  second.stop();
  deadlines.start(5, () => {
    fired.push("first");
    third.stop();
    deadlines.start(5, () => {
      fired.push("later");
      resolve();
    });
  });
  const third = deadlines.start(10_000, () => fired.push("never"));
  await promise;
  assertEquals(fired, ["first", "later"]);
});
