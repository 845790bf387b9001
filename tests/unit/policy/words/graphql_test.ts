import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { createHash } from "node:crypto";
import { ProxyError } from "../../../../core/errors.ts";
import { decideRequest } from "../../../../policy/decide.ts";
import { parseRule } from "../../../../policy/rule.ts";
import { isUnreadable } from "../../../../policy/words/body_text.ts";
import type { BodyRead } from "../../../../policy/words/body_text.ts";
import { readGraphql } from "../../../../policy/words/graphql.ts";
import { formatGraphql, narrowGraphql, parseGraphql } from "../../../../policy/words/graphql_words.ts";
import { pairsOf } from "../../../../policy/words/query.ts";
import { makeRule } from "../../../support/make_rule.ts";

const HOST = "api.example.com";
const HASH = "e".repeat(64);

function post(body: unknown, more: Partial<BodyRead> = {}): BodyRead {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return {
    method: "POST",
    query: undefined,
    types: ["application/json"],
    bytes: new TextEncoder().encode(text),
    ...more,
  };
}

function get(query: string): BodyRead {
  return { method: "GET", query, types: [], bytes: new Uint8Array(0) };
}

/** As the log has it, or `unreadable`. */
function read(body: BodyRead): string {
  const found = readGraphql(body);
  return isUnreadable(found) ? "unreadable" : formatGraphql(found);
}

