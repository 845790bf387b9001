import { assertEquals } from "@std/assert";
import {
  contentNeeded,
  decideConnect,
  decideRequest,
  isHttp1Only,
  paramsNeeded,
  type RequestTarget,
  rulesThatReach,
} from "../../../policy/decide.ts";
import type { Rule } from "../../../policy/rule.ts";
import { WORD_ROWS } from "../../../policy/rule_words.ts";
import { formatSays } from "../../../policy/words/says.ts";
import { makeRule } from "../../support/make_rule.ts";

const HOST = "api.example.com";
const get = (path: string, more: Partial<RequestTarget> = {}): RequestTarget => ({
  host: HOST,
  port: 443,
  method: "GET",
  path,
  ...more,
});

/** `allow:<id>` or the reason. */
function outcome(rules: readonly Rule[], request: RequestTarget): string {
  const decision = decideRequest(rules, request);
  return decision.verdict === "allow" ? `allow:${decision.rule.id}` : decision.reason;
}

Deno.test("decideConnect() goes by the first rule for host and port", async (t) => {
  const narrow = makeRule("narrow", { host: HOST, methods: ["GET"], paths: ["/v1/*"] });
  const db = makeRule("db", { host: "db.internal", ports: [5432], passthrough: true });
  const wild = makeRule("wild", { host: "*.example.com", ports: [443, 5432], passthrough: true });
  const rules = [narrow, db, wild];
  const rows: readonly [string, string, number, string][] = [
    ["methods and paths are decided inside", HOST, 443, "inspect:narrow"],
    ["default port 80", HOST, 80, "inspect:narrow"],
    ["another port falls to the next rule", HOST, 5432, "passthrough:wild"],
    ["passthrough", "db.internal", 5432, "passthrough:db"],
    ["passthrough on another port", "db.internal", 443, "no-rule"],
    ["suffix", "x.example.com", 443, "passthrough:wild"],
    ["apex of the suffix", "example.com", 443, "no-rule"],
    ["unknown host", "evil.test", 443, "no-rule"],
  ];
  for (const [name, host, port, expected] of rows) {
    await t.step(name, () => {
      const decision = decideConnect(rules, { host, port });
      assertEquals(
        decision.verdict === "deny" ? decision.reason : `${decision.verdict}:${decision.rule.id}`,
        expected,
      );
    });
  }
  await t.step("no rules at all", () => {
    assertEquals(decideConnect([], { host: HOST, port: 443 }), { verdict: "deny", reason: "no-rule" });
  });
});

Deno.test("deny rules stop the search, for tunnels and requests", async (t) => {
  const all = makeRule("all", { host: HOST });
  const splice = makeRule("splice", { host: HOST, passthrough: true });
  const denyAll = makeRule("deny", { host: HOST, deny: true });
  const denyPort = makeRule("deny-port", { host: HOST, ports: [443], deny: true });
  const denyDelete = makeRule("deny-delete", { host: HOST, methods: ["DELETE"], deny: true });
  const denyAdmin = makeRule("deny-admin", { host: "*.example.com", paths: ["/admin/*"], deny: true });
  const tunnels: readonly [string, readonly Rule[], string][] = [
    ["before an allow rule", [denyAll, all], "rule-denied"],
    ["behind an allow rule", [all, denyAll], "inspect:all"],
    ["of this port", [denyPort, all], "rule-denied"],
    ["with a method has the tunnel inspected", [denyDelete, all], "inspect:all"],
    ["with a path keeps a later passthrough inspected", [denyAdmin, splice], "inspect:splice"],
    ["with a path allows nothing by itself", [denyAdmin], "no-rule"],
  ];
  for (const [name, rules, expected] of tunnels) {
    await t.step(`tunnel: ${name}`, () => {
      const decision = decideConnect(rules, { host: HOST, port: 443 });
      assertEquals(
        decision.verdict === "deny" ? decision.reason : `${decision.verdict}:${decision.rule.id}`,
        expected,
      );
    });
  }
  const requests: readonly [string, readonly Rule[], RequestTarget, string][] = [
    ["the method", [denyDelete, all], get("/", { method: "DELETE" }), "rule-denied"],
    ["the method in another case", [denyDelete, all], get("/", { method: "delete" }), "rule-denied"],
    ["another method", [denyDelete, all], get("/"), "allow:all"],
    ["the path", [denyAdmin, all], get("/admin/users"), "rule-denied"],
    [
      "a path with a second reading that is denied",
      [denyAdmin, all],
      get("/v1/../admin/users"),
      "path-ambiguous",
    ],
    ["a path that hides what is denied", [denyAdmin, all], get("/%2561dmin/users"), "path-encoding"],
    ["another path", [denyAdmin, all], get("/v1/users"), "allow:all"],
    ["too late", [all, denyAdmin], get("/admin/users"), "allow:all"],
    ["another port", [denyPort, all], get("/", { port: 80 }), "allow:all"],
    ["in a passthrough rule's place", [denyAdmin, splice], get("/admin/x"), "rule-denied"],
  ];
  for (const [name, rules, request, expected] of requests) {
    await t.step(`request: ${name}`, () => assertEquals(outcome(rules, request), expected));
  }
});

