/**
 * `@std/assert` for machines that cannot reach JSR: the npm mirror of the same code, typed here because the
 * mirror ships no declarations. Only what the project uses is re-exported. Moving to JSR is one line of
 * `deno.json`.
 *
 * @module
 */
// @ts-types="./assert.d.ts"
export {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertFalse,
  AssertionError,
  assertMatch,
  assertNotEquals,
  assertNotMatch,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
} from "npm:deno-std@1.4.0/assert/mod.js";
