import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  formatDuration,
  formatExactDuration,
  MAX_DURATION_MS,
  parseDuration,
} from "../../../core/duration.ts";
import { isProxyError, ProxyError } from "../../../core/errors.ts";

Deno.test("parseDuration() adds up units", async (t) => {
  const rows: readonly [string, number][] = [
    ["1ms", 1],
    ["90s", 90_000],
    ["15m", 900_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
    ["1h30m", 5_400_000],
    ["1m5ms", 60_005],
    ["3650d", MAX_DURATION_MS],
  ];
  for (const [text, ms] of rows) await t.step(text, () => assertEquals(parseDuration(text), ms));
});

Deno.test("parseDuration() refuses anything else", async (t) => {
  const rows = [
    "",
    "0s",
    "90",
    "s",
    "-1h",
    "1.5h",
    "1h ",
    " 1h",
    "1 h",
    "1y",
    "1H",
    "1h,2m",
    "3650d1ms",
    "12345678901s",
  ];
  for (const text of [...rows, "1h\u202e"]) {
    await t.step(JSON.stringify(text), () => {
      const error = assertThrows(() => parseDuration(text), ProxyError);
      assert(isProxyError(error, "input.invalid"));
      assert(!/[\p{Cc}\p{Cf}]/u.test(error.message), error.message);
    });
  }
});

Deno.test("formatExactDuration() reads back", () => {
  const texts = ["1ms", "1500ms", "90s", "90m", "25h", "2d"];
  assertEquals(texts.map((text) => formatExactDuration(parseDuration(text))), texts);
  assertEquals(formatExactDuration(parseDuration("1h30m")), "90m");
});

Deno.test("formatDuration() is short and never shows sixty of a unit", async (t) => {
  const rows: readonly [number, string][] = [
    [-5, "0ms"],
    [0, "0ms"],
    [33.6, "34ms"],
    [999, "999ms"],
    [999.6, "1.0s"],
    [3_100, "3.1s"],
    [59_949, "59.9s"],
    [59_950, "1m"],
    [60_000, "1m"],
    [899_000, "14m59s"],
    [3_599_600, "1h"],
    [3_605_000, "1h"],
    [86_399_600, "1d"],
    [6 * 86_400_000 + 23 * 3_600_000 + 59_000, "6d23h"],
  ];
  for (const [ms, text] of rows) await t.step(`${ms}`, () => assertEquals(formatDuration(ms), text));
});
