import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { Rule } from "../../../policy/rule.ts";
import { checkKnownFields, readRule, removeRule, ruleOwner, writeRule } from "../../../store/rules.ts";

const FEWEST: Rule = {
  id: "r1",
  client: "ci-1",
  host: "*.example.com",
  methods: [],
  paths: [],
  ports: [443],
  passthrough: false,
};

const MOST: Rule = {
  ...FEWEST,
  methods: ["GET"],
  paths: ["/a"],
  ports: [80, 8443],
  passthrough: true,
  secret: "key",
  expiresAt: 1_500,
  deny: true, // a switch
  responseTimeoutMs: 5_000, // a duration
  git: "read", // a text
  mcpTool: ["read", "list"], // a list
};

Deno.test("readRule() gives back what writeRule() was given, and no field that was not there", () => {
  for (const rule of [FEWEST, MOST]) {
    const { key, value } = writeRule({ rule, clientId: "id-1", sequence: 2.5 }, 1_000);
    assertEquals(key, ["rule", "id-1", 2.5]);
    const row = { key, value };
    assertEquals(ruleOwner(row), "id-1");
    assertEquals(readRule(row, "ci-1"), { rule, clientId: "id-1", sequence: 2.5 });
    checkKnownFields(row, "ci-1");
  }
});

Deno.test("a rule's row has the client by its id alone: who takes the name has none of its rules", () => {
  const stored = { rule: MOST, clientId: "id-1", sequence: 0 };
  const { key, value = {} } = writeRule(stored, 0);
  assertEquals([Object.hasOwn(value, "client"), value.id], [false, "r1"]);
  assertEquals(readRule({ key, value }, "ci-2").rule.client, "ci-2");
  assertEquals(removeRule(stored), { key });
});

Deno.test("writeRule() has a row swept when the rule has ended", () => {
  const sweptIn = (rule: Rule) => writeRule({ rule, clientId: "id-1", sequence: 0 }, 1_000).expireInMs;
  assertEquals([sweptIn(FEWEST), sweptIn(MOST)], [undefined, 500]);
});

Deno.test("readRule() takes a row that lacks a field for damage, unless a rule may be without", () => {
  const { key, value = {} } = writeRule({ rule: MOST, clientId: "id-1", sequence: 0 }, 0);
  const needed = Object.keys(value).filter((field) => {
    const { [field]: _, ...less } = value;
    try {
      readRule({ key, value: less }, "ci-1");
      return false;
    } catch (error) {
      if (!(error instanceof ProxyError) || error.code !== "state.damaged") throw error;
      return true;
    }
  });
  assertEquals(needed.sort(), ["host", "id", "methods", "passthrough", "paths", "ports"]);
});

Deno.test("checkKnownFields() refuses a word of a newer version, and says which", () => {
  const { key, value } = writeRule({ rule: MOST, clientId: "id-1", sequence: 0 }, 0);
  const error = assertThrows(
    () => checkKnownFields({ key, value: { ...value, newWord: "x" } }, "ci-1"),
    ProxyError,
  );
  assertEquals([error.code, error.message], [
    "state.newer",
    'Cannot read a rule of client ci-1: a newer slicer-proxy wrote it, with "newWord"',
  ]);
  for (const none of [null, undefined, "text", 1]) checkKnownFields({ key, value: none }, "ci-1");
});
