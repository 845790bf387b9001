import { assertEquals } from "@std/assert";
import { cutText, type StoredRecord } from "../../../policy/audit_record.ts";
import { parsePolicyFile } from "../../../policy/policy_file.ts";
import { isReason, type Reason, REASONS } from "../../../policy/reason.ts";
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
const passed = { verdict: "passthrough" } as const;
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

Deno.test("Replayer judges what rules alone had denied, and no other denial", async (t) => {
  const byRules: readonly Reason[] = [
    ...["no-rule", "rule-denied", "path-ambiguous", "path-encoding", "secret-missing"] as const,
    ...["body-too-large", "body-encoding", "body-unreadable"] as const,
  ];
  for (const reason of Object.keys(REASONS).filter(isReason)) {
    await t.step(reason, () => {
      const { allowed, notJudged } = replay(record({ verdict: "deny", reason }));
      assertEquals([allowed, notJudged], byRules.includes(reason) ? [1, 0] : [0, 1]);
    });
  }
});

Deno.test("Replayer says no method of a tunnel", () => {
  const methods = ["CONNECT", "SOCKS4", "SOCKS5", "DNS", "GET"];
  const records = methods.map((method, i) =>
    record({ method, host: `${i}.test`, path: method === "GET" ? "/" : undefined, ...passed })
  );
  assertEquals(replay(...records).changes.map(({ method }) => method), [
    ...[undefined, undefined, undefined],
    ...["DNS", "GET"],
  ]);
});

Deno.test("Replayer lets nobody in without credentials but by a rule with exactly this host and a named port", async (t) => {
  const rules = new Map([
    ["other", [
      makeRule("1", { host: "a.test", passthrough: true }),
      makeRule("2", { host: "*.b.test", ports: [5432], passthrough: true }),
    ]],
    ["owner", [
      makeRule("3", { host: "c.test", ports: [5432] }),
      makeRule("4", { host: "d.test", ports: [5432], passthrough: true }),
    ]],
  ]);
  const nobody = { client: undefined, ruleOwner: "owner", path: undefined, ...passed };
  const rows: readonly [string, Partial<StoredRecord>, "unchanged" | "notJudged" | "denied"][] = [
    ["exactly this", { host: "d.test", port: 5432 }, "unchanged"],
    ["another port", { host: "d.test", port: 443 }, "denied"],
    ["no named port", { host: "a.test", port: 443 }, "denied"],
    ["a pattern of hosts", { host: "x.b.test", port: 5432 }, "denied"],
    ["a rule that inspects", { host: "c.test", port: 5432 }, "denied"],
    ["nobody's rule", { host: "d.test", port: 5432, ruleOwner: undefined }, "notJudged"],
    ["another outcome", { host: "d.test", port: 5432, verdict: "allow" }, "notJudged"],
    ["no port", { host: "d.test", port: undefined }, "notJudged"],
  ];
  for (const [name, more, outcome] of rows) {
    await t.step(name, () => {
      const replayer = new Replayer(rules);
      replayer.add(record({ ...nobody, ...more }));
      const { unchanged, notJudged, denied } = replayer.result();
      assertEquals({ unchanged, notJudged, denied }, { unchanged: 0, notJudged: 0, denied: 0, [outcome]: 1 });
    });
  }
});

Deno.test("Replayer judges rules about query and body as far as the record says what they ask", async (t) => {
  const query = makeRule("1", { host: "a.test", query: ["a=1"] });
  const graphql = makeRule("2", { host: "a.test", graphql: ["query"] });
  const rows: readonly [string, typeof query, Partial<StoredRecord>, "unchanged" | "notJudged" | "denied"][] =
    [
      ["nothing about the query", query, {}, "notJudged"],
      ["the query itself", query, { query: "a=1" }, "unchanged"],
      ["another query", query, { query: "a=2" }, "denied"],
      ["a query that was cut", query, { query: cutText("a=1&b=2", 3) }, "notJudged"],
      ["what words saw of it", query, { says: "query:a=1" }, "unchanged"],
      ["that words saw nothing", query, { says: "query:a" }, "denied"],
      ["what words saw, cut", query, { says: cutText("query:a=1 x", 9) }, "notJudged"],
      ["nothing about the body", graphql, { method: "POST" }, "notJudged"],
      ["a query instead of the body", graphql, { method: "POST", query: "a=1" }, "notJudged"],
      ["what the body was", graphql, { method: "POST", says: "graphql:query(viewer)" }, "unchanged"],
      ["what another body was", graphql, { method: "POST", says: "graphql:mutation(a)" }, "denied"],
      ["another host, about which no rule asks", query, { host: "b.test" }, "denied"],
    ];
  for (const [name, rule, more, outcome] of rows) {
    await t.step(name, () => {
      const replayer = new Replayer(new Map([["ci-1", [rule]]]));
      replayer.add(record(more));
      const { unchanged, notJudged, denied } = replayer.result();
      assertEquals({ unchanged, notJudged, denied }, { unchanged: 0, notJudged: 0, denied: 0, [outcome]: 1 });
    });
  }
});

Deno.test("Replayer lists changes of 4,194,304 characters, each counted once", () => {
  const beside = JSON.stringify(["denied", "ci-1", "GET", "a.test", 443, "", "no-rule", null, null]).length;
  const ofChars = (chars: number) => record({ path: "/".padEnd(chars - beside, "x") });
  const half = ofChars(2_097_152);
  const listed = (...records: readonly StoredRecord[]) => replay(...records).changes.length;
  const other = (chars: number) => ({ ...ofChars(chars), path: "/".padEnd(chars - beside, "y") });
  assertEquals([listed(half, half, other(2_097_152)), listed(half, half, other(2_097_153))], [2, 1]);
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
