import { assert, assertEquals } from "@std/assert";
import { hasDotSegments, isSuspectPath, matchPath, normalisePath, readingsOf } from "../../../policy/path.ts";

Deno.test("matchPath() knows star, prefix and exact", async (t) => {
  const rows: readonly [string, string, boolean][] = [
    ["*", "/", true],
    ["*", "*", true],
    ["/v1/models", "/v1/models", true],
    ["/v1/models", "/v1/models/", false],
    ["/v1/models", "/V1/models", false],
    ["/v1/models", "/v1/model", false],
    ["/v1/*", "/v1", false],
    ["/v1/*", "/v1/", true],
    ["/v1/*", "/v1/a/b", true],
    ["/v1/*", "/v10/a", false],
    ["/v1/*", "/a/v1/b", false],
    ["/*", "/", true],
    ["/*", "/a", true],
    ["/*", "*", false],
    ["/*", "", false],
    ["/a%2fb", "/a%2Fb", true],
    ["/a%2Fb/*", "/a%2fb/c", true],
    ["/a%2f*", "/a%2Fb", true],
    ["/a%2F*", "/a/b", false],
    ["/a/*", "/a%2Fb", false],
    ["/@a/*", "/@a%2fb", true],
    ["/@a/b/*", "/@a%2Fb/-/c", true],
    ["/npm/@a/b", "/npm/@a%2fb", true],
    ["/@a/*", "/@a%2f", true],
    ["/@a/*", "/x@a%2fb", false],
    ["/x@a/*", "/x@a%2fb", false],
    ["/@a%2Fb", "/@a/b", false],
    ["/@a/b/c", "/@a%2Fb%2Fc", false],
  ];
  for (const [pattern, path, expected] of rows) {
    await t.step(`${pattern} ${path}`, () => assertEquals(matchPath(pattern, path), expected));
  }
});

Deno.test("normalisePath() reads a path as a lenient server does", async (t) => {
  const rows: readonly [string, string][] = [
    ["/v1/models", "/v1/models"],
    ["/", "/"],
    ["*", "*"],
    ["", ""],
    ["/a/../b", "/b"],
    ["/a/./b", "/a/b"],
    ["/a/b/..", "/a/"],
    ["/a/.", "/a/"],
    ["/..", "/"],
    ["/../../a", "/a"],
    ["/a/...", "/a/..."],
    ["/a/.hidden", "/a/.hidden"],
    ["/a/%2e%2E/b", "/b"],
    ["/a/.%2e/b", "/b"],
    ["/a%2fb", "/a/b"],
    ["/a%2Fb", "/a/b"],
    ["/a\\b", "/a/b"],
    ["/a%5cb", "/a/b"],
    ["/a/..%5C..\\b", "/b"],
    ["//a///b", "/a/b"],
    ["/a//../b", "/b"],
    ["/%41%7e%2D", "/A~-"],
    ["/%c3%a9", "/%C3%A9"],
    ["/a%20b%3f", "/a%20b%3F"],
    ["/100%", "/100%"],
    ["/%zz", "/%zz"],
  ];
  for (const [path, expected] of rows) await t.step(path, () => assertEquals(normalisePath(path), expected));
});

Deno.test("readingsOf() finds each way to read a path, the one as sent first", async (t) => {
  const rows: readonly [string, string, readonly string[]][] = [
    ["a plain path has one", "/v1/models", ["/v1/models"]],
    ["dots in names are plain", "/a..b/.c/d.", ["/a..b/.c/d."]],
    ["escapes that stand for themselves", "/a%20b", ["/a%20b"]],
    ["dot segments", "/a/../b", ["/a/../b", "/b"]],
    ["an encoded slash", "/a%2fb", ["/a%2fb", "/a%2Fb", "/a/b"]],
    ["a merged slash hides a parent", "/a//../b", ["/a//../b", "/b", "/a/b"]],
    ["a parameter hides an empty segment", "/a/;/../b", ["/a/;/../b", "/a/b", "/b"]],
    ["an encoded parameter", "/a%3Bx", ["/a%3Bx", "/a"]],
    [
      "only %2f is a separator: two servers go up by different amounts",
      "/a/x\\y%2f../../b",
      ["/a/x\\y%2f../../b", "/a/b", "/b", "/a/x/b"],
    ],
    ["only the backslash is a separator", "/a/x%5cy\\../../b", [
      "/a/x%5cy\\../../b",
      "/a/b",
      "/b",
      "/a/x/b",
    ]],
  ];
  for (const [name, path, expected] of rows) {
    await t.step(name, () => {
      const paths = readingsOf(path).map((reading) => reading.path);
      assertEquals(paths[0], path);
      assertEquals(paths.toSorted(), expected.toSorted());
    });
  }
});

