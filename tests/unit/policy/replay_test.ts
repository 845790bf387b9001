import { assertEquals } from "@std/assert";
import type { StoredRecord } from "../../../policy/audit_record.ts";
import { parsePolicyFile } from "../../../policy/policy_file.ts";
import { type Change, type Replay, Replayer, rulesToReplay } from "../../../policy/replay.ts";
import { makeRule } from "../../support/make_rule.ts";

const RULES = new Map([
  ["ci-1", [
    makeRule("1", { host: "a.test", methods: ["GET"], paths: ["/v1/*"] }),
    makeRule("2", { host: "key.test", secret: "new" }),
    makeRule("3", { host: "db.test", ports: [5432], passthrough: true }),
    makeRule("4", { host: "*.wide.test", passthrough: true }),
  ]],
  ["ci-2", []],
]);

const record = (more: Partial<StoredRecord> = {}): StoredRecord => ({
  timeMs: 1_000,
  repeated: 1,
  verdict: "allow",
  client: "ci-1",
  method: "GET",
  scheme: "https",
  host: "a.test",
  port: 443,
  path: "/v1/x",
  ...more,
});
const tunnel = (more: Partial<StoredRecord> = {}) => record({ method: "CONNECT", path: undefined, ...more });
const denied = { verdict: "deny", reason: "no-rule" } as const;

function replay(...records: readonly StoredRecord[]): Replay {
  const replayer = new Replayer(RULES);
  for (const each of records) replayer.add(each);
  return replayer.result();
}

Deno.test("Replayer judges each kind of record", async (t) => {
  const rows: readonly [string, StoredRecord, "unchanged" | "notJudged" | Partial<Change>][] = [
    ["allowed and still", record(), "unchanged"],
    ["allowed, another path", record({ path: "/v2" }), { kind: "denied", reason: "no-rule" }],
    ["allowed, another method", record({ method: "POST" }), { kind: "denied", reason: "no-rule" }],
    ["allowed, another port", record({ port: 8443 }), { kind: "denied", reason: "no-rule" }],
    ["allowed, another host", record({ host: "b.test" }), { kind: "denied", reason: "no-rule" }],
    ["allowed, double encoding", record({ path: "/v1/%252e" }), { kind: "denied", reason: "path-encoding" }],
    ["allowed, ambiguous", record({ path: "/v1/..%2fx" }), { kind: "denied", reason: "path-ambiguous" }],
    ["a client without rules", record({ client: "ci-2" }), { kind: "denied", reason: "no-rule" }],
    ["a client that is not in the file", record({ client: "ci-9" }), { kind: "denied", reason: "no-rule" }],
    [
      "allowed, but the upstream failed",
      record({ path: "/v2", reason: "dns", status: 502 }),
      { kind: "denied", reason: "no-rule" },
    ],
    ["denied and still", record({ ...denied, path: "/v2" }), "unchanged"],
    ["denied, now allowed", record(denied), { kind: "allowed", reason: "no-rule" }],
    ["denied for its secret, now allowed", record({ verdict: "deny", reason: "secret-missing" }), {
      kind: "allowed",
      reason: "secret-missing",
    }],
    ["the same secret", record({ host: "key.test", secret: "new" }), "unchanged"],
    ["another secret", record({ host: "key.test", secret: "old" }), {
      kind: "credential",
      from: "old",
      to: "new",
    }],
    ["no secret any more", record({ secret: "old" }), { kind: "credential", from: "old", to: undefined }],
    [
      "failed before it had a credential",
      record({ host: "key.test", reason: "dns" }),
      "unchanged",
    ],
    ["inspected, now passed through", record({ host: "x.wide.test" }), { kind: "passthrough" }],
    [
      "passed through and still",
      tunnel({ verdict: "passthrough", host: "db.test", port: 5432 }),
      "unchanged",
    ],
    ["passed through, now inspected", tunnel({ verdict: "passthrough" }), { kind: "inspected" }],
    ["passed through, now denied", tunnel({ verdict: "passthrough", host: "b.test" }), {
      kind: "denied",
      reason: "no-rule",
    }],
    ["a tunnel that strict mode denied, and still", tunnel({ ...denied, host: "b.test" }), "unchanged"],
    ["a tunnel that strict mode denied, now inspected", tunnel(denied), {
      kind: "allowed",
      reason: "no-rule",
    }],
    ["a look-up of a name, and still", tunnel({ method: "DNS", port: undefined }), "unchanged"],
    ["a look-up of a name, now denied", tunnel({ method: "DNS", port: undefined, host: "b.test" }), {
      kind: "denied",
      reason: "no-rule",
    }],
    [
      "without a credential, and still",
      tunnel({
        ...{ verdict: "passthrough", client: undefined, auth: "none", ruleOwner: "other" },
        ...{ host: "db.test", port: 5432 },
      }),
      "unchanged",
    ],
    [
      "without a credential, only by a wide rule now",
      tunnel({
        ...{ verdict: "passthrough", client: undefined, auth: "none", ruleOwner: "ci-1" },
        ...{ host: "x.wide.test", port: 443 },
      }),
      { kind: "denied", reason: "no-rule" },
    ],
    ["a bad token", record({ verdict: "deny", client: undefined, reason: "auth-invalid" }), "notJudged"],
    ["a malformed request", record({ verdict: "deny", reason: "malformed", host: undefined }), "notJudged"],
    ["a quota", record({ verdict: "deny", reason: "quota" }), "notJudged"],
    ["an address that is not dialled", record({ verdict: "deny", reason: "address-denied" }), "notJudged"],
    [
      "a client that does not trust the CA",
      tunnel({ verdict: "deny", reason: "tls-untrusted-ca" }),
      "notJudged",
    ],
  ];
  for (const [name, each, expected] of rows) {
    await t.step(name, () => {
      const { changes, ...counts } = replay({ ...each, repeated: 3 });
      if (typeof expected === "string") {
        assertEquals([changes, counts[expected]], [[], 3]);
        return;
      }
      assertEquals(changes.map(({ kind, reason, from, to, count }) => ({ kind, reason, from, to, count })), [
        { kind: "denied", reason: undefined, from: undefined, to: undefined, count: 3, ...expected } as never,
      ]);
      assertEquals(counts[changes[0]?.kind ?? "denied"], 3);
      assertEquals([counts.unchanged, counts.notJudged, counts.unlisted], [0, 0, 0]);
    });
  }
});

