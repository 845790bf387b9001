import { assertEquals } from "@std/assert";
import { allowArguments, canBeTyped } from "../../../policy/allow_command.ts";
import { parseRule, type RuleInput } from "../../../policy/rule.ts";

Deno.test("allowArguments() writes everything that a rule says, each value behind its own flag", async (t) => {
  const rows: readonly (readonly [string, RuleInput])[] = [
    ["allow ci --host a.test", { host: "a.test" }],
    ["allow ci --host a.test --port 80 --port 8443", { host: "a.test", ports: [8443, 80] }],
    [
      "allow ci --host a.test --method GET --method PUT --path /a --path /b/* --secret s",
      { host: "a.test", methods: ["put", "get"], paths: ["/b/*", "/a"], secret: "s" },
    ],
    ["allow ci --host a.test --passthrough", { host: "a.test", passthrough: true }],
    [
      "allow ci --host a.test --ask --ask-timeout 90s --http1 --git read --repo a/b --repo c/*",
      { host: "a.test", ask: true, askTimeoutMs: 90_000, http1: true, git: "read", repo: ["c/*", "a/b"] },
    ],
    ["deny ci --host a.test --path /a", { host: "a.test", paths: ["/a"], deny: true }],
  ];
  for (const [line, rule] of rows) {
    await t.step(line, () => {
      assertEquals(allowArguments("ci", parseRule(rule)), ["slicer-proxy", ...line.split(" ")]);
    });
  }
});

Deno.test("canBeTyped() is true for what means itself on a command line", () => {
  const typed = (more: { host?: string; method?: string; path?: string }) =>
    canBeTyped({ host: "a.test", ...more });
  assertEquals([typed({}), typed({ method: "GET", path: "/v1/x" }), typed({ method: "M-SEARCH" })], [
    true,
    true,
    true,
  ]);
  for (
    const more of [{ host: "*.a.test" }, { path: "/a*" }, { path: "/a,b" }, { method: "--passthrough" }, {
      method: "$(x)",
    }, { method: "" }]
  ) {
    assertEquals(typed(more), false, JSON.stringify(more));
  }
});
