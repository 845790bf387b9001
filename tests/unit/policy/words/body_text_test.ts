import { assert, assertEquals } from "@std/assert";
import { hasLookalike, isUnreadable, parseJson, textOf } from "../../../../policy/words/body_text.ts";
import { readLfs } from "../../../../policy/words/lfs.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("parseJson() takes what has one reading", async (t) => {
  const good = [
    '{"a":1,"b":{"a":1}}',
    "[1,2]",
    '"x"',
    '{"a":"\\",\\"a\\":"}',
    '{"":1}',
    '{"é":[{}, {}]}',
    " {} ",
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
    ["NUL in a name", '{"a\\u0000":1}'],
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

Deno.test("textOf() takes UTF-8 with or without a mark", () => {
  assertEquals(textOf(bytes("\ufeff{}")), "{}");
  assertEquals(textOf(bytes("\ufeff\ufeff{}")), "\ufeff{}");
  assertEquals(textOf(bytes("é")), "é");
  assert(isUnreadable(textOf(Uint8Array.of(0xff))));
  assert(isUnreadable(textOf(Uint8Array.of(0xc0, 0xae))));
});

Deno.test("hasLookalike() finds what Go and others take for the same member", () => {
  for (const name of ["Method", "METHOD", "\uff4dethod", "me_thod"]) {
    assert(hasLookalike({ [name]: 1 }, ["method"]), name);
  }
  for (const name of ["ta\u017fk", "tas\u212a"]) assert(hasLookalike({ [name]: 1 }, ["task"]), name);
  assert(!hasLookalike({ method: 1, methods: 1 }, ["method"]));
});

Deno.test("readLfs() knows two operations", async (t) => {
  assertEquals(readLfs(bytes('{"operation":"download","objects":[]}')), "download");
  assertEquals(readLfs(bytes('{"operation":"upload"}')), "upload");
  const bad = [
    '{"operation":"download","operation":"upload"}',
    '{"operation":"download","Operation":"upload"}',
    '{"operation":"delete"}',
    '{"operation":["upload"]}',
    "{}",
    "[]",
    "",
    "operation=upload",
  ];
  for (const text of bad) await t.step(text, () => assert(isUnreadable(readLfs(bytes(text)))));
});
