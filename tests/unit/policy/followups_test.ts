import { assert, assertEquals } from "@std/assert";
import { followUpsOf } from "../../../policy/followups.ts";

Deno.test("followUpsOf() knows what programs ask for next", async (t) => {
  const rows: readonly [host: string, path: string, ...follows: string[]][] = [
    ["github.com", "/acme/w.git/info/refs", "git POST /acme/w.git/git-upload-pack"],
    ["github.com", "/acme/w/info/refs", "git POST /acme/w/git-upload-pack"],
    ["github.com", "/info/refs"],
    ["github.com", "/npm/cli.git/info/refs", "git POST /npm/cli.git/git-upload-pack"],
    ["github.com", "/acme/w.git/info/refs/x"],
    ["registry.npmjs.org", "/left-pad", "npm GET /left-pad/-/*"],
    ["registry.npmjs.org", "/@types%2fnode", "npm GET /@types/node/-/*"],
    ["registry.npmjs.org", "/@types%2Fnode", "npm GET /@types/node/-/*"],
    ["registry.npmjs.org", "/@types/node", "npm GET /@types/node/-/*"],
    ["registry.npmjs.org", "/-/npm/v1/security/audits"],
    ["registry.npmjs.org", "/left-pad/-/left-pad-1.0.0.tgz"],
    ["registry.npmjs.org", "/"],
    ["registry.npmjs.org", "/a%20b"],
    ["registry.corp.test", "/left-pad", "npm GET /left-pad/-/*"],
    ["npm.corp.test", "/left-pad", "npm GET /left-pad/-/*"],
    ["npm-proxy.corp.test", "/left-pad", "npm GET /left-pad/-/*"],
    ["npm.pkg.github.com", "/@acme%2fkit", "npm GET /download/@acme/kit/*"],
    ["api.example.com", "/health"],
    ["npmfoo.test", "/health"],
    ["api.example.com", "/@acme/kit"],
    ["api.example.com", "/@acme%2fkit", "npm GET /@acme/kit/-/*"],
    ["art.test", "/artifactory/api/npm/all/left", "npm GET /artifactory/api/npm/all/left/-/*"],
    ["nexus.test", "/repository/npm-proxy/left", "npm GET /repository/npm-proxy/left/-/*"],
    [
      "gitlab.com",
      "/api/v4/projects/1/packages/npm/@a%2fb",
      "npm GET /api/v4/projects/1/packages/npm/@a/b/-/*",
    ],
    ["pypi.org", "/simple/flask/", "pip GET files.pythonhosted.org/packages/*"],
    ["pypi.org", "/simple/"],
    ["pypi.test", "/simple/flask/"],
    ["index.crates.io", "/se/rd/serde", "cargo GET static.crates.io/crates/serde/*"],
    ["index.crates.io", "/3/s/syn", "cargo GET static.crates.io/crates/syn/*"],
    ["index.crates.io", "/config.json"],
    ["proxy.golang.org", "/github.com/a/b/@v/list", "go GET /github.com/a/b/@v/*"],
    ["proxy.golang.org", "/github.com/a/b/@latest", "go GET /github.com/a/b/@v/*"],
    [
      "deb.debian.org",
      "/debian/dists/bookworm/InRelease",
      "apt GET /debian/dists/bookworm/*",
      "apt GET /debian/pool/*",
    ],
    ["deb.debian.org", "/debian/InRelease"],
    ["deb.debian.org", "/debian/dists//InRelease"],
    ["a.test", "/dists/bookworm/updates/InRelease", "apt GET /dists/bookworm/updates/*", "apt GET /pool/*"],
  ];
  for (const [host, path, ...follows] of rows) {
    await t.step(`${host}${path}`, () => {
      const found = followUpsOf({ host, method: "GET", path });
      assertEquals(found.map((each) => `${each.by} ${each.method} ${each.host ?? ""}${each.path}`), follows);
      assertEquals(followUpsOf({ host, method: "POST", path }), []);
    });
  }
});

Deno.test("followUpsOf() reads a long path in a moment", () => {
  const path = "/dists/a".repeat(8_000);
  const startedAt = performance.now();
  assertEquals(followUpsOf({ method: "GET", host: "deb.test", path }), []);
  assert(performance.now() - startedAt < 200);
});
