import { assertEquals } from "@std/assert";
import { parseRule, type RuleInput } from "../../../../policy/rule.ts";
import {
  type Asked,
  asksOf,
  judgeConditions,
  mayAsk,
  mayRead,
  missedConditions,
  narrowConditions,
  readsOf,
} from "../../../../policy/words/conditions.ts";

const rule = (more: Partial<RuleInput>) => parseRule({ host: "a.test", ...more });
const asked = (method: string, path: string, more: Partial<Asked> = {}): Asked => ({
  ...{ host: "a.test", method, path },
  ...more,
});
const BATCH = asked("POST", "/a/b/info/lfs/objects/batch");
const REFS = asked("GET", "/a/b/info/refs");

Deno.test("rules say by their words what they look at beside the head of a request", async (t) => {
  const rows: readonly [string, Partial<RuleInput>, { readonly asks: boolean; readonly reads: boolean }][] = [
    ["nothing", {}, { asks: false, reads: false }],
    ["how requests are sent", { http1: true }, { asks: false, reads: false }],
    ["query", { query: ["a=1"] }, { asks: true, reads: false }],
    ["grpc", { grpc: ["a.B/C"] }, { asks: false, reads: false }],
    ["git", { git: "write" }, { asks: true, reads: true }],
    ["graphql", { graphql: ["query"] }, { asks: false, reads: true }],
    ["mcp_tool", { mcpTool: ["a"] }, { asks: false, reads: true }],
    ["mcp_method", { mcpMethod: ["a"] }, { asks: false, reads: true }],
  ];
  for (const [name, words, { asks, reads }] of rows) {
    await t.step(name, () => assertEquals([mayAsk(rule(words)), mayRead(rule(words))], [asks, reads]));
  }
});

Deno.test("asksOf() and readsOf() name what a request has to be known by", async (t) => {
  const rows: readonly [string, Partial<RuleInput>, Asked, readonly string[], readonly string[]][] = [
    ["parameters", { query: ["a=1", "b=2"] }, REFS, ["a", "b"], []],
    ["the first request of git", { git: "read" }, REFS, ["service"], []],
    ["another of git's", { git: "read" }, asked("POST", "/a/b/git-upload-pack"), [], []],
    ["a batch, to read", { git: "read" }, BATCH, [], ["lfs"]],
    ["a batch, to write", { git: "write" }, BATCH, [], []],
    ["a batch, to deny writing", { git: "write", deny: true }, BATCH, [], ["lfs"]],
    ["GraphQL", { graphql: ["query"] }, asked("POST", "/"), [], ["graphql"]],
    ["MCP, both words", { mcpTool: ["a"], mcpMethod: ["b"] }, asked("POST", "/"), [], ["mcp", "mcp"]],
    ["a gRPC call", { grpc: ["a.B/C"] }, asked("POST", "/a.B/C"), [], []],
  ];
  for (const [name, words, request, asks, reads] of rows) {
    await t.step(name, () => {
      assertEquals([asksOf(rule(words), request), readsOf(rule(words), request)], [asks, reads as never]);
    });
  }
});

Deno.test("narrowConditions() puts what was asked in the place of conditions that do not hold, and of no others", async (t) => {
  const rows: readonly [string, Partial<RuleInput>, Asked, ReturnType<typeof narrowConditions>][] = [
    ["all hold", { query: ["a=1"] }, asked("GET", "/", { query: "a=1" }), {}],
    ["another value", { query: ["a=1"] }, asked("GET", "/", { query: "a=2&b=3" }), { query: ["a=2"] }],
    ["another call", { grpc: ["a.B/C"] }, asked("POST", "/a.B/D"), { grpc: ["a.B/D"] }],
    ["no call", { grpc: ["a.B/C"] }, asked("GET", "/a.B/D"), { grpc: undefined }],
    ["to write", { git: "read" }, asked("POST", "/a/b/git-receive-pack"), { git: "write", repo: ["a/b"] }],
    [
      "one of two",
      { query: ["a=1"], git: "read" },
      asked("POST", "/a/b/git-receive-pack", { query: "a=1" }),
      { git: "write", repo: ["a/b"] },
    ],
    ["nothing of git's", { git: "read" }, asked("GET", "/x"), {}],
    [
      "another operation",
      { graphql: ["query"] },
      asked("POST", "/", { content: { graphql: [{ type: "mutation", fields: ["a"] }] } }),
      { graphql: ["mutation"], graphqlField: ["a"] },
    ],
    [
      "another tool",
      { mcpTool: ["a"] },
      asked("POST", "/", { content: { mcp: [{ method: "tools/call", tool: "b" }] } }),
      { mcpTool: ["b"] },
    ],
    ["a body that was not read", { mcpTool: ["a"] }, asked("POST", "/"), {}],
  ];
  for (const [name, words, request, expected] of rows) {
    await t.step(name, () => assertEquals(narrowConditions(rule(words), request), expected));
  }
});

Deno.test("missedConditions() says in words what conditions want", async (t) => {
  const rows: readonly [string, Partial<RuleInput>, Asked, readonly string[]][] = [
    ["all hold", { query: ["a=1"] }, asked("GET", "/", { query: "a=1" }), []],
    ["query", { query: ["a=1", "a=2"] }, asked("GET", "/"), [
      "the query: it wants a=1 or a=2, and of the same name nothing else",
    ]],
    ["grpc", { grpc: ["a.B/C", "a.B/D"] }, asked("GET", "/"), [
      "the gRPC method: it wants a.B/C or a.B/D",
    ]],
    ["git", { git: "read" }, asked("GET", "/"), ["what git asks: it allows to read any repository"]],
    ["git and repo", { git: "write", repo: ["a/b", "c/*"] }, asked("GET", "/"), [
      "what git asks: it allows to write a/b, c/*",
    ]],
    ["graphql", { graphql: ["query", "mutation"] }, asked("GET", "/"), [
      "what GraphQL asks: it wants mutation or query",
    ]],
    ["graphql_field", { graphql: ["query"], graphqlField: ["a", "b"] }, asked("GET", "/"), [
      "what GraphQL asks: it wants query of a, b alone",
    ]],
    ["both words of MCP are one", { mcpTool: ["a", "b"], mcpMethod: ["c", "d"] }, asked("POST", "/"), [
      "what is asked over MCP: it wants tools a, b or methods c, d",
    ]],
    ["mcp_method", { mcpMethod: ["c"] }, asked("POST", "/"), [
      "what is asked over MCP: it wants methods c",
    ]],
  ];
  for (const [name, words, request, expected] of rows) {
    await t.step(name, () => assertEquals(missedConditions(rule(words), request), expected));
  }
});

Deno.test("judgeConditions() goes by what is not covered before what cannot be read", () => {
  const both = rule({ query: ["a=1"], graphql: ["query"] });
  const unread = { reason: "body-unreadable", why: "its body was not read" } as const;
  assertEquals(judgeConditions(both, asked("POST", "/", { query: "a=1" })), unread);
  assertEquals(judgeConditions(both, asked("POST", "/", { query: "a=2" })), false);
  assertEquals(judgeConditions(rule({ git: "read" }), BATCH), unread);
  assertEquals(judgeConditions(rule({ git: "write" }), BATCH), true);
  assertEquals(judgeConditions(rule({}), asked("GET", "/")), true);
});
