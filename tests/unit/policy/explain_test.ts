import { assert, assertEquals, assertMatch } from "@std/assert";
import { type DeniedTarget, explainDenial } from "../../../policy/explain.ts";
import type { Rule } from "../../../policy/rule.ts";
import { makeRule } from "../../support/make_rule.ts";

const HOST = "api.example.com";
const V1 = makeRule("v1", { host: HOST, methods: ["POST"], paths: ["/v1/*"], secret: "llm-key" });
const CORP = makeRule("corp", { host: "*.corp.test", ports: [8443] });

const denied = (more: Partial<DeniedTarget> = {}): DeniedTarget => ({
  client: "ci-1",
  host: HOST,
  port: 443,
  method: "POST",
  path: "/v2/chat",
  ...more,
});

Deno.test("explainDenial() says who, what, the closest rule and its shortfall", async (t) => {
  const rows: readonly [string, DeniedTarget, readonly Rule[], string][] = [
    [
      "path",
      denied(),
      [CORP, V1],
      "Client ci-1 may not POST api.example.com/v2/chat: no allow rule of this client matches. The closest rule is for " +
      "POST api.example.com path /v1/*; it falls short in the path: it allows /v1/*, not /v2/chat.",
    ],
    [
      "method and path",
      denied({ method: "GET", path: "/" }),
      [V1],
      "Client ci-1 may not GET api.example.com/: no allow rule of this client matches. The closest rule is for " +
      "POST api.example.com path /v1/*; it falls short in the method: it allows POST, not GET and in the path: " +
      "it allows /v1/*, not /.",
    ],
    [
      "port of a tunnel",
      { client: "ci-1", host: "git.corp.test", port: 22 },
      [CORP],
      "Client ci-1 may not open a tunnel to git.corp.test:22: no allow rule of this client matches. The closest rule " +
      "is for *.corp.test port 8443; it falls short in the port: it allows 8443, not 22.",
    ],
    [
      "default ports",
      { client: "ci-1", host: "::1", port: 22 },
      [makeRule("v6", { host: "::1" })],
      "Client ci-1 may not open a tunnel to [::1]:22: no allow rule of this client matches. The closest rule is for " +
      "::1; it falls short in the port: it allows 80, 443, not 22.",
    ],
    [
      "similar host",
      denied({ host: "example.com", path: "/", port: 8080 }),
      [V1],
      "Client ci-1 may not POST example.com:8080/: no allow rule of this client matches. The closest rule is for POST " +
      "api.example.com path /v1/*; it falls short in the host: it allows api.example.com, not example.com.",
    ],
    [
      "unknown host",
      denied({ host: "evil.test", path: "/" }),
      [V1],
      "Client ci-1 may not POST evil.test/: no allow rule of this client matches. None of this client's rules is for " +
      "the host evil.test.",
    ],
    [
      "no rules",
      denied({ path: "/" }),
      [],
      "Client ci-1 may not POST api.example.com/: no allow rule of this client matches. This client has no rules, so " +
      "it reaches nothing.",
    ],
  ];
  for (const [name, target, rules, text] of rows) {
    await t.step(name, () => {
      assertEquals(
        explainDenial(target, "no-rule", rules).text,
        `${text} This is the proxy's policy, not a bad credential.`,
      );
    });
  }
  await t.step("a rule with many paths is cut", () => {
    const many = makeRule("many", { host: HOST, paths: ["/1", "/2", "/3", "/4", "/5", "/6"] });
    assertMatch(explainDenial(denied(), "no-rule", [many]).text, /allows \/1, \/2, \/3, \/4 or 2 more, not/);
  });
});

Deno.test("explainDenial() gives the narrowest command", async (t) => {
  const allow = "slicer-proxy allow ci-1 --host";
  const rows: readonly [string, DeniedTarget, readonly Rule[], string][] = [
    ["host, method, path", denied(), [], `${allow} ${HOST} --method POST --path /v2/chat`],
    ["upper case", denied({ method: "get" }), [], `${allow} ${HOST} --method GET --path /v2/chat`],
    ["port 80", denied({ port: 80 }), [], `${allow} ${HOST} --method POST --path /v2/chat`],
    ["port", denied({ port: 8443 }), [], `${allow} ${HOST} --port 8443 --method POST --path /v2/chat`],
    ["tunnel", { client: "ci-1", host: HOST, port: 443 }, [], `${allow} ${HOST}`],
    ["tunnel, port", { client: "ci-1", host: "::1", port: 22 }, [], `${allow} ::1 --port 22`],
    ["secret", denied(), [V1], `${allow} ${HOST} --method POST --path /v2/chat --secret llm-key`],
    [
      "secret of another host",
      denied({ host: "www.example.com" }),
      [V1],
      `${allow} www.example.com --method POST --path /v2/chat`,
    ],
    [
      "exact host under a suffix rule",
      denied({ host: "a.corp.test" }),
      [CORP],
      `${allow} a.corp.test --method POST --path /v2/chat`,
    ],
    ["encoded slash", denied({ path: "/g%2Fp" }), [], `${allow} ${HOST} --method POST --path /g%2Fp`],
    [
      "shell characters",
      denied({ path: "/';id;'$(id)" }),
      [],
      `${allow} ${HOST} --method POST --path '/'\\'';id;'\\''$(id)'`,
    ],
  ];
  for (const [name, target, rules, command] of rows) {
    await t.step(name, () => assertEquals(explainDenial(target, "no-rule", rules).command, command));
  }
});

