import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { parseRule, ruleKey, type RuleSpec } from "../../../policy/rule.ts";
import {
  anyConditions,
  hasConditions,
  hasPathCondition,
  parseWords,
  readWordTexts,
  RULE_WORDS,
  type RuleWords,
  type RuleWordsInput,
  WORD_ROWS,
  wordsOf,
  wordTexts,
  type WordValue,
} from "../../../policy/rule_words.ts";
import { wordsFromJson, wordsToJson } from "../../../policy/rule_words_json.ts";

Deno.test("RULE_WORDS names every word once", () => {
  for (const key of ["field", "name"] as const) {
    assertEquals(new Set(WORD_ROWS.map((row) => row[key])).size, RULE_WORDS.length);
  }
});

Deno.test("parseWords() refuses values of another shape, and leaves out what is not said", () => {
  assertEquals(parseWords({ oneRequestPerConnection: false, responseTimeoutMs: undefined }), {});
  assertEquals(parseWords({ oneRequestPerConnection: true, responseTimeoutMs: 90_000 }), {
    oneRequestPerConnection: true,
    responseTimeoutMs: 90_000,
  });
  const wrong: readonly RuleWordsInput[] = [
    { oneRequestPerConnection: "yes" },
    { responseTimeoutMs: true },
    { responseTimeoutMs: "1h" },
    { responseTimeoutMs: 500 },
    { responseTimeoutMs: 1_500 },
    { responseTimeoutMs: Infinity },
    { responseTimeoutMs: 86_401_000 },
  ];
  for (const words of wrong) assertThrows(() => parseWords(words), ProxyError);
});

Deno.test("wordsFromJson() reads what wordsToJson() writes", () => {
  const words = parseWords({ oneRequestPerConnection: true, responseTimeoutMs: 90_000 });
  assertEquals(wordsToJson(words), { one_request_per_connection: true, response_timeout_seconds: 90 });
  assertEquals(parseWords(wordsFromJson(wordsToJson(words))), words);
});

Deno.test("ruleKey() ignores how requests are sent, and is what it was for rules without conditions", () => {
  const spec: RuleSpec = parseRule({ host: "a.test", responseTimeoutMs: 5_000 });
  assertEquals(ruleKey(spec), JSON.stringify(["a.test", [], [], [], false]));
  assertEquals(wordsOf(spec), { responseTimeoutMs: 5_000 });
});

Deno.test("parseRule() names the words that do not go with passthrough", () => {
  const error = assertThrows(
    () => parseRule({ host: "a.test", passthrough: true, responseTimeoutMs: 5_000 }),
    ProxyError,
  );
  assertEquals(
    error.message,
    "Cannot use passthrough with --response-timeout: passed-through bytes are not inspected",
  );
});

Deno.test("anyConditions() knows of a list what it holds, however it came to hold it", () => {
  const [plain, conditioned] = [parseRule({ host: "a.test" }), parseRule({ host: "a.test", git: "read" })];
  const rules = [plain];
  assertEquals(anyConditions(rules), false);
  rules.push(conditioned);
  assertEquals([anyConditions(rules), anyConditions(rules.slice(0, 1))], [true, false]);
  const frozen = Object.freeze([plain, conditioned]);
  assertEquals([anyConditions(frozen), anyConditions(frozen)], [true, true]);
});

