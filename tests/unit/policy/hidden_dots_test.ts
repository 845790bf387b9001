import { assertEquals } from "@std/assert";
import { hidesDotSegments, isOdd } from "../../../policy/hidden_dots.ts";

Deno.test("isOdd() is true for what servers may drop, fold or cut at", () => {
  const odd = ["\x00", " ", "#", ";", "?", "\x7f", "\x80", "\xff", "\u2024"];
  assertEquals(odd.filter((char) => isOdd(`/a${char}b`)), odd);
  assertEquals(["/", "!", '"', "%2e", "\\", "..", "~", "a"].filter(isOdd), []);
});

Deno.test("hidesDotSegments() counts dots that show once something is dropped, folded or cut, and segments that vanish", async (t) => {
  const rows: readonly [string, string, boolean][] = [
    ["a blank behind the dots", "/v1/.. /a", true],
    ["a blank between them", "/v1/. ./a", true],
    ["a byte that is no UTF-8", "/v1/..\x85/a", true],
    ["a blank of Latin-1 that is no UTF-8", "/v1/..\xa0/a", true],
    ["a blank in UTF-8", "/v1/..\xc2\xa0/a", true],
    ["a byte order mark", "/v1/\xef\xbb\xbf../a", true],
    ["one more dot segment than is written", "/v1/../.. /a", true],
    ["dots before a query", "/v1/..?a", true],
    ["dots before a parameter", "/v1/..;a", true],
    ["dots behind a backslash", "/v1\\.. \\a", true],
    ["a segment that vanishes before the only dots", "/v1/ /../a", true],
    ["an empty segment is written, and none vanishes", "/v1//../a b", false],
    ["dots that are written, and a blank elsewhere", "/v1/../a b", false],
    ["a segment that vanishes without dots", "/v1/ /a", false],
    ["a letter before the dots", "/v1/a.. /b", false],
    ["a letter in UTF-8", "/v1/..\xc3\xa9/a", false],
    ["nothing odd", "/v1/../a", false],
  ];
  for (const [name, path, expected] of rows) {
    await t.step(name, () => assertEquals(hidesDotSegments(path), expected));
  }
});
