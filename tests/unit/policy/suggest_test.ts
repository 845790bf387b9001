import { assert, assertEquals } from "@std/assert";
import type { Denial } from "../../../policy/denial_tally.ts";
import type { Rule } from "../../../policy/rule.ts";
import { type Proposal, suggestRules } from "../../../policy/suggest.ts";
import { MAX_RULE_CHARS } from "../../../store/limits.ts";
import { makeRule } from "../../support/make_rule.ts";

const denial = (path: string | undefined, more: Partial<Denial> = {}): Denial => ({
  method: "GET",
  host: "a.test",
  port: 443,
  path,
  reason: "no-rule",
  count: 1,
  lastMs: 7,
  ...more,
});

const shown = ({ rule: { host, ports, methods, paths } }: Proposal) =>
  [methods.join(","), host, ...ports, ...paths].join(" ");

Deno.test("suggestRules() proposes exact hosts, methods and paths", async (t) => {
  const rows: readonly [string, readonly Denial[], readonly string[], (readonly Rule[])?][] = [
    ["nothing", [], []],
    ["one request", [denial("/v1/models")], ["GET a.test /v1/models"]],
    ["another port", [denial("/", { port: 8443 })], ["GET a.test 8443 /"]],
    ["http and https", [denial("/a", { port: 80 }), denial("/b")], ["GET a.test /a /b"]],
    [
      "two methods with the same paths are one rule",
      [denial("/a"), denial("/a", { method: "HEAD" }), denial("/b"), denial("/b", { method: "HEAD" })],
      ["GET,HEAD a.test /a /b"],
    ],
    [
      "two methods with other paths are two",
      [denial("/a"), denial("/a", { method: "HEAD" }), denial("/b", { method: "HEAD" })],
      ["GET a.test /a", "HEAD a.test /a /b"],
    ],
    ["methods in any case", [denial("/a", { method: "get" }), denial("/a")], ["GET a.test /a"]],
    ["identifiers", [denial("/u/1"), denial("/u/2")], ["GET a.test /u/*"]],
    ["hosts are never joined", [denial("/a"), denial("/a", { host: "b.a.test" })], [
      "GET a.test /a",
      "GET b.a.test /a",
    ]],
    [
      "what a rule allows by now is left out",
      [denial("/v1/a"), denial("/v2/a")],
      ["GET a.test /v2/a"],
      [makeRule("1", { host: "*.test", paths: ["/v1/*"] })],
    ],
    [
      "a scoped package: the path as npm sends it has several readings",
      [denial("/@types%2fnode", { host: "registry.npmjs.org" })],
      ["GET registry.npmjs.org /@types/node /@types/node/-/*"],
    ],
    [
      "an implied path that a rule covers is left out",
      [denial("/left", { host: "registry.npmjs.org" })],
      ["GET registry.npmjs.org /left"],
      [makeRule("1", { host: "*.npmjs.org", paths: ["/left/*"] })],
    ],
    [
      "what follows on another host",
      [denial("/simple/flask/", { host: "pypi.org" })],
      ["GET pypi.org /simple/flask/", "GET files.pythonhosted.org /packages/*"],
    ],
  ];
  for (const [name, denials, expected, rules = []] of rows) {
    await t.step(name, () => assertEquals(suggestRules({ denials, rules }).proposals.map(shown), expected));
  }
});

Deno.test("suggestRules() names the requests behind each rule, and what is implied by whom", () => {
  const { proposals, skipped } = suggestRules({
    denials: [
      denial("/w.git/info/refs", { count: 3, lastMs: 9 }),
      denial("/w.git/info/refs", { count: 1, lastMs: 5, port: 80 }),
    ],
    rules: [
      makeRule("1", { host: "a.test", paths: ["/api/*"], secret: "gh" }),
      makeRule("2", { host: "b.test", secret: "other" }),
    ],
  });
  assertEquals(skipped, []);
  assertEquals(proposals.map(({ because, implied, otherSecrets }) => [because, implied, otherSecrets]), [
    [
      [
        { method: "GET", path: "/w.git/info/refs", count: 3, lastMs: 9, pattern: "/w.git/info/refs" },
        { method: "GET", path: "/w.git/info/refs", count: 1, lastMs: 5, pattern: "/w.git/info/refs" },
      ],
      [],
      ["gh"],
    ],
    [[], [
      { method: "POST", path: "/w.git/git-upload-pack", by: "git", after: "/w.git/info/refs" },
    ], ["gh"]],
  ]);
  assertEquals(proposals.map(({ rule }) => rule.secret), [undefined, undefined]);
});

