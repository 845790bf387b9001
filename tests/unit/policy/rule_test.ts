import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { isProxyError, ProxyError } from "../../../core/errors.ts";
import {
  DEFAULT_PORTS,
  hostWithin,
  isLimited,
  parseHostPattern,
  parseRule,
  type RuleInput,
  ruleKey,
} from "../../../policy/rule.ts";

Deno.test("parseRule() gives the canonical rule", () => {
  assertEquals(
    parseRule({
      host: "API.Example.com.",
      methods: ["post", "GET", "Post"],
      paths: ["/v1/*", "*", "/v1/*", "/a%2Fb", "/a%2fb", "/@t%2f*"],
      ports: [8443, 443, 8443],
      secret: "llm-key",
    }),
    {
      host: "api.example.com",
      methods: ["GET", "POST"],
      paths: ["*", "/@t%2F*", "/a%2Fb", "/v1/*"],
      ports: [443, 8443],
      secret: "llm-key",
      passthrough: false,
    },
  );
  assertEquals(parseRule({ host: "*" }), {
    host: "*",
    methods: [],
    paths: [],
    ports: [],
    passthrough: false,
  });
});

Deno.test("parseRule() refuses what would mean something else than it says", async (t) => {
  const host = "a.test";
  const rows: readonly [string, RuleInput][] = [
    ["empty host", { host: "" }],
    ["empty method", { host, methods: [""] }],
    ["method with a space", { host, methods: ["GET "] }],
    ["method star", { host, methods: ["*"] }],
    ["non-ASCII method", { host, methods: ["PO\u017fT"] }],
    ["method of 33", { host, methods: ["A".repeat(33)] }],
    ["empty path", { host, paths: [""] }],
    ["relative path", { host, paths: ["v1/models"] }],
    ["path with a query", { host, paths: ["/a?b"] }],
    ["path with a fragment", { host, paths: ["/a#b"] }],
    ["path with a space", { host, paths: ["/a b"] }],
    ["path with a line break", { host, paths: ["/a\nb"] }],
    ["path beyond ASCII", { host, paths: ["/é"] }],
    ["star inside", { host, paths: ["/a*/b"] }],
    ["star without slash", { host, paths: ["/a*"] }],
    ["a star in a part of the last segment", { host, paths: ["/*/a*"] }],
    ["two stars in a segment before the last", { host, paths: ["/a/***/b"] }],
    ["** in a part of a segment", { host, paths: ["/a**/b"] }],
    ["** at the end", { host, paths: ["/a/**"] }],
    ["** twice", { host, paths: ["/**/a/**/b"] }],
    ["** with a final star", { host, paths: ["/a/**/b/*"] }],
    ["17 stars", { host, paths: ["/*".repeat(16) + "/a/*"] }],
    ["a star behind an encoded slash, inside", { host, paths: ["/a%2F*/b"] }],
    ["dot segments", { host, paths: ["/a/../b"] }],
    ["encoded dot segments", { host, paths: ["/a/%2e%2e/*"] }],
    ["dot segment before the star", { host, paths: ["/a/..%2f*"] }],
    ["double encoding", { host, paths: ["/a%252fb"] }],
    ["path of 2,049", { host, paths: ["/" + "a".repeat(2_048)] }],
    ["port 0", { host, ports: [0] }],
    ["port 65536", { host, ports: [65_536] }],
    ["port 1.5", { host, ports: [1.5] }],
    ["port NaN", { host, ports: [NaN] }],
    ["empty secret", { host, secret: "" }],
    ["secret with a slash", { host, secret: "a/b" }],
    ["passthrough and secret", { host, passthrough: true, secret: "s" }],
    ["passthrough and methods", { host, passthrough: true, methods: ["GET"] }],
    ["passthrough and paths", { host, passthrough: true, paths: ["*"] }],
    ["passthrough and lone requests", { host, passthrough: true, oneRequestPerConnection: true }],
    ["passthrough and a time-out", { host, passthrough: true, responseTimeoutMs: 1_000 }],
    ["time-out of nothing", { host, responseTimeoutMs: 0 }],
    ["time-out with parts of a second", { host, responseTimeoutMs: 1_500 }],
    ["time-out of more than a day", { host, responseTimeoutMs: 86_401_000 }],
    ["time-out NaN", { host, responseTimeoutMs: NaN }],
  ];
  for (const [name, input] of rows) {
    await t.step(name, () => {
      assert(isProxyError(assertThrows(() => parseRule(input), ProxyError), "input.invalid"));
    });
  }
});

