import { assertEquals, assertMatch } from "@std/assert";
import type { AuditSource } from "../../../api/control.ts";
import { AUDIT_LIMITS } from "../../../api/routes_audit.ts";
import { boundRecord, isCut, type StoredRecord } from "../../../policy/audit_record.ts";
import { parseRule } from "../../../policy/rule.ts";
import { NO_AUDIT, TestApi } from "./support.ts";

const V1 = "/proxy/v1";
const NOW = Date.now();

const denial = (path: string, more: Partial<StoredRecord> = {}): StoredRecord => ({
  timeMs: NOW - 60_000,
  repeated: 1,
  verdict: "deny",
  client: "ci-1",
  method: "GET",
  scheme: "https",
  host: "a.test",
  port: 443,
  path,
  mode: "audit",
  reason: "no-rule",
  ...more,
});

Deno.test("suggestions say that a path which the log has cut is none to make a rule of, and go on with the others", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("ci-1");
  const long = (end: string) => ({ ...denial(`/v1/${"a".repeat(3_000)}${end}`) });
  const cut = [long("b"), long("c"), { ...long("b"), method: "POST" }].map((record) => ({
    ...record,
    path: boundRecord(record).path,
  }));
  assertEquals(cut.map(({ path }) => isCut(path ?? "")), [true, true, true]);
  await api.audit.write([...cut, denial("/v1/short")]);
  const { proposals, skipped } = JSON.parse((await api.call(`${V1}/clients/ci-1/suggestions`)).text);
  assertEquals(proposals.map(({ rule }: { rule: unknown }) => rule), [
    { host: "a.test", methods: ["GET"], paths: ["/v1/short"] },
  ]);
  const why = "its path is too long for the log to keep the whole of it";
  assertEquals(
    skipped.map((each: { readonly why: string; readonly count: number }) => [each.why, each.count]),
    [[why, 3]],
  );
});

Deno.test("suggestions are rules that POST /allows takes, with the requests behind them", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("ci-1");
  await api.control.addRule("ci-1", parseRule({ host: "a.test", paths: ["/known"] }));
  await api.audit.write([
    denial("/known"),
    denial("/u/1", { timeMs: NOW - 3_600_000 }),
    denial("/u/2", { repeated: 5 }),
    denial("/w.git/info/refs", { host: "git.test" }),
    denial("/", { host: "10.0.0.1", port: 8080 }),
    denial("/theirs", { client: "ci-2" }),
    denial("/nobodys", { client: undefined, auth: "none" }),
  ]);
  const { status, text } = await api.call(`${V1}/clients/ci-1/suggestions`);
  assertEquals(status, 200, text);
  const at = (ms: number) => new Date(NOW - ms).toISOString();
  assertEquals(JSON.parse(text), {
    proposals: [
      {
        rule: { host: "a.test", methods: ["GET"], paths: ["/u/*"] },
        because: [
          { method: "GET", path: "/u/1", count: 1, last: at(3_600_000), pattern: "/u/*" },
          { method: "GET", path: "/u/2", count: 5, last: at(60_000), pattern: "/u/*" },
        ],
        implied: [],
        other_secrets: [],
      },
      {
        rule: { host: "git.test", methods: ["GET"], paths: ["/w.git/info/refs"] },
        because: [{
          method: "GET",
          path: "/w.git/info/refs",
          count: 1,
          last: at(60_000),
          pattern: "/w.git/info/refs",
        }],
        implied: [],
        other_secrets: [],
      },
      {
        rule: { host: "git.test", methods: ["POST"], paths: ["/w.git/git-upload-pack"] },
        because: [],
        implied: [{ method: "POST", path: "/w.git/git-upload-pack", by: "git", after: "/w.git/info/refs" }],
        other_secrets: [],
      },
    ],
    skipped: [{ host: "10.0.0.1", port: 8080, why: "rules for addresses are not suggested", count: 1 }],
    passes: [],
    forgotten: 0,
  });
  const since = JSON.parse((await api.call(`${V1}/clients/ci-1/suggestions?since=10m&exact=1`)).text);
  assertEquals(since.proposals.map(({ rule }: { rule: unknown }) => rule), [
    { host: "a.test", methods: ["GET"], paths: ["/u/2"] },
    { host: "git.test", methods: ["GET"], paths: ["/w.git/info/refs"] },
  ]);
  for (const { rule } of JSON.parse(text).proposals) {
    assertEquals((await api.call(`${V1}/allows`, { body: { client: "ci-1", ...rule } })).status, 201);
  }
  assertEquals(JSON.parse((await api.call(`${V1}/clients/ci-1/suggestions`)).text).proposals, []);
});

