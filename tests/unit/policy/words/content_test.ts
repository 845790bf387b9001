import { assertEquals } from "@std/assert";
import { type BodyRead, isUnreadable, unreadable } from "../../../../policy/words/body_text.ts";
import { readContent } from "../../../../policy/words/content.ts";
import { formatGraphql } from "../../../../policy/words/graphql_words.ts";

function post(text: string): BodyRead {
  const bytes = new TextEncoder().encode(text);
  return { method: "POST", query: undefined, types: ["application/json"], bytes };
}

Deno.test("readContent() reads a body in each way that is wanted, and in no other", () => {
  assertEquals(readContent([], post("{}")), {});
  assertEquals(readContent(["lfs"], post('{"operation":"upload","objects":[]}')), { lfs: "upload" });
  const { graphql, mcp, ...none } = readContent(["graphql", "mcp"], post('{"query":"{ viewer { login } }"}'));
  assertEquals(
    [graphql && !isUnreadable(graphql) && formatGraphql(graphql), none],
    ["query(viewer)", {}] as unknown[],
  );
  assertEquals(isUnreadable(mcp), true, "what is GraphQL is no MCP");
});

Deno.test("readContent() says of each kind why a body cannot be read", () => {
  const why = unreadable("it is too large");
  assertEquals(readContent(["lfs", "graphql", "mcp"], why), { lfs: why, graphql: why, mcp: why });
});