Deno.test("parseRule() accepts values just inside the limits", () => {
  const paths = ["/" + "a".repeat(2_047)];
  assertEquals(parseRule({ host: "a.test", paths }).paths, paths);
  assertEquals(parseRule({ host: "a.test", ports: [65_535, 1] }).ports, [1, 65_535]);
  for (const responseTimeoutMs of [1_000, 86_400_000]) {
    assertEquals(parseRule({ host: "a.test", responseTimeoutMs }).responseTimeoutMs, responseTimeoutMs);
  }
  assertEquals(parseRule({ host: "a.test", methods: ["A".repeat(32)] }).methods.length, 1);
  assertEquals(parseRule({ host: "a.test", paths: ["/*", "/.well-known/*"] }).paths.length, 2);
  assertEquals(parseRule({ host: "a.test", paths: ["/*".repeat(15) + "/a/*"] }).paths.length, 1);
});

Deno.test("parseHostPattern() gives the canonical pattern", async (t) => {
  const rows: readonly [string, string][] = [
    ["*", "*"],
    ["*.Example.com", "*.example.com"],
    ["*.com", "*.com"],
    ["bücher.example", "xn--bcher-kva.example"],
    ["*.bücher.example", "*.xn--bcher-kva.example"],
    ["例え。テスト", "xn--r8jz45g.xn--zckzah"],
    ["[::1]", "::1"],
    ["2001:DB8::1", "2001:db8::1"],
    ["10.0.0.1", "10.0.0.1"],
  ];
  for (const [text, host] of rows) await t.step(text, () => assertEquals(parseHostPattern(text), host));
});

Deno.test("parseHostPattern() refuses everything else, safely worded", async (t) => {
  const rows = [
    "",
    "*.",
    "**",
    "*.*",
    "*example.com",
    "a.*",
    "*.*.example.com",
    "https://a.test",
    "a.test:443",
  ];
  const addresses = ["*.10.0.0.1", "*.::1", "[10.0.0.1]", "[a.test]", "１０.0.0.1", "127.1", "fe80::1%eth0"];
  for (const text of [...rows, ...addresses, "a.test/b", "u@a.test", "é/a", "é%2e.test", "a\u202eb.test\n"]) {
    await t.step(JSON.stringify(text), () => {
      const error = assertThrows(() => parseHostPattern(text), ProxyError);
      assert(isProxyError(error, "input.invalid"));
      assert(!/[\n\u202e]/.test(error.message), error.message);
    });
  }
});

Deno.test("hostWithin() compares patterns", async (t) => {
  const rows: readonly [string, string, boolean][] = [
    ["a.test", "*", true],
    ["10.0.0.1", "*", true],
    ["*", "*", true],
    ["*", "*.test", false],
    ["a.test", "a.test", true],
    ["a.test", "b.test", false],
    ["a.example.com", "*.example.com", true],
    ["a.b.example.com", "*.example.com", true],
    ["example.com", "*.example.com", false],
    ["badexample.com", "*.example.com", false],
    ["example.com.evil.test", "*.example.com", false],
    ["*.example.com", "*.example.com", true],
    ["*.a.example.com", "*.example.com", true],
    ["*.example.com", "*.a.example.com", false],
    ["*.example.com", "a.example.com", false],
    ["*.example.com", "example.com", false],
  ];
  for (const [inner, outer, expected] of rows) {
    await t.step(`${inner} in ${outer}`, () => assertEquals(hostWithin(inner, outer), expected));
  }
});

