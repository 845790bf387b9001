import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { decideRequest } from "../../../../policy/decide.ts";
import { explainDenial } from "../../../../policy/explain.ts";
import { isUnreadable } from "../../../../policy/words/body_text.ts";
import type { BodyRead } from "../../../../policy/words/body_text.ts";
import { formatMcp, narrowMcp, parseMcp, parseMcpName, readMcp } from "../../../../policy/words/mcp.ts";
import { formatSays, parseSays } from "../../../../policy/words/says.ts";
import { makeRule } from "../../../support/make_rule.ts";

const HOST = "mcp.example.com";

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

const call = (name: unknown, more: object = {}) => ({
  jsonrpc: "2.0",
  id: 1,
  method: "tools/call",
  params: { name },
  ...more,
});
const message = (method: unknown, more: object = {}) => ({ jsonrpc: "2.0", id: 1, method, ...more });

/** As the log has it, or `unreadable`. */
function read(body: BodyRead): string {
  const found = readMcp(body);
  return isUnreadable(found) ? "unreadable" : formatMcp(found);
}

Deno.test("readMcp() finds methods and tools", async (t) => {
  const bodyless = (method: string) => ({ ...post(""), method });
  const rows: readonly [string, BodyRead, string][] = [
    ["a call", post(call("read_file")), "tools/call(read_file)"],
    ["another method", post(message("resources/read", { params: { uri: "x" } })), "resources/read"],
    [
      "a notification",
      post({ jsonrpc: "2.0", method: "notifications/initialized" }),
      "notifications/initialized",
    ],
    ["an answer to the server", post({ jsonrpc: "2.0", id: 1, result: {} }), "-response"],
    ["an error to the server", post({ jsonrpc: "2.0", id: 1, error: { code: 1 } }), "-response"],
    ["a batch", post([message("ping"), call("x")]), "ping+tools/call(x)"],
    ["a stream", bodyless("GET"), "-stream"],
    ["the end of a session", bodyless("DELETE"), "-end"],
    ["another method of HTTP", bodyless("PUT"), "-other"],
    ["UTF-8", post(call("x"), { types: ["application/json; charset=utf-8"] }), "tools/call(x)"],
    ["a name with marks", post(call("a(b)+c")), "tools/call(a%28b%29%2Bc)"],
    [
      "a name in the arguments",
      post(call("x", { params: { name: "x", arguments: { name: "y" } } })),
      "tools/call(x)",
    ],

    ["a method twice", post('{"jsonrpc":"2.0","method":"ping","method":"tools/call"}'), "unreadable"],
    ["a method in another case", post(message("ping", { Method: "tools/call" })), "unreadable"],
    [
      "a tool twice",
      post('{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a","name":"b"}}'),
      "unreadable",
    ],
    ["a tool in another case", post(call("x", { params: { name: "a", NAME: "b" } })), "unreadable"],
    ["params in another case", post(call("x", { Params: { name: "b" } })), "unreadable"],
    ["a method beside an answer", post(message("ping", { result: {} })), "unreadable"],
    ...["jsonrpc", "id", "method", "params", "result", "error"].map((name): [string, BodyRead, string] => [
      `${name} beside one in capitals`,
      post(message("ping", { [name.toUpperCase()]: "x" })),
      "unreadable",
    ]),
    ["a batch of 100", post(Array(100).fill(message("ping"))), Array(100).fill("ping").join("+")],
    ["no method", post({ jsonrpc: "2.0", id: 1 }), "unreadable"],
    ["a method that is none", post(message(["tools/call"])), "unreadable"],
    ["a method of ours", post(message("-stream")), "unreadable"],
    ["a method with a blank", post(message("tools/call ")), "unreadable"],
    ["no tool", post(message("tools/call")), "unreadable"],
    ["a tool that is none", post(call({ x: 1 })), "unreadable"],
    ["a tool with a line break", post(call("read_\nx")), "unreadable"],
    ["a tool with NUL", post(call("read_x\0")), "unreadable"],
    ["a tool beyond ASCII", post(call("read_\u00e9")), "unreadable"],
    ["another version", post({ ...call("x"), jsonrpc: "1.0" }), "unreadable"],
    ["an empty batch", post([]), "unreadable"],
    ["a batch of 101", post(Array(101).fill(message("ping"))), "unreadable"],
    ["a batch in a batch", post([[call("x")]]), "unreadable"],
    ["another media type", post(call("x"), { types: ["text/plain"] }), "unreadable"],
    ["no JSON", post("x"), "unreadable"],
    ["a GET with a byte", { ...post(" "), method: "GET" }, "unreadable"],
    ["a GET with a body", { ...post(call("x")), method: "GET" }, "unreadable"],
  ];
  for (const [name, body, expected] of rows) {
    await t.step(name, () => {
      const text = read(body);
      assertEquals(text, expected);
      if (text !== "unreadable") assertEquals(formatMcp(parseMcp(text) ?? []), text);
    });
  }
});

