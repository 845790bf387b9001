import { assert, assertEquals } from "@std/assert";
import { fieldFault, ReceivedField } from "../../../../proxy/http2/field.ts";

Deno.test("fieldFault() refuses each name and value that would be read as something else elsewhere", async (t) => {
  const well: readonly (readonly [string, string])[] = [
    ["a", ""],
    ["x-test", "a b"],
    ["!#$%&'*+.^_`|~0-9az", "x"],
    [":path", "/"],
    ["te", "trailers"],
    ["tea", "gzip"],
    ["x", "a\tb"],
    ["x", "!"],
    ["x", "~\x80\xff"],
    ["x_y", "1"], // `_` alone is no fault
  ];
  for (const [name, value] of well) {
    await t.step(JSON.stringify([name, value]), () => assertEquals(fieldFault(name, value), undefined));
  }
  const badly: readonly (readonly [string, string])[] = [
    ["", "x"],
    [":", "x"],
    ["A", "x"],
    ["xZ", "x"],
    ["x y", "1"],
    ["x:", "1"],
    ["::x", "1"],
    ["x\n", "1"],
    ["x\x7f", "1"],
    ["x\xe9", "1"],
    ["x", "a\0b"],
    ["x", "a\nb"],
    ["x", "a\rb"],
    ["x", "a\x1fb"],
    ["x", "a\x7fb"],
    ["x", "a\u0100b"],
    ["x", " a"],
    ["x", "a "],
    ["x", "\ta"],
    ["x", "a\t"],
    ["x", " "],
    ["connection", "close"],
    ["proxy-connection", "close"],
    ["keep-alive", "1"],
    ["transfer-encoding", "chunked"],
    ["upgrade", "h2c"],
    ["http2-settings", "AAAA"],
    ["te", "gzip"],
    ["te", ""],
    ["te", "trailers, gzip"],
    ["content_length", "1"],
    ["transfer_encoding", "chunked"],
  ];
  for (const [name, value] of badly) {
    await t.step(JSON.stringify([name, value]), () => {
      assert(fieldFault(name, value) !== undefined);
      // As often as it is asked.
      const field = new ReceivedField(name, value, false);
      assertEquals([field.fault, field.fault], [fieldFault(name, value), fieldFault(name, value)]);
    });
  }
});

Deno.test("ReceivedField counts 32 bytes beside its text, and tells pseudo-header fields by their colon", () => {
  assertEquals(new ReceivedField("abc", "defgh", false).size, 3 + 5 + 32);
  assertEquals(new ReceivedField(":path", "/", false).isPseudo, true);
  assertEquals(new ReceivedField("path", ":", false).isPseudo, false);
  assertEquals(new ReceivedField("", "", false).isPseudo, false);
  const { name, key, value, isSensitive } = new ReceivedField("a", "b", true);
  assertEquals([name, key, value, isSensitive], ["a", "a", "b", true]);
});
