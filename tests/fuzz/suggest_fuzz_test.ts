/**
 * Properties of `suggest` over denials that a hostile client caused. `FUZZ_RUNS` and `FUZZ_SEED` override the number of
 * runs and the seed.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { StoredRecord } from "../../policy/audit_record.ts";
import { canBeTyped } from "../../policy/allow_command.ts";
import { decideConnect, decideRequest } from "../../policy/decide.ts";
import { DenialTally } from "../../policy/denial_tally.ts";
import { groupPaths } from "../../policy/path_groups.ts";
import { matchPath, upperEscapes } from "../../policy/path.ts";
import { parseRule } from "../../policy/rule.ts";
import { suggestRules } from "../../policy/suggest.ts";
import { makeRule } from "../support/make_rule.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 1_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_901);

const segments = fc.oneof(
  fc.constantFrom(
    "a",
    "b",
    "v1",
    "1",
    "2",
    "37",
    "-",
    "",
    "@t%2fnode",
    "@t%2Fnode",
    "@t",
    "node",
    "a;x",
    "a%2e",
  ),
  fc.constantFrom(
    "..",
    ".",
    "%2e%2e",
    "%252e",
    "..;",
    "a\\b",
    "*",
    "a,",
    "a*",
    "x,/y",
    "info",
    "refs",
    "dists",
  ),
  fc.constantFrom("InRelease", "@v", "list", "npm", "f%41", "%3Bx", "é", " "),
  fc.string({ maxLength: 3 }),
);
const paths = fc.oneof(
  { weight: 9, arbitrary: fc.array(segments, { maxLength: 4 }).map((parts) => "/" + parts.join("/")) },
  fc.string({ maxLength: 6 }),
);
const hosts = fc.constantFrom(
  ...["a.test", "b.test", "npm.a.test", "registry.npmjs.org", "pypi.org", "10.0.0.1", "::1"],
);
const records = fc.array(
  fc.record({
    method: fc.constantFrom(
      "GET",
      "GET",
      "GET",
      "get",
      "POST",
      "HEAD",
      "--force",
      "$(x)",
      "CONNECT",
      "DNS",
      "poſt",
    ),
    host: hosts,
    port: fc.constantFrom(443, 443, 80, 8443),
    path: fc.option(paths, { nil: undefined, freq: 12 }),
    reason: fc.constantFrom("no-rule", "no-rule", "no-rule", "path-ambiguous", "path-encoding", "quota"),
    repeated: fc.integer({ min: 1, max: 9 }),
    auth: fc.constantFrom(undefined, undefined, undefined, undefined, "none"),
    client: fc.constantFrom("ci-1", "ci-1", "ci-1", "ci-1", "other", undefined),
  }),
  { minLength: 10, maxLength: 60 },
).map((list) =>
  list.map((each, i): StoredRecord => ({ verdict: "deny", timeMs: i, ...each }) as StoredRecord)
);
const rules = fc.array(
  fc.record({
    host: fc.constantFrom("a.test", "*.test", "b.test", "*"),
    methods: fc.subarray(["GET", "POST"]),
    paths: fc.subarray(["/a/*", "/@t/*", "/@t%2fnode", "/v1", "/npm/*"]),
    ports: fc.subarray([80, 443, 8443]),
    passthrough: fc.constant(false),
  }),
  { maxLength: 3 },
).map((inputs) => inputs.map((input, i) => makeRule(String(i), input)));

function tallyOf(list: readonly StoredRecord[]) {
  const tally = new DenialTally("ci-1");
  for (const record of list) tally.add(record);
  return tally.denials;
}

Deno.test(`suggestRules() allows what it names and nothing of another method or host [seed ${SEED}]`, () => {
  let proposed = 0;
  fc.assert(
    fc.property(records, rules, fc.boolean(), (list, present, isExact) => {
      const denials = tallyOf(list);
      const { proposals, skipped } = suggestRules({ denials, rules: present, isExact });
      const added = proposals.map(({ rule }, i) => ({ ...rule, id: `new ${i}`, client: "ci-1" }));
      const all = [...present, ...added];
      let counted = skipped.reduce((sum, { count }) => sum + count, 0);
      for (const [i, { rule, because, implied }] of proposals.entries()) {
        proposed++;
        assertEquals(parseRule(rule), rule, "reads back");
        assert(because.length + implied.length > 0, "has a reason");
        assert(
          !rule.passthrough && rule.secret === undefined && rule.methods.length > 0 && rule.paths.length > 0,
        );
        assert(!rule.host.includes("*") && !/^[\d.]+$|:/.test(rule.host), "an exact name");
        for (const path of rule.paths) {
          assert(canBeTyped({ host: rule.host, path: path.replace(/\/\*$/, "/") }));
        }
        for (const { method, path, count } of because) {
          counted += count;
          const ports = rule.ports.length > 0 ? rule.ports : [80, 443];
          const asked = ports.filter((port) =>
            list.some((each) =>
              each.client === "ci-1" && each.auth === undefined && each.host === rule.host &&
              each.port === port && each.method === method && each.path === path
            )
          );
          assert(asked.length > 0, "was asked for, by this client");
          for (const port of asked) {
            const target = { host: rule.host, port, method, path };
            const decision = decideRequest(all, target);
            if (decideRequest(present, target).verdict === "allow") continue;
            assert(
              decision.verdict === "allow" && decision.rule === added[i],
              JSON.stringify([target, decision]),
            );
            assert(decideConnect(all, target).verdict !== "deny");
          }
        }
        for (const method of rule.methods) {
          const isSeen = because.some((each) => each.method.toUpperCase() === method);
          assert(
            isSeen || (!isExact && implied.some((each) => each.method === method)),
            `${method} was asked for`,
          );
        }
        for (const path of rule.paths) {
          const isNamed = implied.some((each) => each.path === path) ||
            because.some((each) => matchPath(path, each.path));
          assert(isNamed, `${path} covers something that was asked for`);
          if (isExact) {
            assert(because.some((each) => upperEscapes(each.path) === path), "exactly what was asked for");
          }
        }
        if (isExact) assertEquals(implied, []);
      }
      const left = denials.reduce((sum, { count }) => sum + count, 0);
      assert(counted <= left, "nothing is counted twice");
      // What was added is never proposed again.
      assertEquals(suggestRules({ denials, rules: all, isExact }).proposals, []);
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
  assert(proposed > NUM_RUNS / 2, `only ${proposed} proposals`);
});

Deno.test(`groupPaths() covers every path, below a parent that it has [seed ${SEED}]`, () => {
  const plain = fc.array(fc.constantFrom("a", "b", "c", "1", "2", "3", "x-1", "x-2", ""), {
    minLength: 1,
    maxLength: 4,
  })
    .map((parts) => "/" + parts.join("/"));
  fc.assert(
    fc.property(fc.array(plain, { maxLength: 60 }), (list) => {
      const patterns = groupPaths(list);
      for (const path of list) assert(patterns.some((pattern) => matchPath(pattern, path)), path);
      for (const pattern of patterns) assert(list.some((path) => matchPath(pattern, path)), pattern);
      assert(patterns.length <= new Set(list).size);
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
});
