import { assertEquals } from "@std/assert";
import { batchesOf } from "../../../store/batches.ts";
import type { Mutation } from "../../../store/engine.ts";

/** A row of so many characters as JSON. */
function row(chars: number): Mutation {
  return { key: ["x"], value: { a: "x".repeat(chars - '{"a":""}'.length) } };
}

function sizes(
  mutations: readonly Mutation[],
  bounds: { readonly rows: number; readonly chars: number },
): number[] {
  return batchesOf(mutations, bounds).map(({ length }) => length);
}

Deno.test("batchesOf() fills each commit to its rows and its characters, in order", () => {
  const tens = Array.from({ length: 5 }, () => row(10));
  assertEquals(sizes([], { rows: 2, chars: 100 }), []);
  assertEquals(sizes(tens, { rows: 5, chars: 100 }), [5]);
  assertEquals(sizes(tens, { rows: 4, chars: 100 }), [4, 1]);
  assertEquals(sizes(tens, { rows: 1, chars: 100 }), [1, 1, 1, 1, 1]);
  assertEquals(sizes(tens, { rows: 9, chars: 50 }), [5]);
  assertEquals(sizes(tens, { rows: 9, chars: 49 }), [4, 1]);
  assertEquals(sizes(tens, { rows: 9, chars: 20 }), [2, 2, 1]);
  assertEquals(sizes(tens, { rows: Infinity, chars: Infinity }), [5]);
  assertEquals(batchesOf(tens, { rows: 2, chars: 100 }).flat(), tens);
});

Deno.test("batchesOf() gives a row that is too long a commit of its own, and counts removals as two characters", () => {
  assertEquals(sizes([row(10), row(99), row(10)], { rows: 9, chars: 20 }), [1, 1, 1]);
  const gone = Array.from({ length: 3 }, () => ({ key: ["x"] }));
  assertEquals([sizes(gone, { rows: 9, chars: 6 }), sizes(gone, { rows: 9, chars: 5 })], [[3], [2, 1]]);
});
