import { assertEquals } from "@std/assert";
import { decodeName, encodeName } from "../../../../policy/words/name_text.ts";

Deno.test("decodeName() reads what encodeName() writes", () => {
  const rows: readonly [string, string][] = [
    ["aZ09._/-", "aZ09._/-"],
    ["a b", "a%20b"],
    ["a(b)+c", "a%28b%29%2Bc"],
    ["%41", "%2541"],
    ["\0\n", "%00%0A"],
    ["\xe9", "%E9"],
  ];
  for (const [name, text] of rows) assertEquals([encodeName(name), decodeName(text)], [text, name]);
  assertEquals(encodeName("\u0141"), "%41"); // what is above a byte is lost
  assertEquals(decodeName("%zz%4"), "%zz%4");
});
