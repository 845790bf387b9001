import { assertEquals } from "@std/assert";
import { countOf, Histogram } from "../../../../core/histogram.ts";
import type { AuditRecord } from "../../../../policy/audit_record.ts";
import { REASONS } from "../../../../policy/reason.ts";
import { TrafficTotals } from "../../../../proxy/records/traffic_totals.ts";

const ALLOW: AuditRecord = { verdict: "allow", client: "ci-1", method: "GET", status: 200, durationMs: 30 };

function figuresOf(...records: readonly AuditRecord[]) {
  const totals = new TrafficTotals();
  for (const record of records) totals.add(record);
  return totals.figures();
}

Deno.test("figures() has every reason and class from the start, at 0", () => {
  const { denials, failures, responses, requestDuration, setupDuration, ...rest } = figuresOf();
  assertEquals(rest, {
    allow: 0,
    deny: 0,
    passthrough: 0,
    sentBytes: 0,
    receivedBytes: 0,
    budgetWarnings: 0,
    echoes: 0,
    tokens: { input: 0, output: 0 },
  });
  for (const counts of [denials, failures]) {
    assertEquals(Object.keys(counts), Object.keys(REASONS));
    assertEquals(new Set(Object.values(counts)), new Set([0]));
  }
  assertEquals(responses, { "1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0 });
  assertEquals([countOf(requestDuration), countOf(setupDuration)], [0, 0]);
});

Deno.test("add() counts each record where it belongs", async (t) => {
  const rows: readonly (readonly [string, AuditRecord, Record<string, unknown>])[] = [
    ["an answer", ALLOW, { allow: 1, "2xx": 1, requests: 1 }],
    ["an answer in the highest class", { ...ALLOW, status: 599 }, { allow: 1, "5xx": 1, requests: 1 }],
    ["an answer from a cache", { ...ALLOW, status: 304 }, { allow: 1, "3xx": 1, requests: 1 }],
    ["an answer that there is none", { ...ALLOW, status: 499 }, { allow: 1, "4xx": 1, requests: 1 }],
    ["the lowest status", { ...ALLOW, status: 100 }, { allow: 1, "1xx": 1, requests: 1 }],
    ["the highest of its class", { ...ALLOW, status: 199 }, { allow: 1, "1xx": 1, requests: 1 }],
    ["the next class", { ...ALLOW, status: 500 }, { allow: 1, "5xx": 1, requests: 1 }],
    ["a status of no class yet", { ...ALLOW, status: 600 }, { allow: 1, requests: 1 }],
    ["no duration", { ...ALLOW, durationMs: undefined }, { allow: 1, "2xx": 1 }],
    ["echoes", { ...ALLOW, echoed: 2 }, { allow: 1, "2xx": 1, requests: 1, echoes: 2 }],
    ["a budget that is nearly used up", { verdict: "change", budget: "requests=1/1h", repeated: 1 }, {
      budgetWarnings: 1,
    }],
    ["another change", { verdict: "change", status: 200, sent: 1, reason: "dns" }, {}],
    ["denials that were coalesced", { verdict: "deny", reason: "quota", repeated: 7, sent: 2 }, {
      ...{ deny: 7, denied: { quota: 7 }, sent: 2 },
    }],
    ["failures that were", { verdict: "passthrough", reason: "dns", repeated: 3 }, {
      ...{ passthrough: 3, failed: { dns: 3 } },
    }],
    ["a status of no class", { ...ALLOW, status: 999 }, { allow: 1, requests: 1 }],
    ["bytes", { ...ALLOW, sent: 3, received: 4 }, { allow: 1, "2xx": 1, requests: 1, sent: 3, received: 4 }],
    [
      "an upstream that failed",
      { ...ALLOW, status: 502, reason: "dns" },
      { allow: 1, "5xx": 1, requests: 1, failed: { dns: 1 } },
    ],
    [
      "a client that went before the answer",
      { ...ALLOW, status: undefined, reason: "client-closed" },
      { allow: 1, requests: 1, failed: { "client-closed": 1 } },
    ],
    ["time before the upstream was asked", { ...ALLOW, setupMs: 2 }, {
      allow: 1,
      "2xx": 1,
      requests: 1,
      setups: 1,
    }],
    ["tokens", { ...ALLOW, tokens: { input: 7, output: 8, isEstimated: true } }, {
      allow: 1,
      "2xx": 1,
      requests: 1,
      tokens: { input: 7, output: 8 },
    }],
    ["an upgraded connection", { ...ALLOW, status: 101, setupMs: 2 }, { allow: 1, "1xx": 1, setups: 1 }],
    ["a look-up of a name", { ...ALLOW, method: "DNS", status: undefined }, { allow: 1 }],
    [
      "a denial",
      { verdict: "deny", reason: "no-rule", mode: "strict" },
      { deny: 1, denied: { "no-rule": 1 } },
    ],
    [
      "a denial with a status is no answer of an allowed request",
      { verdict: "deny", reason: "auth-missing", status: 407, durationMs: 5 },
      { deny: 1, denied: { "auth-missing": 1 } },
    ],
    ["a denial without a reason", { verdict: "deny" }, { deny: 1, denied: { internal: 1 } }],
    [
      "a tunnel",
      { verdict: "passthrough", sent: 10, received: 20, durationMs: 5, setupMs: 1 },
      { passthrough: 1, sent: 10, received: 20, setups: 1 },
    ],
    [
      "a tunnel that was cut",
      { verdict: "passthrough", reason: "revoked" },
      { passthrough: 1, failed: { revoked: 1 } },
    ],
  ];
  for (const [name, record, expected] of rows) {
    await t.step(name, () => {
      const { denials, failures, responses, requestDuration, setupDuration, ...rest } = figuresOf(record);
      const { sentBytes, receivedBytes, tokens, ...verdicts } = rest;
      const occurred = (counts: Readonly<Record<string, number>>) =>
        Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
      const some = <T>(key: string, value: T, isSome: boolean) => isSome ? { [key]: value } : {};
      const [denied, failed] = [occurred(denials), occurred(failures)];
      const [requests, setups] = [countOf(requestDuration), countOf(setupDuration)];
      assertEquals({
        ...occurred(verdicts),
        ...occurred(responses),
        ...some("denied", denied, Object.keys(denied).length > 0),
        ...some("failed", failed, Object.keys(failed).length > 0),
        ...some("requests", requests, requests > 0),
        ...some("setups", setups, setups > 0),
        ...some("tokens", tokens, tokens.input + tokens.output > 0),
        ...some("sent", sentBytes, sentBytes > 0),
        ...some("received", receivedBytes, receivedBytes > 0),
      }, expected);
    });
  }
});

Deno.test("figures() does not change afterwards", () => {
  const totals = new TrafficTotals();
  totals.add(ALLOW);
  const before = totals.figures();
  totals.add({ ...ALLOW, reason: "dns" });
  totals.add({ verdict: "deny", reason: "quota" });
  assertEquals([before.allow, before.responses["2xx"], before.failures.dns, before.denials.quota], [
    1,
    1,
    0,
    0,
  ]);
});

Deno.test("figures() adds up, and has durations as they were", () => {
  const [request, setup] = [new Histogram(), new Histogram()];
  for (const ms of [30, 40]) request.observe(ms);
  setup.observe(7);
  const sums = figuresOf(
    {
      ...ALLOW,
      setupMs: 7,
      sent: 1,
      received: 2,
      echoed: 3,
      tokens: { input: 4, output: 5, isEstimated: false },
    },
    {
      ...ALLOW,
      durationMs: 40,
      sent: 10,
      received: 20,
      echoed: 30,
      tokens: { input: 40, output: 50, isEstimated: true },
    },
    { verdict: "change", budget: "requests=1/1h" },
    { verdict: "change", budget: "requests=1/1h" },
  );
  assertEquals([sums.sentBytes, sums.receivedBytes, sums.echoes], [11, 22, 33]);
  assertEquals([sums.tokens, sums.budgetWarnings, sums.allow], [{ input: 44, output: 55 }, 2, 2]);
  assertEquals([sums.requestDuration, sums.setupDuration], [request.data(), setup.data()]);
});
