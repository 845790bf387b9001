import { assertEquals } from "@std/assert";
import type { DeniedRequest } from "../../../../policy/denial_remedy.ts";
import type { McpMessage } from "../../../../policy/words/mcp.ts";
import { suggestWords } from "../../../../policy/words/suggest_words.ts";

function request(line: string, more: Partial<DeniedRequest> = {}): DeniedRequest {
  const [method = "", target = ""] = line.split(" ");
  const [path = "", query] = target.split("?");
  return {
    ...{ method, host: "a.test", port: 443, path, query, reason: "no-rule", count: 1, lastMs: 0 },
    ...more,
  };
}

const refs = (repo: string, service: string, more: Partial<DeniedRequest> = {}) =>
  request(`GET /${repo}/info/refs?service=git-${service}-pack`, more);

const sent = (mcp: readonly McpMessage[], more: Partial<DeniedRequest> = {}) =>
  request("POST /mcp", { content: { mcp }, ...more });
const call = (tool: string): McpMessage => ({ method: "tools/call", tool });

/** Rules as one line each. */
function proposed(...requests: readonly DeniedRequest[]): readonly string[] {
  return suggestWords(requests).proposals.map((
    { rule: { host, ports, paths, git, repo, mcpTool, mcpMethod } },
  ) =>
    [host, ports, paths, git, repo, mcpTool, mcpMethod].map((each) => String(each ?? "")).filter((each) =>
      each !== ""
    )
      .join(" ")
  );
}

Deno.test("suggestWords() makes one rule of what git reads at a place, and one of what it writes", async (t) => {
  const rows: readonly [string, readonly DeniedRequest[], ...string[]][] = [
    ["a clone", [refs("acme/web.git", "upload")], "a.test read acme/web"],
    ["two of them", [refs("b", "upload"), refs("a", "upload"), refs("a", "upload")], "a.test read a,b"],
    ["a push", [refs("a", "receive")], "a.test write a"],
    ["a push behind a clone", [refs("a", "upload"), refs("a", "receive")], "a.test write a"],
    ["a clone behind a push", [refs("a", "receive"), refs("a", "upload")], "a.test write a"],
    [
      "a clone, and a push of another",
      [refs("a", "receive"), refs("b", "upload")],
      "a.test read b",
      "a.test write a",
    ],
    [
      "the usual ports are one place",
      [refs("a", "upload"), refs("b", "upload", { port: 80 })],
      "a.test read a,b",
    ],
    [
      "another port",
      [refs("a", "upload"), refs("b", "upload", { port: 8443 })],
      "a.test read a",
      "a.test 8443 read b",
    ],
    [
      "another host",
      [refs("a", "upload"), refs("b", "upload", { host: "b.test" })],
      "a.test read a",
      "b.test read b",
    ],
    ["the second request of a clone", [request("POST /a/git-upload-pack")], "a.test read a"],
    ["the second request of a push", [request("POST /a/git-receive-pack")], "a.test write a"],
  ];
  for (const [name, requests, ...rules] of rows) {
    await t.step(name, () => {
      assertEquals(proposed(...requests), rules);
      assertEquals(suggestWords(requests).rest, []);
    });
  }
});

Deno.test("suggestWords() leaves what is not unmistakably git's or MCP's to others", async (t) => {
  const rows: readonly [string, DeniedRequest][] = [
    ["a path alone", request("GET /a/info/refs")],
    ["a service that is unclear", refs("a", "other")],
    ["two services", request("GET /a/info/refs?service=git-upload-pack&service=git-receive-pack")],
    ["an archive", request("GET /acme/web/archive/main.zip")],
    ["a file of the dumb protocol", request("GET /acme/web/HEAD")],
    ["a batch of git-lfs", request("POST /a/info/lfs/objects/batch")],
    ["a name that no rule can have", refs("a/../b", "upload")],
    ["MCP without POST", sent([{ method: "-stream" }], { method: "GET" })],
    [
      "a body that could not be read",
      request("POST /mcp", { content: { mcp: { reason: "body-unreadable", why: "" } } }),
    ],
    ["no body", request("POST /mcp")],
  ];
  for (const [name, each] of rows) {
    await t.step(name, () => {
      const { proposals, rest, unsaid } = suggestWords([each]);
      assertEquals([proposals, rest, unsaid.size], [[], [each], 0]);
    });
  }
});

Deno.test("suggestWords() says what the second request of git will be", () => {
  const implied = (service: string) =>
    suggestWords([refs("acme/web.git", service)]).proposals.map((each) => each.implied);
  const after = "/acme/web.git/info/refs";
  assertEquals(implied("upload"), [[{
    method: "POST",
    by: "git",
    after,
    path: "/acme/web/git-upload-pack",
  }]]);
  assertEquals(implied("receive"), [[{
    method: "POST",
    by: "git",
    after,
    path: "/acme/web/git-receive-pack",
  }]]);
});

Deno.test("suggestWords() lists 50 repositories in a rule", () => {
  const repos = Array.from({ length: 51 }, (_, i) => refs(`r${i + 10}`, "upload"));
  const known = refs("r10", "receive");
  const { proposals, rest } = suggestWords([...repos, known]);
  assertEquals(proposals.map(({ rule }) => [rule.git, rule.repo?.length]), [["read", 49], ["write", 1]]);
  assertEquals(rest, repos.slice(50));
});

Deno.test("suggestWords() makes one rule of what is sent to an MCP server at one path", async (t) => {
  const rows: readonly [string, readonly DeniedRequest[], ...string[]][] = [
    ["a tool", [sent([call("a")])], "a.test /mcp a"],
    [
      "tools and methods",
      [sent([call("b")]), sent([call("a"), { method: "prompts/get" }])],
      "a.test /mcp a,b prompts/get",
    ],
    ["only how a session begins", [sent([{ method: "initialize" }])], "a.test /mcp tools/list"],
    ["another path", [sent([call("a")]), sent([call("b")], { path: "/x" })], "a.test /mcp a", "a.test /x b"],
    [
      "another host",
      [sent([call("a")]), sent([call("b")], { host: "b.test" })],
      "a.test /mcp a",
      "b.test /mcp b",
    ],
    ["another port", [sent([call("a")]), sent([call("b")], { port: 1 })], "a.test /mcp a", "a.test 1 /mcp b"],
    ["behind git", [sent([call("a")]), refs("r", "upload")], "a.test read r", "a.test /mcp a"],
  ];
  for (const [name, requests, ...rules] of rows) {
    await t.step(name, () => {
      const { rest, unsaid } = suggestWords(requests);
      assertEquals([proposed(...requests), rest, unsaid.size], [rules, [], 0]);
    });
  }
});

Deno.test("suggestWords() says why no word is for a message", () => {
  const untypable = sent([call("a,b")]);
  const elsewhere = sent([call("a")], { path: "/a b" });
  const full = sent(Array.from({ length: 99 }, (_, i) => call(`t${i}`)));
  const [last, more] = [sent([call("x")]), sent([call("y")])];
  const { proposals, rest, unsaid } = suggestWords([untypable, elsewhere, full, last, more]);
  assertEquals(proposals.map(({ rule }) => rule.mcpTool?.length), [100]);
  assertEquals(rest, []);
  assertEquals([...unsaid], [
    [untypable, "a tool or method of MCP in it has a name that no rule can be written for"],
    [elsewhere, "a tool or method of MCP in it has a name that no rule can be written for"],
    [more, "one rule would list too many tools and methods of MCP: add the proposed one, then suggest again"],
  ]);
});