Deno.test("suggestRules() calls nothing implied that what was asked for comes to by itself", () => {
  const denials = ["/pool/1", "/pool/2", "/dists/jammy/InRelease"].map((path) => denial(path));
  const { proposals } = suggestRules({ denials, rules: [] });
  assertEquals(proposals.map(shown), ["GET a.test /dists/jammy/* /pool/*"]);
  assertEquals(proposals[0]?.implied.map(({ path }) => path), ["/dists/jammy/*"]);
});

Deno.test("suggestRules() with isExact proposes only what was asked for", () => {
  const denials = [
    ...["/u/1", "/u/2", "/w.git/info/refs"].map((path) => denial(path)),
    denial("/left", { host: "registry.npmjs.org" }),
  ];
  const { proposals } = suggestRules({ denials, rules: [], isExact: true });
  assertEquals(proposals.map(shown), [
    "GET a.test /u/1 /u/2 /w.git/info/refs",
    "GET registry.npmjs.org /left",
  ]);
});

Deno.test("suggestRules() skips what no rule should or could solve, and says why", async (t) => {
  const unwritable = "its method or path cannot be written in a rule";
  const rows: readonly [string, Denial, string, (readonly Rule[])?][] = [
    ["IPv4", denial("/", { host: "10.0.0.1" }), "rules for addresses are not suggested"],
    ["IPv6", denial("/", { host: "::1" }), "rules for addresses are not suggested"],
    [
      "tunnel in strict mode",
      denial(undefined, { method: "CONNECT" }),
      "strict mode refused the tunnel before anything was asked in it: run the proxy with --mode=audit",
    ],
    ["name look-up", denial(undefined, { method: "DNS", port: undefined }), "only its name was looked up"],
    [
      "untrusted CA",
      denial(undefined, { method: "CONNECT", reason: "tls-untrusted-ca" }),
      "the client does not trust the proxy's certificate authority: install it, or allow with --passthrough",
    ],
    [
      "a client's clock",
      denial(undefined, { method: "CONNECT", reason: "tls-client-clock" }),
      "the client's clock is wrong: set it (agent doctor tells by how much)",
    ],
    [
      "protocols of a client",
      denial(undefined, { method: "CONNECT", reason: "tls-client-alpn" }),
      "the client offers only protocols that the proxy does not speak: if that is right, allow with --passthrough",
    ],
    [
      "broken handshake",
      denial(undefined, { method: "CONNECT", reason: "client-closed" }),
      "the client broke off in the TLS handshake: does it trust the proxy's certificate authority?",
    ],
    [
      "another protocol",
      denial(undefined, { method: "CONNECT", reason: "tls-no-client-hello" }),
      "what came through the tunnel was no HTTP request: if it is another protocol, allow with --passthrough",
    ],
    [
      "another protocol, whose client waited",
      denial(undefined, { method: undefined, reason: "idle-timeout" }),
      "what came through the tunnel was no HTTP request: if it is another protocol, allow with --passthrough",
    ],
    [
      "quota",
      denial("/", { reason: "quota" }),
      "no rule helps: this client or source holds as many connections or requests as it may",
    ],
    [
      "a host that has lost its fleet's store",
      denial("/", { reason: "store-lost" }),
      "no rule helps: this host has not heard from the fleet's store for longer than --store-grace, so it cannot know " +
      "the policy",
    ],
    [
      "double encoding",
      denial("/a%252e", { reason: "path-encoding" }),
      "the path is encoded twice, or hides a dot segment, a NUL or an overlong character",
      [makeRule("1", { host: "a.test", paths: ["/b"] })],
    ],
    ["dot segments", denial("/a/../b"), unwritable],
    ["a pattern", denial("/*"), unwritable],
    ["a pattern of everything", denial("*", { method: "OPTIONS" }), unwritable],
    ["two paths in one", denial("/a,/admin"), unwritable],
    ["a flag as a method", denial("/", { method: "--passthrough" }), unwritable],
    ["a command as a method", denial("/", { method: "$(x)" }), unwritable],
    ["a space", denial("/a b"), unwritable],
    ["a query", denial("/a?b"), unwritable],
    ["many readings", denial("/a%2fb;c\\d%5ce//f"), "its path can be read in too many ways"],
    [
      "an earlier rule for one reading",
      denial("/a%2fb", { reason: "path-ambiguous" }),
      "servers read the path in more than one way, and the readings are not all allowed with the same effect",
      [makeRule("1", { host: "a.test", paths: ["/a/*"] })],
    ],
  ];
  for (const [name, each, why, rules = []] of rows) {
    await t.step(name, () => {
      const { proposals, skipped } = suggestRules({ denials: [each], rules });
      assertEquals(proposals, []);
      assertEquals(skipped, [{ host: each.host, port: each.port, why, count: 1 }]);
    });
  }
});

