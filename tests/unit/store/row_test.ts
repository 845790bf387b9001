import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { RowReader } from "../../../store/row.ts";

const BYTES = new Uint8Array([1, 2]);
const VALUES: Readonly<Record<string, unknown>> = {
  text: "x",
  none: "",
  zero: 0,
  half: 0.5,
  nan: NaN,
  infinite: Infinity,
  yes: true,
  no: false,
  null: null,
  bytes: BYTES,
  texts: ["a", "b"],
  mixed: ["a", 1],
  numbers: [1, 2],
  empty: [],
  object: {},
};

/** What a getter takes of these values, and that all others are damage. */
function taken(get: (row: RowReader, field: string) => unknown): string[] {
  const row = new RowReader("a row", VALUES);
  return Object.keys(VALUES).filter((field) => {
    try {
      assertEquals(get(row, field), VALUES[field]);
      return true;
    } catch (error) {
      if (!(error instanceof ProxyError) || error.code !== "state.damaged") throw error;
      return false;
    }
  });
}

Deno.test("RowReader takes each field for what it is, and anything else for damage", () => {
  assertEquals(taken((row, field) => row.string(field)), ["text", "none"]);
  assertEquals(taken((row, field) => row.number(field)), ["zero", "half"]);
  assertEquals(taken((row, field) => row.boolean(field)), ["yes", "no"]);
  assertEquals(taken((row, field) => row.bytes(field)), ["bytes"]);
  assertEquals(taken((row, field) => row.strings(field)), ["texts", "empty"]);
  assertEquals(taken((row, field) => row.numbers(field)), ["numbers", "empty"]);
  assertEquals(taken((row, field) => row.optionalString(field)), ["text", "none"]);
  assertEquals(taken((row, field) => row.optionalNumber(field)), ["zero", "half"]);
  assertEquals(taken((row, field) => row.optionalBoolean(field)), ["yes", "no"]);
  assertEquals(taken((row, field) => row.optionalStrings(field)), ["texts", "empty"]);
});

Deno.test("RowReader gives nothing for a field that may be missing, and refuses one that may not", () => {
  for (const row of [new RowReader("a row", {}), new RowReader("a row", { x: undefined })]) {
    for (const field of ["x", "toString"]) {
      assertEquals(
        [
          row.optionalString(field),
          row.optionalNumber(field),
          row.optionalBoolean(field),
          row.optionalStrings(field),
        ],
        [undefined, undefined, undefined, undefined],
      );
      const required = ["string", "number", "boolean", "bytes", "strings", "numbers"] as const;
      for (const get of required) {
        assertEquals(assertThrows(() => row[get](field), ProxyError).code, "state.damaged");
      }
    }
  }
});

Deno.test("RowReader reads a record and nothing else, and names it", () => {
  for (const value of [null, undefined, "x", 1, true]) {
    const { code, message } = assertThrows(() => new RowReader('client "a"', value), ProxyError);
    assertEquals([code, message], [
      "state.damaged",
      'Cannot read the row of client "a": bad it is no record',
    ]);
  }
});

Deno.test("RowReader.bytes() is a copy", () => {
  assertEquals(new RowReader("a row", VALUES).bytes("bytes") === BYTES, false);
});