Deno.test("readGraphql() finds what runs, and its top-level fields", async (t) => {
  const two = "query A { a } mutation B { b }";
  const rows: readonly [string, BodyRead, string][] = [
    ["a query", post({ query: "query { viewer { login } }" }), "query(viewer)"],
    ["the short form", post({ query: "{ viewer { login } }" }), "query(viewer)"],
    [
      "a mutation",
      post({ query: "mutation M($a: Int) { x(a: $a) { id } }", variables: { a: 1 } }),
      "mutation(x)",
    ],
    ["a subscription", post({ query: "subscription { s }" }), "subscription(s)"],
    ["an alias is no field", post({ query: "{ viewer: deleteAll }" }), "query(deleteAll)"],
    ["a fragment", post({ query: "query { ...F } fragment F on Query { b a { c } }" }), "query(a,b)"],
    [
      "fragments in fragments",
      post({ query: "{ ...F } fragment F on Q { ...G } fragment G on Q { x ...F }" }),
      "query(x)",
    ],
    [
      "an inline fragment",
      post({ query: "{ ... on Query { a ... @include(if: true) { b } } }" }),
      "query(a,b)",
    ],
    ["a skipped field counts", post({ query: "{ a @skip(if: true) }" }), "query(a)"],
    ["comments and a mark before it", post({ query: "\ufeff# mutation { x }\n,, { a }" }), "query(a)"],
    ["a mark before the JSON", post('\ufeff{"query":"{a}"}'), "query(a)"],
    ["mutation in a text", post({ query: '{ a(x: "mutation { b }") }' }), "query(a)"],
    ["the operation by its name", post({ query: two, operationName: "A" }), "query(a)"],
    ["the other one", post({ query: two, operationName: "B" }), "mutation(b)"],
    ["without a name all count", post({ query: two }), "query(a)+mutation(b)"],
    ["an empty name is none", post({ query: two, operationName: "" }), "query(a)+mutation(b)"],
    ["null is none", post({ query: two, operationName: null }), "query(a)+mutation(b)"],
    ["a batch", post([{ query: "{a}" }, { query: "mutation {b}" }]), "query(a)+mutation(b)"],
    ["as its own media type", post("mutation { x }", { types: ["application/graphql"] }), "mutation(x)"],
    ["UTF-8 by name", post({ query: "{a}" }, { types: ['Application/JSON; charset="UTF-8"'] }), "query(a)"],
    ["in the URL", get("query=%7Ba%7D&variables=%7B%7D&x=1"), "query(a)"],
    ["a mutation in the URL", get("query=mutation+%7Ba%7D"), "mutation(a)"],
    [
      "kept by the server",
      post({ extensions: { persistedQuery: { version: 1, sha256Hash: HASH } } }),
      `hash(${HASH})`,
    ],
    [
      "kept, in the URL",
      get(`extensions=${encodeURIComponent(JSON.stringify({ persistedQuery: { sha256Hash: HASH } }))}`),
      `hash(${HASH})`,
    ],
    ["kept, by an id", post({ documentId: "doc:1 +" }), "hash(doc%3A1%20%2B)"],
    [
      "registered under its hash",
      post({
        query: "{a}",
        extensions: { persistedQuery: { sha256Hash: createHash("sha256").update("{a}").digest("hex") } },
      }),
      "query(a)",
    ],
    ["no GraphQL: another GET", get("page=1"), ""],
    ["no GraphQL: another method", post({}, { method: "DELETE" }), ""],

    [
      "registered under another hash",
      post({ query: "{a}", extensions: { persistedQuery: { sha256Hash: HASH } } }),
      "unreadable",
    ],
    ["a member twice", post('{"query":"{a}","query":"mutation{b}"}'), "unreadable"],
    ["a member twice, escaped", post('{"query":"{a}","\\u0071uery":"mutation{b}"}'), "unreadable"],
    ["a member in another case", post('{"query":"{a}","Query":"mutation{b}"}'), "unreadable"],
    ["a member in odd letters", post('{"query":"{a}","\uff51uery":"mutation{b}"}'), "unreadable"],
    ["a member that is not known", post({ query: "{a}", mutation: "mutation{b}" }), "unreadable"],
    ["an id beside a document", post({ query: "{a}", id: "other" }), "unreadable"],
    ["two ids", post({ id: "a", doc_id: "b" }), "unreadable"],
    ["also in the URL", post({ query: "{a}" }, { query: "query=mutation%7Bb%7D" }), "unreadable"],
    [
      "also in the URL, in another case",
      post({ query: "{a}" }, { query: "Query=mutation%7Bb%7D" }),
      "unreadable",
    ],
    [
      "a name in the URL",
      post({ query: two, operationName: "A" }, { query: "operationName=B" }),
      "unreadable",
    ],
    ["a form", post("query=%7Ba%7D", { types: ["application/x-www-form-urlencoded"] }), "unreadable"],
    ["an upload", post("--x", { types: ["multipart/form-data; boundary=x"] }), "unreadable"],
    ["no media type", post({ query: "{a}" }, { types: [] }), "unreadable"],
    [
      "two media types",
      post({ query: "{a}" }, { types: ["application/json", "application/graphql"] }),
      "unreadable",
    ],
    ["UTF-7", post({ query: "{a}" }, { types: ["application/json; charset=utf-7"] }), "unreadable"],
    ["no UTF-8", post("", { bytes: Uint8Array.of(0x22, 0xff, 0x22) }), "unreadable"],
    ["a name that no operation has", post({ query: two, operationName: "C" }), "unreadable"],
    ["two of the name", post({ query: "query A {a} mutation A {b}", operationName: "A" }), "unreadable"],
    ["a list as document", post({ query: ["{a}"] }), "unreadable"],
    ["a missing fragment", post({ query: "{ ...F }" }), "unreadable"],
    ["a fragment twice", post({ query: "{...F} fragment F on Q {a} fragment F on Q {b}" }), "unreadable"],
    ["a schema", post({ query: "type Query { a: Int } query { a }" }), "unreadable"],
    ["only fragments", post({ query: "fragment F on Q {a}" }), "unreadable"],
    ["no GraphQL", post({ query: "drop table" }), "unreadable"],
    ["nothing", post({}), "unreadable"],
    ["an empty batch", post([]), "unreadable"],
    ["a batch of 51", post(Array(51).fill({ query: "{a}" })), "unreadable"],
    ["a batch in a batch", post([[{ query: "{a}" }]]), "unreadable"],
    ["10,001 tokens", post({ query: `{${"a ".repeat(10_000)}}` }), "unreadable"],
    ["201 deep", post({ query: "{a".repeat(201) + "}".repeat(201) }), "unreadable"],
    ["in the URL twice", get("query=%7Ba%7D&query=mutation%7Bb%7D"), "unreadable"],
    ["in the URL, in another spelling", get("query=%7Ba%7D&Query=mutation%7Bb%7D"), "unreadable"],
    ["in the URL, behind a semicolon", get("query=%7Ba%7D&a;query=mutation%7Bb%7D"), "unreadable"],
    ["a GET with a body", { ...post({ query: "{a}" }), method: "GET" }, "unreadable"],
  ];
  for (const [name, body, expected] of rows) await t.step(name, () => assertEquals(read(body), expected));
  await t.step("9,000 tokens, 100 deep", () => {
    assertEquals(read(post({ query: `{${"a ".repeat(9_000)}}` })), "query(a)");
    assertEquals(read(post({ query: "{a".repeat(100) + "}".repeat(100) })), "query(a)");
  });
  await t.step("operations that share fragments count them each", () => {
    const shared = (count: number) =>
      `${"{...F}".repeat(count)} fragment F on Q {${
        Array.from({ length: 999 }, (_, i) => ` f${i}`).join("")
      }}`;
    const found = readGraphql(post({ query: shared(10) })); // 1,000 selections each
    assertEquals(isUnreadable(found) ? 0 : found.length, 10);
    assertEquals(read(post({ query: shared(11) })), "unreadable");
  });
  await t.step("a MiB of anything costs little", () => {
    const before = performance.now();
    for (const unit of ["{", "#", '"', "...F ", "fragment F on Q {a} ", "\\", "(", '"""', "{a}"]) {
      read(post({ query: unit.repeat(1_000_000 / unit.length) }));
    }
    assert(performance.now() - before < 10_000);
  });
});