Deno.test("explainDenial() gives no command that would say more than the request", async (t) => {
  const rows: readonly [string, DeniedTarget][] = [
    ["path that is a pattern", denied({ path: "/v2/*" })],
    ["path star", denied({ path: "*", method: "OPTIONS" })],
    ["comma, where the command line splits", denied({ path: "/x,/y" })],
    ["method that is a flag", denied({ method: "--passthrough" })],
    ["method star", denied({ method: "*" })],
    ["method with shell characters", denied({ method: "`id`" })],
    ["method with an escape sequence", denied({ method: "\x1b[2J" })],
    ["method of 33", denied({ method: "A".repeat(33) })],
    ["path with a line break", denied({ path: "/a\nb" })],
    ["path with a bidirectional override", denied({ path: "/a\u202eb" })],
    ["path with a query", denied({ path: "/a?b" })],
    ["path of 2,049", denied({ path: "/" + "a".repeat(2_048) })],
    ["double encoding", denied({ path: "/%252e%252e/" })],
    ["host star", denied({ host: "*" })],
    ["host with a space", denied({ host: "a b" })],
    ["client that is no name", denied({ client: "-" })],
    ["client with shell characters", denied({ client: "$(id)" })],
  ];
  for (const [name, target] of rows) {
    await t.step(name, () => {
      const { command, text } = explainDenial(target, "no-rule", []);
      assertEquals(command, undefined);
      assert(!/[\p{Cc}\p{Cf}]/u.test(text), text);
      assert(text.length < 2_000);
    });
  }
});

Deno.test("explainDenial() tells which path to send instead", async (t) => {
  const rows: readonly [string, string, string | undefined, string | undefined][] = [
    ["an allowed one", "/v2/../v1/chat", "/v1/chat", undefined],
    ["one that a command would allow", "/v1/../v2/chat", "/v2/chat", "/v2/chat"],
    ["encoded traversal", "/v1/..%2fv2", "/v2", "/v2"],
    ["backslash", "/v2\\chat", "/v2/chat", "/v2/chat"],
  ];
  for (const [name, path, sendPath, inCommand] of rows) {
    await t.step(name, () => {
      const reason = path.startsWith("/v2\\") ? "no-rule" : "path-ambiguous";
      const explanation = explainDenial(denied({ path }), reason, [V1]);
      assertEquals(explanation.sendPath, sendPath);
      assertMatch(explanation.text, new RegExp(`Send the path as ${sendPath}\\.`));
      assertEquals(/--path (\S+)/.exec(explanation.command ?? "")?.[1], inCommand);
    });
  }
});

Deno.test("explainDenial() offers no rule where none would help", async (t) => {
  for (const reason of ["path-encoding", "address-denied", "secret-missing", "method-override"] as const) {
    await t.step(reason, () => {
      const explanation = explainDenial(denied({ path: "/v1/..;/x" }), reason, [V1]);
      assertEquals([explanation.command, explanation.sendPath], [undefined, undefined]);
      assertMatch(explanation.text, /policy, not a bad credential/);
    });
  }
});

Deno.test("explainDenial() offers the plain path where only that one can be written", () => {
  const long = explainDenial(denied({ path: "/" + "%41".repeat(700) }), "no-rule", []);
  const plain = "/" + "A".repeat(700);
  assertEquals(long.sendPath, plain);
  assertEquals(long.command, `slicer-proxy allow ci-1 --host ${HOST} --method POST --path ${plain}`);
});

Deno.test("explainDenial() offers no rule that a deny rule before it would make useless", () => {
  const no = makeRule("no", { host: HOST, paths: ["/a/b"], deny: true });
  const { command, sendPath } = explainDenial(denied({ path: "/a%2Fb" }), "path-ambiguous", [no]);
  assertEquals([command, sendPath], [undefined, undefined]);
});

Deno.test("explainDenial() shows 200 characters and four values, and says that there is more", () => {
  const textOf = (path: string) => explainDenial(denied({ host: "a", path }), "no-rule", []).text;
  assertMatch(textOf("/".padEnd(199, "x")), / POST a\/x{198}: no allow/);
  assertMatch(textOf("/".padEnd(200, "x")), / POST a\/x{198}\.\.\.: no allow/);
  const four = makeRule("four", { host: HOST, paths: ["/1", "/2", "/3", "/4"] });
  assertMatch(explainDenial(denied(), "no-rule", [four]).text, /allows \/1, \/2, \/3, \/4, not/);
});

Deno.test("explainDenial() says of a body why it could not be read, and that a rule asks about it", () => {
  const { text } = explainDenial(denied({ why: "its body is no JSON" }), "body-unreadable", [V1]);
  assertEquals(
    text,
    "Client ci-1 may not POST api.example.com/v2/chat: its body is no JSON. A rule says what the body has to be about. " +
      "This is the proxy's policy, not a bad credential.",
  );
  assert(!explainDenial(denied(), "no-rule", [V1]).text.includes("body"));
});

Deno.test("explainDenial() does not call a long path encoded twice", () => {
  const { text } = explainDenial(denied({ path: "/v1/" + "%20a".repeat(1_024) }), "path-encoding", [V1]);
  assertMatch(text, /more than 4,096 characters\. .*the query or the body\./);
  const { text: short } = explainDenial(denied({ path: "/v1/%252e" }), "path-encoding", [V1]);
  assertMatch(short, /encoded twice.*encoded once\./);
});
