import { assertEquals } from "@std/assert";
import {
  closestRule,
  type Dimension,
  matchMethod,
  matchPort,
  matchRule,
  type Target,
} from "../../../policy/match.ts";
import { parseRule } from "../../../policy/rule.ts";
import { makeRule } from "../../support/make_rule.ts";

Deno.test("matchRule() tells each dimension on its own", async (t) => {
  const rule = parseRule({ host: "*.a.test", methods: ["GET"], paths: ["/v1/*"], ports: [8443] });
  const rows: readonly [string, Target, readonly Dimension[]][] = [
    ["all", { host: "x.a.test", port: 8443, method: "GET", path: "/v1/a" }, []],
    ["all, other case", { host: "x.a.test", port: 8443, method: "get", path: "/v1/a" }, []],
    ["unknown method and path", { host: "x.a.test", port: 8443 }, []],
    ["host", { host: "a.test", port: 8443, method: "GET", path: "/v1/a" }, ["host"]],
    ["port", { host: "x.a.test", port: 443, method: "GET", path: "/v1/a" }, ["port"]],
    ["method", { host: "x.a.test", port: 8443, method: "POST", path: "/v1/a" }, ["method"]],
    ["path", { host: "x.a.test", port: 8443, method: "GET", path: "/v1" }, ["path"]],
    ["none", { host: "b.test", port: 1, method: "PUT", path: "/" }, ["host", "port", "method", "path"]],
  ];
  for (const [name, target, missed] of rows) {
    await t.step(name, () => {
      const match = matchRule(rule, target);
      assertEquals((Object.keys(match) as Dimension[]).filter((dimension) => !match[dimension]), missed);
    });
  }
});

Deno.test("matchRule() finds a rule with conditions short in its words, unless they hold or nothing is known yet", () => {
  const rule = parseRule({ host: "a.test", query: ["a=1"] });
  const at: Target = { host: "a.test", port: 443 };
  const words = (more: Partial<Target>) => matchRule(rule, { ...at, ...more }).words;
  assertEquals(words({ method: "GET", path: "/", query: "a=1" }), true);
  assertEquals(words({ method: "GET", path: "/", query: "a=2" }), false);
  assertEquals([words({}), words({ method: "GET" }), words({ path: "/" })], [true, true, true]);
});

Deno.test("matchPort() takes no ports for 80 and 443", () => {
  assertEquals([79, 80, 81, 442, 443, 444].filter((port) => matchPort([], port)), [80, 443]);
  assertEquals([80, 443, 8443].filter((port) => matchPort([8443], port)), [8443]);
});

Deno.test("matchMethod() ignores ASCII case and nothing else", () => {
  const methods = ["get", "GeT", "POST", "PO\u017fT", "GET ", ""];
  assertEquals(methods.filter((method) => matchMethod(["GET", "POST"], method)), ["get", "GeT", "POST"]);
  assertEquals(matchMethod([], "ANY"), true);
});

Deno.test("closestRule() prefers fewer misses, then later ones, then the first declared", async (t) => {
  const wide = makeRule("wide", { host: "*.a.test", ports: [1], methods: ["GET"] });
  const post = makeRule("post", { host: "x.a.test", methods: ["POST"] });
  const path = makeRule("path", { host: "x.a.test", paths: ["/v1/*"] });
  const twin = makeRule("twin", { host: "x.a.test", paths: ["/v2/*"] });
  const apex = makeRule("apex", { host: "a.test" });
  const other = makeRule("other", { host: "b.test" });
  const address = makeRule("address", { host: "10.0.0.1" });
  const no = makeRule("no", { host: "x.a.test", methods: ["PUT"], deny: true });
  const below = makeRule("below", { host: "*.x.a.test" });
  const beside = makeRule("beside", { host: "y.x.a.test" });
  const get: Target = { host: "x.a.test", port: 443, method: "GET", path: "/" };
  const rows: readonly [string, Parameters<typeof closestRule>, string | undefined, readonly Dimension[]][] =
    [
      ["path before method", [[post, path, twin], get], "path", ["path"]],
      ["method before port", [[wide, post], get], "post", ["method"]],
      ["fewer misses win", [[path, wide], { ...get, method: "PUT" }], "path", ["path"]],
      ["two misses are both told", [[wide], { ...get, method: "PUT" }], "wide", ["port", "method"]],
      ["any rule for the host before a similar host", [[apex, wide], { ...get, method: "PUT" }], "wide", [
        "port",
        "method",
      ]],
      ["a similar host", [[other, apex], get], "apex", ["host"]],
      ["a host that only shares the last label", [[other], get], undefined, []],
      [
        "a host that shares all labels but the last",
        [[makeRule("1", { host: "a.org" })], { ...get, host: "a.test" }],
        undefined,
        [],
      ],
      ["a suffix is no closer than its names", [[beside, below], get], "beside", ["host"]],
      ["a deny rule that falls short in one", [[no], get], undefined, []],
      ["a deny rule that covers it", [[no], { ...get, method: "PUT" }], "no", []],
      ["addresses are not similar", [[address], { ...get, host: "11.0.0.1" }], undefined, []],
      ["no rules", [[], get], undefined, []],
      ["a rule that covers it", [[post, apex], { ...get, host: "a.test" }], "apex", []],
    ];
  for (const [name, args, id, missed] of rows) {
    await t.step(name, () => {
      const closest = closestRule(...args);
      assertEquals([closest?.rule.id, closest?.missed ?? []], [id, missed]);
    });
  }
});
