import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { readMode, removeMode, writeMode } from "../../../store/modes.ts";

Deno.test("readMode() gives back what writeMode() was given", () => {
  for (
    const each of [
      { mode: "audit" },
      { mode: "strict", client: "ci-1" },
      { mode: "audit", client: "ci-1", untilMs: 5_000 },
    ] as const
  ) {
    const { key, value = {} } = writeMode(each, 1_000);
    assertEquals(readMode({ key, value }), each);
    assertEquals(removeMode("client" in each ? each.client : ""), { key });
  }
});

Deno.test("writeMode() has a switch swept when it has ended, and not before", () => {
  const of = (untilMs: number | undefined) => writeMode({ mode: "audit", untilMs }, 1_000).expireInMs;
  assertEquals([of(undefined), of(1_500), of(1_001), of(1_000), of(0)], [undefined, 500, 1, 1, 1]);
});

Deno.test("readMode() does not take a mode that it does not know for another one", () => {
  const row = { key: ["mode", ""], value: { mode: "learn" } };
  assertEquals(assertThrows(() => readMode(row), ProxyError).code, "state.newer");
});
