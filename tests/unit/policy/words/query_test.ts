import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { decideRequest } from "../../../../policy/decide.ts";
import { explainDenial } from "../../../../policy/explain.ts";
import { parseRule, type RuleSpec } from "../../../../policy/rule.ts";
import { coversQuery, pairsOf, parseQueryCondition } from "../../../../policy/words/query.ts";
import { Replayer } from "../../../../policy/replay.ts";
import { formatSays, parseSays, queryOf } from "../../../../policy/words/says.ts";
import { makeRecord } from "../../../support/make_record.ts";
import { makeRule } from "../../../support/make_rule.ts";

const HOST = "git.example.com";

Deno.test("parseQueryCondition() gives one spelling", async (t) => {
  const rows: readonly [string, string][] = [
    ["service=git-upload-pack", "service=git-upload-pack"],
    ["a%62=%63%2c", "ab=c%2C"],
    ["a=b=c", "a=b%3Dc"],
    ["q=a b", "q=a%20b"],
    ["q=a+b", "q=a%20b"],
    ["q=é", "q=%C3%A9"],
    ["q=", "q="],
    ["a[]=1", "a%5B%5D=1"],
    [`a=${"b".repeat(1_022)}`, `a=${"b".repeat(1_022)}`],
  ];
  for (const [text, expected] of rows) {
    await t.step(text, () => {
      assertEquals(parseQueryCondition(text), expected);
      assertEquals(parseQueryCondition(expected), expected);
    });
  }
  for (const text of ["", "service", "=x", "?a=b", "%00=x", "[=x", "+=x", `a=${"b".repeat(1_023)}`]) {
    await t.step(`refuses ${text.slice(0, 20)}`, () => {
      assertThrows(() => parseQueryCondition(text), ProxyError);
    });
  }
});

Deno.test("pairsOf() takes a query apart as it was sent", () => {
  assertEquals(pairsOf("=x&a&b=1=2&c%3d=+%2B&"), [
    { name: "", value: "x" },
    { name: "a", value: "" },
    { name: "b", value: "1=2" },
    { name: "c=", value: " +" },
    { name: "", value: "" },
  ]);
});

Deno.test("coversQuery() wants exactly the parameter, under no other spelling another", async (t) => {
  const one = ["service=git-upload-pack"];
  const rows: readonly [string, readonly string[], string | undefined, boolean][] = [
    ["alone", one, "service=git-upload-pack", true],
    ["among others", one, "a=1&service=git-upload-pack&b", true],
    ["twice the same", one, "service=git-upload-pack&service=git-upload-pack", true],
    ["escaped", one, "%73ervice=git%2Dupload-pack", true],
    ["none", one, undefined, false],
    ["an empty query", one, "", false],
    ["without value", one, "service", false],
    ["another value", one, "service=git-receive-pack", false],
    ["another case of the value", one, "service=Git-Upload-Pack", false],
    ["two that differ", one, "service=git-upload-pack&service=git-receive-pack", false],
    ["two that differ, first", one, "service=git-receive-pack&service=git-upload-pack", false],
    ["another one behind a semicolon", one, "service=git-upload-pack&a;service=git-receive-pack", false],
    ["the value goes on behind a semicolon", one, "service=git-upload-pack;x", false],
    ["another case of the name", one, "service=git-upload-pack&Service=git-receive-pack", false],
    ["only another case of the name", one, "SERVICE=git-upload-pack", false],
    ["a list of PHP", one, "service=git-upload-pack&service[]=git-receive-pack", false],
    ["an escaped list of PHP", one, "service=git-upload-pack&service%5B%5D=git-receive-pack", false],
    ["NUL cuts the name", one, "service=git-upload-pack&service%00x=git-receive-pack", false],
    ["NUL cuts the value", one, "service=git-upload-pack%00", false],
    ["blanks before the name", one, "service=git-upload-pack&+service=git-receive-pack", false],
    ["an escape in an escape", one, "service=git-upload-pack&%2573ervice=git-receive-pack", false],
    ["a longer name", one, "service=git-upload-pack&services=x", true],
    ["alternatives, first", ["a=1", "a=2"], "a=1", true],
    ["alternatives, both", ["a=1", "a=2"], "a=1&a=2", true],
    ["alternatives, neither", ["a=1", "a=2"], "a=3", false],
    ["two names, both there", ["a=1", "b=2"], "b=2&a=1", true],
    ["two names, one there", ["a=1", "b=2"], "a=1", false],
    ["dots and dashes of the name", ["a-b=1"], "a-b=1&a.b=2", false],
    ["an empty value", ["a="], "a=", true],
    ["an empty value, unsaid", ["a="], "a", true],
    ["bytes beyond ASCII", ["q=%C3%A9"], "q=%c3%a9", true],
  ];
  for (const [name, conditions, query, expected] of rows) {
    await t.step(name, () => assertEquals(coversQuery(conditions, query), expected));
  }
  await t.step("costs the length of the query", () => {
    const query = "service=git-upload-pack&".repeat(2_700) + "x;".repeat(300);
    const before = performance.now();
    for (let i = 0; i < 50; i++) coversQuery(one, query);
    assert(performance.now() - before < 5_000);
  });
});

