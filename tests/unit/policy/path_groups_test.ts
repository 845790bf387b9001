import { assert, assertEquals } from "@std/assert";
import { groupPaths, isIdentifier } from "../../../policy/path_groups.ts";

const numbered = (count: number, prefix: string, word = "name") =>
  Array.from({ length: count }, (_, i) => `${prefix}${word}${String.fromCharCode(97 + i)}`);

Deno.test("groupPaths() writes a prefix only where identifiers vary, or much does", async (t) => {
  const rows: readonly [string, readonly string[], readonly string[]][] = [
    ["nothing", [], []],
    ["one path", ["/v1/models"], ["/v1/models"]],
    ["the root", ["/"], ["/"]],
    ["twice the same", ["/a", "/a"], ["/a"]],
    ["words", ["/v1/models", "/v1/chat", "/v2/models"], ["/v1/chat", "/v1/models", "/v2/models"]],
    ["one identifier", ["/users/17"], ["/users/17"]],
    ["two identifiers", ["/users/17", "/users/18"], ["/users/*"]],
    ["identifiers above further folders", ["/u/17/posts", "/u/18/posts"], ["/u/*"]],
    ["identifiers at two levels: the upper one counts", ["/a/1/b/2", "/a/1/b/3", "/a/4/c"], ["/a/*"]],
    ["identifiers below one identifier", ["/a/1/b/2", "/a/1/b/3"], ["/a/1/b/*"]],
    ["what stands beside identifiers", ["/u/17", "/u/18", "/u/me", "/u"], ["/u", "/u/*"]],
    ["identifiers at the root", ["/17", "/18"], ["/17", "/18"]],
    ["below identifiers at the root", ["/17/1", "/17/2", "/18/x"], ["/17/*", "/18/x"]],
    ["7 siblings", numbered(7, "/p/"), numbered(7, "/p/")],
    ["8 siblings", numbered(8, "/p/"), ["/p/*"]],
    ["15 siblings at the root", numbered(15, "/"), numbered(15, "/")],
    ["16 siblings at the root", numbered(16, "/"), ["/*"]],
    ["a final slash is no sibling", [...numbered(7, "/p/"), "/p/"], ["/p/", ...numbered(7, "/p/")]],
    ["tarballs", ["/left/-/left-1.0.0.tgz", "/left/-/left-1.0.1.tgz"], ["/left/-/*"]],
    ["a package of a scope, both spellings", ["/@t%2fnode", "/@t%2Fnode", "/@t/node"], ["/@t/node"]],
    ["many packages of a scope", numbered(8, "/@t%2f"), ["/@t/*"]],
    ["a project", ["/p/g%2fn", "/p/g%2Fn"], ["/p/g%2Fn"]],
    ["below a project", ["/p/g%2fn/issues/1", "/p/g%2Fn/issues/2"], ["/p/g%2Fn/issues/*"]],
    ["empty segments", ["//a//1", "//a//2"], ["//a//*"]],
  ];
  for (const [name, paths, patterns] of rows) {
    await t.step(name, () => assertEquals(groupPaths(paths), patterns));
  }
});

Deno.test("groupPaths() adds patterns that count for no variety", () => {
  assertEquals(groupPaths(["/left"], ["/left/-/*"]), ["/left", "/left/-/*"]);
  assertEquals(groupPaths(["/left/-/left-1.0.0.tgz"], ["/left/-/*"]), ["/left/-/*"]);
  assertEquals(groupPaths(numbered(4, "/p/"), numbered(4, "/p/", "other")).length, 8);
  assertEquals(groupPaths(["/u/1", "/u/2"], ["/u/3", "/u/4/*"]), ["/u/*"]);
});

Deno.test("isIdentifier() tells what a program made from words", () => {
  const made = [
    ...["7", "20260102", "8f14e45f-ceea-467f-9f51-2d0a2b7c3d11", "8F14E45F-CEEA-467F-9F51-2D0A2B7C3D11"],
    ...["a1b2c3d", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha256:9f86d0", "sha512-Zm9v", "2026-01-02"],
    ...["1.2", "v1.2.3", "left-pad-1.3.0.tgz", "job-17", "order_9", "msg_01XFDUDYJgAACzvnptvVoYEL"],
    ...["01ARZ3NDEKTSV4RRFFQ69G5FAV", "dQw4w9WgXcQ1aZ2bY3"],
  ];
  const words = [
    ...[
      "v1",
      "models",
      "info",
      "refs",
      "left-pad",
      "@types%2fnode",
      "node",
      "deadbeef",
      "decade",
      "-",
      "",
      "a1",
    ],
    ...["utf8", "base64", "chat-completions", "internationalisation", "index.html", "k8s", "abcdef1"],
  ];
  assertEquals(made.filter((segment) => !isIdentifier(segment)), []);
  assertEquals(words.filter(isIdentifier), ["abcdef1"]); // seven hex digits are a short commit
});

Deno.test("groupPaths() leaves paths of many segments as they are, so that they cost little", () => {
  const below = (segments: number) => "/a".repeat(segments - 1);
  const ids = (segments: number) => ["1", "2"].map((id) => `${below(segments)}/${id}`);
  assertEquals(groupPaths(ids(32)), [`${below(32)}/*`]);
  assertEquals(groupPaths(ids(33)), ids(33));
  assertEquals(groupPaths([], [`${below(33)}/*`]), [`${below(33)}/*`]);
  const long = Array.from({ length: 1_000 }, (_, i) => `/${i}${"/a".repeat(1_000)}`);
  const before = Deno.memoryUsage().heapUsed;
  assertEquals(groupPaths(long).length, 1_000);
  assert(Deno.memoryUsage().heapUsed - before < 100_000_000);
});