Deno.test("suggestRules() does not skip what proposals or rules let through by now", async (t) => {
  const passthrough = makeRule("1", { host: "a.test", passthrough: true });
  const rows: readonly [string, readonly Denial[], (readonly Rule[])?][] = [
    ["a tunnel whose requests are known", [denial(undefined, { method: "CONNECT" }), denial("/a")]],
    ["a name whose requests are known", [
      denial(undefined, { method: "DNS", port: undefined }),
      denial("/a"),
    ]],
    ["a path that cannot be written, below identifiers", [denial("/u/1"), denial("/u/2"), denial("/u/a,/b")]],
    ["a handshake that is passed through", [denial(undefined, { reason: "tls-untrusted-ca" })], [
      passthrough,
    ]],
  ];
  for (const [name, denials, rules = []] of rows) {
    await t.step(name, () => assertEquals(suggestRules({ denials, rules }).skipped, []));
  }
});

Deno.test("suggestRules() gives no path that stays denied as a reason, though its prefix is proposed", () => {
  const denials = ["/u/1", "/u/2", "/u/%252e%252e"].map((path) => denial(path));
  const { proposals, skipped } = suggestRules({ denials, rules: [] });
  assertEquals(proposals.map(shown), ["GET a.test /u/*"]);
  assertEquals(proposals[0]?.because.map(({ path }) => path), ["/u/1", "/u/2"]);
  assertEquals(skipped.map(({ count }) => count), [1]);
});

Deno.test("suggestRules() puts 100 paths into a rule, and keeps the rest for the next time", () => {
  const paths = (count: number) =>
    Array.from({ length: count }, (_, i) => denial(`/p${i % 15}/q${i % 7}/r${Math.floor(i / 105)}`));
  const { proposals, skipped } = suggestRules({ denials: paths(100), rules: [] });
  assertEquals([proposals.length, proposals[0]?.rule.paths.length, skipped], [1, 100, []]);
  const more = suggestRules({ denials: paths(101), rules: [] });
  assertEquals(more.proposals[0]?.rule.paths.length, 100);
  assertEquals(more.skipped, [{
    host: "a.test",
    port: 443,
    why: "one rule would list too many methods or paths: add the proposed ones, then suggest again",
    count: 1,
  }]);
  const rules = more.proposals.map(({ rule }) => makeRule("new", rule));
  assertEquals(suggestRules({ denials: paths(101), rules }).proposals[0]?.rule.paths.length, 1);
});

Deno.test("suggestRules() puts paths of 16,000 characters into a rule", () => {
  const paths = (more: number) =>
    ["a", "b", "c", "d", "e", "f", "g", "h"].map((name, i) =>
      denial(`/${name}`.padEnd(i === 7 ? 2_000 + more : 2_000, "x"))
    );
  const listed = (more: number) =>
    suggestRules({ denials: paths(more), rules: [] }).proposals[0]?.rule.paths.length;
  assertEquals([listed(0), listed(1)], [8, 7]);
});

Deno.test("suggestRules() tells what it skips by host, port and cause, and counts what is the same", () => {
  const quota = (more: Partial<Denial>) => denial("/", { reason: "quota", ...more });
  const denials = [
    ...[
      quota({ count: 2 }),
      quota({ path: "/b", count: 3 }),
      quota({ host: "b.test" }),
      quota({ port: 8443 }),
    ],
    quota({ reason: "overload" }),
  ];
  const { skipped } = suggestRules({ denials, rules: [] });
  assertEquals(skipped.map(({ host, port, count }) => [host, port, count]), [
    ["a.test", 443, 5],
    ["b.test", 443, 1],
    ["a.test", 8443, 1],
    ["a.test", 443, 1],
  ]);
});

