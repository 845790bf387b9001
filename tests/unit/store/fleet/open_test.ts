/** A host that joins while nothing answers, or what answers refuses; with a server: `../fleet_away_test.ts` and those beside it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { type FleetOptions, openFleet } from "../../../../store/fleet/open.ts";
import { lockStateFolder } from "../../../../store/folder.ts";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
import { type DatabaseOptions, PostgresDatabase } from "../../../../store/postgres/database.ts";
import { RULE_PREFIX } from "../../../../store/rules.ts";
import { loadSealKey } from "../../../../store/seal_key.ts";
import { assertCode, HandClock, tempFolder } from "../support.ts";
import { keptLog } from "./answers.ts";
import { ScriptedStore } from "./scripted_fleet.ts";

/** Joins a fleet whose store fails like that, or is scripted. */
async function join(failure: ProxyError | ScriptedStore, more: Partial<FleetOptions> = {}) {
  const folder = await tempFolder();
  const sealKeyFile = `${folder.path}/mk`;
  await loadSealKey(sealKeyFile, true);
  const [clock, log] = [new HandClock(), keptLog()];
  const asked: DatabaseOptions[] = [];
  const { open } = PostgresDatabase;
  PostgresDatabase.open = (options) => {
    asked.push(options);
    return failure instanceof ProxyError ? Promise.reject(failure) : Promise.resolve(failure.open(options));
  };
  const options: FleetOptions = {
    address: parseStoreAddress("postgres://u@db.test:5432/d"),
    password: () => Promise.resolve("pw"),
    ...{ caPem: "CA", fleet: "mine", hostName: "host-1", graceMs: 20_000, version: "1", log, ...more },
  };
  try {
    const error = await openFleet({ dir: folder.state, sealKeyFile, clock }, options).catch((error) => error);
    return {
      ...{ error, asked, log, clock, dir: folder.state },
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    };
  } finally {
    PostgresDatabase.open = open;
  }
}

const AWAY = new ProxyError("store.away", "Cannot reach the store: db.test:5432: no route");

Deno.test("openFleet() says that the store is away, needs a copy of the policy then, and leaves the folder free", async () => {
  await using joined = await join(AWAY);
  await assertCode(Promise.reject(joined.error), "store.away");
  assertEquals(joined.log.lines, [`error the store is away: ${AWAY.message}`]);
  assertEquals(joined.asked.length, 1);
  (await lockStateFolder(joined.dir))[Symbol.dispose]();
});

Deno.test("openFleet() looks for no copy when the store refuses it, and leaves the folder free", async () => {
  for (const code of ["store.refused", "state.newer"] as const) {
    await using joined = await join(new ProxyError(code, "no"));
    await assertCode(Promise.reject(joined.error), code);
    assertEquals(joined.log.lines, []);
    (await lockStateFolder(joined.dir))[Symbol.dispose]();
  }
});

Deno.test("openFleet() asks as the host that it is, and waits a quarter of its grace, half a second to five", async () => {
  const rows = [[0, 500], [2_000, 500], [2_004, 501], [19_996, 4_999], [20_000, 5_000], [
    3_600_000,
    5_000,
  ]] as const;
  for (const [graceMs, timeoutMs] of rows) {
    await using joined = await join(AWAY, { graceMs });
    const [{ now = () => 0, ...asked } = {} as Partial<DatabaseOptions>] = joined.asked;
    assertEquals([asked.timeoutMs, asked.name, asked.host, asked.fleet, asked.caPem], [
      ...[timeoutMs, "slicer-proxy host-1", "host-1", "mine", "CA"],
    ]);
    assertEquals([now(), await asked.password?.()], [joined.clock.nowMs, "pw"] as unknown[]);
  }
});

Deno.test("openFleet() asks nobody for a name that is none", async () => {
  for (const [what, more] of [["fleet", { fleet: "no name" }], ["host", { hostName: "a/b" }]] as const) {
    await using joined = await join(AWAY, more);
    const error = await assertCode(Promise.reject(joined.error), "input.invalid");
    assertStringIncludes(error.message, what);
    assertEquals(joined.asked, []);
  }
});

Deno.test("openFleet() makes a fleet once and says so, and leaves nothing open when it cannot join", async () => {
  const store = new ScriptedStore();
  store.rows = [{ key: [...RULE_PREFIX, "client", 1, "id"], value: { host: "a.test", never: 1 } }];
  await using joined = await join(store);
  await assertCode(Promise.reject(joined.error), "state.newer");
  assertEquals(joined.log.lines, ["info made the fleet mine in the store"]);
  assertEquals(store.take(), [
    ...["open", "made", "closed"],
    ...["open", "listen", "open", "hello", "all", "goodbye", "closed", "closed"],
  ]);
  assertEquals(store.opened.map(({ isOpen }) => isOpen), [false, false, false]);
  (await lockStateFolder(joined.dir))[Symbol.dispose]();
  await using other = await join(store); // with a key of its own
  const error = await assertCode(Promise.reject(other.error), "seal.key-wrong");
  assertStringIncludes(error.message, "Cannot unseal the fleet's policy");
  assertEquals([other.log.lines, store.take()], [[], ["open", "closed"]]);
});
