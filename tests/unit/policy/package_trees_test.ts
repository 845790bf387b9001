import { assert, assertEquals } from "@std/assert";
import { decideRequest } from "../../../policy/decide.ts";
import { asRule } from "../../../policy/denial_remedy.ts";
import type { Denial } from "../../../policy/denial_tally.ts";
import { describePasses, type ExpectedPasses, expectedPasses } from "../../../policy/package_trees.ts";
import type { Rule } from "../../../policy/rule.ts";
import { suggestRules } from "../../../policy/suggest.ts";

interface Registry {
  readonly host: string;
  readonly document: (name: string) => string;
  readonly file: (name: string) => { readonly host: string; readonly path: string };
}

const NPM: Registry = {
  host: "registry.npmjs.org",
  document: (name) => `/${name.replace("/", "%2f")}`,
  file: (name) => ({ host: "registry.npmjs.org", path: `/${name}/-/${name.split("/").at(-1)}-1.0.0.tgz` }),
};

const PIP: Registry = {
  host: "pypi.org",
  document: (name) => `/simple/${name}/`,
  file: (name) => ({
    host: "files.pythonhosted.org",
    path: `/packages/ab/cd/${name}-1.0-py3-none-any.whl`,
  }),
};

/** Six levels, two packages each but the first. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  app: ["one-a", "@acme/one-b"],
  "one-a": ["two-a"],
  "@acme/one-b": ["two-b"],
  "two-a": ["three"],
  three: ["four"],
  four: ["@acme/five"],
};

/** One run: level after level, and no further than the first one where something is denied. */
function runOnce({ host, document, file }: Registry, rules: readonly Rule[]): Denial[] {
  let level: readonly string[] = ["app"];
  while (level.length > 0) {
    const asked = level.flatMap((name) => [{ host, path: document(name) }, file(name)]);
    const isDenied = (each: { host: string; path: string }) =>
      decideRequest(rules, { ...each, port: 443, method: "GET" }).verdict === "deny";
    // Without its document nobody knows a package's file.
    const documents = asked.filter((each, i) => i % 2 === 0 && isDenied(each));
    const denied = documents.length > 0 ? documents : asked.filter(isDenied);
    if (denied.length > 0) {
      return denied.map((each) => ({
        ...each,
        method: "GET",
        port: 443,
        reason: "no-rule",
        count: 1,
        lastMs: 0,
      }));
    }
    level = level.flatMap((name) => NEEDS[name] ?? []);
  }
  return [];
}

/** How often something was denied until nothing was, and what was expected after each time. */
function passesOf(registry: Registry, isExact = false) {
  const rules: Rule[] = [];
  const expected: (readonly ExpectedPasses[])[] = [];
  for (let passes = 0; passes < 20; passes++) {
    const denials = runOnce(registry, rules);
    if (denials.length === 0) return { passes, expected, rules };
    const suggestion = suggestRules({ denials, rules, isExact });
    expected.push(suggestion.passes);
    rules.push(...suggestion.proposals.map(({ rule }) => asRule(rule)));
  }
  throw new Error("does not converge");
}

for (const [by, registry] of [["npm", NPM], ["pip", PIP]] as const) {
  Deno.test(`suggestRules() needs two passes for any tree of ${by}, and says so after the first`, () => {
    const { passes, expected, rules } = passesOf(registry);
    assertEquals(passes, 2);
    assertEquals(expected, [[{ by, host: registry.host, more: 1 }], [{ by, host: registry.host, more: 0 }]]);
    assert(rules.every(({ methods }) => methods.join() === "GET"), "only to read");
    assert(rules.every(({ host }) => host === registry.host || host === "files.pythonhosted.org"));
  });

  Deno.test(`suggestRules() goes level by level for ${by} when it has to be exact`, () => {
    const { passes, expected, rules } = passesOf(registry, true);
    assert(passes > 5, `${passes}`);
    assertEquals(rules.flatMap(({ paths }) => paths).filter((path) => path.endsWith("*")), []);
    assertEquals(expected[0], [{ by, host: registry.host }]);
  });
}

