import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { located, readText, YamlFields } from "../../../policy/yaml_fields.ts";
import { readLifetime } from "../../../policy/yaml_lifetime.ts";
import { YamlSource } from "../../../policy/yaml_tree.ts";

const KEYS = { what: "a thing", required: ["a"], optional: ["b", "c", "ttl", "expires"] };

function fields(text: string): YamlFields {
  const source = new YamlSource(text, "t.yaml");
  return new YamlFields(source, source.root, KEYS);
}

/** The message behind the file's name, and the hint. */
function refusal(call: () => unknown): string {
  const error = assertThrows(call, ProxyError);
  assertEquals(error.code, "input.invalid");
  return `${error.message.replace("Cannot read t.yaml:", "")} | ${error.hint}`;
}

const same = (text: string) => text;
const hint = "a thing has a, b, c, ttl, expires, and nothing else";

Deno.test("YamlFields refuses what is no map of its keys", () => {
  assertEquals(refusal(() => fields("[a]")), `1:1: a thing: this is no map | ${hint}`);
  assertEquals(refusal(() => fields("a: 1\nd: 2\n")), `2:1: unknown key "d" | ${hint}`);
  assertEquals(refusal(() => fields("b: 1\n")), `1:1: a thing has no a | ${hint}`);
  assertEquals(fields("  a: 1").at, 2);
});

Deno.test("YamlFields refuses a key's value at its place, or the map where it has none", () => {
  const made = fields("a: x\nb: y\n");
  assertEquals(refusal(() => made.refuse("b", "it is wrong", "right it")), "2:4: it is wrong | right it");
  assertEquals(refusal(() => made.refuse("c", "it is wrong", "right it")), "1:1: it is wrong | right it");
});

Deno.test("YamlFields reads texts, numbers, switches and lists by their type", async (t) => {
  const rows: readonly [string, string, (read: YamlFields) => unknown, unknown][] = [
    ["a text", "a: x", (read) => read.text("a", same), "x"],
    ["no text", "a: x", (read) => read.text("b", same), undefined],
    ["texts", "a: [x, y]", (read) => read.texts("a", same), ["x", "y"]],
    ["no texts", "a: x", (read) => read.texts("b", same), []],
    ["numbers", "a: [0, 443, 999999999]", (read) => read.integers("a", Number), [0, 443, 999_999_999]],
    ["no numbers", "a: x", (read) => read.integers("b", Number), []],
    ["true", "a: true", (read) => read.boolean("a"), true],
    ["false", "a: false", (read) => read.boolean("a"), false],
    ["no switch", "a: x", (read) => read.boolean("b"), false],
    ["items", "a: [x, {}]", (read) => read.items("a").map(({ kind }) => kind), ["scalar", "map"]],
    ["an empty list", "a: []", (read) => read.items("a"), []],
    ["no items", "a: x", (read) => read.items("b"), []],
    ["named", "a: {x: 1, y: 2}", (read) => [...read.named("a", same)].map(([name]) => name), ["x", "y"]],
    ["nothing named", "a: {}", (read) => [...read.named("a", same)], []],
    ["no map of names", "a: x", (read) => [...read.named("b", same)], []],
  ];
  for (const [name, text, read, expected] of rows) {
    await t.step(name, () => assertEquals(read(fields(text)), expected));
  }
});