Deno.test("rulesThatReach() leaves out what deny rules make unreachable", () => {
  const all = makeRule("all", { host: HOST });
  const partial = makeRule("partial", { host: HOST, methods: ["PUT"], deny: true });
  const total = makeRule("total", { host: "*", deny: true });
  const idsOf = (rules: readonly Rule[]) => rulesThatReach(rules).map(({ id }) => id);
  assertEquals(idsOf([partial, all]), ["all"]);
  assertEquals(idsOf([total, all]), []);
  assertEquals(idsOf([all, total]), ["all"]);
  assertEquals(idsOf([partial]), []);
});

Deno.test("decideRequest() takes the first rule that matches in every dimension", async (t) => {
  const rules = [
    makeRule("get-v1", { host: HOST, methods: ["GET"], paths: ["/v1/*"] }),
    makeRule("post-v1", { host: HOST, methods: ["POST"], paths: ["/v1/chat", "/v1/embeddings"] }),
    makeRule("port", { host: HOST, ports: [8443] }),
    makeRule("splice", { host: "git.example.com", passthrough: true }),
    makeRule("late", { host: HOST, methods: ["GET", "HEAD"], paths: ["/v1/*", "/status"] }),
  ];
  const rows: readonly [string, RequestTarget, string][] = [
    ["first", get("/v1/models"), "allow:get-v1"],
    ["lower-case method", get("/v1/models", { method: "get" }), "allow:get-v1"],
    ["second", get("/v1/chat", { method: "POST" }), "allow:post-v1"],
    ["second path of a rule", get("/v1/embeddings", { method: "POST" }), "allow:post-v1"],
    ["later rule", get("/status", { method: "HEAD" }), "allow:late"],
    ["prefix itself", get("/v1"), "no-rule"],
    ["other method", get("/v1/models", { method: "DELETE" }), "no-rule"],
    ["other host", get("/v1/models", { host: "evil.test" }), "no-rule"],
    ["other port", get("/anything", { port: 8443, method: "PUT" }), "allow:port"],
    ["unnamed port", get("/v1/models", { port: 8080 }), "no-rule"],
    ["passthrough rule", get("/x", { host: "git.example.com", method: "PUT" }), "allow:splice"],
    ["OPTIONS *", get("*", { method: "OPTIONS" }), "no-rule"],
  ];
  for (const [name, request, expected] of rows) {
    await t.step(name, () => assertEquals(outcome(rules, request), expected));
  }
});

