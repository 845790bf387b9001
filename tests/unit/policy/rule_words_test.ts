import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { parseRule, ruleKey, type RuleSpec } from "../../../policy/rule.ts";
import {
  anyConditions,
  parseWords,
  RULE_WORDS,
  type RuleWordsInput,
  WORD_ROWS,
  wordsOf,
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