Deno.test("suggestRules() implies what follows at the same port, unless it is at another host", async (t) => {
  const rows: readonly [string, Denial, readonly Rule[], ...string[]][] = [
    [
      "npm at a port",
      denial("/left", { host: "npm.test", port: 8443 }),
      [],
      "GET npm.test 8443 /left /left/-/*",
    ],
    [
      "pip at a port",
      denial("/simple/a/", { host: "pypi.org", port: 8443 }),
      [],
      "GET pypi.org 8443 /simple/a/",
      "GET files.pythonhosted.org /packages/*",
    ],
    [
      "pip, whose files a rule allows",
      denial("/simple/a/", { host: "pypi.org" }),
      [makeRule("1", { host: "files.pythonhosted.org", paths: ["/packages/*"] })],
      "GET pypi.org /simple/a/",
    ],
    [
      "allowed, but at another port",
      denial("/left", { host: "npm.test", port: 8443 }),
      [makeRule("1", { host: "npm.test", paths: ["/left/-/*"] })],
      "GET npm.test 8443 /left /left/-/*",
    ],
    [
      "allowed, but at one of the usual ports alone",
      denial("/left", { host: "npm.test" }),
      [makeRule("1", { host: "npm.test", ports: [443], paths: ["/left/-/*"] })],
      "GET npm.test /left /left/-/*",
    ],
    [
      "allowed at both",
      denial("/left", { host: "npm.test" }),
      [makeRule("1", { host: "npm.test", ports: [80, 443], paths: ["/left/-/*"] })],
      "GET npm.test /left",
    ],
    [
      "what follows is too long for the same rule",
      denial("/".padEnd(2_046, "a"), { host: "npm.test" }),
      [],
      `GET npm.test ${"/".padEnd(2_046, "a")}`,
    ],
    [
      "what follows is too long for a rule",
      denial(`/${"x".repeat(2_035)}/info/refs`),
      [],
      `GET a.test /${"x".repeat(2_035)}/info/refs`,
    ],
  ];
  for (const [name, each, rules, ...proposed] of rows) {
    await t.step(name, () => {
      assertEquals(suggestRules({ denials: [each], rules }).proposals.map(shown), proposed);
    });
  }
});

Deno.test("suggestRules() counts packages of a registry that rules let be read there, and no others", async (t) => {
  const host = "registry.npmjs.org";
  const rows: readonly [string, Parameters<typeof makeRule>[1], boolean][] = [
    ["read there", { host, methods: ["GET"], paths: ["/right"] }, true],
    ["by any method", { host, paths: ["/right"] }, true],
    ["not read", { host, methods: ["PUT"], paths: ["/right"] }, false],
    ["elsewhere", { host: "npm.test", paths: ["/right"] }, false],
  ];
  for (const [name, rule, isWhole] of rows) {
    await t.step(name, () => {
      const { proposals } = suggestRules({
        denials: [denial("/left", { host })],
        rules: [makeRule("1", rule)],
      });
      assertEquals(proposals.some((each) => each.rule.paths.includes("/*")), isWhole);
    });
  }
});

Deno.test("suggestRules() proposes a gRPC call as such, be it the only one", () => {
  const call = denial("/a.B/C", { method: "POST", isGrpc: true });
  const { proposals, skipped } = suggestRules({ denials: [call, denial("/x")], rules: [] });
  assertEquals(
    proposals.map(({ rule, because }) => [rule.grpc, rule.paths, because.map(({ path }) => path)]),
    [
      [["a.B/C"], [], ["/a.B/C"]],
      [undefined, ["/x"], ["/x"]],
    ],
  );
  assertEquals(skipped, []);
});

Deno.test("suggestRules() is done within seconds with all that a hostile client can put into a log", () => {
  const denials = Array.from({ length: 1_000 }, (_, i) => denial(`/a${i % 15};x/%2f${i}b`));
  const rules = Array.from(
    { length: 20 },
    (_, i) =>
      makeRule(String(i), {
        host: "a.test",
        paths: Array.from({ length: 10 }, (_, j) => `/r${i};${j}/%2f/*`),
      }),
  );
  const startedAt = performance.now();
  suggestRules({ denials, rules });
  const tookMs = performance.now() - startedAt;
  if (tookMs > 10_000) throw new Error(`took ${tookMs} ms`);
});

Deno.test("suggestRules() proposes no rule that the store refuses for its length, whatever was asked for", () => {
  const path = "/p".padEnd(2_000, "x");
  const denials = Array.from({ length: 1_000 }, (_, i) => denial(path, { method: `${"M".repeat(28)}${i}` }));
  const { proposals, skipped } = suggestRules({ denials, rules: [] });
  assertEquals(proposals.map(({ rule, because }) => [rule.methods.length, because.length]), [[100, 100]]);
  assert(JSON.stringify(proposals[0]?.rule).length <= MAX_RULE_CHARS);
  assertEquals(skipped.map(({ why, count }) => [why.slice(0, 47), count]), [
    ["one rule would list too many methods or paths: ", 900],
  ]);
});