Deno.test("decideRequest() denies a path whose readings fall under different rules", async (t) => {
  const v1 = makeRule("v1", { host: HOST, paths: ["/v1/*"] });
  const admin = makeRule("admin", { host: HOST, paths: ["/admin/*"] });
  const keyed = makeRule("keyed", { host: HOST, paths: ["/admin/*"], secret: "key" });
  const sameKey = makeRule("same", { host: HOST, paths: ["/v1/*"], secret: "key" });
  const otherKey = makeRule("other", { host: HOST, paths: ["/v1/*"], secret: "other" });
  const wild = makeRule("wild", { host: "*.example.com", paths: ["/admin/*"] });
  const alone = makeRule("alone", { host: HOST, paths: ["/admin/*"], oneRequestPerConnection: true });
  const rest = makeRule("rest", { host: HOST, paths: ["*"] });
  const any = makeRule("any", { host: HOST });
  const slash = makeRule("slash", { host: HOST, paths: ["/p/group%2Fname", "/q/group%2Fname/*"] });
  const rows: readonly [string, readonly Rule[], string, string][] = [
    ["leaves the prefix", [v1], "/v1/../admin", "path-ambiguous"],
    ["leaves the prefix, encoded", [v1], "/v1/%2e%2E/admin", "path-ambiguous"],
    ["leaves the prefix, encoded slash", [v1], "/v1/..%2fadmin", "path-ambiguous"],
    ["leaves the prefix, backslash", [v1], "/v1/..\\admin", "path-ambiguous"],
    ["leaves the prefix, encoded backslash", [v1], "/v1/x/..%5c..%5cadmin", "path-ambiguous"],
    ["leaves it only where slashes merge", [v1], "/v1/x//../../admin", "path-ambiguous"],
    ["leaves it only where %2f is plain", [v1], "/v1/x%2fy/../../admin", "path-ambiguous"],
    ["leaves it only where the backslash is plain", [v1], "/v1/x\\y/../../admin", "path-ambiguous"],
    ["leaves it only where %2f separates", [v1], "/v1/x\\y%2f../../b", "path-ambiguous"],
    ["leaves it only where parameters are stripped", [v1], "/v1/;/../admin", "path-ambiguous"],
    ["enters the prefix", [v1], "/x/../v1/models", "path-ambiguous"],
    ["enters the prefix, escape", [v1], "/%761/models", "path-ambiguous"],
    ["enters the prefix, double slash", [v1], "//v1/models", "path-ambiguous"],
    ["enters the prefix, parameter", [v1], "/v1;a=b/models", "path-ambiguous"],
    ["from one rule to another, which does the same", [v1, admin, rest], "/v1/../admin/x", "allow:v1"],
    ["from the last rule to one with a secret", [keyed, rest], "/admin;x/y", "path-ambiguous"],
    ["from a secret to none", [keyed, v1], "/admin/../v1/x", "path-ambiguous"],
    ["from a secret to another", [keyed, otherKey], "/admin/../v1/x", "path-ambiguous"],
    ["from a secret to the same", [keyed, sameKey], "/admin/../v1/x", "allow:keyed"],
    ["from a rule to one for more hosts", [v1, wild], "/v1/../admin/x", "path-ambiguous"],
    ["from a rule to one without limits", [v1, any], "/v1/../admin/x", "path-ambiguous"],
    ["from a rule to one with options", [v1, alone], "/v1/../admin/x", "path-ambiguous"],
    ["over a reading that nothing allows", [v1, admin], "/v1/../o%2fz/../admin/y", "path-ambiguous"],
    ["stays within the rule", [v1], "/v1/a/../b", "allow:v1"],
    ["stays within the rule, double slash", [v1], "/v1//models", "allow:v1"],
    ["stays within the rule, encoded slash", [v1], "/v1/a%2Fb", "allow:v1"],
    ["stays within the rule, parameter", [v1], "/v1/a;v=1/b", "allow:v1"],
    ["plain escapes", [v1], "/v1/a%20b%c3%a9", "allow:v1"],
    ["matches nothing either way", [v1], "/a/../b", "no-rule"],
    ["a rule for every path", [rest], "/a/../b%2f..", "allow:rest"],
    ["a rule without paths", [any], "/a/../b", "allow:any"],
    ["an encoded slash that the rule names", [slash], "/p/group%2Fname", "allow:slash"],
    ["the same in a prefix", [slash], "/q/group%2Fname/x", "allow:slash"],
    ["the same in lower case", [slash], "/p/group%2fname", "allow:slash"],
    ["the same in lower case, in a prefix", [slash], "/q/group%2fname/x", "allow:slash"],
    ["the same as a plain slash, another path", [slash], "/p/group/name", "no-rule"],
  ];
  for (const [name, rules, path, expected] of rows) {
    await t.step(name, () => assertEquals(outcome(rules, get(path)), expected));
  }
});

