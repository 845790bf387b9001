import { assertEquals } from "@std/assert";
import { coversWithStars, hasInnerStar, problemOfStars } from "../../../policy/path_stars.ts";

Deno.test("hasInnerStar() is true for a star with something behind it", () => {
  assertEquals(["/a/*/b", "/a/*/", "/a*b", "*/a", "/**", "*x"].filter(hasInnerStar), [
    ...["/a/*/b", "/a/*/", "/a*b", "*/a", "/**", "*x"],
  ]);
  assertEquals(["", "/", "/a", "*", "/*", "/a/*", "/a%2F*"].filter(hasInnerStar), []);
});

Deno.test("problemOfStars() says what is wrong with a pattern", async (t) => {
  const whole = "a star stands for whole segments: /repos/*/pulls";
  const rows: readonly [string, string | undefined][] = [
    ["/a/*", undefined],
    ["/a/*/b", undefined],
    ["/*/*/*", undefined],
    ["/**/b", undefined],
    ["/a/**/*/b", undefined],
    ["/*/a%2F*", undefined],
    ["/*/a%2f*", undefined],
    ["/**", "for everything below write /*"],
    ["/a/*/**", "for everything below write /*"],
    ["/a*/b", whole],
    ["/x/a*/b", whole],
    ["/a/b*", whole],
    ["/*a", whole],
    ["/***/a", whole],
    ["/a*/*", whole],
    ["/**/a/**/b", "write ** once"],
    ["/**/a/*", "write either ** or a star at the end"],
    ["/**/a%2F*", "write either ** or a star at the end"],
    ["/*".repeat(16), undefined],
    ["/*".repeat(17), "write at most 16 stars"],
    ["/*".repeat(16) + "/a", undefined],
    ["/*".repeat(17) + "/a", "write at most 16 stars"],
  ];
  for (const [pattern, problem] of rows) {
    await t.step(pattern, () => assertEquals(problemOfStars(pattern), problem));
  }
});

Deno.test("coversWithStars() compares what stands around ** from both ends, and prefixes to their last letter", async (t) => {
  const rows: readonly [string, string, boolean][] = [
    ["/**/b", "/b", true],
    ["/**/b", "/a/a/b", true],
    ["/**/b", "/a//b", false],
    ["/**/b", "/b/a", false],
    ["/a/**/b/c", "/a/b/c", true],
    ["/a/**/b/c", "/a/x/y/b/c", true],
    ["/a/**/b/c", "/a/c", false],
    ["/a/**/b/c", "/b/c", false],
    ["/a/**/a/b", "/a/b", false],
    ["/*/x%2F*", "/a/x%2Fb", true],
    ["/*/x%2F*", "/a/x%2Ab", false],
    ["/*/x%2F*", "/a/x%2Fb/c", true],
    ["/*/x%2F*", "//x%2Fb", false],
    ["/*/x/*", "/a/x", false],
    ["/*/x/*", "/a/x/", true],
  ];
  for (const [pattern, path, expected] of rows) {
    await t.step(`${pattern} ${path}`, () => assertEquals(coversWithStars(pattern, path), expected));
  }
});