Deno.test("decideRequest() goes by every message", async (t) => {
  const tools = makeRule("tools", { host: HOST, mcpTool: ["read_*", "search"] });
  const methods = makeRule("methods", { host: HOST, mcpMethod: ["resources/*", "tools/list"] });
  const both = makeRule("both", { host: HOST, mcpTool: ["search"], mcpMethod: ["*"] });
  const deny = makeRule("deny", { host: HOST, deny: true, mcpTool: ["delete_*"] });
  const any = makeRule("any", { host: HOST });
  const rows: readonly [string, readonly (typeof tools)[], string, string][] = [
    ["a tool", [tools], "tools/call(search)", "tools"],
    ["a tool by its beginning", [tools], "tools/call(read_file)", "tools"],
    ["less than the beginning", [tools], "tools/call(read)", "no-rule"],
    ["another tool", [tools], "tools/call(write_file)", "no-rule"],
    ["what goes on behind a name", [tools], "tools/call(searching)", "no-rule"],
    ["the list", [tools], "tools/list", "tools"],
    ["what a session needs", [tools], "initialize+notifications/initialized+ping+-response", "tools"],
    ["its stream", [tools], "-stream", "tools"],
    ["its end", [tools], "-end", "tools"],
    ["another method", [tools], "resources/read", "no-rule"],
    ["another method of HTTP", [tools], "-other", "no-rule"],
    ["one of a batch", [tools], "tools/call(search)+tools/call(write)", "no-rule"],
    ["methods", [methods], "resources/read", "methods"],
    ["methods without calls", [methods], "tools/call(x)", "no-rule"],
    ["any method, but one tool", [both], "tools/call(x)", "no-rule"],
    ["any method", [both], "prompts/get", "both"],
    ["any method is none of HTTP", [both], "-other", "no-rule"],
    ["denied", [deny, any], "tools/call(delete_all)", "rule-denied"],
    ["denied in a batch", [deny, any], "ping+tools/call(delete_all)", "rule-denied"],
    ["not denied", [deny, any], "tools/call(read)", "any"],
  ];
  for (const [name, rules, text, expected] of rows) {
    await t.step(name, () => {
      const content = { mcp: parseMcp(text) ?? [] };
      const decision = decideRequest(rules, { host: HOST, port: 443, method: "POST", path: "/mcp", content });
      assertEquals(decision.verdict === "allow" ? decision.rule.id : decision.reason, expected);
    });
  }
  await t.step("explained, with the rule for it, and kept for the log", () => {
    const content = { mcp: [{ method: "tools/call", tool: "write" }] };
    const target = { host: HOST, port: 443, method: "POST", path: "/mcp", content };
    const { text, command } = explainDenial({ client: "ci-1", ...target }, "no-rule", [tools]);
    assert(text.includes("it wants tools read_*, search."), text);
    assertEquals(
      command,
      `slicer-proxy allow ci-1 --host ${HOST} --method POST --path /mcp --mcp-tool write`,
    );
    const says = formatSays([tools], target);
    assertEquals(says, "mcp:tools/call(write)");
    assertEquals(parseSays(says ?? "").content, content);
  });
});

Deno.test("parseMcpName() takes names and beginnings", () => {
  assertEquals(["read_file", "read_*", "*", "tools/list"].map(parseMcpName), [
    "read_file",
    "read_*",
    "*",
    "tools/list",
  ]);
  for (const text of ["", "a b", "*x", "a*b", "a,b", "-stream", "é"]) {
    assertThrows(() => parseMcpName(text), ProxyError);
  }
});

Deno.test("parseMcp() and parseSays() take only what was written for them", async (t) => {
  for (const text of ["", "+", "a+", "()", "a()", "a(b", "a(b)c"]) {
    await t.step(`mcp ${text}`, () => assertEquals(parseMcp(text), undefined));
  }
  await t.step("operations of git-lfs", () => {
    assertEquals(parseSays("lfs:download").content, { lfs: "download" });
    assertEquals(parseSays("lfs:upload").content, { lfs: "upload" });
    assertEquals(parseSays("lfs:delete").content.lfs, undefined);
  });
  await t.step("reasons", () => {
    assertEquals(parseSays("mcp:!no-such-reason").content.mcp, undefined);
    assertEquals(parseSays("mcp").content, {});
  });
});

Deno.test("a rule for tools admits what every session needs, and nothing else beside its tools", () => {
  const rules = [makeRule("tools", { host: HOST, mcpTool: ["read_*"] })];
  const free = [
    ...[
      "initialize",
      "ping",
      "-response",
      "-stream",
      "-end",
      "notifications/initialized",
      "notifications/cancelled",
    ],
    ...["notifications/progress", "notifications/roots/list_changed"],
  ];
  const verdictOf = (text: string) =>
    decideRequest(rules, {
      host: HOST,
      port: 443,
      method: "POST",
      path: "/mcp",
      content: { mcp: parseMcp(text) ?? [] },
    })
      .verdict;
  for (const method of free) assertEquals(verdictOf(method), "allow", method);
  for (const method of ["-other", "notifications/x", "resources/read", "tools/call(write)"]) {
    assertEquals(verdictOf(method), "deny", method);
  }
});

Deno.test("narrowMcp() names each tool and method once, and none that would be a pattern", () => {
  assertEquals(
    narrowMcp(parseMcp("ping+a+a+b%2A+tools/call(x)+tools/call(x)+tools/call(y%2A)+-other") ?? []),
    {
      mcpTool: ["x"],
      mcpMethod: ["a"],
    },
  );
  assertEquals(narrowMcp(parseMcp("initialize+-stream") ?? []), {});
});
