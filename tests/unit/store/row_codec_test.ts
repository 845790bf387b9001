import { assertEquals } from "@std/assert";
import { decodeRow, encodeRow } from "../../../store/row_codec.ts";

Deno.test("decodeRow() gives back what encodeRow() was given", () => {
  const rows = [
    {},
    { name: "ä\u{1f600}", createdAt: 1.5, isOn: false, ports: [1, 2], paths: ["/a"] },
    { a: new Uint8Array([1, 2]), text: "x", b: new Uint8Array(0), c: new Uint8Array(70_000).fill(7) },
  ];
  for (const row of rows) assertEquals(decodeRow(encodeRow(row)), row);
});

Deno.test("decodeRow() refuses what is no whole row", () => {
  const row = encodeRow({ name: "a", sealed: new Uint8Array([1, 2, 3]) });
  for (let length = 0; length < row.length; length++) {
    assertEquals(decodeRow(row.subarray(0, length)), undefined);
  }
  assertEquals(decodeRow(new Uint8Array([...row, 0])), undefined);
  assertEquals(decodeRow({ name: "a" }), undefined);
  assertEquals(decodeRow(null), undefined);
  assertEquals(decodeRow(new Uint8Array([0, 0, 0, 4, ...new TextEncoder().encode("null")])), undefined);
  const text = [0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]; // {"a":"…"} with a byte that is no UTF-8
  assertEquals(decodeRow(new Uint8Array([0, 0, 0, text.length, ...text])), undefined);
});
