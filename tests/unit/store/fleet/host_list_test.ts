import { assertEquals } from "@std/assert";
import { listHosts, nameOf } from "../../../../store/fleet/host_list.ts";
import type { Answer } from "../../../../store/postgres/link.ts";
import { answeringStore } from "./answers.ts";

const NOW = 1_000_000;
const FIGURES = { connections: 1, tunnels: 0, allowed: 2, denied: 0, passedThrough: 0 };

function row(more: Answer = {}): Answer {
  return {
    sequence: 7,
    id: "id",
    name: "host-1",
    version: "1.2.3",
    applied: 7,
    is_dead: false,
    grace_ms: 300_000,
    figures: JSON.stringify(FIGURES),
    age_ms: 5_000.4,
    silent_ms: 1_000,
    behind_ms: null,
    ...more,
  };
}

async function hostOf(more: Answer) {
  const { hosts: [host] } = await listHosts(answeringStore([[row(more)]]).db, NOW);
  return host;
}

Deno.test("listHosts() tells what a row says of a host", async () => {
  const { db, asked } = answeringStore([[row()]]);
  assertEquals(await listHosts(db, NOW), {
    sequence: 7,
    isCut: false,
    hosts: [{
      id: "id",
      name: "host-1",
      version: "1.2.3",
      since: NOW - 5_000,
      lastSeen: NOW - 1_000,
      state: "live",
      applied: 7,
      behind: 0,
      behindMs: 0,
      figures: FIGURES,
    }],
  });
  assertEquals(asked[0]?.parameters, ["default"]);
});

Deno.test("listHosts() knows of a fleet without hosts, and of none", async () => {
  const empty = row({ id: null, name: null, sequence: 3 });
  assertEquals(await listHosts(answeringStore([[empty]]).db, NOW), { sequence: 3, hosts: [], isCut: false });
  assertEquals(await listHosts(answeringStore([[]]).db, NOW), { sequence: 0, hosts: [], isCut: false });
});

Deno.test("listHosts() lists ten thousand, and says that there are more", async () => {
  for (const [count, isCut] of [[10_000, false], [10_001, true]] as const) {
    const list = await listHosts(answeringStore([Array.from({ length: count }, () => row())]).db, NOW);
    assertEquals([list.hosts.length, list.isCut], [10_000, isCut]);
  }
});

Deno.test("listHosts() calls a host late that is silent for four beats, or lacks a change for too long", async (t) => {
  const rows: readonly (readonly [string, Answer, string])[] = [
    ["silent for four long beats", { silent_ms: 20_000 }, "live"],
    ["longer", { silent_ms: 20_001 }, "late"],
    ["four beats of a grace of a minute", { grace_ms: 60_000, silent_ms: 12_000 }, "live"],
    ["longer than those", { grace_ms: 60_000, silent_ms: 12_001 }, "late"],
    ["four seconds with the shortest grace", { grace_ms: 1_000, silent_ms: 4_000 }, "live"],
    ["longer than that", { grace_ms: 1_000, silent_ms: 4_001 }, "late"],
    ["lacks a change for four seconds", { applied: 6, behind_ms: 4_000 }, "live"],
    ["for longer", { applied: 6, behind_ms: 4_001 }, "late"],
    ["lacks one that is kept no more", { applied: 6, behind_ms: null }, "late"],
    ["lacks nothing", { applied: 7, behind_ms: 9_000 }, "live"],
    ["is marked", { is_dead: true, silent_ms: 0 }, "denies"],
    ["is marked by no word of the database", { is_dead: "true" }, "live"],
  ];
  for (const [name, more, state] of rows) {
    await t.step(name, async () => assertEquals((await hostOf(more))?.state, state));
  }
});

Deno.test("listHosts() counts what a host lacks, from the first change on", async () => {
  const behind = async (applied: number, behind_ms: unknown = 10) => {
    const host = await hostOf({ applied, behind_ms });
    return [host?.applied, host?.behind, host?.behindMs];
  };
  assertEquals(await behind(5), [5, 2, 10]);
  assertEquals(await behind(6), [6, 1, 10]);
  assertEquals(await behind(7), [7, 0, 0]);
  assertEquals(await behind(9), [9, 0, 0]);
  assertEquals(await behind(0), [0, 7, 10]);
  assertEquals(await behind(-1), [-1, 7, 10]);
  assertEquals(await behind(5, null), [5, 2, 0]);
  assertEquals(await behind(1e300), [Number.MAX_SAFE_INTEGER, 0, 0]);
});

Deno.test("listHosts() takes times of the database within ten years, and none of the future", async () => {
  const longest = NOW - 3.2e11;
  for (const [ms, at] of [[-5, NOW], [0, NOW], [1.5, NOW - 2], [Infinity, longest], [3.3e11, longest]]) {
    const host = await hostOf({ age_ms: ms, silent_ms: ms });
    assertEquals([host?.since, host?.lastSeen], [at, at]);
  }
});

Deno.test("nameOf() gives no name that could write a header or to a terminal", () => {
  const names = ["host-1", "a b", "", "x\n", "\x1b[31m", 7, null].map((name) => nameOf({ name }));
  assertEquals(names, ["host-1", "?", "?", "?", "?", "?", "?"]);
});
