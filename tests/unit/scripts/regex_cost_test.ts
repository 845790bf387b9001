import { assertEquals, assertThrows } from "@std/assert";
import { findSlowness } from "../../../scripts/regex_cost.ts";
import { parseRegex, UnjudgedError } from "../../../scripts/regex_syntax.ts";

const QUADRATIC = "it takes quadratic time, or worse";
const EXPONENTIAL = "it takes exponential time";

Deno.test("findSlowness() finds what was attacked, and its kin", async (t) => {
  const rows: readonly (readonly [name: string, regex: RegExp, expected: string])[] = [
    ["spaces around a separator (Accept: a + 60,000 spaces)", /\s*;\s*/, QUADRATIC],
    ["spaces at the end", /\s+$/, QUADRATIC],
    ["slashes at the end (60,000 slashes and an x)", /\/+$/, QUADRATIC],
    ["the same when it may match nothing", /\/*$/, QUADRATIC],
    ["the same lazily", /a*?$/, QUADRATIC],
    ["what follows a mark, up to the end of a line", /%.*$/, QUADRATIC],
    ["a run before a letter", /x*y/, QUADRATIC],
    ["a run with a choice of nothing, over and over", /(?:a*b)?/g, QUADRATIC],
    ["a run in a look-ahead", /(?=a*)b/, QUADRATIC],
    ["anchored neighbours that overlap", /^a*a*$/, QUADRATIC],
    ["anchored neighbours that overlap in one character", /^([^:]*):[ ]*(.*)$/, QUADRATIC],
    ["two of them far apart", /^\[(.*:.*)\]$/, QUADRATIC],
    ["an anchor at each line is none", /^a*b/m, QUADRATIC],
    ["overlap by letter case alone", /^a*[A-Z]*$/i, QUADRATIC],
    ["overlap beyond Latin", /^\p{L}*[а-я]*$/u, QUADRATIC],
    ["an exact number that is large", /a{1000}/, QUADRATIC],
    ["a loop in a loop", /^(a*)*$/, EXPONENTIAL],
    ["a loop in a loop, once at least", /^(?:a+)+$/, EXPONENTIAL],
    ["two ways through a choice", /(a|a)*b/, EXPONENTIAL],
    ["two ways through a choice of two letters or one", /^(?:aa|a)*$/, EXPONENTIAL],
    ["a string without its end", /"(?:[^"\\]+|\\.)*"/g, EXPONENTIAL],
    ["optional separators", /^(?:[^/]+\/?)*$/, EXPONENTIAL],
  ];
  for (const [name, { source, flags }, expected] of rows) {
    await t.step(name, () => assertEquals(findSlowness(source, flags), expected));
  }
});

Deno.test("findSlowness() lets pass what is linear", async (t) => {
  const rows: readonly (readonly [name: string, regex: RegExp])[] = [
    ["one character", /[^\x21\x23-\x7e]/gu],
    ["spaces at the start", /^\s+/],
    ["an anchored run and its last character", /^x*y/],
    ["a run that cannot fail once begun", /\/{2,}/g],
    ["a mark and all up to the next", /(?:;|%3B)[^/]*/g],
    ["a label of a host name", /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/],
    ["choices that begin alike", /^(\d+|0x[0-9a-f]*)$/i],
    ["a few digits and a unit", /(\d{1,10})(ms|[smhd])/g],
    ["segments", /^\/(?:[^/]+\/)*$/],
    ["a run that ends where the next begins", /^(.*?)\/(?:(@[^/%]+)(?:\/|%2f))?([^/@]+)$/i],
    ["an anchored look-ahead", /^(?=.*\d)[0-9a-f]{7,}$/i],
    ["an escape class and a word's border", /\btext\/event-stream\b/i],
    ["a named group", /^(?<year>\d{4})-/],
    ["a status line", /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/],
  ];
  for (const [name, { source, flags }] of rows) {
    await t.step(name, () => assertEquals(findSlowness(source, flags), undefined));
  }
});

Deno.test("findSlowness() does not let pass what it cannot judge", async (t) => {
  const rows: readonly (readonly [name: string, regex: RegExp])[] = [
    ["a back reference", /(a)\1/],
    ["a named back reference", /(?<a>x)\k<a>/],
    ["look-behind", /(?<=a)b/],
    ["negative look-behind", /(?<!a)b/],
    ["the flag v", /[a--b]/v],
  ];
  for (const [name, { source, flags }] of rows) {
    await t.step(
      name,
      () => assertEquals(findSlowness(source, flags)?.startsWith("it cannot be judged"), true),
    );
  }
  await t.step("flags inside", () => {
    assertThrows(() => parseRegex("(?i:a)"), UnjudgedError);
  });
});

Deno.test("parseRegex() keeps the source of each character", () => {
  const sets = (source: string): string[] => {
    const found: string[] = [];
    const visit = (node: ReturnType<typeof parseRegex>): void => {
      if (node.kind === "set") found.push(node.source);
      else if (node.kind === "sequence" || node.kind === "choice") node.items.forEach(visit);
      else if ("item" in node) visit(node.item);
    };
    visit(parseRegex(source));
    return found;
  };
  assertEquals(sets(String.raw`^a[\]\\b-d]{2,}\x41\u{1f600}(?:\p{Cc}|\.)+?é$`), [
    "a",
    String.raw`[\]\\b-d]`,
    String.raw`\x41`,
    String.raw`\u{1f600}`,
    String.raw`\p{Cc}`,
    String.raw`\.`,
    "é",
  ]);
});
