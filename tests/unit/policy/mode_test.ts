import { assertEquals } from "@std/assert";
import { ModeSwitches } from "../../../policy/mode.ts";

Deno.test("ModeSwitches: a client's own switch counts before the one for all, and each until it ends", () => {
  const switches = new ModeSwitches();
  assertEquals(switches.modeOf("one", 0), undefined);
  switches.set({ mode: "audit", untilMs: 100 });
  switches.set({ client: "one", mode: "strict", untilMs: 50 });
  assertEquals([switches.modeOf("one", 49), switches.modeOf("two", 49), switches.modeOf(undefined, 49)], [
    "strict",
    "audit",
    "audit",
  ]);
  assertEquals([switches.modeOf("one", 50), switches.modeOf("one", 99), switches.modeOf("one", 100)], [
    "audit",
    "audit",
    undefined,
  ]);
  assertEquals(switches.list(49), [
    { mode: "audit", untilMs: 100 },
    { client: "one", mode: "strict", untilMs: 50 },
  ]);
  assertEquals(switches.list(60).length, 1);
});

Deno.test("ModeSwitches: one for all takes the place of all before, and a client that goes takes its own along", () => {
  const switches = new ModeSwitches();
  switches.set({ client: "one", mode: "audit" });
  switches.set({ client: "two", mode: "audit" });
  switches.forget("two");
  assertEquals([switches.modeOf("one", 0), switches.modeOf("two", 0)], ["audit", undefined]);
  switches.set({ mode: "strict" });
  assertEquals([switches.modeOf("one", 0), switches.list(0).length], ["strict", 1]);
});
