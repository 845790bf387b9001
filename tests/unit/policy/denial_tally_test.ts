import { assertEquals } from "@std/assert";
import type { StoredRecord } from "../../../policy/audit_record.ts";
import { DenialTally } from "../../../policy/denial_tally.ts";

const record = (more: Partial<StoredRecord> = {}): StoredRecord => ({
  timeMs: 1_000,
  repeated: 1,
  verdict: "deny",
  client: "ci-1",
  method: "GET",
  host: "a.test",
  port: 443,
  path: "/a",
  reason: "no-rule",
  ...more,
});

function tally(records: readonly StoredRecord[], max?: number): DenialTally {
  const made = new DenialTally("ci-1", max);
  for (const each of records) made.add(each);
  return made;
}

Deno.test("DenialTally counts the denials of its client, and nothing that is nobody's", async (t) => {
  const rows: [string, Partial<StoredRecord>, number][] = [
    ["its own", {}, 1],
    ["an allowed one", { verdict: "allow", reason: undefined }, 0],
    ["a passed-through one", { verdict: "passthrough" }, 0],
    ["another client's", { client: "ci-2" }, 0],
    ["without a client", { client: undefined }, 0],
    ["without a credential", { auth: "none" }, 0],
    ["without a reason", { reason: undefined }, 0],
  ];
  for (const [name, more, count] of rows) {
    await t.step(name, () => assertEquals(tally([record(more)]).denials.length, count));
  }
});

Deno.test("DenialTally tells requests apart by whatever a rule could tell them apart by", async (t) => {
  const rows: [string, Partial<StoredRecord>, number][] = [
    ["the same again, at another time and with another status", { timeMs: 9, status: 403 }, 1],
    ["method", { method: "PUT" }, 2],
    ["host", { host: "b.test" }, 2],
    ["port", { port: 8443 }, 2],
    ["path", { path: "/b" }, 2],
    ["what words saw", { says: "lfs:upload" }, 2],
    ["gRPC", { grpcStatus: 7 }, 2],
    ["reason", { reason: "path-encoding" }, 2],
  ];
  for (const [name, more, count] of rows) {
    await t.step(name, () => assertEquals(tally([record(), record(more)]).denials.length, count));
  }
});

Deno.test("DenialTally keeps 1,000 requests, or 4,194,304 characters of them", async (t) => {
  await t.step("requests", () => {
    const all = Array.from({ length: 1_001 }, (_, i) => record({ path: `/${i}` }));
    const [inside, outside] = [tally(all.slice(1)), tally(all)];
    assertEquals([inside.denials.length, inside.forgotten], [1_000, 0]);
    assertEquals([outside.denials.length, outside.forgotten], [1_000, 1]);
  });
  await t.step("characters", () => {
    const beside = JSON.stringify(["GET", "a.test", 443, "", null, null, "no-rule"]).length;
    const ofChars = (chars: number) => record({ path: "/".padEnd(chars - beside, "x") });
    const [inside, outside] = [tally([ofChars(4_194_304)]), tally([ofChars(4_194_305)])];
    assertEquals([inside.denials.length, inside.forgotten], [1, 0]);
    assertEquals([outside.denials.length, outside.forgotten], [0, 1]);
  });
});

Deno.test("DenialTally adds up what is the same, with what was coalesced, and keeps the latest time", () => {
  const { denials, forgotten } = tally([
    record({ timeMs: 5_000, repeated: 40 }),
    record({ timeMs: 4_000 }),
    record({ timeMs: 6_000, path: "/b" }),
    record({ timeMs: 7_000, reason: "path-encoding" }),
  ]);
  assertEquals(denials.map(({ path, reason, count, lastMs }) => [path, reason, count, lastMs]), [
    ["/a", "no-rule", 41, 5_000],
    ["/b", "no-rule", 1, 6_000],
    ["/a", "path-encoding", 1, 7_000],
  ]);
  assertEquals(forgotten, 0);
});

Deno.test("DenialTally keeps the latest when there are too many, and counts the others", () => {
  const paths = ["/1", "/2", "/1", "/3", "/4"];
  const { denials, forgotten } = tally(paths.map((path) => record({ path, repeated: 2 })), 3);
  assertEquals(denials.map(({ path, count }) => [path, count]), [["/1", 4], ["/3", 2], ["/4", 2]]);
  assertEquals(forgotten, 2);
});

Deno.test("DenialTally keeps no more characters than it may", () => {
  const made = new DenialTally("ci-1", 10, 300);
  for (const name of ["1", "2", "3"]) made.add(record({ path: `/${name}`.padEnd(100, "x") }));
  made.add(record({ path: `/3`.padEnd(100, "x") }));
  assertEquals(made.denials.map(({ path, count }) => [path?.slice(0, 2), count]), [["/2", 1], ["/3", 2]]);
  assertEquals(made.forgotten, 1);
  made.add(record({ path: "/".padEnd(1_000, "x") }));
  assertEquals([made.denials, made.forgotten], [[], 5]);
});
