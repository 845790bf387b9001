/**
 * Properties of the policy file's reader. `FUZZ_RUNS` and `FUZZ_SEED` override the number of runs and the seed; both are
 * printed with a failure.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { CORE_SCHEMA, load, YAML11_SCHEMA } from "js-yaml";
import { isProxyError } from "../../core/errors.ts";
import { formatPolicyFile, parsePolicyFile } from "../../policy/policy_file.ts";
import { policyFiles, withoutPlaces } from "../support/policy_files.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 1_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_901);

function property<T>(name: string, values: fc.Arbitrary<T>, holds: (value: T) => void): void {
  Deno.test(`${name} [seed ${SEED}]`, () => {
    fc.assert(fc.property(values, holds), { numRuns: NUM_RUNS, seed: SEED });
  });
}

property("parsePolicyFile() undoes formatPolicyFile()", policyFiles, (file) => {
  assertEquals(withoutPlaces(parsePolicyFile(formatPolicyFile(file), "f")), file);
});

property("formatPolicyFile() writes what YAML 1.1 and 1.2 read alike, times apart", policyFiles, (file) => {
  const text = formatPolicyFile(file).replace(/^ *expires: .*\n/gm, "");
  assertEquals(load(text, { schema: YAML11_SCHEMA }), load(text, { schema: CORE_SCHEMA }));
});

const pieces = fc.array(
  fc.constantFrom(
    ..."version: 1|clients:|secrets:|allow:|host:|a.test|ci-1:|methods:|[GET]|secret: gh|ttl: 1h|- |\n|\n  |\n    |\n      "
      .split("|"),
    ..."{|}|[|]|,|:|*|&a|!!str|---|%YAML 1.2|\"|'|#|\u0000|\u00a0|\ud800|\r|\t|<<:|? |> |".split("|"),
  ),
  { maxLength: 40 },
).map((parts) => parts.join(""));

property("parsePolicyFile() refuses any text with a place, and raises nothing else", pieces, (text) => {
  try {
    parsePolicyFile(text, "f");
  } catch (error) {
    assert(isProxyError(error, "input.invalid"), String(error));
    const [, line = 0, column = 0] = /^Cannot read f:(\d+):(\d+): ./.exec(error.message) ?? [];
    assert(Number(line) >= 1 && Number(column) >= 1, error.message);
    assert(Number(line) <= text.split(/\r\n|\r|\n/).length, error.message);
  }
});