Deno.test("decideRequest() goes on to the next rule where the query does not fit", () => {
  const rules = [
    makeRule("read", { host: HOST, paths: ["/**/info/refs"], query: ["service=git-upload-pack"] }),
    makeRule("page", { host: HOST, query: ["page=1"], methods: ["GET"] }),
  ];
  const outcome = (path: string, query?: string) => {
    const decision = decideRequest(rules, { host: HOST, port: 443, method: "GET", path, query });
    return decision.verdict === "allow" ? decision.rule.id : decision.reason;
  };
  assertEquals(outcome("/a/b/info/refs", "service=git-upload-pack"), "read");
  assertEquals(outcome("/a/b/info/refs", "service=git-receive-pack"), "no-rule");
  assertEquals(outcome("/a/b/info/refs", "service=git-receive-pack&page=1"), "page");
  assertEquals(outcome("/x", "page=1"), "page");
  assertEquals(outcome("/x"), "no-rule");
});

Deno.test("explainDenial() says what the query lacks, and the rule for what it has", () => {
  const rule = makeRule("read", { host: HOST, query: ["service=git-upload-pack"], secret: "gh" });
  const target = {
    host: HOST,
    port: 443,
    method: "GET",
    path: "/a/info/refs",
    query: "service=git-receive-pack",
  };
  const { text, command } = explainDenial({ client: "ci-1", ...target }, "no-rule", [rule]);
  assert(text.includes("falls short in the query: it wants service=git-upload-pack"), text);
  assertEquals(
    command,
    `slicer-proxy allow ci-1 --host ${HOST} --method GET --path /a/info/refs --secret gh ` +
      "--query service=git-receive-pack",
  );
});

Deno.test("formatSays() keeps what rules ask about, and no other value", async (t) => {
  const rules = [makeRule("page", { host: HOST, paths: ["/list"], query: ["page=1", "key=public"] })];
  const rows: readonly [string, string, string | undefined, string | undefined][] = [
    ["what rules have", "/list", "page=1&key=public", "query:key=public query:page=1"],
    ["another value is not shown", "/list", "page=1&key=SECRET", "query:key=* query:page=1"],
    ["none", "/list", undefined, "query:key query:page"],
    ["two values", "/list", "page=1&page=2", "query:key query:page=*"],
    [
      "git without a rule about it",
      "/a/info/refs",
      "service=git-upload-pack",
      "query:service=git-upload-pack query:key query:page",
    ],
  ];
  for (const [name, path, query, expected] of rows) {
    await t.step(name, () => {
      assertEquals(formatSays(rules, { host: HOST, method: "GET", path, query }), expected);
    });
  }
  await t.step("nothing without such rules", () => {
    const asked = { host: HOST, method: "GET", path: "/x", query: "token=SECRET" };
    assertEquals(formatSays([makeRule("any", { host: HOST })], asked), undefined);
  });
  await t.step("and back", () => {
    const said = parseSays("query:page=1 query:key=* query:none other:x");
    assertEquals(queryOf(said, ["page", "key", "none"]), { query: "page=1&key=%00" });
    assertEquals(queryOf(said, ["service"]), undefined);
  });
  await t.step("a value that is a star is not another one", () => {
    const star = [makeRule("star", { host: HOST, paths: ["/list"], query: ["page=*"] })];
    const says = formatSays(star, { host: HOST, method: "GET", path: "/list", query: "page=*" });
    assertEquals(says, "query:page=%2A");
    assertEquals(queryOf(parseSays(says ?? ""), ["page"]), { query: "page=*" });
  });
});

