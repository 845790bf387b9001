/** An uplink with a server; without one: `uplink_test.ts`. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Clock } from "../../../../core/clock.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { SealKeys } from "../../../../store/fleet/seal_keys.ts";
import { Uplink } from "../../../../store/fleet/uplink.ts";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
import { PostgresDatabase } from "../../../../store/postgres/database.ts";
import { makeProof } from "../../../../store/seal_proof.ts";
import { fleetTest } from "../fleet_support.ts";
import { keysOf } from "../memory_engine.ts";
import { keptLog } from "./answers.ts";

/** The machine's, by so much ahead. */
function clockAhead(ms: number): Clock {
  return { now: () => Date.now() + ms, monotonic: () => performance.now() };
}

fleetTest("Uplink: two connections that come and go together", async ({ server }, t) => {
  const database = {
    address: parseStoreAddress(server.url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(server.caFile),
    ...{ timeoutMs: 20_000, name: "n", fleet: "default", host: "h" },
  };
  const keys = await keysOf(1);
  await using db = await PostgresDatabase.open({ ...database, now: () => Date.now() });
  await db.initialise(await makeProof(keys), keys.id);
  const uplinkAt = (clock: Clock, own = keys) => {
    const log = keptLog();
    return {
      log,
      uplink: new Uplink({ ...database, clock, log, seal: new SealKeys("/nowhere/mk", own, log) }),
    };
  };

  await t.step("both are there, or the store is away", async () => {
    const { uplink, log } = uplinkAt(clockAhead(0));
    await uplink.open();
    for (const end of ["watch", "changes"] as const) {
      const links = [uplink.watch().link, uplink.changes().link];
      assertEquals([uplink.isUp, links[0] !== links[1]], [true, true]);
      uplink[end]().link.destroy();
      assertEquals(uplink.isUp, false);
      for (const ask of ["watch", "changes"] as const) {
        assertThrows(() => uplink[ask](), ProxyError, "is away");
      }
      uplink.lose(new ProxyError("store.away", "cut"));
      assertEquals(links.map(({ isOpen }) => isOpen), [false, false]);
      await uplink.open();
      uplink.settle();
    }
    const port = new URL(server.url).port;
    const said = log.lines.filter((line) => line.startsWith("info"));
    assertEquals(said.map((line) => line.endsWith(port) && line.includes("the store is back: ")), [
      true,
      true,
    ]);
    uplink.settle();
    assertEquals(log.lines.length, 4, "it is said once");
    const links = [uplink.watch().link, uplink.changes().link];
    await uplink[Symbol.asyncDispose]();
    assertEquals([...links.map(({ isOpen }) => isOpen), uplink.isUp], [false, false, false]);
  });

  await t.step("opening anew leaves no connection of before", async () => {
    const { uplink } = uplinkAt(clockAhead(0));
    await uplink.open();
    const links = [uplink.watch().link, uplink.changes().link];
    await uplink.open();
    assertEquals(links.map(({ isOpen }) => isOpen), [false, false]);
    await uplink[Symbol.asyncDispose]();
  });

  await t.step("a notice of this fleet ends a rest, one of another does not", async () => {
    const { uplink } = uplinkAt(clockAhead(0));
    await uplink.open();
    let isOver = false;
    const rest = uplink.rest(600_000).then(() => isOver = true);
    await db.query("SELECT pg_notify('slicer_proxy', 'other')");
    await uplink.watch().query("SELECT 1"); // what came before it has come
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(isOver, false);
    await db.query("SELECT pg_notify('slicer_proxy', 'default')");
    await rest;
    await uplink[Symbol.asyncDispose]();
  });

  await t.step("a clock that is wrong is said once", async () => {
    for (
      const [ms, said] of [
        [-60_000, ["warn this host's clock is 60 s behind the store's"]],
        [60_000, ["warn this host's clock is 60 s ahead of the store's"]],
      ] as const
    ) {
      const { uplink, log } = uplinkAt(clockAhead(ms));
      for (let n = 0; n < 2; n++) await uplink.open();
      assertEquals(log.lines.map((line) => line.replace(/ (59|61) s/, " 60 s")), [...said]);
      await uplink[Symbol.asyncDispose]();
    }
  });

  await t.step("no store that is sealed with another key is used", async () => {
    const { uplink } = uplinkAt(clockAhead(0), await keysOf(2));
    await assertRejects(() => uplink.open(), ProxyError);
    assertEquals(uplink.isUp, false);
    uplink.lose(new Error("x"));
  });
});
