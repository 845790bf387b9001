import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { describeAsked, parseAsked, reportVerdict } from "../../../policy/verdict_report.ts";
import type { Rule } from "../../../policy/rule.ts";
import { makeRule } from "../../support/make_rule.ts";

Deno.test("parseAsked() keeps the path as it is written", async (t) => {
  const rows: readonly [string, string, string][] = [
    ["get", "https://API.example.com", "GET https://api.example.com:443/"],
    ["GET", "https://api.example.com/a/../b?x=1#y", "GET https://api.example.com:443/a/../b"],
    ["POST", "http://api.example.com:8080/v1", "POST http://api.example.com:8080/v1"],
    ["GET", "http://[2001:db8::1]/x", "GET http://[2001:db8::1]:80/x"],
    ["GET", "HTTPS://bücher.example/", "GET https://xn--bcher-kva.example:443/"],
  ];
  for (const [method, url, expected] of rows) {
    await t.step(url, () => assertEquals(describeAsked(parseAsked(method, url)), expected));
  }
  assertEquals(parseAsked("GET", "https://a.test/x?a=1&b#c").query, "a=1&b");
  assertEquals(parseAsked("GET", "https://a.test/x?").query, "");
  assertEquals(Object.hasOwn(parseAsked("GET", "https://a.test/x"), "query"), false);
  for (const url of ["https://:443/x", "a.test", "https://a.test:x/"]) {
    assertThrows(() => parseAsked("GET", url), ProxyError, "Cannot read the URL");
  }
  for (
    const [method, url] of [
      ["GET", "api.example.com/v1"],
      ["GET", "ftp://a.test/"],
      ["GET", "https://user:pw@a.test/"],
      ["GET", "https://*.a.test/"],
      ["GET", "https://a.test:0/"],
      ["GET", "https://a.test:99999/"],
      ["GET", "https:///x"],
      ["--x", "https://a.test/"],
      ["G T", "https://a.test/"],
    ] as const
  ) {
    await t.step(
      `refuses ${method} ${url}`,
      () => void assertThrows(() => parseAsked(method, url), ProxyError),
    );
  }
});

Deno.test("reportVerdict() names the rule that decides and what the others miss", () => {
  const rules = [
    makeRule("admin", { host: "*.example.com", paths: ["/admin/*"], deny: true }),
    makeRule("get", { host: "api.example.com", methods: ["GET"], paths: ["/v1/*"] }),
    makeRule("db", { host: "db.example.com", passthrough: true, ports: [443] }),
    makeRule("any", { host: "api.example.com" }),
  ];
  const ask = (method: string, url: string) => reportVerdict("ci-1", rules, parseAsked(method, url));
  const allowed = ask("GET", "https://api.example.com/v1/x");
  assertEquals([allowed.verdict, allowed.place], ["allow", 2]);
  assertEquals(allowed.rules.map(({ missed }) => missed), [
    ["path"],
    [],
    ["host"],
    [],
  ]);
  const denied = ask("GET", "https://api.example.com/admin/x");
  assertEquals([denied.verdict, denied.reason, denied.place], ["deny", "rule-denied", 1]);
  assertStringIncludes(
    denied.explanation?.text ?? "",
    "Its deny rule for *.example.com path /admin/* says so.",
  );
  assertEquals(denied.explanation?.command, undefined);
  const unknown = ask("GET", "https://evil.test/");
  assertEquals([unknown.verdict, unknown.reason, unknown.place], ["deny", "no-rule", undefined]);
  const tunnel = ask("GET", "https://db.example.com/");
  // The deny rule before it has the tunnel inspected.
  assertEquals([tunnel.verdict, tunnel.place], ["allow", 3]);
  assertEquals(
    reportVerdict("ci-1", rules.slice(2), parseAsked("GET", "https://db.example.com/x")).verdict,
    "passthrough",
  );
});

Deno.test("reportVerdict() says that a rule asks about a body, which no URL tells", async (t) => {
  const place = { host: "api.example.com", paths: ["/x/*"] };
  const rows: readonly [string, Rule, string][] = [
    ["GraphQL", makeRule("g", { ...place, graphql: ["query"] }), "what GraphQL asks: it wants query"],
    ["MCP", makeRule("m", { ...place, mcpTool: ["a"] }), "what is asked over MCP: it wants tools a"],
    ["git-lfs", makeRule("l", { ...place, git: "read" }), "what git asks: it allows to read any repository"],
    [
      "deny",
      makeRule("d", { ...place, mcpTool: ["a"], deny: true }),
      "what is asked over MCP: it wants tools a",
    ],
  ];
  const before = makeRule("before", { host: "api.example.com", paths: ["/v1"] });
  const after = makeRule("after", { host: "api.example.com" });
  for (const [name, rule, wants] of rows) {
    await t.step(name, () => {
      const asked = parseAsked("POST", "https://api.example.com/x/y/info/lfs/objects/batch");
      const report = reportVerdict("ci-1", [before, rule, after], asked);
      assertEquals([report.verdict, report.reason, report.place], ["deny", "body-unreadable", 2]);
      assertEquals(
        report.explanation?.text,
        `The URL does not tell whether this is allowed: rule 2 asks about the body, for ${wants}.`,
      );
    });
  }
});

Deno.test("reportVerdict() says that a person is asked first", () => {
  const asked = parseAsked("GET", "https://api.example.com/v1");
  const [asks, plain] = [true, undefined].map((ask) => {
    const rule = makeRule("r", { host: "api.example.com", ...(ask ? { ask } : {}) });
    return reportVerdict("ci-1", [rule], asked);
  });
  assertEquals([asks?.verdict, asks?.asks, plain?.verdict, plain?.asks], ["allow", true, "allow", undefined]);
});