Deno.test("suggestRules() speaks of git where a request is unmistakably git's", async (t) => {
  const refs = (repo: string, service: string, more: Partial<Denial> = {}) =>
    denial(`/${repo}/info/refs`, { says: `query:service=git-${service}-pack`, ...more });
  const rows: readonly [string, readonly Denial[], readonly (readonly string[])[], (readonly Rule[])?][] = [
    ["a clone", [refs("acme/web.git", "upload")], [["read", "acme/web"]]],
    ["two of them", [refs("acme/web", "upload"), refs("acme/api", "upload")], [[
      "read",
      "acme/api",
      "acme/web",
    ]]],
    ["a push", [refs("acme/web", "receive")], [["write", "acme/web"]]],
    ["a clone and a push", [refs("acme/web", "upload"), refs("acme/web", "receive")], [[
      "write",
      "acme/web",
    ]]],
    ["one each", [refs("a/b", "upload"), refs("a/c", "receive")], [["read", "a/b"], ["write", "a/c"]]],
    ["its second request", [denial("/acme/web/git-upload-pack", { method: "POST" })], [["read", "acme/web"]]],
    [
      "what a rule allows by now is left out",
      [refs("acme/web", "upload")],
      [],
      [makeRule("1", { host: "a.test", git: "read" })],
    ],
    [
      "a push beside a rule for reading",
      [refs("acme/web", "receive")],
      [["write", "acme/web"]],
      [makeRule("1", { host: "a.test", git: "read" })],
    ],
    ["a log that does not say which", [denial("/acme/web/info/refs")], []],
    ["two services at once", [denial("/a/b/info/refs", { says: "query:service=*" })], []],
    ["a name that is no repository's", [refs("a/%2e%2e/b", "upload")], []],
  ];
  for (const [name, denials, expected, rules = []] of rows) {
    await t.step(name, () => {
      const { proposals } = suggestRules({ denials, rules });
      assertEquals(
        proposals.flatMap(({ rule }) => rule.git ? [[rule.git, ...rule.repo ?? []]] : []),
        expected,
      );
    });
  }
  await t.step("--exact keeps to paths", () => {
    const { proposals } = suggestRules({ denials: [refs("acme/web", "upload")], rules: [], isExact: true });
    assertEquals(proposals.map(shown), ["GET a.test /acme/web/info/refs"]);
  });
});

Deno.test("suggestRules() names the tools and methods of MCP that the log names", () => {
  const sent = (says: string, more: Partial<Denial> = {}) =>
    denial("/mcp", { method: "POST", says, ...more });
  const wordsOf = (denials: readonly Denial[], rules: readonly Rule[] = []) =>
    suggestRules({ denials, rules }).proposals.map(({ rule, because }) => [
      ...[rule.paths.join(), rule.mcpTool?.join(), rule.mcpMethod?.join(), because.length],
    ]);
  const before = makeRule("1", { host: "a.test", paths: ["/mcp"], mcpTool: ["read"] });
  assertEquals(wordsOf([sent("mcp:tools/call(write)"), sent("mcp:prompts/get")], [before]), [
    ["/mcp", "write", "prompts/get", 2],
  ]);
  assertEquals(wordsOf([sent("mcp:tools/call(read)")], [before]), []);
  assertEquals(wordsOf([sent("mcp:!body-unreadable", { reason: "body-unreadable" })], [before]), []);
  assertEquals(wordsOf([sent("mcp:initialize")]), [["/mcp", undefined, "tools/list", 1]]);
  // A name that would be a pattern.
  assertEquals(wordsOf([sent("mcp:tools/call(%2A)"), sent("mcp:%2A")], [before]), []);
  assertEquals(wordsOf([sent("mcp:tools/call(write)+tools/call(w%2A)"), sent("mcp:tools/call(write)")]), [
    ["/mcp", "write", undefined, 1],
  ]);
  // A name that cannot be typed in a rule: one of method and path would allow every tool.
  const untypable = suggestRules({ denials: [sent("mcp:tools/call(a%2Cb)", { count: 2 })], rules: [before] });
  assertEquals([untypable.proposals, untypable.skipped], [[], [{
    ...{ host: "a.test", port: 443, count: 2 },
    why: "a tool or method of MCP in it has a name that no rule can be written for",
  }]]);
  const many = Array.from({ length: 101 }, (_, i) => sent(`mcp:tools/call(t${i})`));
  const { proposals, skipped } = suggestRules({ denials: many, rules: [] });
  assertEquals(proposals.map(({ rule }) => rule.mcpTool?.length), [100]);
  assertEquals(skipped.map(({ why, count }) => [why.split(":", 1)[0], count]), [
    ["one rule would list too many tools and methods of MCP", 1],
  ]);
});
