/**
 * CPU time as the oracle (SPEC section 9.14): what is pumped to four times its length may cost each parser little more than
 * four times as much. `FUZZ_RUNS` and `FUZZ_SEED` override the number of runs and the seed.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { escapeLogValue, escapeTerminal } from "../../core/escape.ts";
import { parseAuthority, parseHost } from "../../core/host_port.ts";
import { hasDotSegments, isSuspectPath, normalisePath } from "../../policy/path.ts";
import { parseFields } from "../../proxy/http1/head_reader.ts";
import { findBadNomination, listOf, makeField, removeHopByHop } from "../../proxy/message/fields.ts";
import { awsErrorCode } from "../../secrets/aws/fault.ts";
import { readSignature } from "../../secrets/aws/client_signature.ts";
import { namesOtherMethod } from "../../proxy/message/method_parameter.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 40);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_901);
/** Characters; what is quadratic takes milliseconds at the first, and sixteen times as long at the second. */
const SHORT = 4_000;
const LONG = 4 * SHORT;

type Parse = (text: string) => unknown;

const PARSERS: Readonly<Record<string, Parse>> = {
  awsAuthorization: (text) =>
    readSignature({ query: undefined, fields: [{ key: "authorization", value: text }] }),
  awsQuery: (text) => readSignature({ query: `X-Amz-Algorithm=AWS4-HMAC-SHA256&${text}`, fields: [] }),
  awsErrorCode: (text) => awsErrorCode({ errorType: undefined, bodyStart: text }),
  escapeLogValue,
  escapeTerminal,
  parseAuthority,
  parseHost,
  hasDotSegments,
  isSuspectPath,
  normalisePath,
  parseFields: (text) => parseFields(text.split("\r\n"), { maxHeaderCount: 256 }, "client.malformed"),
  listOf: (text) => listOf([makeField("Connection", text)], "connection"),
  findBadNomination: (text) => findBadNomination([makeField("Connection", text)]),
  removeHopByHop: (text) => {
    const fields = [makeField("Connection", text), makeField("A", text)];
    return removeHopByHop({ version: "HTTP/1.1", fields });
  },
  namesOtherMethod: (text) => namesOtherMethod(text, "POST"),
};

/** The least of five, in milliseconds: others on the machine only make it longer. */
function costOf(parse: Parse, text: string): number {
  let least = Infinity;
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    try {
      parse(text);
    } catch { /* a refusal costs too */ }
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

/** Tried again before it is believed, so that a busy machine is not taken for a slow parser. */
function isLinear(parse: Parse, textOf: (length: number) => string): boolean {
  for (let attempt = 0; attempt < 5; attempt++) {
    if (costOf(parse, textOf(LONG)) <= 8 * costOf(parse, textOf(SHORT)) + 5) return true;
  }
  return false;
}

const piece = fc.array(
  fc.constantFrom(
    "/",
    ".",
    "..",
    "%2e",
    "%2f",
    "%20",
    "%e2%80%8b",
    "\\",
    ";",
    "a",
    "_",
    "&",
    "=",
    ",",
    " ",
    "\t",
  )
    .chain((text) => fc.constantFrom(text, text, `${text}\xe9`)),
  { minLength: 1, maxLength: 4 },
).map((parts) => parts.join(""));
const pumped = fc.record({
  start: fc.constantFrom("", "/", "a", "A: ", "_method=", "["),
  unit: piece,
  end: fc.constantFrom("", "x", "\0", "/..", "=%", "]"),
});

for (const [name, parse] of Object.entries(PARSERS)) {
  Deno.test(`${name}() costs no more than the length of its text [seed ${SEED}]`, () => {
    fc.assert(
      fc.property(pumped, ({ start, unit, end }) => {
        assert(isLinear(parse, (length) => start + unit.repeat(Math.ceil(length / unit.length)) + end));
      }),
      { numRuns: NUM_RUNS, seed: SEED, endOnFailure: true },
    );
  });
}

Deno.test("the oracle notices a quadratic parser", () => {
  const quadratic = (text: string) => {
    for (let i = 0; i < text.length; i += 8) text.slice(i).split("").reverse();
  };
  assertEquals(isLinear(quadratic, (length) => " ".repeat(length)), false);
});
