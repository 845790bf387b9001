import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { decideRequest } from "../../../../policy/decide.ts";
import type { Denial } from "../../../../policy/denial_tally.ts";
import { DenialTally } from "../../../../policy/denial_tally.ts";
import { explainDenial } from "../../../../policy/explain.ts";
import { parseRule, ruleKey } from "../../../../policy/rule.ts";
import { suggestRules } from "../../../../policy/suggest.ts";
import { callOf, parseGrpcCall } from "../../../../policy/words/grpc.ts";
import { makeRecord } from "../../../support/make_record.ts";
import { makeRule } from "../../../support/make_rule.ts";

const HOST = "api.test";

Deno.test("parseGrpcCall() reads names as protobuf writes them", async (t) => {
  const rows: readonly (readonly [text: string, expected: string | undefined])[] = [
    ["helloworld.Greeter/SayHello", "helloworld.Greeter/SayHello"],
    ["/helloworld.Greeter/SayHello", "helloworld.Greeter/SayHello"],
    ["Greeter/*", "Greeter/*"],
    ["a.b_1.C/d", "a.b_1.C/d"],
    [`${"a".repeat(510)}/b`, `${"a".repeat(510)}/b`],
    [`${"a".repeat(511)}/b`, undefined],
    ["Greeter", undefined],
    ["Greeter/", undefined],
    ["*/SayHello", undefined],
    ["Greeter/Say*", undefined],
    ["a..B/C", undefined],
    ["1a.B/C", undefined],
    ["a.B/C/D", undefined],
    ["a.B/C?x", undefined],
    ["a.B/%43", undefined],
    ["", undefined],
  ];
  for (const [text, expected] of rows) {
    await t.step(text.slice(0, 40), () => {
      if (expected !== undefined) assertEquals(parseGrpcCall(text), expected);
      else assertEquals(assertThrows(() => parseGrpcCall(text), ProxyError).code, "input.invalid");
    });
  }
});

Deno.test("a rule with grpc allows POST and the path of its calls, and nothing else", async (t) => {
  const rules = [makeRule("1", { host: HOST, grpc: ["a.B/Get", "c.D/*"] })];
  const rows: readonly (readonly [method: string, path: string, verdict: string])[] = [
    ["POST", "/a.B/Get", "allow"],
    ["POST", "/c.D/Any", "allow"],
    ["POST", "/a.B/Set", "deny"],
    ["POST", "/a.B/get", "deny"],
    ["GET", "/a.B/Get", "deny"],
    ["post", "/a.B/Get", "deny"],
    ["POST", "/c.D/", "deny"],
    ["POST", "/c.D", "deny"],
    ["POST", "/c.D/a/b", "deny"],
    ["POST", "/c.D/*", "deny"],
    ["POST", "/c.D/%2e%2e", "deny"],
    ["POST", "/x/../a.B/Get", "deny"], // servers read it in two ways
    ["POST", "/a.B%2FGet", "deny"],
    ["POST", "//a.B/Get", "deny"],
  ];
  for (const [method, path, verdict] of rows) {
    await t.step(
      `${method} ${path}`,
      () => assertEquals(decideRequest(rules, { host: HOST, port: 443, method, path }).verdict, verdict),
    );
  }
});

Deno.test("parseRule() refuses grpc beside methods, paths and passthrough, and knows it as a part of the rule", () => {
  for (const more of [{ methods: ["POST"] }, { paths: ["/a.B/Get"] }, { passthrough: true }]) {
    const error = assertThrows(() => parseRule({ host: HOST, grpc: ["a.B/Get"], ...more }), ProxyError);
    assertEquals(error.code, "input.invalid");
  }
  const key = (grpc: readonly string[]) => ruleKey(parseRule({ host: HOST, grpc }));
  assertEquals(key(["b.C/D", "a.B/C"]), key(["a.B/C", "/b.C/D"]));
  assertEquals(key(["a.B/C"]) === key(["a.B/*"]), false);
});

Deno.test("callOf() names only what a rule could", () => {
  const long = (chars: number) => `a.${"b".repeat(chars - 4)}/c`;
  assertEquals(callOf({ method: "POST", path: `/${long(512)}` }), long(512));
  assertEquals(callOf({ method: "POST", path: `/${long(513)}` }), undefined);
  assertEquals(callOf({ method: "POST", path: "/a.B/C" }), "a.B/C");
  for (const path of ["/a.B/*", "/a b/C", "a.B/C", "/a.B/C/", "/"]) {
    assertEquals(callOf({ method: "POST", path }), undefined, path);
  }
});

Deno.test("explainDenial() proposes a call where one was sent, or the rules have some", async (t) => {
  const command = "slicer-proxy allow ci --host api.test --grpc a.B/Get";
  const denied = { client: "ci", host: HOST, port: 443, method: "POST", path: "/a.B/Get" };
  const near = makeRule("1", { host: HOST, grpc: ["a.B/Other"] });
  await t.step(
    "sent as one",
    () => assertEquals(explainDenial({ ...denied, isGrpc: true }, "no-rule", []).command, command),
  );
  await t.step("beside others", () => {
    const { text, command: got } = explainDenial(denied, "no-rule", [near]);
    assertEquals(got, command);
    assertEquals(
      text.includes("it falls short in the gRPC method: it wants a.B/Other"),
      true,
      text,
    );
  });
  await t.step("not sent as one", () =>
    assertEquals(
      explainDenial(denied, "no-rule", []).command,
      "slicer-proxy allow ci --host api.test --method POST --path /a.B/Get",
    ));
  await t.step("another request beside calls", () =>
    assertEquals(
      explainDenial({ ...denied, method: "GET", path: "/x" }, "no-rule", [near]).command,
      "slicer-proxy allow ci --host api.test --method GET --path /x",
    ));
});

Deno.test("suggestRules() proposes calls where calls were denied", () => {
  const tally = new DenialTally("ci");
  const add = (path: string, more: { method?: string; grpcStatus?: number } = {}) =>
    tally.add(
      makeRecord(443, {
        ...{ verdict: "deny", client: "ci", method: "POST", host: HOST, path, reason: "no-rule" },
        ...more,
      }),
    );
  add("/a.B/Get", { grpcStatus: 7 });
  add("/a.B/Get", { grpcStatus: 7 });
  add("/a.B/Set", { grpcStatus: 7 });
  add("/a.B/Set"); // not sent as a call, but the same request to a rule
  add("/upload");
  add("/health", { method: "GET" });
  const { proposals, skipped } = suggestRules({ denials: tally.denials, rules: [] });
  assertEquals(skipped, []);
  assertEquals(
    proposals.map(({ rule: { grpc, methods, paths }, because }) => ({
      ...{ grpc, methods, paths },
      count: because.reduce((sum, { count }) => sum + count, 0),
    })),
    [
      { grpc: ["a.B/Get", "a.B/Set"], methods: [], paths: [], count: 4 },
      { grpc: undefined, methods: ["POST"], paths: ["/upload"], count: 1 },
      { grpc: undefined, methods: ["GET"], paths: ["/health"], count: 1 },
    ],
  );
  const allowed: Denial[] = tally.denials.filter(({ isGrpc }) => isGrpc);
  const after = suggestRules({ denials: allowed, rules: [makeRule("1", { host: HOST, grpc: ["a.B/*"] })] });
  assertEquals([after.proposals, after.skipped], [[], []]);
});
