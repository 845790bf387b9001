import { assertEquals } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import { State } from "../../../store/state.ts";

Deno.test("State: a change is done only when the workers' copies have it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-copies-" });
  try {
    await using state = await State.open({ dir: `${dir}/state`, clock: systemClock() });
    const asked = Promise.withResolvers<void>();
    const made = Promise.withResolvers<void>();
    state.keepCopies(() => {
      asked.resolve();
      return made.promise;
    });
    let isDone = false;
    const change = state.createClient("one").then(() => isDone = true);
    await asked.promise;
    await new Promise((resolve) => setTimeout(resolve, 0)); // a turn in which a change that waits for nobody would end
    assertEquals(isDone, false);
    made.resolve();
    await change;
    assertEquals(isDone, true);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
