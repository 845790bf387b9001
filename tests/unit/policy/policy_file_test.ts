import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import {
  formatPolicyFile,
  formatPolicyRule,
  parsePolicyFile,
  type PolicyRule,
} from "../../../policy/policy_file.ts";
import { parseRule } from "../../../policy/rule.ts";
import { MAX_YAML_CHARS } from "../../../policy/yaml_tree.ts";

const EXAMPLE = `# yaml-language-server: $schema=./policy.schema.json
version: 1
secrets: # references only
  gh: { host: API.GitHub.com, type: bearer }
  registry: { host: "*.example.com" }
clients:
  ci-1:
    allow:
      - host: api.github.com
        methods: [get]
        paths: [/repos/*]
        secret: gh
        ttl: 1h
      - host: db.example.com
        ports: [5432]
        passthrough: true
      - host: "*.Example.com"
        expires: 2026-12-01T01:00:00+01:00
  idle: { allow: [] }
`;

Deno.test("parsePolicyFile() reads clients, rules in order, and references to secrets", () => {
  const { clients, secrets } = parsePolicyFile(EXAMPLE, "policy.yaml");
  assertEquals([...secrets], [
    ["gh", { host: "api.github.com", type: "bearer", place: "policy.yaml:4:7" }],
    ["registry", { host: "*.example.com", type: "bearer", place: "policy.yaml:5:13" }],
  ]);
  assertEquals([...clients], [
    ["ci-1", [
      {
        spec: parseRule({ host: "api.github.com", methods: ["GET"], paths: ["/repos/*"], secret: "gh" }),
        ttlMs: 3_600_000,
      },
      { spec: parseRule({ host: "db.example.com", ports: [5_432], passthrough: true }) },
      { spec: parseRule({ host: "*.example.com" }), expiresAt: Date.UTC(2026, 11, 1) },
    ]],
    ["idle", []],
  ]);
});

Deno.test("parsePolicyFile() reads a client's own budget, in its one spelling, and tells none from nothing", () => {
  const file = parsePolicyFile(
    "version: 1\nclients:\n  a: { budget: [requests=1000/H, bytes-up=5M/d, requests=1k/h], allow: [] }\n" +
      "  b: { budget: [], profiles: [] }\n  c: { allow: [] }\n",
    "f",
  );
  assertEquals([...file.budgets], [["a", ["bytes-up=5M/d", "requests=1K/h"]], ["b", []]]);
  assertEquals(
    formatPolicyFile(file),
    "version: 1\nsecrets: {}\nclients:\n  a:\n    budget: [bytes-up=5M/d, requests=1K/h]\n    allow: []\n" +
      "  b:\n    budget: []\n    allow: []\n  c:\n    allow: []\n",
  );
  const error = assertThrows(
    () => parsePolicyFile("version: 1\nclients:\n  a: { allow: [], budget: [requests=0/h] }\n", "f"),
    ProxyError,
  );
  assertEquals(error.message, 'Cannot read f:3:28: cannot use "requests=0/h" as a budget');
});

Deno.test("parsePolicyFile() reads JSON, a byte order mark and any line end", () => {
  const json = JSON.stringify({ version: 1, clients: { a: { allow: [{ host: "a.test", ports: [80] }] } } });
  const expected: [string, PolicyRule[]][] = [["a", [{ spec: parseRule({ host: "a.test", ports: [80] }) }]]];
  assertEquals([...parsePolicyFile(json, "f").clients], expected);
  const yaml =
    "\ufeff---\r\nversion: 1\r\nclients:\r\n  a:\r\n    allow:\r\n    - host: a.test\r\n      ports:\r\n      - 80\r\n...\r\n";
  assertEquals([...parsePolicyFile(yaml, "f").clients], expected);
});

Deno.test("parsePolicyFile() takes basic-auth for basic", () => {
  const text = "version: 1\nclients: {}\nsecrets: { s: { host: a.test, type: basic-auth } }\n";
  assertEquals(parsePolicyFile(text, "f").secrets.get("s")?.type, "basic");
});

