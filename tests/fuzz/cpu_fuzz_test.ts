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
import { UsageReader } from "../../policy/tokens/usage_reader.ts";

import { readGit } from "../../policy/words/git.ts";
import { readGraphql } from "../../policy/words/graphql.ts";
import { parseGraphql } from "../../policy/words/graphql_words.ts";
import { callOf } from "../../policy/words/grpc.ts";
import { readLfs } from "../../policy/words/lfs.ts";
import { parseJson } from "../../policy/words/json.ts";
import { parseMcp, readMcp } from "../../policy/words/mcp.ts";
import { narrowEvents, narrowJson } from "../../policy/words/mcp_list.ts";
import { coversQuery, touchesQuery } from "../../policy/words/query.ts";
import { parseSays } from "../../policy/words/says.ts";

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

const post = (text: string, type: string) => ({
  ...{ method: "POST", query: undefined, types: [type] },
  bytes: new TextEncoder().encode(text),
});

/** What rules read of bodies, and of what asks for them. */
const BODY_READERS: Readonly<Record<string, Parse>> = {
  parseJson,
  readGraphql: (text) => readGraphql(post(text, "application/graphql")),
  readGraphqlJson: (text) => readGraphql(post(JSON.stringify({ query: text }), "application/json")),
  readGraphqlQuery: (text) => readGraphql({ ...post("", ""), method: "GET", query: `query=${text}` }),
  parseGraphql,
  readMcp: (text) => readMcp(post(text, "application/json")),
  parseMcp,
  narrowJson: (text) => narrowJson(["read_*"], text),
  narrowEvents: (text) => narrowEvents(["read_*"], text),
  readLfs: (text) => readLfs(new TextEncoder().encode(text)),
  readGit: (text) => readGit({ host: "github.com", method: "GET", path: `/${text}/info/refs`, query: text }),
  callOf: (text) => callOf({ method: "POST", path: `/${text}` }),
  coversQuery: (text) => coversQuery(["a=1", "b=2"], text),
  touchesQuery: (text) => touchesQuery(["a=1", "b=2"], text),
  parseSays,
  usageJson: (text) => new UsageReader("json").read(text),
  usageEvents: (text) => new UsageReader("events").read(text),
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

const bodyPieces = fc.array(
  fc.constantFrom(
    ...[
      "{",
      "}",
      "[",
      "]",
      "(",
      ")",
      '"',
      "\\",
      ":",
      ",",
      " ",
      "\n",
      "\r",
      "#",
      "...",
      "@",
      "$",
      "!",
      "a",
      "1",
    ],
    ...["...F ", "fragment F on T{a}", "query{a}", "mutation M{a:b}", "{a{", '"""', "data: ", "data: {}\n\n"],
    ...['"a":', '{"a":', '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}', '{"operation":'],
    ...[
      '"usage":{"input_tokens":',
      "&",
      ";",
      "=",
      "%2e",
      "+",
      "/",
      "*",
      "git-upload-pack",
      "mcp:a(b)",
      "\xe9",
    ],
  ),
  { minLength: 1, maxLength: 4 },
).map((parts) => parts.join(""));
const pumpedBody = fc.record({
  start: fc.constantFrom("", "{", "[", '"', '{"result":{"tools":[', "{a", "query ", "data: ", "mcp:"),
  unit: bodyPieces,
  end: fc.constantFrom("", "}", "]", '"', "]}}", "\n\n", "x"),
});

for (const [parsers, texts] of [[PARSERS, pumped], [BODY_READERS, pumpedBody]] as const) {
  for (const [name, parse] of Object.entries(parsers)) {
    Deno.test(`${name}() costs no more than the length of its text [seed ${SEED}]`, () => {
      fc.assert(
        fc.property(texts, ({ start, unit, end }) => {
          assert(isLinear(parse, (length) => start + unit.repeat(Math.ceil(length / unit.length)) + end));
        }),
        { numRuns: NUM_RUNS, seed: SEED, endOnFailure: true },
      );
    });
  }
}

Deno.test("the oracle notices a quadratic parser", () => {
  const quadratic = (text: string) => {
    for (let i = 0; i < text.length; i += 8) text.slice(i).split("").reverse();
  };
  assertEquals(isLinear(quadratic, (length) => " ".repeat(length)), false);
});