Deno.test("decideRequest() knows npm's packages by their scope", async (t) => {
  const scope = makeRule("scope", { host: HOST, paths: ["/@babel/*"] });
  const written = makeRule("written", { host: HOST, paths: ["/@babel%2f*"] });
  const exact = makeRule("exact", { host: HOST, paths: ["/npm/@babel%2Fcore", "/npm/@babel/core/-/*"] });
  const keyed = makeRule("keyed", { host: HOST, paths: ["/@babel/core"], secret: "key" });
  const rows: readonly [string, readonly Rule[], string, string][] = [
    ["as npm asks", [scope], "/@babel%2fcode-frame", "allow:scope"],
    ["in upper case", [scope], "/@babel%2Fcode-frame", "allow:scope"],
    ["as the tarball is asked for", [scope], "/@babel/code-frame/-/code-frame-7.0.0.tgz", "allow:scope"],
    ["written as npm asks", [written], "/@babel%2Fcode-frame", "allow:written"],
    ["a plain slash is not covered by an encoded one", [written], "/@babel/code-frame", "no-rule"],
    ["exact, below a folder", [exact], "/npm/@babel%2fcore", "allow:exact"],
    ["another scope", [scope], "/@other%2fcode-frame", "no-rule"],
    ["another scope that begins so", [scope], "/@babel.x%2fcode-frame", "no-rule"],
    ["no scope", [makeRule("g", { host: HOST, paths: ["/group/*"] })], "/group%2fname", "path-ambiguous"],
    ["out of the scope", [scope], "/@babel%2f..%2fadmin", "path-ambiguous"],
    ["out of the scope by a plain parent", [scope], "/@babel%2fx/../../admin", "path-ambiguous"],
    [
      "out of a scope that is no segment where it is decoded",
      [scope],
      "/@babel%2f../admin",
      "path-ambiguous",
    ],
    ["into the scope", [scope], "/x%2f..%2f@babel%2fcore", "path-ambiguous"],
    ["one package with a secret before its scope", [keyed, scope], "/@babel%2fcore", "allow:keyed"],
    ["beside that package", [keyed, scope], "/@babel%2fcli", "allow:scope"],
    ["with a backslash", [scope], "/@babel%5ccore", "path-ambiguous"],
  ];
  for (const [name, rules, path, expected] of rows) {
    await t.step(name, () => assertEquals(outcome(rules, get(path)), expected));
  }
});

Deno.test("decideRequest() names every rule that a request needs", () => {
  const a = makeRule("a", { host: HOST, paths: ["/a/*"] });
  const b = makeRule("b", { host: HOST, paths: ["/b/*"] });
  assertEquals(decideRequest([a, b], get("/a/../b/c")), { verdict: "allow", rule: a, others: [b] });
  assertEquals(decideRequest([a, b], get("/a/c")), { verdict: "allow", rule: a });
});

