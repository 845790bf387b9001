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

/** A row of this JSON, with these bytes behind it. */
function rowOf(json: string, ...blobs: number[]): Uint8Array {
  const text = new TextEncoder().encode(json);
  return new Uint8Array([0, 0, 0, text.length, ...text, ...blobs]);
}

Deno.test("rows are those of every version: a state outlives an update of the program", () => {
  const fields = { a: Uint8Array.of(1, 2), n: 1, b: Uint8Array.of(3) };
  const row = rowOf('{"a":{"bytes":2},"n":1,"b":{"bytes":1}}', 1, 2, 3);
  assertEquals([encodeRow(fields), decodeRow(row)], [row, fields] as unknown[]);
  const within = new Uint8Array([9, 9, ...row, 9]).subarray(2, -1); // as KV may give it
  assertEquals(decodeRow(within), fields);
});

Deno.test("decodeRow() takes for a byte field only what encodeRow() writes for one", () => {
  for (
    const json of ["7", '"x"', "true", '{"a":{"bytes":2}}', '{"a":{"bytes":0}'].map((json) => rowOf(json))
  ) {
    assertEquals(decodeRow(json), undefined);
  }
  for (const value of [{ bytes: -1 }, { bytes: 0.5 }, { bytes: "1" }, { length: 1 }, null, 1, "bytes", [1]]) {
    assertEquals(decodeRow(rowOf(JSON.stringify({ value }))), { value });
  }
  assertEquals(decodeRow(rowOf('{"a":{"bytes":0}}')), { a: new Uint8Array() });
});