Deno.test("decideRequest() goes by type and fields of every operation", async (t) => {
  const rules = [makeRule("read", {
    ...{ host: HOST, paths: ["/graphql"], graphql: ["query"] },
    graphqlField: ["viewer", "repository"],
    graphqlHash: [HASH],
  })];
  const rows: readonly [string, string, string][] = [
    ["a field", "query(viewer)", "allow"],
    ["both", "query(repository,viewer)", "allow"],
    ["the one that is free", "query(__typename,viewer)", "allow"],
    ["another field", "query(secrets,viewer)", "no-rule"],
    ["introspection", "query(__schema)", "no-rule"],
    ["a mutation of that name", "mutation(viewer)", "no-rule"],
    ["one of a batch", "query(viewer)+mutation(x)", "no-rule"],
    ["a hash", `hash(${HASH})`, "allow"],
    ["another hash", `hash(${"f".repeat(64)})`, "no-rule"],
    ["no operation", "", "no-rule"],
  ];
  for (const [name, text, expected] of rows) {
    await t.step(name, () => {
      const graphql = parseGraphql(text) ?? [];
      const decision = decideRequest(rules, {
        host: HOST,
        port: 443,
        method: "POST",
        path: "/graphql",
        content: { graphql },
      });
      assertEquals(decision.verdict === "allow" ? "allow" : decision.reason, expected);
    });
  }
  await t.step("a rule that denies falls on any of them, and on what only the server has", () => {
    const denying = [
      makeRule("no", { host: HOST, deny: true, graphql: ["mutation"] }),
      makeRule("any", { host: HOST }),
    ];
    const outcome = (text: string) => {
      const content = { graphql: parseGraphql(text) ?? [] };
      const decision = decideRequest(denying, {
        host: HOST,
        port: 443,
        method: "POST",
        path: "/graphql",
        content,
      });
      return decision.verdict === "allow" ? "allow" : decision.reason;
    };
    assertEquals(
      ["query(a)", "query(a)+mutation(b)", `hash(${HASH})`, ""].map(outcome),
      ["allow", "rule-denied", "rule-denied", "allow"],
    );
  });
});

Deno.test("parseRule() refuses what is no word of GraphQL, and details without --graphql", () => {
  for (
    const input of [{ graphql: ["read"] }, { graphqlField: ["a"] }, { graphqlHash: [HASH] }, {
      graphql: ["query"],
      graphqlField: ["a b"],
    }, { graphql: ["query"], graphqlHash: ["short"] }]
  ) assertThrows(() => parseRule({ host: HOST, ...input }), ProxyError);
});

Deno.test("a URL of many parameters costs little more than finding them: each is looked at once", () => {
  const query = `query=${"&".repeat(60_000)}`;
  const least = (run: () => unknown) =>
    Math.min(...Array.from({ length: 4 }, () => {
      const before = performance.now();
      run();
      return performance.now() - before;
    }));
  const get = { method: "GET", query, types: [], bytes: new Uint8Array(0) };
  const [finding, reading] = [least(() => pairsOf(query)), least(() => readGraphql(get))];
  assert(reading < 20 * finding + 20, `${reading} ms, and ${finding} ms to find them`); // 60 times as long before
});

Deno.test("readGraphql() reads no URL whose parameters are not what they should be", async (t) => {
  const rows: readonly [string, string][] = [
    ["bytes that are no text", "query=%ff"],
    ["extensions that are no JSON", "query={a}&extensions={"],
    ["extensions that are no object", "query={a}&extensions=1"],
    ["extensions that are a list", "query={a}&extensions=[]"],
    ["extensions that are empty", "query={a}&extensions="],
  ];
  for (const [name, query] of rows) await t.step(name, () => assertEquals(read(get(query)), "unreadable"));
  await t.step("none", () => assertNotEquals(read(get("query={a}&extensions=null")), "unreadable"));
});

Deno.test("narrowGraphql() makes no rule of what only the server has", () => {
  assertEquals(narrowGraphql([{ hash: HASH }]), undefined);
  assertEquals(narrowGraphql([{ type: "query", fields: ["a", "a"] }, { hash: HASH }]), {
    graphql: ["query"],
    graphqlField: ["a"],
    graphqlHash: [HASH],
  });
});

