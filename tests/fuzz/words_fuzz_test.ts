/**
 * Properties of the readers behind words of rules, over hostile inputs: what they take for something means the same to the
 * reference. `FUZZ_RUNS` and `FUZZ_SEED` override the number of runs and the seed.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { parse, visit } from "graphql";
import { isProxyError } from "../../core/errors.ts";
import { parseBudget, parseBudgetText } from "../../policy/budget.ts";
import { matchPath } from "../../policy/path.ts";
import { parseRule } from "../../policy/rule.ts";
import { isUnreadable } from "../../policy/words/body_text.ts";
import { parseJson, UNREAD } from "../../policy/words/json.ts";
import { readGit } from "../../policy/words/git.ts";
import { readGraphql } from "../../policy/words/graphql.ts";
import { formatGraphql, parseGraphql } from "../../policy/words/graphql_words.ts";
import { coversMcp, formatMcp, parseMcp, readMcp } from "../../policy/words/mcp.ts";
import { coversCall } from "../../policy/words/grpc.ts";
import { readLfs } from "../../policy/words/lfs.ts";
import { parseSays, queryOf } from "../../policy/words/says.ts";
import { hasOnly, parseQueryCondition } from "../../policy/words/query.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 2_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_901);

function property<T>(name: string, values: fc.Arbitrary<T>, holds: (value: T) => void): void {
  Deno.test(`${name} [seed ${SEED}]`, () => {
    fc.assert(fc.property(values, holds), { numRuns: NUM_RUNS, seed: SEED });
  });
}

const piecesOf = (pieces: readonly string[], maxLength: number) =>
  fc.array(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...pieces) }, fc.string({ maxLength: 3 })), {
    maxLength,
  })
    .map((parts) => parts.join(""));

const post = (text: string) => ({
  ...{ method: "POST", query: undefined, types: ["application/json"] },
  bytes: new TextEncoder().encode(text),
});

/** A value as `parseJson(…, ["a"])` makes it. */
function made(value: unknown, at: "top" | "object" | "below" = "top"): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return at === "top" ? value.map((each) => made(each, "object")) : UNREAD;
  if (at === "below") return UNREAD;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, made(each, name === "a" ? "object" : "below")]),
  );
}

/** The texts of all names, in order, of a text that is JSON. */
function namesIn(text: string): readonly string[] {
  return [...text.matchAll(/("(?:[^"\\]|\\.)*")\s*(:?)/g)].flatMap(([, name = "", colon]) =>
    colon === ":" ? [JSON.parse(name)] : []
  );
}

const JSON_PIECES = [
  ...['{"a":', '"b":', '"a":', '"\\u0061":', '"\\u0000":', '"b', '"', "\\", "\\n", "\\u00e9", "é", ":"],
  ...["1", "-0", "1.5e3", "01", "true", "null", "}", "}", "{", "[", "]", "]", ",", ",", " ", "\n", "\u00a0"],
];

/** JSON with a piece put into it somewhere, or in the place of a character. */
const almostJson = fc.tuple(
  fc.json({ maxDepth: 5 }),
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.constantFrom("", ...JSON_PIECES),
  fc.boolean(),
)
  .map(([json, where, piece, isInstead]) => {
    const at = Math.floor(where * json.length);
    return json.slice(0, at) + piece + json.slice(isInstead ? at + 1 : at);
  });

property(
  "JSON is taken when JSON.parse() takes it and no object has a name twice or a control character in one, and read the same",
  fc.oneof(piecesOf(JSON_PIECES, 14), almostJson),
  (text) => {
    const read = parseJson(text, ["a"]);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      assert(isUnreadable(read), text);
      return;
    }
    const names = namesIn(text);
    if (isUnreadable(read)) {
      // deno-lint-ignore no-control-regex
      assert(new Set(names).size < names.length || names.some((name) => /[\x00-\x1f]/.test(name)), text);
      return;
    }
    assertEquals(read.value, made(value));
    // Written again it has as many names as the text had: none was twice.
    assertEquals(namesIn(JSON.stringify(value)).length, names.length);
  },
);

property(
  "a GraphQL document has no operation and no top-level field that was not found",
  piecesOf(
    [
      "query ",
      "mutation ",
      "A ",
      "{ ",
      "} ",
      "a ",
      "b: c ",
      "...F ",
      "... on T ",
      "fragment F on T ",
      "# x\n",
      '"',
      "@s ",
      ",",
    ],
    16,
  ),
  (text) => {
    const found = readGraphql(post(JSON.stringify({ query: text })));
    if (isUnreadable(found)) return;
    const document = parse(text);
    const types: string[] = [];
    const names = new Set<string>();
    visit(document, {
      OperationDefinition: (node) => {
        types.push(node.operation);
        for (const each of node.selectionSet.selections) {
          if (each.kind === "Field") names.add(each.name.value);
        }
      },
    });
    const known = found.flatMap((each) => "hash" in each ? [] : [each]);
    assertEquals(known.map(({ type }) => type), types);
    const fields = new Set(known.flatMap(({ fields }) => fields));
    for (const name of names) assert(fields.has(name), text);
    assertEquals(parseGraphql(formatGraphql(found)), found);
  },
);

property(
  "an MCP message that one tool's rule allows calls no other to whoever reads its JSON",
  piecesOf(
    [
      '{"jsonrpc":"2.0",',
      '"method":"tools/call"',
      '"method":"ping"',
      ',"params":{',
      '"name":"a"',
      '"name":"b"',
      '"Name":"b"',
      "}",
      "}",
      "[",
      "]",
      ",",
      '"id":1',
    ],
    10,
  ),
  (text) => {
    const found = readMcp(post(text));
    if (isUnreadable(found)) return;
    assertEquals(parseMcp(formatMcp(found)), found);
    if (!coversMcp({ mcpTool: ["a"] }, found)) return;
    const value = JSON.parse(text);
    for (const message of Array.isArray(value) ? value : [value]) {
      if (message.method === "tools/call") assertEquals(message.params.name, "a");
    }
  },
);

