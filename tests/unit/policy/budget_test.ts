import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import {
  formatBudget,
  freeAtMs,
  parseBudget,
  parseBudgetText,
  periodOf,
  WARN_AT,
} from "../../../policy/budget.ts";
import { parseRule } from "../../../policy/rule.ts";

Deno.test("parseBudget() reads a budget, and formatBudget() writes it in one way", () => {
  assertEquals(parseBudget("bytes-up=100M/d"), { kind: "bytes-up", limit: 100_000_000, per: "d" });
  for (
    const [text, canonical] of [
      ["requests=1000/h", "requests=1K/h"],
      ["requests=1/h", "requests=1/h"],
      ["requests=1500/d", "requests=1500/d"],
      ["bytes-down=1g/D", "bytes-down=1G/d"],
      ["bytes-down=1000m/d", "bytes-down=1G/d"],
      ["bytes-up=100T/d", "bytes-up=100T/d"],
      ["bytes-up=100000000000000/d", "bytes-up=100T/d"],
      ["bytes-up=99999999999999/d", "bytes-up=99999999999999/d"],
      ["tokens=2000K/d", "tokens=2M/d"],
    ] as const
  ) {
    assertEquals(parseBudgetText(text), canonical);
    assertEquals(formatBudget(parseBudget(canonical)), canonical);
  }
});

Deno.test("parseBudget() refuses what is no budget", () => {
  for (
    const text of [
      ...["", "requests", "requests=", "requests=0/h", "requests=1000", "requests=1000/m", "requests=-1/h"],
      ...[
        "requests=1.5/h",
        "calls=10/h",
        "requests=10/h ",
        "requests=10KB/h",
        "bytes-up=101T/d",
        "bytes-up=100000000000001/d",
        "requests=1e3/h",
      ],
      ...["requests=9999999999999999/h", "=1/h", "constructor=1/h"],
    ]
  ) {
    const error = assertThrows(() => parseBudget(text), ProxyError, "as a budget", text);
    assertEquals(error.code, "input.invalid");
  }
});

Deno.test("of a budget of 100 a warning is due from the 80th on", () => {
  const { limit } = parseBudget("requests=100/h");
  assertEquals([79, 80].map((used) => used >= limit * WARN_AT), [false, true]);
});

Deno.test("an hour and a day are those of UTC", () => {
  const at = Date.UTC(2026, 10, 27, 9, 59, 59, 999);
  assertEquals(freeAtMs({ per: "h" }, at), Date.UTC(2026, 10, 27, 10));
  assertEquals(freeAtMs({ per: "d" }, at), Date.UTC(2026, 10, 28));
  assertEquals(periodOf({ per: "h" }, at + 1), periodOf({ per: "h" }, at) + 1);
  assertEquals(periodOf({ per: "d" }, at + 1), periodOf({ per: "d" }, at));
});

Deno.test("a rule has budgets by a word, unless it denies or passes bytes through", () => {
  assertEquals(
    parseRule({ host: "a.test", budget: ["requests=10/h", "bytes-up=1000/d", "requests=10/h"] }).budget,
    [
      "bytes-up=1K/d",
      "requests=10/h",
    ],
  );
  for (const more of [{ deny: true }, { passthrough: true }, { budget: ["requests"] }]) {
    assertThrows(() => parseRule({ host: "a.test", budget: ["requests=10/h"], ...more }), ProxyError);
  }
});