Deno.test("paramsNeeded() and contentNeeded() name what rules ask of the requests that may fall under them", () => {
  const page = makeRule("page", { host: HOST, paths: ["/v1/*"], query: ["page=1", "page=2", "sort=up"] });
  const graphql = makeRule("graphql", {
    host: HOST,
    methods: ["POST"],
    paths: ["/graphql"],
    graphql: ["query"],
  });
  const rules = [makeRule("any", { host: HOST }), page, graphql];
  assertEquals(paramsNeeded(rules, get("/v1/x")), ["page", "sort"]);
  assertEquals(paramsNeeded(rules, get("/v1/x", { host: "other.test" })), []);
  assertEquals(paramsNeeded(rules, get("/graphql", { method: "POST" })), []);
  assertEquals(contentNeeded(rules, get("/graphql", { method: "POST" })), ["graphql"]);
  assertEquals(contentNeeded(rules, get("/graphql")), []);
  assertEquals(contentNeeded(rules, get("/v1/x", { method: "POST" })), []);
  // A path that is refused whatever stands in the body is no reason to read one.
  assertEquals(contentNeeded([makeRule("g", { host: HOST, graphql: ["query"] })], get("/a%252fb")), []);
});

Deno.test("decideRequest() lets a suspect path on where rules look at the query and at no path", () => {
  const query = makeRule("query", { host: HOST, query: ["page=1"] });
  assertEquals(outcome([query], get("/a%252fb", { query: "page=1" })), "allow:query");
  const git = makeRule("git", { host: HOST, git: "read" });
  assertEquals(outcome([query, git], get("/a%252fb", { query: "page=1" })), "path-encoding");
});

Deno.test("decideRequest() wants the same refusal of headers from every rule that a request needs", () => {
  const paths = makeRule("paths", { host: HOST, paths: ["/a/*"] });
  const method = makeRule("method", { host: HOST, methods: ["GET"] });
  const open = makeRule("open", { host: HOST });
  assertEquals(outcome([paths, method], get("/a/../b")), "allow:paths"); // one method is a limit too
  assertEquals(outcome([paths, open], get("/a/../b")), "path-ambiguous");
});

Deno.test("decideRequest() denies suspect paths on hosts that have a rule with paths", async (t) => {
  const any = makeRule("any", { host: HOST });
  const onOtherPort = makeRule("port", { host: HOST, ports: [8443], paths: ["/v1/*"] });
  const otherHost = makeRule("other", { host: "other.test", paths: ["/v1/*"] });
  const rows: readonly [string, readonly Rule[], string, string][] = [
    ["double encoding", [any, onOtherPort], "/a/%252e%252e/b", "path-encoding"],
    ["matrix parameter", [any, onOtherPort], "/a/..;/b", "path-encoding"],
    ["NUL", [any, onOtherPort], "/a%00", "path-encoding"],
    ["no rule with paths", [any], "/a/%252e%252e/b", "allow:any"],
    ["a rule with paths for another host", [any, otherHost], "/a/..;/b", "allow:any"],
    ["no rule at all", [], "/a/..;/b", "no-rule"],
  ];
  for (const [name, rules, path, expected] of rows) {
    await t.step(name, () => assertEquals(outcome(rules, get(path)), expected));
  }
});

Deno.test("decideRequest() reads paths in every way under a rule with paths for a wildcard host too", () => {
  const wild = makeRule("wild", { host: "*.example.com", paths: ["/v1/*"] });
  assertEquals(outcome([wild], get("/v1/../admin")), "path-ambiguous");
  assertEquals(outcome([wild], get("/v1/%252e%252e/admin")), "path-encoding");
  assertEquals(outcome([wild], get("/v1/a/../b")), "allow:wild");
});

Deno.test("decideRequest() tells which rule came closest", () => {
  const rule = makeRule("post", { host: HOST, methods: ["POST"] });
  assertEquals(decideRequest([rule], get("/")), {
    verdict: "deny",
    reason: "no-rule",
    closest: { rule, missed: ["method"] },
  });
});

