import { assert, assertEquals } from "@std/assert";
import { hidesDotSegments } from "../../../policy/hidden_dots.ts";
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
    ["/bot{}/*", "/bot%7b%7D/send", true],
    ["/bot%7B%7D/*", "/bot{}/send", true],
    ["/bot{}/*", "/bot/send", false],
    ["/@a%2Fb", "/@a/b", false],
    ["/@a/b/c", "/@a%2Fb%2Fc", false],
  ];
  for (const [pattern, path, expected] of rows) {
    await t.step(`${pattern} ${path}`, () => assertEquals(matchPath(pattern, path), expected));
  }
});

Deno.test("matchPath() splits scopes in paths of up to 4,096 characters", () => {
  const ofLength = (length: number) => "/@a%2Fb/".padEnd(length, "x");
  assertEquals([matchPath("/@a/*", ofLength(4_096)), matchPath("/@a/*", ofLength(4_097))], [true, false]);
});

Deno.test("readingsOf() has every reading of a path once", async (t) => {
  const rows: readonly [string, ...string[]][] = [
    ["/a-b"],
    ["*"],
    ["/a%41", "/aA"],
    ["/a%2fb\\c", "/a%2Fb\\c", "/a%2Fb/c", "/a/b\\c", "/a/b/c"],
    ["/a%5cb", "/a%5Cb", "/a/b"],
    ["/a;x//b", "/a;x/b", "/a/b", "/a//b"],
    ["/a%3bx/b", "/a%3Bx/b", "/a/b"],
    ["/a//../b", "/b", "/a/b"],
    ["/a/./b/.", "/a/b/"],
  ];
  for (const [path, ...others] of rows) {
    await t.step(path, () => assertEquals(readingsOf(path).map((each) => each.path), [path, ...others]));
  }
  assertEquals([normalisePath("*"), normalisePath("/a/../*"), normalisePath("/a//b")], ["*", "/*", "/a/b"]);
});

Deno.test("matchPath() takes a star inside for one segment, two for any number", async (t) => {
  const rows: readonly [string, string, boolean][] = [
    ["/repos/acme/*/pulls", "/repos/acme/web/pulls", true],
    ["/repos/acme/*/pulls", "/repos/acme/pulls", false],
    ["/repos/acme/*/pulls", "/repos/acme//pulls", false],
    ["/repos/acme/*/pulls", "/repos/acme/web/x/pulls", false],
    ["/repos/acme/*/pulls", "/repos/acme/web/pulls/", false],
    ["/repos/acme/*/pulls", "/repos/acme/web/pulls/1", false],
    ["/repos/acme/*/pulls", "/x/repos/acme/web/pulls", false],
    ["/repos/acme/*/pulls", "/repos/Acme/web/pulls", false],
    ["/repos/acme/*/pulls", "*", false],
    ["/*/x", "/a/x", true],
    ["/*/x", "a/x", false],
    ["/*/*", "/a/", true],
    ["/*/*", "/a/b/c", true],
    ["/*/*", "/a", false],
    ["/*/*", "//a", false],
    ["/a/*/b/*", "/a/x/b/", true],
    ["/a/*/b/*", "/a/x/b", false],
    ["/a/*/g%2F*", "/a/x/g%2fname", true],
    ["/a/*/g%2F*", "/a/x/g/name", false],
    ["/@a/*/x", "/@a%2fb/x", true],
    ["/acme/**/info/refs", "/acme/info/refs", true],
    ["/acme/**/info/refs", "/acme/web/info/refs", true],
    ["/acme/**/info/refs", "/acme/a/b/c/info/refs", true],
    ["/acme/**/info/refs", "/acme/a//c/info/refs", false],
    ["/acme/**/info/refs", "/acme//info/refs", false],
    ["/acme/**/info/refs", "/acme/info/refs/x", false],
    ["/acme/**/info/refs", "/acme/refs", false],
    ["/acme/**/info/refs", "/other/acme/x/info/refs", false],
    ["/**/x", "/x", true],
    ["/**/x", "/a/b/x", true],
    ["/a/**/a", "/a", false],
    ["/a/**/a", "/a/a", true],
    ["/*/**/x", "/x", false],
    ["/*/**/x", "/a/x", true],
  ];
  for (const [pattern, path, expected] of rows) {
    await t.step(`${pattern} ${path}`, () => assertEquals(matchPath(pattern, path), expected));
  }
});

