import { assertEquals } from "@std/assert";
import type { Rule } from "../../../../policy/rule.ts";
import type { Content } from "../../../../policy/words/conditions.ts";
import { formatSays, parseSays, queryOf } from "../../../../policy/words/says.ts";
import { makeRule } from "../../../support/make_rule.ts";

const HOST = "a.test";
const PLAIN = makeRule("plain", { host: HOST });
const PAGE = makeRule("page", { host: HOST, query: ["page=1", "page=2", "star=*"] });
const GIT = makeRule("git", { host: HOST, git: "read" });

Deno.test("formatSays() writes what rules ask about, and whether git reads or writes", async (t) => {
  const asked = (path: string, query?: string, content?: Content) => ({
    ...{ host: HOST, method: "GET", path, query },
    ...(content ? { content } : {}),
  });
  const rows: readonly [string, readonly Rule[], ReturnType<typeof asked>, string | undefined][] = [
    ["nothing", [], asked("/x", "token=SECRET"), undefined],
    ["rules without conditions", [PLAIN], asked("/x", "token=SECRET"), undefined],
    ["a rule that asks about another path", [GIT], asked("/x", "service=git-upload-pack"), undefined],
    ["values of rules", [PAGE], asked("/x", "page=2&star=a"), "query:page=2 query:star=*"],
    ["none", [PAGE], asked("/x"), "query:page query:star"],
    ["a star itself", [PAGE], asked("/x", "star=*"), "query:page query:star=%2A"],
    [
      "git, without rules",
      [],
      asked("/r/info/refs", "service=git-upload-pack"),
      "query:service=git-upload-pack",
    ],
    [
      "git that writes",
      [],
      asked("/r/info/refs", "service=git-receive-pack"),
      "query:service=git-receive-pack",
    ],
    ["another service", [], asked("/r/info/refs", "service=SECRET"), "query:service=*"],
    ["git without a service", [PLAIN], asked("/r/info/refs"), "query:service"],
    [
      "git under a rule for it",
      [GIT],
      asked("/r/info/refs", "service=git-upload-pack"),
      "query:service=git-upload-pack",
    ],
    ["a body, without rules", [], asked("/x", undefined, { lfs: "upload" }), "lfs:upload"],
    [
      "bodies of all kinds",
      [PLAIN],
      asked("/x", undefined, {
        lfs: "download",
        graphql: [{ type: "query", fields: ["a"] }],
        mcp: [{ method: "tools/call", tool: "b" }],
      }),
      "lfs:download graphql:query(a) mcp:tools/call(b)",
    ],
    [
      "a body that could not be read",
      [],
      asked("/x", undefined, { mcp: { reason: "body-encoding", why: "it is compressed" } }),
      "mcp:!body-encoding",
    ],
  ];
  for (const [name, rules, request, expected] of rows) {
    await t.step(name, () => assertEquals(formatSays(rules, request), expected));
  }
});

Deno.test("parseSays() reads it back, and leaves out what it does not know", async (t) => {
  const rows: readonly [string, Content][] = [
    ["lfs:upload", { lfs: "upload" }],
    ["lfs:download graphql:query(a) mcp:ping", {
      ...{ lfs: "download", graphql: [{ type: "query", fields: ["a"] }], mcp: [{ method: "ping" }] },
    }],
    ["mcp:!body-encoding", {
      mcp: {
        reason: "body-encoding",
        why:
          "a rule says what the body has to be about, and it is compressed in a way that the proxy does not read",
      },
    }],
    ["mcpx other:ping toString:x queryx", {}],
    ["", {}],
  ];
  for (const [text, content] of rows) {
    await t.step(text, () => assertEquals(parseSays(text).content, content));
  }
});

Deno.test("queryOf() makes a query of what was said, unless that is not enough", async (t) => {
  const rows: readonly [string, readonly string[], ReturnType<typeof queryOf>][] = [
    ["query:a=1", ["a"], { query: "a=1" }],
    ["query:a=1 query:b", ["a", "b"], { query: "a=1" }],
    ["query:a", ["a"], { query: undefined }],
    ["query:a=*", ["a"], { query: "a=%00" }],
    ["query:a=%2A", ["a"], { query: "a=*" }],
    ["query:a=1", ["a", "b"], undefined],
    ["other:a=1", ["a"], undefined],
    ["a=1", ["a"], undefined],
    ["queryx", ["x"], undefined],
    ["", [], { query: undefined }],
  ];
  for (const [says, names, expected] of rows) {
    await t.step(`${says} for ${names}`, () => assertEquals(queryOf(parseSays(says), names), expected));
  }
});
