import { assertEquals } from "@std/assert";
import { mediaTypeOf } from "../../../../policy/words/media_type.ts";

Deno.test("mediaTypeOf() names the one media type of a body in UTF-8", async (t) => {
  const rows: readonly [string, readonly string[], string | undefined][] = [
    ["plain", ["application/json"], "application/json"],
    ["in capitals, with blanks", [" Application/JSON ; x=1"], "application/json"],
    ["UTF-8", ["application/json; charset=utf-8"], "application/json"],
    ["UTF-8, quoted", ['application/json;Charset="UTF-8"'], "application/json"],
    ["UTF-8 without its hyphen", ["application/json; charset=utf8"], undefined],
    ["UTF-7", ["application/json; charset=utf-7"], undefined],
    ["UTF-8, and another", ["application/json; charset=utf-8; charset=utf-7"], undefined],
    ["a charset that is cut", ["application/json; charset"], undefined],
    ["two fields", ["application/json", "application/json"], undefined],
    ["no field", [], ""],
    ["an empty one", [""], ""],
    ["six parameters", [`a/b${";x=1".repeat(6)}`], "a/b"],
    ["seven parameters", [`a/b${";x=1".repeat(7)}`], undefined],
    ["a charset behind many parameters", [`a/b${";x=1".repeat(9)};charset=utf-7`], undefined],
  ];
  for (const [name, types, expected] of rows) {
    await t.step(name, () => assertEquals(mediaTypeOf(types), expected));
  }
});
