import { assert, assertEquals, assertMatch } from "@std/assert";
import { whyNoSmallDisk } from "../../support/small_disk.ts";
import { fleetTest, policyOf, spreadOf, until } from "./fleet_support.ts";
import { assertCode, rule, secret } from "./support.ts";

/** Fills the disk that has a folder; what it returns makes room again. */
async function fillDisk(folder: string): Promise<() => Promise<void>> {
  const path = `${folder}/ballast`;
  using file = await Deno.open(path, { write: true, createNew: true });
  for (const size of [65_536, 1]) {
    // The last bytes too.
    while (await file.write(new Uint8Array(size)).catch(() => 0) > 0);
  }
  return () => Deno.remove(path);
}

fleetTest(
  "a full disk of the server: a change is refused whole, hosts go on, and when there is room it is made",
  async (stage) => {
    await using a = await stage.host("host-1");
    await using b = await stage.host("host-2");
    const client = await a.createClient("ci-1");
    const kept = await a.addRule("ci-1", rule("kept.test"));
    const big = secret("big", { value: "x".repeat(40_000) }); // more than the pages have that are there
    const makeRoom = await fillDisk(stage.server.dataDir);
    const before = policyOf(b);
    for (let i = 0; i < 3; i++) {
      const error = await assertCode(a.putSecret(big, { force: false }), "store.refused");
      assertMatch(error.message, /No space left on device/);
      assertEquals(error.hint, "nothing was changed; make room on the disk of the server");
      assertEquals([policyOf(a), policyOf(b)], [before, before]);
      assert([a, b].every((each) => each.isLive({ client, rule: kept })), "they go on");
    }
    await makeRoom();
    assertEquals(await spreadOf(() => a.putSecret(big, { force: false })), { live: 2, waitingFor: [] });
    assertEquals(b.secretValue("big")?.value, big.value);
    assertEquals(policyOf(b), policyOf(a));
  },
  { diskSize: "128m", missing: whyNoSmallDisk },
);

fleetTest(
  "a full disk for the server's log ends the server; with room, and started again, all is as it was told",
  async (stage) => {
    await using a = await stage.host("host-1", { graceMs: 60_000 });
    await using b = await stage.host("host-2", { graceMs: 60_000 });
    const client = await a.createClient("ci-1");
    const kept = await a.addRule("ci-1", rule("kept.test"));
    const makeRoom = await fillDisk(stage.server.dataDir);
    await stage.server.query("SELECT pg_switch_wal()");
    const error = await assertCode(a.addRule("ci-1", rule("new.test")), "store.away");
    assert(error.hint);
    await until("both know", () => [a, b].every((each) => each.fleet?.status.awaySince !== undefined));
    await assertCode(b.createClient("never"), "store.away");
    assert([a, b].every((each) => each.isLive({ client, rule: kept })), "they go on");
    await stage.server.crash(); // what is left of it
    await makeRoom();
    await stage.server.begin();
    await until("both are back", () => [a, b].every((each) => each.fleet?.status.awaySince === undefined));
    assertEquals(a.listRules("ci-1").map(({ host }) => host), ["kept.test"]);
    await spreadOf(() => a.addRule("ci-1", rule("new.test")));
    assertEquals(b.listRules("ci-1").map(({ host }) => host), ["kept.test", "new.test"]);
    assertEquals(policyOf(b), policyOf(a));
  },
  { diskSize: "128m", missing: whyNoSmallDisk },
);
