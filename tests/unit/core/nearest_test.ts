import { assertEquals } from "@std/assert";
import { editDistance, nearest } from "../../../core/nearest.ts";

Deno.test("editDistance() counts single edits and swaps", async (t) => {
  const rows: readonly (readonly [string, string, number])[] = [
    ["", "", 0],
    ["allow", "allow", 0],
    ["alow", "allow", 1],
    ["allwo", "allow", 1],
    ["", "abc", 3],
    ["kitten", "sitting", 3],
    ["a", "abcdefghij", 10],
  ];
  for (const [a, b, distance] of rows) {
    await t.step(`${a} → ${b}`, () => {
      assertEquals(editDistance(a, b), distance);
      assertEquals(editDistance(b, a), distance);
    });
  }
});

Deno.test("nearest() finds what was meant and nothing else", async (t) => {
  const words = ["host", "hostgroup", "method", "path", "port", "passthrough", "client create"];
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["hots", "host"],
    ["METHOD", "method"],
    ["mehtods", "method"],
    ["paht", "path"],
    ["passtrough", "passthrough"],
    ["clint creat", "client create"],
    ["meth", "method"], // an abbreviation
    ["pa", undefined], // of two words
    ["x", undefined],
    ["zzzz", undefined],
  ];
  for (const [typed, meant] of rows) {
    await t.step(typed, () => assertEquals(nearest(typed, words), meant));
  }
});
