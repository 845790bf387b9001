import { assertEquals, assertRejects } from "@std/assert";
import { Patience } from "../../../../proxy/echo/patience.ts";
import { PiecesBody } from "./support.ts";

/** A body that is filled when the test says so, and deadlines that pass when it says so. */
function makeStage() {
  const body = new PiecesBody([]);
  const fills: PromiseWithResolvers<boolean>[] = [];
  body.fill = () => {
    const gate = Promise.withResolvers<boolean>();
    fills.push(gate);
    return gate.promise;
  };
  const started: { readonly ms: number; readonly pass: () => void; isStopped: boolean }[] = [];
  const patience = new Patience({
    start: (ms, pass) => {
      const deadline = { ms, pass, isStopped: false };
      started.push(deadline);
      return { restart: () => {}, stop: () => deadline.isStopped = true };
    },
  });
  return { body, fills, started, patience };
}

Deno.test("Patience waits without a limit while nothing is held", async () => {
  const { body, fills, started, patience } = makeStage();
  const filled = patience.fill(body, false);
  assertEquals([patience.isWaiting, started.length], [true, 0]);
  fills[0]?.resolve(false);
  assertEquals([await filled, patience.isWaiting, patience.takeLate()], [false, false, false]);
});

Deno.test("Patience is late after a quarter of a second with something held, once, and the body is waited for still", async () => {
  const { body, fills, started, patience } = makeStage();
  const late = patience.fill(body, true);
  assertEquals(started.map(({ ms }) => ms), [250]);
  started[0]?.pass();
  assertEquals([await late, patience.isWaiting, started[0]?.isStopped], [true, true, true]);
  assertEquals([patience.takeLate(), patience.takeLate()], [true, false]);
  const filled = patience.fill(body, false);
  assertEquals(fills.length, 1); // the same wait goes on
  fills[0]?.resolve(true);
  assertEquals([await filled, patience.isWaiting], [true, false]);
  const next = patience.fill(body, false);
  assertEquals(fills.length, 2);
  fills[1]?.resolve(true);
  await next;
});

Deno.test("Patience is not late for what comes in time, nor for what fails", async () => {
  for (const isFailing of [false, true]) {
    const { body, fills, started, patience } = makeStage();
    const filled = patience.fill(body, true);
    if (isFailing) {
      fills[0]?.reject(new RangeError("cut"));
      await assertRejects(() => filled, RangeError, "cut");
    } else {
      fills[0]?.resolve(true);
      assertEquals(await filled, true);
    }
    assertEquals([patience.isWaiting, patience.takeLate(), started[0]?.isStopped], [false, false, true]);
  }
});

Deno.test("Patience keeps a failure that comes late for whoever asks next", async () => {
  const { body, fills, started, patience } = makeStage();
  const late = patience.fill(body, true);
  started[0]?.pass();
  await late;
  fills[0]?.reject(new RangeError("cut"));
  await assertRejects(() => patience.fill(body, true), RangeError, "cut");
});
