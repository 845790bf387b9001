import { assertEquals } from "@std/assert";
import { switchMode } from "../../../../store/changes/mode.ts";
import { makeWriter, MemoryEngine, SharedMemory } from "../memory_engine.ts";
import { assertCode, HandClock } from "../support.ts";

Deno.test("switchMode() is kept in memory by a host that is alone", async () => {
  const [db, clock] = [new MemoryEngine(), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  assertEquals(await switchMode(writer, { mode: "audit" }), { mode: "audit" });
  assertEquals(writer.view.modeOf("any", clock.nowMs), "audit");
  assertEquals(db.commits, []);
  await assertCode(switchMode(writer, { mode: "audit", client: "none" }), "input.not-found");
});

Deno.test("switchMode() is kept by the store of a fleet: one for all takes the place of those in force", async () => {
  const [db, clock] = [new MemoryEngine(new SharedMemory()), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  for (const name of ["a", "b", "c"]) {
    writer.view.setClient({ record: { name, version: "1", createdAt: 0 }, id: name, digest: name });
    const made = await switchMode(writer, { mode: "audit", client: name, ttlMs: name === "c" ? 5 : 50 });
    assertEquals(made, { mode: "audit", client: name, untilMs: clock.nowMs + (name === "c" ? 5 : 50) });
  }
  assertEquals(db.keys, ["mode a", "mode b", "mode c"]);
  clock.nowMs += 5;
  await switchMode(writer, { mode: "strict" });
  assertEquals(db.commits.at(-1)?.map(({ key, value }) => [key[1], value?.mode]), [
    ["", "strict"],
    ["a", undefined],
    ["b", undefined],
  ]);
  assertEquals(writer.view.modeOf("a", clock.nowMs), "strict");
  await switchMode(writer, { mode: "audit", client: "a" });
  assertEquals(db.commits.at(-1)?.length, 1);
});

Deno.test("switchMode() takes a time from a millisecond up to ten years, and refuses any other", async () => {
  const clock = new HandClock();
  await using writer = await makeWriter({ clock });
  const tenYears = 3_650 * 86_400_000;
  for (const ttlMs of [1, tenYears]) {
    assertEquals((await switchMode(writer, { mode: "audit", ttlMs })).untilMs, clock.nowMs + ttlMs);
  }
  for (const ttlMs of [0, -1, 0.5, 1.5, tenYears + 1, NaN, Infinity]) {
    const { message, hint } = await assertCode(
      switchMode(writer, { mode: "strict", ttlMs }),
      "input.invalid",
    );
    assertEquals([message, hint], [
      "Cannot switch the mode: its time is not between a millisecond and ten years",
      "leave it out",
    ]);
  }
  assertEquals(writer.view.modeOf(undefined, clock.nowMs), "audit");
});
