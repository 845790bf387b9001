import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { RecordFilter, StoredRecord } from "../../../policy/audit_record.ts";
import {
  matchesRecord,
  MAX_RECORDS,
  parseSince,
  parseSource,
  TLS_FILTERS,
} from "../../../policy/record_filter.ts";

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

Deno.test("matchesRecord() knows where a record came from", async (t) => {
  const origin = { src: "[fd00::5]:40312", proxyPort: 3_129, tls: "1.3" } as const;
  const alone = { src: "10.0.0.5", proxyPort: 3_128 };
  const rows: [name: string, filter: RecordFilter, origin: StoredRecord["origin"], matches: boolean][] = [
    ["the address", { src: parseSource("fd00::5") }, origin, true],
    ["another address", { src: parseSource("fd00::6") }, origin, false],
    ["the network", { src: parseSource("fd00::/64") }, origin, true],
    ["another network", { src: parseSource("fd01::/64") }, origin, false],
    ["the connection", { src: parseSource("[fd00::5]:40312") }, origin, true],
    ["another connection", { src: parseSource("[fd00::5]:40313") }, origin, false],
    ["several connections", { src: parseSource("10.0.0.5") }, alone, true],
    ["one of several connections", { src: parseSource("10.0.0.5:40312") }, alone, false],
    ["from nowhere known", { src: parseSource("10.0.0.5") }, undefined, false],
    ["from what is no address", { src: parseSource("10.0.0.5") }, { src: "nowhere" }, false],
    ["the port", { proxyPort: 3_129 }, origin, true],
    ["another port", { proxyPort: 3_128 }, origin, false],
    ["no port known", { proxyPort: 3_128 }, undefined, false],
    ["the version of TLS", { tls: "1.3" }, origin, true],
    ["another version", { tls: "1.2" }, origin, false],
    ["in clear", { tls: "none" }, alone, true],
    ["in TLS", { tls: "none" }, origin, false],
    ["nobody knows how", { tls: "none" }, undefined, false],
  ];
  for (const [name, filter, from, matches] of rows) {
    await t.step(name, () => assertEquals(matchesRecord({ ...RECORD, origin: from }, filter), matches));
  }
});

Deno.test("parseSource() takes an address for itself alone", () => {
  const v4 = Uint8Array.of(10, 0, 0, 5);
  assertEquals(parseSource("10.0.0.5"), { network: { bytes: v4, prefix: 32 }, port: undefined });
  assertEquals(parseSource("10.0.0.5:80"), { network: { bytes: v4, prefix: 32 }, port: 80 });
  assertEquals(parseSource("fd00::5").network.prefix, 128);
  assertEquals([...TLS_FILTERS], ["1.2", "1.3", "none"]);
  assertEquals(MAX_RECORDS, 10_000);
});

Deno.test("parseSource() refuses what is no source, and says what one is", () => {
  for (const text of ["", "a.test", "10.0.0.0/33", "10.0.0.5:", "10.0.0.5:99999"]) {
    const error = assertThrows(() => parseSource(text), ProxyError);
    assertEquals(error.code, "input.invalid", text);
    assert(error.hint?.includes("IP:PORT"), error.hint);
  }
});