Deno.test("matchPath() of a star inside costs the length of the path", () => {
  const path = "/a".repeat(32_000);
  const patterns = ["/a/**" + "/a".repeat(500) + "/b", "/*".repeat(15) + "/b/*", "/**/b"];
  const before = performance.now();
  for (let i = 0; i < 100; i++) for (const pattern of patterns) assert(!matchPath(pattern, path));
  assert(performance.now() - before < 10_000);
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
    ["/a;x=1/../b;y=2", "/b;y=2"], // a parameter may be part of a name
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
    ["slashes merge after the dot segments have gone too", "/a/b//../c//d", [
      "/a/b//../c//d",
      "/a/c/d",
      "/a/b/c/d",
      "/a/b/c//d",
    ]],
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
  // A server that merges slashes behind dot segments does so in what the pattern means, too.
  const merged = readingsOf("/a//../b").map(({ path, matches }) => [path, matches("/a//b")]);
  assertEquals(merged, [["/a//../b", false], ["/b", false], ["/a/b", true]]);
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

Deno.test("isSuspectPath() finds dot segments that only servers see which drop, fold or cut", async (t) => {
  const suspect = [
    ...["%09", "%0a", "%0d", "%1f", "%7f", "%20", "%23", "%3f", "%3F"].map((drop) => `/v1/..${drop}/admin`),
    "/v1/%20../admin",
    "/v1/.%20./admin",
    "/v1/.%23./admin",
    "/v1/..%20%09/admin",
    "/v1/..%20",
    "/v1/.%20/a",
    "/v1/..%23a",
    "/v1/..%3fa=b",
    "/v1/..%20;a",
    "/v1\\..%20\\admin",
    "/v1%2f..%20%2fadmin",
    "/v1/a/%20/../../admin", // the blank is a segment, or none
    "/v1/a/%e2%80%8b/../../admin",
    "/v1/%ef%bc%8e%ef%bc%8e/admin", // U+FF0E
    "/v1/%ef%bc%8e./admin",
    "/v1/%e2%80%a4%e2%80%a4/admin", // U+2024
    "/v1/%e2%80%a5/admin", // U+2025
    "/v1/%e2%80%a6/admin", // U+2026
    "/v1/..%ef%bc%8fadmin", // U+FF0F
    "/v1/a%ef%bc%8f../b",
    "/v1/..%ef%bc%9fa", // U+FF1F
    "/v1/..%e2%80%8b/admin", // U+200B
    "/v1/.%e2%81%a0./admin", // U+2060
    "/v1/%ef%bb%bf../admin", // U+FEFF
    "/v1/..%c2%ad/admin", // U+00AD
    "/v1/..%ef%b8%8f/admin", // a variation selector
    "/v1/..%f3%a0%80%81/admin", // a tag character
    "/v1/..%e3%80%80/admin", // U+3000
    "/v1/..\xe2\x80\x8b/admin", // the same as bytes
    "/v1/\xef\xbc\x8e\xef\xbc\x8e/admin",
    "/v1/..%a0/admin", // U+00A0, U+0085 and U+00AD in Latin-1
    "/v1/..\x85/admin",
    "/v1/..\xad/admin",
    "/v1/..%ff/admin", // dropped as no UTF-8
    "/v1/\u2025/admin", // typed by an operator
  ];
  for (const path of suspect) await t.step(path, () => assert(isSuspectPath(path)));
  const fine = [
    "/v1/..hidden",
    "/v1/a..b",
    "/v1/...",
    "/v1/.../a",
    "/v1/.well-known/a%20b",
    "/files/a%20b",
    "/files/a..%20",
    "/files/..a%20",
    "/files/%20..b",
    "/files/%20/a",
    "/files/a%23/b%3fc",
    "/files/.%23lock", // Emacs
    "/files/1.%20Introduction",
    "/files/%e2%80%a6and%20so%20on",
    "/files/caf%c3%a9/%e4%b8%ad.txt",
    "/files/caf\xc3\xa9.txt",
    "/files/a%e2%80%8bb..c",
    "/files/%f0%9f%91%a9%e2%80%8d%f0%9f%92%bb", // a joined emoji
    "/a/../b",
  ];
  for (const path of fine) await t.step(`not ${path}`, () => assert(!isSuspectPath(path)));
});

Deno.test("hidesDotSegments() knows every character that Unicode folds to dots, to their end, or takes for nothing", () => {
  for (let code = 0x80; code <= 0x10ffff; code++) {
    const char = String.fromCodePoint(code);
    const isDots = /^\.+$/.test(char.normalize("NFKC"));
    const isEnd = /^[/\\?#;]/.test(char.normalize("NFKC"));
    const isNothing = /^[\p{Default_Ignorable_Code_Point}\s]$/u.test(char);
    if (isDots) assert(hidesDotSegments(`/v1/.${char}/a`), code.toString(16));
    if (isEnd) assert(hidesDotSegments(`/v1/..${char}a`), code.toString(16));
    if (isNothing) assert(hidesDotSegments(`/v1/..${char}/a`), code.toString(16));
  }
});

Deno.test("isSuspectPath() takes a long path with bytes beyond ASCII for suspect, unread", () => {
  assert(isSuspectPath("/" + "\xe9".repeat(4_096)));
  assert(!isSuspectPath("/" + "\xe9".repeat(4_095)));
});
