import { assert, assertEquals } from "@std/assert";
import { isUnreadable } from "../../../../policy/words/body_text.ts";
import { hasLookalike, parseJson, UNREAD } from "../../../../policy/words/json.ts";

Deno.test("parseJson() takes what has one reading", async (t) => {
  const good = [
    "[1,2]",
    '"x"',
    '{"a":"\\",\\"a\\":"}',
    '{"":1}',
    '{"é":true,"É":false}',
    '[{}, {"a":null}]',
    " {} ",
    "\t[\r\n1 , 2 ]\n",
    ...["0", "-0", "10.50", "1e2", "1E+2", "-1.5e-7", "123456789012345678901234567890"],
    '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\ude00\\ud83d"',
    '"\\u0000"',
    '{"__proto__":{},"constructor":1}'.replace("{}", "2"),
    '{"a\\u0062":1,"a":2}',
  ];
  for (const text of good) {
    await t.step(text, () => assertEquals(parseJson(text), { value: JSON.parse(text) }));
  }
  const bad: readonly [string, string][] = [
    ["twice", '{"a":1,"a":2}'],
    ["twice, escaped", '{"a":1,"\\u0061":2}'],
    ["twice, without a letter", '{"":1,"":2}'],
    ["twice, behind a backslash", '{"a\\\\":1,"a\\\\":2}'],
    ["twice, around a value of a backslash", '{"a":"\\\\","a":2}'],
    ["twice, deep", '{"x":[{"a":1,"a":1}]}'],
    ["twice, behind many", `{${Array.from({ length: 20 }, (_, i) => `"k${i}":1`).join()},"k9":1}`],
    ["twice, within few", '{"a":1,"b":1,"c":1,"b":1}'],
    ["NUL in a name", '{"a\\u0000":1}'],
    ["a tab in a name", '{"x":{"\\t":1}}'],
    ["a control character in a text", '"a\tb"'],
    ["a text that does not end", '"abc'],
    ["a backslash at the end", '"abc\\'],
    ...['"\\x"', '"\\u00"', '"\\u00g0"', '"\\u 041"', '"\\U0041"', "'a'"].map((
      text,
    ): [string, string] => [text, text]),
    ...["01", "+1", "-", "1.", ".5", "1e", "1e+", "0x1", "NaN", "Infinity", "-a", "1 2", "1a", "1e5.5"].map((
      text,
    ): [string, string] => [text, text]),
    ...["tru", "True", "nul", "truefalse", "undefined"].map((text): [string, string] => [text, text]),
    ...[
      "[1,]",
      "[,1]",
      "[1 2]",
      "[1",
      "]",
      "[1}",
      '{"a":1]',
      '{"a" 1}',
      '{"a":}',
      "{1:1}",
      '{"a":1 "b":2}',
      ",",
    ].map((
      text,
    ): [string, string] => [text, text]),
    ["a no-break space", "\u00a01"],
    ["a form feed", "\f1"],
    ["a byte order mark", "\ufeff1"],
    ["65 deep", "[".repeat(65) + "]".repeat(65)],
    ["no JSON", "{a:1}"],
    ["cut short", '{"a":'],
    ["something behind", "{} {}"],
    ["empty", ""],
    ["a comment", "{/**/}"],
    ["a trailing comma", '{"a":1,}'],
  ];
  for (const [name, text] of bad) await t.step(name, () => assert(isUnreadable(parseJson(text))));
  await t.step("64 deep", () => assert(!isUnreadable(parseJson("[".repeat(64) + "]".repeat(64)))));
  await t.step("a MiB costs little", () => {
    const before = performance.now();
    parseJson('"' + '\\"'.repeat(500_000));
    parseJson("[".repeat(1_000_000));
    parseJson(`{${Array.from({ length: 50_000 }, (_, i) => `"k${i}":"\\\\"`).join()}}`);
    assert(performance.now() - before < 5_000);
  });
});

Deno.test("parseJson() makes what a rule looks at, and only checks the rest", async (t) => {
  const cases: readonly (readonly [string, unknown])[] = [
    ['{"a":[1],"b":{"c":1}}', { a: UNREAD, b: UNREAD }],
    ['{"in":{"a":1,"in":{"b":{}},"c":[{}]}}', { in: { a: 1, in: { b: UNREAD }, c: UNREAD } }],
    ['{"in":[{"a":1}]}', { in: UNREAD }],
    ['{"other":{"in":{"a":1}}}', { other: UNREAD }],
    ['[{"in":{"a":"x"}},[1],2]', [{ in: { a: "x" } }, UNREAD, 2]],
    ["[[{}]]", [UNREAD]],
  ];
  for (const [text, value] of cases) {
    await t.step(text, () => assertEquals(parseJson(text, ["in"]), { value }));
  }
  await t.step("an unreadable rest", () => {
    for (const text of ['{"a":[01]}', '{"a":{"b":1,"b":1}}', '{"a":["\\x"]}', '{"a":{"b":tru}}']) {
      assert(isUnreadable(parseJson(text)), text);
    }
  });
});

Deno.test("parseJson() makes objects and lists of 1,024 members, and checks objects of 8,192", () => {
  const object = (count: number) => `{${Array.from({ length: count }, (_, i) => `"k${i}":1`).join()}}`;
  const list = (count: number) => `[${Array.from({ length: count }, () => "1").join()}]`;
  const many = "its JSON has too many members or messages";
  const why = (text: string) => {
    const read = parseJson(text);
    return isUnreadable(read) ? read.why : undefined;
  };
  assertEquals([object(1_024), list(1_024)].map(why), [undefined, undefined]);
  assertEquals([object(1_025), list(1_025)].map(why), [many, many]);
  assertEquals(why(`{"x":[${object(8_192)},${list(100_000)}]}`), undefined);
  assertEquals(why(`{"x":${object(8_193)}}`), many);
});

Deno.test("hasLookalike() finds what Go and others take for the same member", () => {
  for (const name of ["Method", "METHOD", "\uff4dethod", "me_thod"]) {
    assert(hasLookalike({ [name]: 1 }, ["method"]), name);
  }
  for (const name of ["ta\u017fk", "tas\u212a"]) assert(hasLookalike({ [name]: 1 }, ["task"]), name);
  assert(!hasLookalike({ method: 1, methods: 1 }, ["method"]));
});
