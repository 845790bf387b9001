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

Deno.test("encodeKey() writes the bytes that stores have, and decodeKey() reads them", () => {
  const rows: readonly (readonly [Deno.KvKey, string])[] = [
    [[], ""],
    [["client", "a"], "02 63 6c 69 65 6e 74 00 02 61 00"],
    [["", "\u00e9"], "02 00 02 c3 a9 00"],
    [["a\0b\0"], "02 61 00 ff 62 00 ff 00"],
    [["\ufeffa"], "02 ef bb bf 61 00"],
    [["\ufeff\0"], "02 ef bb bf 00 ff 00"],
    [[1, 0], "21 bf f0 00 00 00 00 00 00 21 80 00 00 00 00 00 00 00"],
    [[-1], "21 40 0f ff ff ff ff ff ff"],
  ];
  const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  for (const [key, expected] of rows) {
    assertEquals(hex(encodeKey(key)), expected);
    assertEquals(hex(endOfPrefix(key)), `${expected} ff`.trim());
    assertEquals(decodeKey(encodeKey(key)), key);
  }
});

Deno.test("encodeKey() takes strings and numbers alone", () => {
  for (const part of [true, 1n, NaN, new Uint8Array()]) {
    assertThrows(() => encodeKey(["a", part]), TypeError, "other parts than strings and numbers");
  }
});

Deno.test("decodeKey() refuses bytes that are no key", () => {
  for (
    const bytes of [
      ...[[9], [9, 65, 0], [0x02, 65, 0, 0x03, 65, 0], [0x02, 65], [0x02, 0, 0xff], [0x02, 0, 0xff, 65]],
      ...[[0x21, 1, 2], [0x21, 1, 2, 3, 4, 5, 6, 7], [0x22, 1, 2, 3, 4, 5, 6, 7, 8]],
    ]
  ) {
    assertEquals(assertThrows(() => decodeKey(Uint8Array.from(bytes)), ProxyError).code, "state.damaged");
  }
});