Deno.test("readingsOf() reads a pattern like the path", () => {
  for (const reading of readingsOf("/projects/group%2fname/issues")) {
    assert(reading.matches("/projects/group%2fname/*"), reading.path);
    assert(reading.matches("/projects/group%2fname/issues"), reading.path);
    assert(reading.matches("/*") && reading.matches("*"), reading.path);
    assert(!reading.matches("/other/*"), reading.path);
  }
});

Deno.test("isSuspectPath() finds what a second decoding or a sloppy one would change", async (t) => {
  const suspect: readonly [string, string][] = [
    ["double-encoded dot", "/%252e%252e/a"],
    ["double-encoded slash", "/a%252fb"],
    ["double-encoded letter", "/%2561"],
    ["triple", "/%25252e"],
    ["percent from an escape and plain digits", "/%252e"],
    ["escapes that make an escape", "/%%32%65"],
    ["half an escape", "/%2%65"],
    ["IIS %u", "/%u002e%u002e/a"],
    ["encoded IIS %u", "/%25u002e"],
    ["matrix parameter", "/a/..;/b"],
    ["matrix parameter with a value", "/a/..;x=1/b"],
    ["encoded dots", "/a/%2e%2e;/b"],
    ["encoded semicolon", "/a/..%3b/b"],
    ["encoded slash before", "/a%2f..;/b"],
    ["backslash before", "/a\\..;/b"],
    ["at the start", "..;/a"],
    ["NUL", "/a\0"],
    ["encoded NUL", "/a%00.png"],
    ["overlong dot", "/%c0%ae%c0%ae/a"],
    ["overlong slash", "/a%C0%AFb"],
    ["overlong slash in three", "/a%e0%80%afb"],
    ["overlong slash in four", "/a%f0%80%80%afb"],
    ["raw overlong slash", "/a\xc0\xafb"],
    ["unusual and too long", "/" + "%41".repeat(1_366)],
  ];
  for (const [name, path] of suspect) await t.step(name, () => assert(isSuspectPath(path)));
  const fine: readonly [string, string][] = [
    ["plain", "/v1/models"],
    ["dot segments are not suspect, only ambiguous", "/a/../b"],
    ["encoded slash", "/a%2fb"],
    ["encoded percent before no escape", "/100%25"],
    ["encoded percent and one digit", "/%252"],
    ["percent alone", "/100%"],
    ["parameter", "/a;v=1/b"],
    ["name that ends in dots", "/a..;x"],
    ["UTF-8", "/%c3%a9%e0%a4%85%f0%9f%98%80"],
    ["unusual, as long as may be", "/" + "%41".repeat(1_365)],
    ["plain and long", "/" + "a".repeat(60_000)],
  ];
  for (const [name, path] of fine) await t.step(name, () => assert(!isSuspectPath(path)));
});

Deno.test("hasDotSegments() finds them in every spelling", async (t) => {
  for (const path of ["/..", "/a/./b", "/%2e%2E/", "/a%2f..", "/a\\..\\b", "/a%5c.", "/..;x", "/.;x/a"]) {
    await t.step(path, () => assert(hasDotSegments(path)));
  }
  for (const path of ["/", "/a", "/...", "/.well-known/a", "/a../b", "/..a"]) {
    await t.step(path, () => assert(!hasDotSegments(path)));
  }
});