Deno.test("parsePolicyFile() says where and what is wrong", async (t) => {
  const rule = (lines: string) => `version: 1\nclients:\n  a:\n    allow:\n      - ${lines}\n`;
  const secret = (line: string) => `version: 1\nclients: {}\nsecrets:\n  ${line}\n`;
  const rows: readonly [string, string, string][] = [
    ["nothing", "", "1:1: it is empty"],
    ["only a comment", "# nothing\n", "1:1: it is empty"],
    ["no map", "- a\n", "1:1: a policy: this is no map"],
    ["no version", "clients: {}\n", "1:1: a policy has no version"],
    ["another version", "version: 2\nclients: {}\n", "1:10: this version of policy files is not known"],
    ["a version in quotes", 'version: "1"\nclients: {}\n', "1:10: this version of policy files is not known"],
    ["no clients", "version: 1\n", "1:1: a policy has no clients"],
    ["clients commented out", "version: 1\nclients:\n#  a: {}\n", "2:8: clients: this is no map"],
    ["unknown key at the top", "version: 1\nclients: {}\nrules: []\n", '3:1: unknown key "rules"'],
    ["merge key", "version: 1\nclients: {}\n<<: {}\n", '3:1: unknown key "<<"'],
    ["key twice", "version: 1\nclients: {}\nclients: {}\n", '3:1: the key "clients" is here twice'],
    [
      "client twice",
      "version: 1\nclients:\n  a: {allow: []}\n  'a': {allow: []}\n",
      '4:3: the key "a" is here twice',
    ],
    ["client without a map", "version: 1\nclients:\n  a:\n", "3:4: a client: this is no map"],
    ["client without allow", "version: 1\nclients:\n  a: {}\n", "3:6: a client has no allow"],
    [
      "unknown key of a client",
      "version: 1\nclients:\n  a: {allow: [], token: x}\n",
      '3:18: unknown key "token"',
    ],
    ["bad client name", "version: 1\nclients:\n  -a: {allow: []}\n", '3:3: cannot use "-a" as a client name'],
    [
      "client name that is a number",
      "version: 1\nclients:\n  7: {allow: []}\n",
      "3:3: clients: this is no text",
    ],
    [
      "client name that is a list",
      "version: 1\nclients:\n  ? [a]\n  : {allow: []}\n",
      "3:5: a key is a list or a map",
    ],
    [
      "allow that is no list",
      "version: 1\nclients:\n  a: {allow: {host: a.test}}\n",
      "3:14: allow: this is no list",
    ],
    ["rule that is no map", rule("a.test"), "5:9: a rule: this is no map"],
    ["no methods", rule("host: a.test\n        methods: []"), "6:18: methods: this list is empty"],
    ["no paths", rule("host: a.test\n        paths: []"), "6:16: paths: this list is empty"],
    ["no ports", rule("host: a.test\n        ports: []"), "6:16: ports: this list is empty"],
    ["rule without a host", rule("methods: [GET]"), "5:9: a rule has no host"],
    ["misspelt key of a rule", rule("host: a.test\n        method: [GET]"), '6:9: unknown key "method"'],
    ["bad host", rule("host: https://a.test"), '5:15: cannot use "https://a.test" as a host'],
    ["empty host", rule("host:"), "5:13: host: this is empty"],
    ["host that is a list", rule("host: [a.test]"), "5:15: host: this is no text"],
    ["star without quotes", rule("host: *.example.com"), "5:15: a * without quotes begins an alias"],
    ["lone star without quotes", rule("host: a.test\n        paths: [*]"), "6:18: it is not YAML"],
    ["bad method", rule("host: a.test\n        methods: [GET, 'a b']"), '6:24: cannot use "a b" as a method'],
    [
      "method that is a boolean",
      rule("host: a.test\n        methods: [no]"),
      "6:19: methods: this is no text",
    ],
    [
      "methods that are no list",
      rule("host: a.test\n        methods: GET"),
      "6:18: methods: this is no list",
    ],
    [
      "bad path",
      rule("host: a.test\n        paths:\n          - /a\n          - v1"),
      '8:13: cannot use "v1" as a path',
    ],
    ["bad port", rule("host: a.test\n        ports: [80, 65536]"), "6:21: cannot use 65536 as a port"],
    ["port in quotes", rule('host: a.test\n        ports: ["80"]'), "6:17: ports: this is no whole number"],
    ["octal port", rule("host: a.test\n        ports: [0o17]"), "6:17: ports: this is no whole number"],
    [
      "bad boolean",
      rule("host: a.test\n        passthrough: yes"),
      "6:22: passthrough: this is neither true nor false",
    ],
    [
      "passthrough with a method",
      rule("host: a.test\n        methods: [GET]\n        passthrough: true"),
      "7:22: cannot use passthrough with a secret",
    ],
    [
      "passthrough with a path",
      rule("host: a.test\n        paths: [/a]\n        passthrough: true"),
      "7:22: cannot use passthrough with a secret",
    ],
    ["bad ttl", rule("host: a.test\n        ttl: 1y"), '6:14: cannot read "1y" as a duration'],
    ["ttl that is a number", rule("host: a.test\n        ttl: 3600"), "6:14: ttl: this is no text"],
    [
      "ttl and expires",
      rule("host: a.test\n        ttl: 1h\n        expires: 2026-12-01T00:00:00Z"),
      "7:18: a rule has both ttl and expires",
    ],
    ["date without a time", rule("host: a.test\n        expires: 2026-12-01"), "6:18: this is no time"],
    [
      "time without a zone",
      rule("host: a.test\n        expires: 2026-12-01T00:00:00"),
      "6:18: this is no time",
    ],
    ["30 February", rule("host: a.test\n        expires: 2026-02-30T00:00:00Z"), "6:18: this is no time"],
    ["25 o'clock", rule("host: a.test\n        expires: 2026-02-03T25:00:00Z"), "6:18: this is no time"],
    [
      "a rule twice",
      rule("host: a.test\n      - {host: A.test, ttl: 1h}"),
      "6:9: this client has the same rule above",
    ],
    [
      "unlisted secret",
      rule("host: a.test\n        secret: gh"),
      "6:17: this secret is not listed under secrets",
    ],
    [
      "secret of another host",
      `${rule("host: a.test\n        secret: gh")}secrets: {gh: {host: b.test}}\n`,
      "6:17: secret gh is bound to b.test, and this rule is for a.test",
    ],
    [
      "secret of a path without its place",
      `${
        rule('host: a.test\n        secret: gh\n        paths: ["/bot{}/*", /x]')
      }secrets: {gh: {host: a.test, type: path}}\n`,
      "7:16: the rule's paths do not say where in the path secret gh goes",
    ],
    [
      "secret of a path, and no paths",
      `${rule("host: a.test\n        secret: gh")}secrets: {gh: {host: a.test, type: path}}\n`,
      "5:9: the rule's paths do not say where in the path secret gh goes",
    ],
    ["secret without a host", secret("gh: { type: bearer }"), "4:7: a secret has no host"],
    ["value of a secret", secret("gh: { host: a.test, value: x }"), '4:23: unknown key "value"'],
    ["secret that is a text", secret("gh: ghp_abc"), "4:7: a secret: this is no map"],
    ["anchor", "version: 1\nclients: &x {}\n", "2:10: it has an anchor"],
    ["tag", "version: !!int 1\nclients: {}\n", "1:10: it has a tag"],
    ["tag of the whole", "!!map\nversion: 1\nclients: {}\n", "1:1: it has a tag"],
    ["directive", "%YAML 1.2\n---\nversion: 1\nclients: {}\n", "1:1: it has a directive"],
    [
      "two documents",
      "version: 1\nclients: {}\n---\nversion: 1\n",
      "2:8: a second document begins after this",
    ],
    [
      "bad indentation",
      "version: 1\n clients: {}\n",
      "2:9: it is not YAML (bad indentation of a mapping entry)",
    ],
    ["NUL", "version: 1\0\n", "1:11: it is not YAML (null byte is not allowed in input)"],
    ["too deep", "[".repeat(17), "1:16: it is not YAML"],
    ["too long", " ".repeat(MAX_YAML_CHARS + 1), `1:1: it is longer than ${MAX_YAML_CHARS} characters`],
  ];
  for (const [name, text, expected] of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => parsePolicyFile(text, "p.yaml"), ProxyError);
      assertEquals(error.code, "input.invalid");
      assertEquals(
        error.message.slice(0, `Cannot read p.yaml:${expected}`.length),
        `Cannot read p.yaml:${expected}`,
      );
    });
  }
});

