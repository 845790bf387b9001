import { assert, assertEquals, assertThrows } from "@std/assert";
import { isProxyError, ProxyError } from "../../../core/errors.ts";
import { parseName } from "../../../core/names.ts";

Deno.test("parseName() takes what can stand anywhere as it is", async (t) => {
  for (const name of ["a", "ci-1", "Build_2.x", "_", "...", "a".repeat(64)]) {
    await t.step(name, () => assertEquals(parseName("client", name), name));
  }
});

Deno.test("parseName() refuses the rest", async (t) => {
  const rows: readonly [string, string][] = [
    ["empty", ""],
    ["65 characters", "a".repeat(65)],
    ["dot", "."],
    ["dot dot", ".."],
    ["hyphen, which means nobody in the log", "-"],
    ["a flag", "--force"],
    ["slash", "a/b"],
    ["space", "a b"],
    ["equals sign", "a=b"],
    ["newline at the end", "a\n"],
    ["non-ASCII", "é"],
  ];
  for (const [name, text] of rows) {
    await t.step(name, () => {
      assert(isProxyError(assertThrows(() => parseName("client", text), ProxyError), "input.invalid"));
    });
  }
});