Deno.test("Replayer judges conditions on the query by what the record says, and else does not judge", async (t) => {
  const spec = (query: string): RuleSpec => parseRule({ host: HOST, query: [query] });
  const record = {
    client: "ci-1",
    method: "GET",
    scheme: "https",
    host: HOST,
    port: 443,
    path: "/a",
  } as const;
  const rows: readonly [
    string,
    string,
    { says?: string; query?: string },
    Partial<Record<string, number>>,
  ][] = [
    ["said", "page=1", { says: "query:page=1" }, { unchanged: 1 }],
    ["said to be another", "page=1", { says: "query:page=*" }, { denied: 1 }],
    ["said to be none", "page=1", { says: "query:page" }, { denied: 1 }],
    ["not said", "page=1", { says: "query:other=1" }, { notJudged: 1 }],
    ["nothing said", "page=1", {}, { notJudged: 1 }],
    ["the whole query", "page=1", { query: "page=1&x" }, { unchanged: 1 }],
    ["the whole query, another", "page=1", { query: "page=2" }, { denied: 1 }],
    ["cut short", "page=1", { query: "page=1…900-aa" }, { notJudged: 1 }],
  ];
  for (const [name, query, more, expected] of rows) {
    await t.step(name, () => {
      const replayer = new Replayer(new Map([["ci-1", [spec(query)]]]));
      replayer.add(makeRecord(2, { verdict: "allow", ...record, ...more }));
      const { denied, unchanged, notJudged } = replayer.result();
      assertEquals({ denied, unchanged, notJudged }, { denied: 0, unchanged: 0, notJudged: 0, ...expected });
    });
  }
});

Deno.test("a rule that denies falls on every spelling of its query", async (t) => {
  const rules = [
    makeRule("deny", { host: HOST, deny: true, query: ["service=git-receive-pack"] }),
    makeRule("semicolon", { host: HOST, deny: true, query: ["x=a%3Bb"] }),
    makeRule("any", { host: HOST }),
  ];
  const rows: readonly [string | undefined, string][] = [
    [undefined, "any"],
    ["service=git-upload-pack", "any"],
    ["service=git-receive-pack", "rule-denied"],
    ["service=git-upload-pack&service=git-receive-pack", "rule-denied"],
    ["a;SERVICE=git-receive-pack", "rule-denied"],
    ["service%5B%5D=git-receive-pack", "rule-denied"],
    ["service=git-receive-pack%00x", "rule-denied"],
    ["service=%2567it-receive-pack", "rule-denied"],
    ["service=Git-Receive-Pack", "rule-denied"],
    ["x=service=git-receive-pack", "any"],
    ["x=a;b", "rule-denied"],
    ["x=a", "any"],
  ];
  for (const [query, expected] of rows) {
    await t.step(String(query), () => {
      const decision = decideRequest(rules, { host: HOST, port: 443, method: "GET", path: "/a", query });
      assertEquals(decision.verdict === "allow" ? decision.rule.id : decision.reason, expected);
    });
  }
});
