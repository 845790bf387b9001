import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import {
  coversGraphql,
  formatGraphql,
  type GraphqlLimits,
  type GraphqlOperation,
  narrowGraphql,
  OPERATIONS,
  parseDocumentHash,
  parseFieldName,
  parseGraphql,
  touchesGraphql,
} from "../../../../policy/words/graphql_words.ts";

const QUERY: GraphqlOperation = { type: "query", fields: ["__typename", "a"] };
const MUTATION: GraphqlOperation = { type: "mutation", fields: ["b"] };
const KEPT: GraphqlOperation = { hash: "kept-0001" };

Deno.test("there are three types of operations", () => {
  assertEquals([...OPERATIONS], ["query", "mutation", "subscription"]);
});

Deno.test("parseFieldName() and parseDocumentHash() take names and hashes up to their limits", () => {
  for (const text of ["a", "_a1", "A".repeat(128)]) assertEquals(parseFieldName(text), text);
  for (const text of ["", "1a", "a b", "a-b", "a:b", "é", "A".repeat(129)]) {
    assertThrows(() => parseFieldName(text), ProxyError, "as a field of GraphQL");
  }
  for (const text of ["12345678", "a/b+c=de", "x".repeat(256)]) assertEquals(parseDocumentHash(text), text);
  for (const text of ["", "1234567", "x".repeat(257), "1234,5678", "1234:5678", "1234 5678", "1234567é"]) {
    assertThrows(() => parseDocumentHash(text), ProxyError, "as the hash of an operation");
  }
});

Deno.test("coversGraphql() wants every operation to be allowed, touchesGraphql() any to be named", async (t) => {
  const rows: readonly [string, GraphqlLimits, readonly GraphqlOperation[], boolean, boolean][] = [
    ["no operation", { graphql: ["query"] }, [], false, false],
    ["the type", { graphql: ["query"] }, [QUERY], true, true],
    ["another type", { graphql: ["mutation"] }, [QUERY], false, false],
    ["one of two", { graphql: ["query"] }, [QUERY, MUTATION], false, true],
    ["both", { graphql: ["query", "mutation"] }, [QUERY, MUTATION], true, true],
    ["the field, and one that is free", { graphql: ["query"], graphqlField: ["a"] }, [QUERY], true, true],
    ["another field", { graphql: ["query"], graphqlField: ["b"] }, [QUERY], false, false],
    ["the field under another type", { graphql: ["mutation"], graphqlField: ["a"] }, [QUERY], false, false],
    [
      "only what is free",
      { graphql: ["query"], graphqlField: ["b"] },
      [{ type: "query", fields: ["__typename"] }],
      true,
      false,
    ],
    [
      "one of two fields",
      { graphql: ["query"], graphqlField: ["a"] },
      [{ type: "query", fields: ["a", "b"] }],
      false,
      true,
    ],
    ["what only the server has", { graphql: ["query"] }, [KEPT], false, true],
    [
      "what only the server has, by its hash",
      { graphql: ["query"], graphqlHash: ["kept-0001"] },
      [KEPT],
      true,
      true,
    ],
    ["another hash", { graphql: ["query"], graphqlHash: ["kept-0002"] }, [KEPT], false, true],
    ["nothing named", {}, [QUERY], false, false],
  ];
  for (const [name, limits, operations, covers, touches] of rows) {
    await t.step(name, () => {
      assertEquals([coversGraphql(limits, operations), touchesGraphql(limits, operations)], [
        covers,
        touches,
      ]);
    });
  }
});

Deno.test("narrowGraphql() says of operations all that tells them apart", async (t) => {
  const rows: readonly [string, readonly GraphqlOperation[], GraphqlLimits | undefined][] = [
    ["a field", [QUERY], { graphql: ["query"], graphqlField: ["a"] }],
    ["two operations", [QUERY, MUTATION, QUERY], {
      graphql: ["query", "mutation"],
      graphqlField: ["a", "b"],
    }],
    ["nothing but what is free", [{ type: "query", fields: ["__typename"] }], { graphql: ["query"] }],
    ["a hash beside it", [QUERY, KEPT], {
      graphql: ["query"],
      graphqlField: ["a"],
      graphqlHash: ["kept-0001"],
    }],
    ["only a hash", [KEPT], undefined],
    ["nothing", [], undefined],
  ];
  for (const [name, operations, limits] of rows) {
    await t.step(name, () => assertEquals(narrowGraphql(operations), limits));
  }
});

Deno.test("parseGraphql() reads what formatGraphql() writes, and nothing else", async (t) => {
  const rows: readonly [string, readonly GraphqlOperation[]][] = [
    ["", []],
    ["query()", [{ type: "query", fields: [] }]],
    ["query(__typename,a)", [QUERY]],
    ["mutation(b)+hash(kept-0001)", [MUTATION, KEPT]],
    ["subscription(c)", [{ type: "subscription", fields: ["c"] }]],
    ["hash(a%2Bb%28)", [{ hash: "a+b(" }]],
  ];
  for (const [text, operations] of rows) {
    await t.step(text, () => {
      assertEquals(formatGraphql(operations), text);
      assertEquals(parseGraphql(text), operations);
    });
  }
  for (const text of ["x", "hash", "hashes(a)", "hash(%2b)", "hash(%)", "query(a)+x()", "+", "query(a)(b)"]) {
    await t.step(`not ${text}`, () => assertEquals(parseGraphql(text), undefined));
  }
});