Deno.test("decideRequest() wants a star inside to be one segment in every reading", async (t) => {
  const rules = [makeRule("pulls", { host: HOST, paths: ["/repos/acme/*/pulls", "/git/**/info/refs"] })];
  const rows: readonly [string, string][] = [
    ["/repos/acme/web/pulls", "allow:pulls"],
    ["/repos/acme/w%65b/pulls", "allow:pulls"],
    ["/repos/acme/a%20b/pulls", "allow:pulls"],
    ["/repos/acme/a%2fb/pulls", "path-ambiguous"],
    ["/repos/acme/a\\b/pulls", "path-ambiguous"],
    ["/repos/acme/a%5Cb/pulls", "path-ambiguous"],
    ["/repos/acme/x%2f..%2fy/pulls", "allow:pulls"],
    ["/repos/acme/x%2f..%2f..%2fother/pulls", "path-ambiguous"],
    ["/repos/acme/../pulls", "path-ambiguous"],
    ["/repos/acme/%2e%2e/pulls", "path-ambiguous"],
    ["/repos/acme/..;/pulls", "path-encoding"],
    ["/repos/acme/%252e%252e/pulls", "path-encoding"],
    ["/repos/acme/;/pulls", "path-ambiguous"],
    ["/repos/acme/a;b/pulls", "allow:pulls"],
    ["/repos/acme/web//pulls", "path-ambiguous"],
    ["/repos/acme/web%2fpulls", "path-ambiguous"],
    ["/repos/acme/web/x/pulls", "no-rule"],
    ["/git/a/b/info/refs", "allow:pulls"],
    ["/git/a%2fb/info/refs", "allow:pulls"],
    ["/git/../info/refs", "path-ambiguous"],
    ["/git/a/../../x/info/refs", "path-ambiguous"],
  ];
  for (const [path, expected] of rows) {
    await t.step(path, () => assertEquals(outcome(rules, get(path)), expected));
  }
});

Deno.test("decisions by rules without words look at no word again", () => {
  const read = new Set<string | symbol>();
  const watched = (rule: Rule) =>
    new Proxy(rule, { get: (rule, key) => (read.add(key), Reflect.get(rule, key)) });
  const rules = Object.freeze([
    watched(makeRule("1", { host: "a.test", methods: ["POST"] })),
    watched(makeRule("2", { host: "a.test", paths: ["/v1/*"] })),
  ]);
  const request = { host: "a.test", port: 443, method: "GET", path: "/v1/x" };
  const decide =
    () => [contentNeeded(rules, request), formatSays(rules, request), decideRequest(rules, request)];
  decide();
  assertEquals(read.has("graphql"), true);
  read.clear();
  decide();
  const beside = WORD_ROWS.filter(({ field }) => field !== "deny" && read.has(field)); // `deny` says what a match means
  assertEquals(beside, []);
});

Deno.test("paramsNeeded() and contentNeeded() go through a list once when none of its rules has a condition", () => {
  let looks = 0;
  const rules = new Proxy(Object.freeze([makeRule("1", { host: HOST, paths: ["/v1/*"] })]), {
    get: (list, key) => (looks++, Reflect.get(list, key)),
  });
  paramsNeeded(rules, get("/v1/x"));
  looks = 0;
  assertEquals([paramsNeeded(rules, get("/v1/x")), contentNeeded(rules, get("/v1/x")), looks], [[], [], 0]);
});

Deno.test("isHttp1Only() goes by a rule that says so for this host and port", () => {
  const rules = [
    makeRule("1", { host: HOST }),
    makeRule("2", { host: HOST, ports: [8443], http1: true }),
    makeRule("3", { host: "*.old.test", http1: true }),
  ];
  const of = (host: string, port: number) => isHttp1Only(rules, { host, port });
  assertEquals([of(HOST, 8443), of("a.old.test", 443), of("a.old.test", 80)], [true, true, true]);
  assertEquals([of(HOST, 443), of("a.old.test", 8443), of("other.test", 443)], [false, false, false]);
});
