import { assertEquals, assertMatch } from "@std/assert";
import { parseRule, type RuleInput } from "../../../policy/rule.ts";
import { ruleWarnings } from "../../../policy/rule_health.ts";

const NOW = Date.UTC(2026, 10, 1);

function warningsOf(rules: readonly (RuleInput & { readonly expiresAt?: number })[]) {
  return ruleWarnings(
    rules.map(({ expiresAt, ...input }) => ({
      ...parseRule(input),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    })),
    {
      secret: (name) => name === "gone" ? undefined : name === "broken" ? { error: "refresh refused" } : {},
      nowMs: NOW,
    },
  ).map((each) => each.map(({ words }) => words));
}

Deno.test("ruleWarnings() tells of a rule that an earlier one hides, and of no other", async (t) => {
  const rows: readonly (readonly [name: string, earlier: RuleInput, later: RuleInput, isHidden: boolean])[] =
    [
      ["the same host, any request first", { host: "a.test" }, { host: "a.test", secret: "key" }, true],
      ["a wildcard first", { host: "*.test" }, { host: "a.test", methods: ["GET"] }, true],
      ["another host", { host: "b.test" }, { host: "a.test" }, false],
      ["the wildcard second", { host: "a.test" }, { host: "*.test" }, false],
      ["the apex is not under its wildcard", { host: "*.a.test" }, { host: "a.test" }, false],
      ["fewer methods first", { host: "a.test", methods: ["GET"] }, { host: "a.test" }, false],
      ["more methods first", { host: "a.test", methods: ["GET", "PUT"] }, {
        host: "a.test",
        methods: ["PUT"],
      }, true],
      [
        "other methods first",
        { host: "a.test", methods: ["GET"] },
        { host: "a.test", methods: ["PUT"] },
        false,
      ],
      [
        "a wider path first",
        { host: "a.test", paths: ["/v1/*"] },
        { host: "a.test", paths: ["/v1/x/*"] },
        true,
      ],
      [
        "an exact path below",
        { host: "a.test", paths: ["/v1/*"] },
        { host: "a.test", paths: ["/v1/x"] },
        true,
      ],
      ["the path itself", { host: "a.test", paths: ["/v1/*"] }, { host: "a.test", paths: ["/v1"] }, false],
      [
        "a narrower path first",
        { host: "a.test", paths: ["/v1/x"] },
        { host: "a.test", paths: ["/v1/*"] },
        false,
      ],
      ["one of two paths", { host: "a.test", paths: ["/a"] }, { host: "a.test", paths: ["/a", "/b"] }, false],
      [
        "the same ** twice",
        { host: "a.test", paths: ["/a/**/c"] },
        { host: "a.test", paths: ["/a/**/c"] },
        true,
      ],
      ["everything twice", { host: "*" }, { host: "*" }, true],
      ["every path twice", { host: "a.test", paths: ["*"] }, { host: "a.test", paths: ["*"] }, true],
      [
        "every path behind one place",
        { host: "a.test", paths: ["/*"] },
        { host: "a.test", paths: ["*"] },
        false,
      ],
      ["the same suffix twice", { host: "*.a.test" }, { host: "*.a.test" }, true],
      ["a suffix of a suffix", { host: "*.test" }, { host: "*.b.a.test" }, true],
      ["the suffix in between", { host: "*.a.test" }, { host: "c.b.a.test" }, true],
      ["the same condition", { host: "a.test", query: ["a=1"] }, { host: "a.test", query: ["a=1"] }, true],
      ["another condition", { host: "a.test", query: ["a=1"] }, { host: "a.test", query: ["a=2"] }, false],
      ["a condition first", { host: "a.test", query: ["a=1"] }, { host: "a.test" }, false],
      ["a condition second", { host: "a.test" }, { host: "a.test", query: ["a=1"] }, true],
      ["any path second", { host: "a.test", paths: ["/v1/*"] }, { host: "a.test" }, false],
      ["every path first", { host: "a.test", paths: ["*"] }, { host: "a.test", paths: ["/x"] }, true],
      ["every path second", { host: "a.test", paths: ["/x/*"] }, { host: "a.test", paths: ["*"] }, false],
      [
        "a star inside first",
        { host: "a.test", paths: ["/a/*/c"] },
        { host: "a.test", paths: ["/a/b/c"] },
        true,
      ],
      ["all below first", { host: "a.test", paths: ["/a/*"] }, { host: "a.test", paths: ["/a/**/c"] }, true],
      [
        "a star is no **",
        { host: "a.test", paths: ["/a/*/c"] },
        { host: "a.test", paths: ["/a/**/c"] },
        false,
      ],
      [
        "two levels are no **",
        { host: "a.test", paths: ["/a/*/*"] },
        { host: "a.test", paths: ["/a/**/c"] },
        false,
      ],
      ["an exact folder is not all below", { host: "a.test", paths: ["/a/"] }, {
        host: "a.test",
        paths: ["/a/*"],
      }, false],
      ["another port", { host: "a.test", ports: [443] }, { host: "a.test", ports: [8443] }, false],
      ["the usual ports, said and unsaid", { host: "a.test", ports: [80, 443] }, { host: "a.test" }, true],
      ["one of the usual ports", { host: "a.test", ports: [443] }, { host: "a.test" }, false],
      ["passthrough first", { host: "a.test", passthrough: true }, { host: "a.test", paths: ["/x"] }, true],
      [
        "passthrough second, behind any rule for the place",
        { host: "a.test", paths: ["/x"] },
        { host: "a.test", passthrough: true },
        true,
      ],
    ];
  for (const [name, earlier, later, isHidden] of rows) {
    await t.step(name, () => {
      assertEquals(warningsOf([earlier, later]).map((each) => each.length), [0, isHidden ? 1 : 0]);
    });
  }
});

Deno.test("ruleWarnings() says which rule hides it and what is lost", () => {
  const [, , third] = warningsOf([{ host: "b.test" }, { host: "*" }, { host: "a.test", secret: "key" }]);
  assertEquals(third, ["rule 2 matches first all that it matches, and its secret key is never used"]);
  const [, passed] = warningsOf([{ host: "a.test" }, { host: "a.test", passthrough: true }]);
  assertMatch(passed?.[0] ?? "", /^rule 1 .* nothing is passed through by it$/);
});

Deno.test("ruleWarnings() tells of a secret that is gone, and of an end that is near", () => {
  assertEquals(warningsOf([{ host: "a.test", secret: "gone" }]), [[
    "its secret gone is gone: what it matches is denied",
  ]]);
  assertEquals(warningsOf([{ host: "a.test", secret: "broken" }]), [[
    "its secret broken cannot be used: refresh refused",
  ]]);
  assertEquals(warningsOf([{ host: "a.test", expiresAt: NOW + 599_999 }]).map((each) => each.length), [1]);
  assertEquals(warningsOf([{ host: "a.test", expiresAt: NOW + 1 }]).map((each) => each.length), [1]);
  assertEquals(warningsOf([{ host: "a.test", expiresAt: NOW + 600_000 }]), [[]]);
  assertEquals(warningsOf([{ host: "a.test", expiresAt: NOW }]), [[]]); // it has ended: lists do not have it
});

Deno.test("ruleWarnings() compares with the first hundred rules of a host", () => {
  const rules = Array.from({ length: 101 }, (_, i) => ({ host: "a.test", paths: [`/${i}`] }));
  const later = [{ host: "a.test", paths: ["/99"] }, { host: "a.test", paths: ["/100"] }];
  assertEquals(warningsOf([...rules, ...later]).slice(-2), [
    ["rule 100 matches first all that it matches"],
    [],
  ]);
});