property(
  "a query that a condition takes has nothing else of its name to URLSearchParams",
  piecesOf([
    "service",
    "Service",
    "=",
    "&",
    ";",
    "git-upload-pack",
    "git-receive-pack",
    "%73",
    "%00",
    "[]",
    "+",
    "%3D",
    "%26",
  ], 12),
  (query) => {
    if (!hasOnly(query, "service", ["git-upload-pack"])) return;
    const values = new URLSearchParams(query).getAll("service");
    assert(values.length > 0 && values.every((value) => value === "git-upload-pack"), query);
  },
);

property(
  "a path and query that git's own routing takes for a push are never reading",
  fc.tuple(
    fc.constantFrom("GET", "POST", "PUT"),
    piecesOf([
      "/acme",
      "/web",
      ".git",
      "/info/refs",
      "/git-receive-pack",
      "/git-upload-pack",
      "/",
      "/info/lfs/objects/batch",
    ], 6),
    piecesOf(["service=", "git-receive-pack", "git-upload-pack", "&", "a"], 6),
  ),
  ([method, path, query]) => {
    const found = readGit({ host: "git.test", method, path, query });
    // As http-backend.c has it: the service by the end of the path, or by the last of the parameter.
    const isPush = (method === "POST" && path.endsWith("/git-receive-pack")) ||
      (method === "GET" && path.endsWith("/info/refs") &&
        new URLSearchParams(query).getAll("service").includes("git-receive-pack"));
    if (isPush) assert(found?.access !== "read", `${method} ${path}?${query}`);
  },
);

property(
  "a pattern with stars inside covers what the same expression does",
  fc.tuple(piecesOf(["/a", "/b", "/*", "/**", "/"], 6), piecesOf(["/a", "/b", "/c", "/"], 8)),
  ([pattern, path]) => {
    try {
      parseRule({ host: "a.test", paths: [pattern] });
    } catch (error) {
      assert(isProxyError(error, "input.invalid"));
      return;
    }
    if (pattern === "*") return;
    const source = pattern.split("/").slice(1).map((segment, i, all) =>
      segment === "*" && i === all.length - 1
        ? "/.*"
        : segment === "**"
        ? "(?:/[^/]+)*"
        : segment === "*"
        ? "/[^/]+"
        : `/${segment.replace(/[^\w]/g, "\\$&")}`
    ).join("");
    assertEquals(matchPath(pattern, path), new RegExp(`^${source}$`).test(path), `${pattern} ${path}`);
  },
);

property("a condition on the query has one spelling", fc.string({ maxLength: 12 }), (text) => {
  try {
    const condition = parseQueryCondition(`a${text}=b${text}`);
    assertEquals(parseQueryCondition(condition), condition);
  } catch (error) {
    assert(isProxyError(error, "input.invalid"));
  }
});

property(
  "a gRPC call that a rule covers is routed to that service and method by servers",
  fc.tuple(
    fc.constantFrom("POST", "GET", "post"),
    piecesOf(["/", "a.S", "/M", "a.T", "*", ".", "%2f", "a.S/M", "//", "..", "?", " "], 6),
    fc.constantFrom("a.S/M", "a.S/*"),
  ),
  ([method, path, call]) => {
    if (!coversCall([call], { method, path })) return;
    // As gRPC's servers have it: the method is behind the last slash, the service all before it but the first.
    const last = path.lastIndexOf("/");
    assertEquals([method, path.slice(0, 1), path.slice(1, last)], ["POST", "/", "a.S"], path);
    if (call === "a.S/M") assertEquals(path.slice(last + 1), "M", path);
  },
);

property(
  "a batch request of git-lfs that is read asks for the same to whoever reads its JSON",
  piecesOf(['{"operation":', '"download"', '"upload"', '"Operation":', '"a":', "}", "{", ",", "[", "]"], 8),
  (text) => {
    const operation = readLfs(new TextEncoder().encode(text));
    if (!isUnreadable(operation)) assertEquals(JSON.parse(text).operation, operation);
  },
);

property(
  "a budget has one spelling, and no number that is not written",
  piecesOf(
    ["requests", "tokens", "bytes-up", "=", "1", "0", "00", "K", "m", "G", "/h", "/D", "/", "e3", "."],
    8,
  ),
  (text) => {
    try {
      const budget = parseBudgetText(text);
      assertEquals(parseBudgetText(budget), budget);
      const [, digits, unit = ""] = /=(\d+)([KMGT]?)/i.exec(text) ?? [];
      const size = { "": 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 }[unit.toUpperCase()] ?? 0;
      assertEquals(parseBudget(text).limit, Number(digits) * size, text);
    } catch (error) {
      if (!isProxyError(error, "input.invalid")) throw error;
    }
  },
);

property(
  "what a record says is read without an error, and a condition that it fits is one that it names",
  piecesOf(
    ["query:", "a", "=", "*", "%2A", " ", "mcp:", "graphql:", "lfs:", "!body-unreadable", "(x)", "+"],
    10,
  ),
  (says) => {
    const said = parseSays(says);
    const query = queryOf(said, ["a"]);
    if (query && hasOnly(query.query, "a", ["*"])) assert(says.includes("%2A"), says);
  },
);