Deno.test("parsePolicyFile() shows nothing that may be a credential in the wrong place", () => {
  const credential = "ghp_0123456789";
  const texts = [
    `version: 1\nclients: {}\nsecrets: {gh: ${credential}}\n`,
    `version: 1\nclients: {a: {allow: [{host: a.test, secret: ${credential}}]}}\n`,
    `version: 1\nclients: {a: {allow: [{host: a.test, secret: "${credential}=="}]}}\n`,
    `version: 1\nclients: {}\nsecrets: {gh: "${credential}\n`,
    `version: 1\nclients: {}\nsecrets: {gh: !<${credential} x> y}\n`,
    `version: 1\nclients: {}\nsecrets: {gh: !${credential}!x y}\n`,
  ];
  for (const text of texts) {
    const error = assertThrows(() => parsePolicyFile(text, "f"), ProxyError);
    assertEquals(`${error.message} ${error.hint}`.includes("ghp"), false, error.message);
  }
});

Deno.test("parsePolicyFile() takes a text of the longest length", () => {
  const text = "version: 1\nclients: {}\n";
  assertEquals(parsePolicyFile(text + "#".repeat(MAX_YAML_CHARS - text.length), "f").clients.size, 0);
});

Deno.test("formatPolicyFile() writes each thing in one way", () => {
  const text = `version: 1
secrets:
  gh: { host: api.github.com, type: bearer }
clients:
  ci-1:
    allow:
      - host: api.github.com
        methods: [GET, POST]
        paths: [/repos/*, "/x,y"]
        secret: gh
        one_request_per_connection: true
        response_timeout: 2h
        ttl: 90m
      - host: "*"
        ports: [5432]
        passthrough: true
        expires: 2026-12-01T00:00:00.500Z
      - host: 10.0.0.1
  "no":
    allow: []
`;
  assertEquals(formatPolicyFile(parsePolicyFile(text, "f")), text);
  assertEquals(
    formatPolicyFile({ clients: new Map(), budgets: new Map(), secrets: new Map() }),
    "version: 1\nsecrets: {}\nclients: {}\n",
  );
});

