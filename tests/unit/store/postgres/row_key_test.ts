import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ProxyError } from "../../../../core/errors.ts";
import { decodeKey, encodeKey, endOfPrefix } from "../../../../store/postgres/row_key.ts";

const PART = fc.oneof(
  fc.string({ unit: "grapheme-composite" }),
  fc.constantFrom("", "\u0000", "a\u0000b", "\u00ff"),
  fc.double({ noNaN: true }).map((number) => number + 0),
);
const KEY = fc.array(PART, { maxLength: 4 });

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const by = (a[i] ?? 0) - (b[i] ?? 0);
    if (by !== 0) return by;
  }
  return a.length - b.length;
}

Deno.test("decodeKey() is the inverse of encodeKey(), whatever is in the parts", () => {
  fc.assert(fc.property(KEY, (key) => assertEquals(decodeKey(encodeKey(key)), key)));
});

Deno.test("encodeKey() keeps the order of numbers, and a prefix is before its end", () => {
  const number = fc.double({ noNaN: true }).map((each) => each + 0);
  fc.assert(fc.property(KEY, number, number, (key, a, b) => {
    const order = compare(encodeKey([...key, a]), encodeKey([...key, b]));
    assertEquals(Math.sign(order), Math.sign(a === b ? 0 : a < b ? -1 : 1));
    assertEquals(compare(encodeKey([...key, a]), endOfPrefix(key)) < 0, true);
    assertEquals(compare(encodeKey([...key, a]), encodeKey(key)) > 0, true);
  }));
});

Deno.test("decodeKey() refuses bytes that are no key", () => {
  for (const bytes of [[9], [0x21, 1, 2], [0x02, 65], [0x02, 0, 0xff]]) {
    assertEquals(assertThrows(() => decodeKey(Uint8Array.from(bytes)), ProxyError).code, "state.damaged");
  }
});