Deno.test("Replayer counts what is the same, and lists what would be denied first", () => {
  const { changes, denied: count, allowed } = replay(
    record({ ...denied, repeated: 90 }),
    record({ path: "/b" }),
    record({ path: "/a" }),
    record({ path: "/a", repeated: 4 }),
  );
  assertEquals(changes.map(({ kind, path, count }) => [kind, path, count]), [
    ["denied", "/a", 5],
    ["denied", "/b", 1],
    ["allowed", "/v1/x", 90],
  ]);
  assertEquals([count, allowed], [6, 90]);
});

Deno.test("Replayer lists 5,000 changes and counts all", () => {
  const { changes, denied, unlisted } = replay(
    ...Array.from({ length: 5_001 }, (_, i) => record({ path: `/${i}` })),
    record({ path: "/0" }),
  );
  assertEquals([changes.length, denied, unlisted], [5_000, 5_002, 1]);
});

Deno.test("rulesToReplay() takes rules as they are written, whatever their life", () => {
  const text = `version: 1
clients:
  ci-1:
    allow:
      - { host: a.test, ttl: 1s }
      - { host: b.test, expires: "2020-01-01T00:00:00Z" }
`;
  const rules = rulesToReplay(parsePolicyFile(text, "p.yaml"));
  assertEquals(rules.get("ci-1")?.map(({ host }) => host), ["a.test", "b.test"]);
});

Deno.test("Replayer decides a tunnel before what is in it, and cleartext by itself", () => {
  const rules = (...specs: Parameters<typeof makeRule>[1][]) =>
    new Map([["ci-1", specs.map((spec, i) => makeRule(String(i), spec))]]);
  const db = { host: "a.test", passthrough: true };
  const rows: [string, ReturnType<typeof rules>, StoredRecord, string | undefined][] = [
    ["the first rule inspects", rules({ host: "a.test", methods: ["POST"] }, db), record(), undefined],
    [
      "the first rule passes through",
      rules(db, { host: "a.test", methods: ["GET"] }),
      record(),
      "passthrough",
    ],
    [
      "an odd path, passed through",
      rules(db, { host: "a.test", paths: ["/x"] }),
      record({ path: "/%252e" }),
      "passthrough",
    ],
    ["cleartext", rules(db), record({ scheme: "http", port: 80 }), undefined],
  ];
  for (const [name, map, each, kind] of rows) {
    const replayer = new Replayer(map);
    replayer.add(each);
    assertEquals(replayer.result().changes.map((change) => change.kind), kind ? [kind] : [], name);
  }
});

Deno.test("Replayer counts the changes that are too long to be listed", () => {
  const paths = Array.from({ length: 100 }, (_, i) => `/${i}/`.padEnd(60_000, "x"));
  const { changes, denied, unlisted } = replay(...paths.map((path) => record({ path })));
  assertEquals([denied, changes.length + unlisted], [100, 100]);
  assertEquals(changes.length, 69);
});

Deno.test("Replayer does not judge what a record does not say enough of", () => {
  const told = replay(
    record({ host: undefined }),
    record({ port: undefined }),
    record({ method: undefined }),
    record({ path: `${"/v1/".padEnd(9, "x")}…9000-ab` }),
    tunnel({ port: undefined }),
  );
  assertEquals([told.notJudged, told.unchanged, told.changes], [5, 0, []]);
  assertEquals(replay(record({ method: "DNS", port: undefined, path: undefined })).notJudged, 0);
});