Deno.test("parsePolicyFile() says in the hint what may be there", async (t) => {
  const rows: readonly [string, string, string][] = [
    [
      "a policy",
      "version: 1\nclients: {}\nx: 1\n",
      "a policy has version, clients, secrets, and nothing else",
    ],
    [
      "a secret",
      "version: 1\nclients: {}\nsecrets: {s: {x: 1}}\n",
      "a secret has host, type, and nothing else",
    ],
    [
      "a client",
      "version: 1\nclients: {a: {allow: [], x: 1}}\n",
      "a client has allow, profiles, budget, and nothing else",
    ],
    [
      "a client with profiles",
      "version: 1\nclients: {a: {profiles: [], x: 1}}\n",
      "a client has profiles, allow, budget, and nothing else",
    ],
    [
      "a rule",
      "version: 1\nclients: {a: {allow: [{x: 1}]}}\n",
      "a rule has host, methods, paths, ports, secret, passthrough, ttl, expires, deny, ask, ask_timeout, " +
      "one_request_per_connection, response_timeout, http1, aws_service, aws_region, budget, mcp_filter_list, query, " +
      "grpc, git, repo, graphql, graphql_field, graphql_hash, mcp_tool, mcp_method, and nothing else",
    ],
    [
      "passed through, with words",
      "version: 1\nclients: {a: {allow: [{host: a.test, git: read, http1: true, passthrough: true}]}}\n",
      "leave out passthrough, or http1, git",
    ],
  ];
  for (const [name, text, hint] of rows) {
    await t.step(name, () => {
      assertEquals(assertThrows(() => parsePolicyFile(text, "p.yaml"), ProxyError).hint, hint);
    });
  }
});

Deno.test("formatPolicyRule() writes each word in its own form", () => {
  assertEquals(
    formatPolicyRule(
      parseRule({ host: "a.test", ask: true, askTimeoutMs: 90_000, git: "read", repo: ["c/*", "a/b"] }),
    ).split("\n"),
    ["- host: a.test", "  ask: true", "  ask_timeout: 90s", "  git: read", "  repo: [a/b, c/*]"],
  );
});

Deno.test("formatPolicyRule() writes one item of a list, without indentation of its own", () => {
  assertEquals(
    formatPolicyRule(parseRule({ host: "*.a.test", methods: ["GET"], ports: [8443, 443] })),
    '- host: "*.a.test"\n  methods: [GET]\n  ports: [443, 8443]',
  );
});

Deno.test("formatPolicyFile() says of a rule that its secret has no place in the paths any more", () => {
  const spec = parseRule({ host: "a.test", paths: ["/x"], secret: "gh" });
  const secrets = new Map([["gh", { host: "a.test", type: "path" }]]);
  const text = formatPolicyFile({ clients: new Map([["c", [{ spec }]]]), budgets: new Map(), secrets });
  assert(text.includes("# the paths do not say where secret gh goes: this rule denies"), text);
});

Deno.test("formatPolicyFile() says of a rule that its secret is gone, or bound to another host by now", () => {
  const write = (secrets: [string, { host: string; type: string }][]) =>
    formatPolicyFile({
      clients: new Map([["c", [{ spec: parseRule({ host: "a.test", secret: "gh" }) }]]]),
      budgets: new Map(),
      secrets: new Map(secrets),
    });
  assert(write([]).includes("# there is no secret gh: this rule denies"));
  assert(write([["gh", { host: "b.test", type: "bearer" }]]).includes("# secret gh is bound to b.test: "));
  assert(!write([["gh", { host: "a.test", type: "bearer" }]]).includes("#"));
});