Deno.test("YamlFields refuses what is of another type", async (t) => {
  const no = (): never => {
    throw new ProxyError("input.invalid", "Cannot use it: it is bad", { hint: "mend it" });
  };
  const noText = "1:4: a: this is no text | ";
  const rows: readonly [string, string, (read: YamlFields) => unknown, string][] = [
    ["a list as text", "a: [x]", (read) => read.text("a", same), `${noText}write one text`],
    [
      "a number as text",
      "a: 1",
      (read) => read.text("a", same),
      `${noText}put it in quotes if it is meant as text`,
    ],
    [
      "no as text",
      "a: no",
      (read) => read.text("a", same),
      `${noText}put it in quotes if it is meant as text`,
    ],
    [
      "nothing as text",
      "a: ''",
      (read) => read.text("a", same),
      "1:4: a: this is empty | leave a out when it has no value",
    ],
    [
      "what the reader refuses",
      "a: x",
      (read) => read.text("a", no),
      "1:4: cannot use it: it is bad | mend it",
    ],
    ["a text as list", "a: x", (read) => read.texts("a", same), "1:4: a: this is no list | write a: […]"],
    [
      "one of a list",
      "a: [x, y]",
      (read) => read.texts("a", (text) => text === "y" && no()),
      "1:8: cannot use it: it is bad | mend it",
    ],
    [
      "an empty list",
      "a: []",
      (read) => read.texts("a", same),
      "1:4: a: this list is empty | leave a out if the rule is not to limit them",
    ],
    [
      "an empty list of numbers",
      "a: []",
      (read) => read.integers("a", Number),
      "1:4: a: this list is empty | leave a out if the rule is not to limit them",
    ],
    [
      "a number in quotes",
      'a: ["1"]',
      (read) => read.integers("a", Number),
      "1:5: a: this is no whole number | write a: [443]",
    ],
    [
      "a part of a number",
      "a: [1.5]",
      (read) => read.integers("a", Number),
      "1:5: a: this is no whole number | write a: [443]",
    ],
    [
      "a number of ten digits",
      "a: [1234567890]",
      (read) => read.integers("a", Number),
      "1:5: a: this is no whole number | write a: [443]",
    ],
    [
      "a list as number",
      "a: [[1]]",
      (read) => read.integers("a", Number),
      "1:5: a: this is no whole number | write a: [443]",
    ],
    [
      "a number that is refused",
      "a: [1, 2]",
      (read) => read.integers("a", (each) => each === 2 && no()),
      "1:8: cannot use it: it is bad | mend it",
    ],
    [
      "a switch in quotes",
      'a: "true"',
      (read) => read.boolean("a"),
      "1:4: a: this is neither true nor false | write a: true",
    ],
    [
      "another word as switch",
      "a: truer",
      (read) => read.boolean("a"),
      "1:4: a: this is neither true nor false | write a: true",
    ],
    [
      "a list as switch",
      "a: [true]",
      (read) => read.boolean("a"),
      "1:4: a: this is neither true nor false | write a: true",
    ],
    [
      "a list of names",
      "a: [x]",
      (read) => [...read.named("a", same)],
      "1:4: a: this is no map | write a map of names, or {} for none",
    ],
    [
      "a name that is refused",
      "a: {x: 1}",
      (read) => [...read.named("a", no)],
      "1:5: cannot use it: it is bad | mend it",
    ],
  ];
  for (const [name, text, read, expected] of rows) {
    await t.step(name, () => assertEquals(refusal(() => read(fields(text))), expected));
  }
});

Deno.test("readText() takes what looks like a number in quotes", () => {
  const source = new YamlSource('"1"', "t.yaml");
  assertEquals(readText(source, source.root, "it", same), "1");
});

Deno.test("located() adds no place to a failure of the program", () => {
  const fail = () => {
    throw new RangeError("a fault");
  };
  assertThrows(() => located(new YamlSource("a", "t.yaml"), 0, fail), RangeError, "a fault");
});

Deno.test("readLifetime() reads ttl or expires", async (t) => {
  const rows: readonly [string, unknown][] = [
    ["", {}],
    ["ttl: 90s", { ttlMs: 90_000 }],
    ["expires: 2026-12-01T00:00:00Z", { expiresAt: Date.UTC(2026, 11, 1) }],
    ["expires: 2028-02-29T12:30:00.5+02:00", { expiresAt: Date.UTC(2028, 1, 29, 10, 30, 0, 500) }],
    ["expires: 2026-12-31T23:59:59-01:00", { expiresAt: Date.UTC(2027, 0, 1, 0, 59, 59) }],
  ];
  for (const [line, expected] of rows) {
    await t.step(line, () => assertEquals(readLifetime(fields(`a: x\n${line}\n`)), expected as never));
  }
  const noTime = "2:10: this is no time | write it like 2026-12-01T00:00:00Z (RFC 3339)";
  const wrong: readonly [string, string][] = [
    ["ttl: 1500ms", "2:6: a ttl has no parts of a second | write whole seconds, such as 90s"],
    [
      "ttl: 1s\nexpires: 2026-12-01T00:00:00Z",
      "3:10: a rule has both ttl and expires | leave one of them out",
    ],
    ["expires: 2026-02-30T00:00:00Z", noTime],
    ["expires: 2026-02-29T00:00:00Z", noTime],
    ["expires: 2026-13-01T00:00:00Z", noTime],
    ["expires: 2026-12-01T25:00:00Z", noTime],
    ["expires: 2026-12-01T00:00:00", noTime],
    ["expires: 2026-12-01", noTime],
    ["expires: tomorrow", noTime],
  ];
  for (const [lines, expected] of wrong) {
    await t.step(
      lines,
      () => assertEquals(refusal(() => readLifetime(fields(`a: x\n${lines}\n`))), expected),
    );
  }
});
