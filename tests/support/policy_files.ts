/**
 * Policy files at random, for property tests: names and values that YAML could take for something else among them.
 *
 * @module
 */
import fc from "fast-check";
import { MAX_DURATION_MS } from "../../core/duration.ts";
import type { PolicyFile, PolicyRule } from "../../policy/policy_file.ts";
import { parseRule, ruleKey } from "../../policy/rule.ts";

const names = fc.constantFrom(
  "ci-1",
  "a",
  "no",
  "True",
  "null",
  "7",
  "1e3",
  "0x1f",
  ".inf",
  "_",
  "2026-12-01",
  "__proto__",
  "constructor",
);
const exactHosts = fc.constantFrom("a.test", "b.test", "www.a.test", "10.0.0.1", "::1", "on", "0x.test");
const hosts = fc.oneof(exactHosts, fc.constantFrom("*", "*.test", "*.a.test"));
const methods = fc.subarray(["GET", "POST", "NO", "*X", "!", "#A", "'", "|", "&A", "%", "-", "~"]);
const paths = fc.subarray([
  "*",
  "/",
  "/*",
  "/v1/models",
  "/a,b",
  "/a:b",
  "/a%23b",
  '/"',
  "/'",
  "/{x}",
  "/[y]",
  "/a&b=c",
  "/~u/*",
]);
const ports = fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 3 });
const lifetimes = fc.oneof(
  fc.constant({}),
  fc.integer({ min: 1, max: MAX_DURATION_MS / 1_000 }).map((seconds) => ({ ttlMs: seconds * 1_000 })),
  fc.constantFrom(1_000, 90_000, 3_600_000, 604_800_000).map((ttlMs) => ({ ttlMs })),
  fc.integer({ min: 0, max: 4_102_444_800_000 }).map((expiresAt) => ({ expiresAt })),
);

/** Secrets bound to hosts that rules may lie in. */
const SECRETS = new Map([
  ["gh", { host: "a.test", type: "bearer" }],
  ["0", { host: "*.a.test", type: "header" }],
  ["yes", { host: "10.0.0.1", type: "basic" }],
]);

const rules: fc.Arbitrary<PolicyRule> = fc.oneof(
  fc.tuple(hosts, methods, paths, ports, lifetimes).map(([host, methods, paths, ports, lifetime]) => ({
    spec: parseRule({ host, methods, paths, ports }),
    ...lifetime,
  })),
  fc.tuple(hosts, ports, lifetimes).map(([host, ports, lifetime]) => ({
    spec: parseRule({ host, ports, passthrough: true }),
    ...lifetime,
  })),
  fc.tuple(
    fc.constantFrom(["a.test", "gh"], ["www.a.test", "0"], ["*.a.test", "0"], ["10.0.0.1", "yes"]),
    methods,
    lifetimes,
    fc.constantFrom({}, { oneRequestPerConnection: true }, { responseTimeoutMs: 90_000 }),
  ).map(([[host = "", secret], methods, lifetime, options]) => ({
    spec: parseRule({ host, secret, methods, ...options }),
    ...lifetime,
  })),
);

const budgets = fc.subarray(["bytes-down=1G/d", "bytes-up=10K/h", "requests=1/d", "requests=3/h"]);

/** Files that can be read: no client has a rule twice, and every secret is listed. */
export const policyFiles: fc.Arbitrary<PolicyFile> = fc.array(
  fc.tuple(names, fc.uniqueArray(rules, { maxLength: 5, selector: ({ spec }) => ruleKey(spec) })),
  { maxLength: 4 },
).chain((clients) =>
  fc.array(fc.option(budgets, { nil: undefined }), { minLength: clients.length, maxLength: clients.length })
    .map((given) => ({
      clients: new Map(clients),
      // Of clients that are there twice the last counts, as for their rules.
      budgets: new Map([...new Map(clients).keys()].flatMap((name, i) => given[i] ? [[name, given[i]]] : [])),
      secrets: SECRETS,
    }))
);

/** A file as it would be if it had not been read from a text. */
export function withoutPlaces({ clients, budgets, secrets }: PolicyFile): PolicyFile {
  return {
    clients,
    budgets,
    secrets: new Map([...secrets].map(([name, { host, type }]) => [name, { host, type }])),
  };
}