Deno.test("suggestions: what cannot be asked", async (t) => {
  await using api = await TestApi.start();
  await api.control.createClient("ci-1");
  const rows: readonly [string, number, RegExp][] = [
    ["nobody/suggestions", 404, /client/],
    ["ci-1/suggestions?since=yesterday", 400, /yesterday/],
    ["ci-1/suggestions?exact=maybe", 400, /exact/],
    ["ci-1/suggestions?exakt=1", 400, /unknown field "exakt"/],
  ];
  for (const [path, status, says] of rows) {
    await t.step(path, async () => {
      const answer = await api.call(`${V1}/clients/${path}`);
      assertEquals(answer.status, status);
      assertMatch(answer.text, says);
    });
  }
});

Deno.test("policy/test says what a policy file would change", async () => {
  await using api = await TestApi.start();
  await api.audit.write([
    denial("/v1/x"),
    denial("/old", { timeMs: NOW - 3_600_000, verdict: "allow", reason: undefined }),
    denial("/gone", { verdict: "allow", reason: undefined, repeated: 2 }),
    denial("/", { verdict: "deny", client: undefined, reason: "auth-missing" }),
  ]);
  const policy = 'version: 1\nclients:\n  ci-1:\n    allow:\n      - { host: a.test, paths: ["/v1/*"] }\n';
  const { status, text } = await api.call(`${V1}/policy/test`, { body: { policy, since: "10m" } });
  assertEquals(status, 200, text);
  const target = { client: "ci-1", method: "GET", host: "a.test", port: 443, reason: "no-rule" };
  assertEquals(JSON.parse(text), {
    changes: [
      { kind: "denied", ...target, path: "/gone", count: 2 },
      { kind: "allowed", ...target, path: "/v1/x", count: 1 },
    ],
    ...{ denied: 2, inspected: 0, passthrough: 0, credential: 0, allowed: 1 },
    ...{ unchanged: 0, not_judged: 1, unlisted: 0 },
  });
  assertEquals(JSON.parse((await api.call(`${V1}/policy/test`, { body: { policy } })).text).denied, 3);
  const bad = await api.call(`${V1}/policy/test`, { body: { policy: "version: 1\nclient: {}\n" } });
  assertEquals(bad.status, 400);
  assertMatch(bad.text, /^Cannot read policy:2:1: /);
});

Deno.test("suggestions and tests of a policy take the places of readers of the audit log", async () => {
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const audit: AuditSource = {
    ...NO_AUDIT,
    async *records(filter) {
      started.resolve();
      await release.promise;
      yield* NO_AUDIT.records(filter);
    },
  };
  await using api = await TestApi.start({ audit, auditLimits: { ...AUDIT_LIMITS, maxReaders: 1 } });
  await api.control.createClient("ci-1");
  const body = { policy: "version: 1\nclients: {}" };
  const calls: readonly [string, { body?: unknown }][] = [
    [`${V1}/clients/ci-1/suggestions`, {}],
    [`${V1}/policy/test`, { body }],
    [`${V1}/audit`, {}],
  ];
  const first = api.call(`${V1}/policy/test`, { body });
  await started.promise;
  for (const [path, options] of calls) assertEquals((await api.call(path, options)).status, 503, path);
  release.resolve();
  assertEquals((await first).status, 200);
  for (const [path, options] of calls) assertEquals((await api.call(path, options)).status, 200, path);
});