Deno.test("words that limit what a rule matches make it another rule, and no others do", async (t) => {
  const rows: readonly [string, RuleWordsInput, boolean][] = [
    ["deny", { deny: true }, false],
    ["ask", { ask: true }, false],
    ["ask_timeout", { askTimeoutMs: 1_000 }, false],
    ["one_request_per_connection", { oneRequestPerConnection: true }, false],
    ["response_timeout", { responseTimeoutMs: 1_000 }, false],
    ["http1", { http1: true }, false],
    ["aws_service", { awsService: ["s3"] }, false],
    ["aws_region", { awsRegion: ["eu-*"] }, false],
    ["budget", { budget: ["requests=1/h"] }, false],
    ["mcp_filter_list", { mcpFilterList: true }, false],
    ["query", { query: ["a=1"] }, true],
    ["grpc", { grpc: ["a.B/C"] }, true],
    ["git", { git: "read" }, true],
    ["repo", { repo: ["a/b"] }, true],
    ["graphql", { graphql: ["query"] }, true],
    ["graphql_field", { graphqlField: ["viewer"] }, true],
    ["graphql_hash", { graphqlHash: ["0123456789"] }, true],
    ["mcp_tool", { mcpTool: ["read_file"] }, true],
    ["mcp_method", { mcpMethod: ["resources/*"] }, true],
  ];
  const plain = parseRule({ host: "a.test" });
  for (const [name, words, isCondition] of rows) {
    await t.step(name, () => {
      const rule = { ...plain, ...words } as RuleSpec;
      // What was approved stands beside the rule that asks.
      const isAnother = isCondition || name === "ask";
      assertEquals([hasConditions(rule), ruleKey(rule) !== ruleKey(plain)], [isCondition, isAnother]);
      assertEquals(hasPathCondition(rule), name === "grpc" || name === "git");
      assertEquals(wordsOf(rule), words as RuleWords);
    });
  }
  assertEquals(
    rows.map(([name]) => name).toSorted(),
    WORD_ROWS.map(({ name }) => name).toSorted(),
  );
});

Deno.test("parseWords() wants the word that another says more about", async (t) => {
  const rows: readonly [string, string, RuleWordsInput, RuleWordsInput][] = [
    ["--ask-timeout", "--ask", { askTimeoutMs: 1_000 }, { ask: true }],
    ["--mcp-filter-list", "--mcp-tool", { mcpFilterList: true }, { mcpTool: ["a"] }],
    ["--repo", "--git", { repo: ["a/b"] }, { git: "read" }],
    ["--graphql-field", "--graphql", { graphqlField: ["a"] }, { graphql: ["query"] }],
    ["--graphql-hash", "--graphql", { graphqlHash: ["12345678"] }, { graphql: ["query"] }],
  ];
  for (const [flag, needed, words, also] of rows) {
    await t.step(flag, () => {
      for (const more of [{}, { http1: true }]) {
        const error = assertThrows(() => parseWords({ ...words, ...more }), ProxyError);
        assertEquals(error.message, `Cannot use ${flag} without ${needed}`);
      }
      parseWords({ ...words, ...also });
    });
  }
});

Deno.test("parseWords() takes durations from one second to the longest, and no empty value", () => {
  for (const ms of [1_000, 86_400_000]) {
    assertEquals(parseWords({ responseTimeoutMs: ms }).responseTimeoutMs, ms);
  }
  for (const ms of [0, 999, 86_400_001]) {
    assertThrows(() => parseWords({ responseTimeoutMs: ms }), ProxyError);
  }
  const error = assertThrows(() => parseWords({ grpc: [""] }), ProxyError);
  assertEquals(error.message, "Cannot use an empty value for --grpc");
});

Deno.test("readWordTexts() reads what wordTexts() writes, by the shape of the word", async (t) => {
  const rows: readonly [string, WordValue, readonly string[]][] = [
    ["http1", true, []],
    ["response_timeout", 90_000, ["90s"]],
    ["git", "read", ["read"]],
    ["repo", ["a/b", "c/*"], ["a/b", "c/*"]],
  ];
  for (const [name, value, texts] of rows) {
    await t.step(name, () => {
      const row = WORD_ROWS.find((each) => each.name === name);
      assert(row);
      assertEquals([wordTexts(value), readWordTexts(row, texts)], [texts, value]);
      if (name !== "http1") assertEquals(readWordTexts(row, []), name === "repo" ? [] : undefined);
    });
  }
});