Deno.test("parseRule() names what a deny rule has nothing to say about", () => {
  const refusal = (more: Partial<RuleInput>) =>
    assertThrows(() => parseRule({ host: "a.test", deny: true, ...more }), ProxyError).message;
  assertEquals(refusal({ secret: "s" }), "Cannot use --secret in a deny rule: it sends nothing");
  assertEquals(
    refusal({ secret: "s", http1: true, responseTimeoutMs: 1_000 }),
    "Cannot use --secret, --response-timeout, --http1 in a deny rule: it sends nothing",
  );
  assertEquals(parseRule({ host: "a.test", deny: true, query: ["a=1"] }).query, ["a=1"]);
});

Deno.test("parseRule() takes a gRPC call for the method and the path", () => {
  const grpc = ["a.B/C"];
  for (const more of [{ methods: ["POST"] }, { paths: ["/x"] }, { methods: ["POST"], paths: ["/x"] }]) {
    const { message } = assertThrows(() => parseRule({ host: "a.test", grpc, ...more }), ProxyError);
    assertEquals(message, "Cannot use --grpc with methods or paths: it means POST and the path of the call");
  }
  assertEquals(parseRule({ host: "a.test", grpc }).grpc, grpc);
});

Deno.test("a rule without ports is for 80 and 443", () => {
  assertEquals([...DEFAULT_PORTS], [80, 443]);
});

Deno.test("parseHostPattern() says of an empty host what is wrong with it", () => {
  assertThrows(() => parseHostPattern(""), ProxyError, "Cannot use an empty host: it would be unclear what");
  assertThrows(() => parseHostPattern("a b"), ProxyError, 'Cannot use "a b" as a host');
});

Deno.test("isLimited() is true for a rule with methods, paths or conditions, be it one", () => {
  const limited = (more: Partial<RuleInput>) => isLimited(parseRule({ host: "a.test", ...more }));
  assertEquals([{ methods: ["GET"] }, { paths: ["/a"] }, { query: ["a=1"] }].map(limited), [
    true,
    true,
    true,
  ]);
  assertEquals([{}, { ports: [1] }, { secret: "s" }, { passthrough: true }, { http1: true }].map(limited), [
    ...[false, false, false, false, false],
  ]);
});

Deno.test("ruleKey() tells apart a rule that asks a person first", () => {
  const key = (more: Partial<RuleInput>) => ruleKey(parseRule({ host: "a.test", ...more }));
  assertEquals(new Set([key({}), key({ ask: true }), key({ ask: true, askTimeoutMs: 60_000 })]).size, 2);
});

Deno.test("ruleKey() is about the sets of fields, not about secret, order or spelling", () => {
  const key = (input: RuleInput) => ruleKey(parseRule(input));
  assertEquals(
    key({ host: "a.test", methods: ["get", "POST"], ports: [2, 1], secret: "s" }),
    key({ host: "A.test.", methods: ["POST", "GET", "GET"], ports: [1, 2] }),
  );
  assertEquals(
    key({ host: "a.test" }),
    key({ host: "a.test", oneRequestPerConnection: true, responseTimeoutMs: 1_000 }),
  );
  assertNotEquals(key({ host: "a.test" }), key({ host: "a.test", passthrough: true }));
  assertNotEquals(key({ host: "a.test" }), key({ host: "b.test" }));
  assertNotEquals(key({ host: "a.test" }), key({ host: "a.test", methods: ["GET"] }));
  assertNotEquals(key({ host: "a.test" }), key({ host: "a.test", paths: ["*"] }));
  assertNotEquals(key({ host: "a.test" }), key({ host: "a.test", ports: [80, 443] }));
});