Deno.test("parseGraphql() takes only what formatGraphql() writes", async (t) => {
  assertEquals(parseGraphql(""), []);
  assertEquals(parseGraphql("query()"), [{ type: "query", fields: [] }]);
  for (const text of ["query", "query(a", "queries(a)", "Query(a)", "query(a)+", "hash(%zz)", "query((a))"]) {
    await t.step(text, () => assertEquals(parseGraphql(text), undefined));
  }
});

Deno.test("readGraphql() knows each member by which servers find a document that they keep", async (t) => {
  for (const name of ["documentId", "id", "doc_id", "queryId", "hash", "sha256Hash"]) {
    await t.step(name, () => {
      assertEquals(read(post({ [name]: "kept-1" })), "hash(kept-1)");
      assertEquals(read(get(`${name}=kept-1`)), "hash(kept-1)");
      assertEquals(read(post({ [name]: "kept-1", [name.toUpperCase()]: "other" })), "unreadable");
      assertEquals(read(post({ query: "{a}" }, { query: `${name}=kept-1` })), "unreadable");
    });
  }
  for (const name of ["query", "operationName", "variables", "extensions"]) {
    await t.step(name, () => {
      assertEquals(read(post({ query: "{a}", [name.toUpperCase()]: null })), "unreadable");
      assertEquals(read(post({ query: "{a}" }, { query: `${name}=x` })), "unreadable");
    });
  }
  await t.step("extensions that could be taken for others", () => {
    const kept = (extensions: object) => read(post({ extensions }));
    assertEquals(kept({ persistedQuery: { sha256Hash: HASH } }), `hash(${HASH})`);
    assertEquals(
      kept({ persistedQuery: { sha256Hash: HASH }, PersistedQuery: { sha256Hash: "x" } }),
      "unreadable",
    );
    assertEquals(kept({ persistedQuery: { sha256Hash: HASH, SHA256HASH: "x" } }), "unreadable");
    assertEquals(kept({ persistedQuery: 1 }), "unreadable");
    assertEquals(kept({ persistedQuery: null }), "unreadable");
  });
});

Deno.test("readGraphql() reads what lies just inside its limits, and nothing beyond", async (t) => {
  const tokens = (count: number) => post({ query: `{${"a ".repeat(count - 2)}}` });
  const deep = (count: number, before = "") =>
    post({ query: `{ ${before} ${"a{".repeat(count - 1)} b ${"}".repeat(count)}` });
  const siblings = "a(b: 1) ".repeat(30);
  const rows: readonly [string, BodyRead, string][] = [
    ["10,000 tokens", tokens(10_000), "query(a)"],
    ["10,001 tokens", tokens(10_001), "unreadable"],
    ["a batch of 50", post(Array(50).fill({ query: "{a}" })), Array(50).fill("query(a)").join("+")],
    ["200 deep", deep(200), "query(a)"],
    ["201 deep", deep(201), "unreadable"],
    ["200 deep, behind brackets that were closed", deep(200, siblings), "query(a)"],
    [
      "brackets that close nothing",
      post({ query: `#)))\n${"{a".repeat(200)}${"}".repeat(200)}` }),
      "query(a)",
    ],
    ["a GET with a byte", { ...get("query=%7Ba%7D"), bytes: Uint8Array.of(0x20) }, "unreadable"],
    ["an id, and null for the document", post({ id: "kept-1", query: null }), "hash(kept-1)"],
    ["an id, and no text as the document", post({ id: "kept-1", query: "" }), "hash(kept-1)"],
    ["an id that is no text", post({ id: 5 }), "unreadable"],
    ["an id that is no text beside a document", post({ query: "{a}", id: 5 }), "unreadable"],
    ["variables in the URL", get("query=%7Ba%7D&variables=%7B%7D"), "query(a)"],
    ["variables in the URL twice", get("query=%7Ba%7D&variables=1&variables=2"), "unreadable"],
  ];
  for (const [name, body, expected] of rows) await t.step(name, () => assertEquals(read(body), expected));
  const why = (body: BodyRead) => {
    const found = readGraphql(body);
    return isUnreadable(found) ? found.why : "";
  };
  await t.step("why", () => {
    const tooDeep = "its document is nested too deeply";
    assertEquals(why(deep(201)), tooDeep);
    assertEquals(why(deep(201, siblings)), tooDeep);
    assertEquals(why(post({ query: `#)))\n${"{".repeat(201)}` })), tooDeep);
    assertEquals(why(post({ query: `#${"()".repeat(300)}` })), "its document is no GraphQL, or too long");
  });
});
