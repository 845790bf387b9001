import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { RecordFilter, StoredRecord } from "../../../policy/audit_record.ts";
import { matchesRecord, parseSince } from "../../../policy/record_filter.ts";

const RECORD: StoredRecord = {
  timeMs: 1_000,
  repeated: 1,
  verdict: "deny",
  client: "ci-1",
  host: "api.example.com",
};

Deno.test("matchesRecord() takes what is asked for in every respect", async (t) => {
  const rows: [name: string, filter: RecordFilter, more: Partial<StoredRecord>, matches: boolean][] = [
    ["nothing", {}, {}, true],
    ["that very time", { sinceMs: 1_000 }, {}, true],
    ["just before", { sinceMs: 1_001 }, {}, false],
    ["denied", { denied: true }, {}, true],
    ["allowed", { denied: true }, { verdict: "allow" }, false],
    ["passed through", { denied: true }, { verdict: "passthrough" }, false],
    ["allowed, when that does not matter", { denied: false }, { verdict: "allow" }, true],
    ["the client", { client: "ci-1" }, {}, true],
    ["another client", { client: "ci-11" }, {}, false],
    ["nobody", { client: "-" }, { client: undefined }, true],
    ["somebody", { client: "-" }, {}, false],
    ["the host", { host: "api.example.com" }, {}, true],
    ["a host below", { host: "*.example.com" }, {}, true],
    ["the apex", { host: "*.api.example.com" }, {}, false],
    ["any host", { host: "*" }, {}, true],
    ["no host", { host: "*" }, { host: undefined }, false],
    ["all but one", { sinceMs: 1, denied: true, client: "ci-1", host: "b.test" }, {}, false],
  ];
  for (const [name, filter, more, matches] of rows) {
    await t.step(name, () => assertEquals(matchesRecord({ ...RECORD, ...more }, filter), matches));
  }
});

Deno.test("parseSince() reads times and durations, and nothing that has two meanings", async (t) => {
  const now = Date.UTC(2026, 0, 2, 12);
  const rows: [text: string, timeMs: number | undefined][] = [
    ["15m", now - 900_000],
    ["1h30m", now - 5_400_000],
    ["2026-01-02T11:00:00Z", now - 3_600_000],
    ["2026-01-02T13:00:00.5+02:00", now - 3_600_000 + 500],
    ["2026-01-02t11:00:00z", now - 3_600_000],
    ["2027-01-01T00:00:00Z", Date.UTC(2027, 0, 1)],
    ["2026-01-02T11:00:00", undefined],
    ["2026-01-02 11:00:00Z", undefined],
    ["2026-01-02", undefined],
    ["2026-02-30T25:00:00Z", undefined],
    ["0s", undefined],
    ["-5m", undefined],
    ["1767355200000", undefined],
    ["", undefined],
  ];
  for (const [text, timeMs] of rows) {
    await t.step(text || "empty", () => {
      if (timeMs !== undefined) assertEquals(parseSince(text, now), timeMs);
      else assertEquals(assertThrows(() => parseSince(text, now), ProxyError).code, "input.invalid");
    });
  }
});
