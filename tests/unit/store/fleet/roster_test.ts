import { assertEquals } from "@std/assert";
import type { FleetHost, HostList } from "../../../../store/fleet/host_list.ts";
import { RosterReader } from "../../../../store/fleet/roster.ts";
import { FakeClock } from "../../../support/fake_clock.ts";

function listOf(count: number, sequence = 1): HostList {
  return { sequence, hosts: Array.from({ length: count }, () => ({} as FleetHost)), isCut: false };
}

Deno.test("RosterReader asks the store once a second, and with many hosts less often", async () => {
  for (const [hosts, freshMs] of [[0, 1_000], [50, 1_000], [51, 1_020], [1_000, 20_000]] as const) {
    const clock = new FakeClock();
    let asked = 0;
    const roster = new RosterReader(() => Promise.resolve(listOf(hosts, ++asked)), clock);
    const readAt = clock.now();
    assertEquals(await roster.get(), { ...listOf(hosts), readAt });
    clock.advance(freshMs - 1);
    assertEquals((await roster.get()).readAt, readAt);
    assertEquals(asked, 1);
    clock.advance(1);
    assertEquals([(await roster.get()).sequence, asked], [2, 2]);
  }
});

Deno.test("RosterReader asks once for all who ask meanwhile", async () => {
  const { promise, resolve } = Promise.withResolvers<HostList>();
  let asked = 0;
  const roster = new RosterReader(() => (asked++, promise), new FakeClock());
  const all = [roster.get(), roster.get()];
  resolve(listOf(2));
  assertEquals((await Promise.all(all)).map(({ hosts }) => hosts.length), [2, 2]);
  assertEquals(asked, 1);
});

Deno.test("RosterReader gives what it last knew while the store does not answer, and asks again", async () => {
  const clock = new FakeClock();
  let isAway = true;
  let asked = 0;
  const roster = new RosterReader(() => {
    asked++;
    return isAway ? Promise.reject(new Error("away")) : Promise.resolve(listOf(1));
  }, clock);
  assertEquals(await roster.get(), { sequence: 0, hosts: [], isCut: false, readAt: undefined });
  isAway = false;
  const { readAt } = await roster.get();
  assertEquals([readAt, asked], [clock.now(), 2]);
  isAway = true;
  clock.advance(1_000);
  assertEquals([(await roster.get()).hosts.length, (await roster.get()).readAt, asked], [1, readAt, 4]);
});

Deno.test("RosterReader waits no longer than a second for a store that hangs", async () => {
  const { promise, resolve } = Promise.withResolvers<HostList>();
  const roster = new RosterReader(() => promise, new FakeClock());
  const { setTimeout: set } = globalThis;
  const waits: (number | undefined)[] = [];
  globalThis.setTimeout = ((call: () => void, ms?: number) => {
    waits.push(ms);
    return set(call, 0);
  }) as typeof setTimeout;
  try {
    assertEquals((await roster.get()).readAt, undefined);
  } finally {
    globalThis.setTimeout = set;
  }
  assertEquals(waits, [1_000]);
  resolve(listOf(1));
  assertEquals((await roster.get()).hosts.length, 1);
});