Deno.test("suggestRules() proposes a whole registry only for two packages of one that is known", async (t) => {
  const denial = (host: string, path: string, more: Partial<Denial> = {}): Denial => ({
    method: "GET",
    host,
    port: 443,
    path,
    reason: "no-rule",
    count: 1,
    lastMs: 0,
    ...more,
  });
  const npm = (path: string, more: Partial<Denial> = {}) => denial("registry.npmjs.org", path, more);
  const rows: readonly [string, readonly Denial[], boolean][] = [
    ["one", [npm("/left")], false],
    ["one in two spellings", [npm("/@a%2fb"), npm("/@a/b"), npm("/@a%2Fb")], false],
    ["one and its file", [npm("/left"), npm("/left/-/left-1.0.0.tgz")], false],
    ["one and a call", [npm("/left"), npm("/-/whoami")], false],
    ["one and another method", [npm("/left"), npm("/right", { method: "PUT" })], false],
    ["one and one at another port", [npm("/left"), npm("/right", { port: 8443 })], false],
    ["two", [npm("/left"), npm("/right")], true],
    [
      "two of yarn's",
      [denial("registry.yarnpkg.com", "/left"), denial("registry.yarnpkg.com", "/right")],
      true,
    ],
    ["two of a private registry", [
      denial("npm.pkg.github.com", "/@a%2fb"),
      denial("npm.pkg.github.com", "/@a%2fc"),
    ], false],
    ["two of a look-alike", [
      denial("registry.npmjs.org.evil.example", "/left"),
      denial("registry.npmjs.org.evil.example", "/right"),
    ], false],
  ];
  for (const [name, denials, isWhole] of rows) {
    await t.step(name, () => {
      const { proposals } = suggestRules({ denials, rules: [] });
      assertEquals(proposals.some(({ rule }) => rule.paths.includes("/*")), isWhole);
    });
  }
});

Deno.test("expectedPasses() knows the programs whose packages have packages, and the registries of which all is read", async (t) => {
  const rows: readonly [string, string, ...ExpectedPasses[]][] = [
    ["registry.npmjs.org", "/left", { by: "npm", host: "registry.npmjs.org", more: 1 }],
    ["pypi.org", "/simple/flask/", { by: "pip", host: "pypi.org", more: 1 }],
    ["npm.corp.test", "/left", { by: "npm", host: "npm.corp.test" }],
    ["index.crates.io", "/se/rd/serde", { by: "cargo", host: "index.crates.io" }],
    ["proxy.golang.org", "/a.test/b/@v/list", { by: "go", host: "proxy.golang.org" }],
    ["pypi.org", "/a.test/b/@v/list", { by: "go", host: "pypi.org" }],
    ["github.com", "/a/b/info/refs"],
    ["deb.debian.org", "/debian/dists/sid/InRelease"],
  ];
  for (const [host, path, ...expected] of rows) {
    await t.step(`${host}${path}`, () => {
      assertEquals(expectedPasses([{ method: "GET", host, path }], () => false), expected);
    });
  }
});

Deno.test("describePasses() says what is to come", () => {
  const host = "registry.npmjs.org";
  assertEquals(
    [
      { by: "npm", host, more: 0 },
      { by: "npm", host, more: 1 },
      { by: "cargo", host: "index.crates.io" },
    ].map((each) => describePasses(each as ExpectedPasses)),
    [
      "no further pass is expected for npm: all that it reads at registry.npmjs.org is proposed; --exact leaves that out",
      "one more pass at most is expected for npm: what a package depends on is asked of registry.npmjs.org then",
      "one more pass is expected for cargo at index.crates.io for each level of what its packages depend on",
    ],
  );
});
