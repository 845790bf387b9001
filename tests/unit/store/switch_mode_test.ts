import { assertEquals } from "@std/assert";
import { MAX_DURATION_MS } from "../../../core/duration.ts";
import { assertCode, HandClock, openState, tempFolder } from "./support.ts";

Deno.test("switchMode() takes a time from a millisecond up to the longest", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  await using state = await openState(folder.state, clock);
  for (const ttlMs of [1, MAX_DURATION_MS]) {
    const { untilMs } = await state.switchMode({ mode: "audit", ttlMs });
    assertEquals(untilMs, clock.nowMs + ttlMs);
  }
  for (const ttlMs of [0, -1, 0.5, MAX_DURATION_MS + 1, NaN]) {
    await assertCode(state.switchMode({ mode: "audit", ttlMs }), "input.invalid");
  }
});
