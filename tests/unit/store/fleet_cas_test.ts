import { assertEquals, assertStringIncludes } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import type { CaInput } from "../../../store/changes/cas.ts";
import { readSummary } from "../../../store/fleet/summary.ts";
import { Database } from "../../../store/kv.ts";
import { migrate } from "../../../store/migrate.ts";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { PostgresDatabase } from "../../../store/postgres/database.ts";
import { State } from "../../../store/state.ts";
import { type FleetStage, fleetTest, spreadOf, until } from "./fleet_support.ts";
import { assertCode } from "./support.ts";

function ca(hostgroup: string, more: Partial<CaInput> = {}): CaInput {
  return { hostgroup, certPem: "cert", keyPem: "planted", check: () => Promise.resolve(), ...more };
}

async function openFleet({ server }: FleetStage, fleet: string): Promise<PostgresDatabase> {
  return await PostgresDatabase.open({
    address: parseStoreAddress(server.url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(server.caFile),
    fleet,
    timeoutMs: 10_000,
    name: "test",
    host: "",
    now: () => Date.now(),
  });
}

fleetTest("a CA is on every host when the call returns, and its key in no row in clear", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  assertEquals(await spreadOf(() => a.putCa(ca("sbox"))), { live: 2, waitingFor: [] });
  assertEquals(b.storedCa("sbox"), a.storedCa("sbox"));
  assertEquals(b.storedCa("sbox")?.keyPem, "planted");
  const { version } = a.listCas()[0] ?? { version: "" };
  // Both find it due at the same time: one does it.
  await Promise.all([
    a.renewCa("sbox", { ifVersion: version, make: () => Promise.resolve("by a") }),
    b.renewCa("sbox", { ifVersion: version, make: () => Promise.resolve("by b") }),
  ]);
  await until("both have the one", () => a.listCas()[0]?.version === b.listCas()[0]?.version);
  assertEquals(a.storedCa("sbox"), b.storedCa("sbox"));
  const rows = await stage.server.sql("SELECT encode(value, 'escape') FROM slicer_proxy.rows");
  const changes = await stage.server.sql("SELECT mutations FROM slicer_proxy.changes");
  assertStringIncludes(rows, "certificate");
  for (const text of [rows, changes]) {
    for (const hidden of ["planted", btoa("planted")]) assertEquals(text.includes(hidden), false);
  }
  await assertCode(stage.host("host-3", { sealKeyFile: await otherKey(stage) }), "seal.key-wrong");
});

fleetTest(
  "a CA is renewed by the clock of the store, not by that of a host which is years ahead",
  async (stage) => {
    const { now, monotonic } = systemClock();
    await using ahead = await stage.host("host-1", {
      clock: { now: () => now() + 4 * 365 * 86_400_000, monotonic },
    });
    const { version } = await ahead.putCa(ca("sbox"));
    const asked: number[] = [];
    await ahead.renewCa("sbox", {
      ifVersion: version,
      make: (nowMs) => Promise.resolve(void asked.push(nowMs)),
    });
    const [nowMs = 0] = asked;
    assertEquals(Math.abs(nowMs - Date.now()) < 3_600_000, true, `${nowMs}`);
    assertEquals(ahead.listCas()[0]?.version, version); // it was too early
  },
);

async function otherKey({ dir }: FleetStage): Promise<string> {
  await Deno.writeTextFile(`${dir}/other`, `${"ab".repeat(32)}\n`, { mode: 0o600 });
  return `${dir}/other`;
}

fleetTest("of two hosts that import at once each is shown what the other has brought", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  const seen: (string | undefined)[] = [];
  const check = (present: string | undefined) => Promise.resolve(void seen.push(present));
  await Promise.all([
    a.putCa(ca("sbox", { certPem: "a", check })),
    b.putCa(ca("sbox", { certPem: "b", check })),
  ]);
  const [first, second] = seen;
  assertEquals([first, second === "a" || second === "b"], [undefined, true]);
});

fleetTest(
  "a host has the CA while the store is away, after a start too, and when it reads everything",
  async (stage) => {
    await using a = await stage.host("host-1");
    {
      await using b = await stage.host("host-2");
      await a.putCa(ca("sbox"));
      await until("the copy is written", () => isThere(`${stage.dir}/host-2/fleet-copy`));
      await stage.server.crash();
      await until("it knows", () => b.fleet?.status.awaySince !== undefined);
      await assertCode(b.putCa(ca("sbox", { certPem: "other" })), "store.away");
    }
    await using b = await stage.host("host-2");
    assertEquals(b.storedCa("sbox")?.keyPem, "planted");
    const copy = await Deno.readFile(`${stage.dir}/host-2/fleet-copy`);
    assertEquals(new TextDecoder("latin1").decode(copy).includes("planted"), false);
    await stage.server.begin();
    await until("a is back", () => a.fleet?.status.awaySince === undefined);
    await a.putCa(ca("sbox", { certPem: "newer" }));
    await a.putCa(ca("lab"));
    await stage.server.sql("DELETE FROM slicer_proxy.changes"); // so that it has to read all
    await until(
      "b has both",
      () => b.listCas().length === 2 && b.storedCa("sbox")?.record.certPem === "newer",
    );
  },
);

fleetTest("another seal key of the fleet takes CAs over, and the one before opens none", async (stage) => {
  await Deno.mkdir(`${stage.dir}/keys`);
  const sealKeyFile = `${stage.dir}/keys/mk`;
  let stored;
  {
    await using host = await stage.host("host-1", { sealKeyFile });
    await host.putCa(ca("sbox"));
    await host.putCa(ca("lab"));
    stored = host.storedCa("sbox");
    await Deno.copyFile(sealKeyFile, `${stage.dir}/former`);
    await host.fleet?.beginRotation(undefined);
    await until("it is over", async () => {
      const now = await host.sealKey().catch(() => undefined);
      return now !== undefined && now.rotation === undefined;
    });
    assertEquals(host.storedCa("sbox"), stored);
  }
  await assertCode(stage.host("host-2", { sealKeyFile: `${stage.dir}/former` }), "seal.key-wrong");
  await using host = await stage.host("host-1", { sealKeyFile });
  assertEquals([host.storedCa("sbox"), host.listCas().length], [stored, 2]);
});

async function isThere(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

fleetTest("migrate() takes CAs to a fleet and back, and a summary names them", async (stage) => {
  const [dir, back, sealKeyFile] = [`${stage.dir}/alone`, `${stage.dir}/back`, `${stage.dir}/mk`];
  const clock = systemClock();
  let record;
  {
    await using alone = await State.open({ dir, sealKeyFile, clock });
    record = await alone.putCa(ca("sbox"));
  }
  {
    await using from = await Database.open(dir);
    await using to = await openFleet(stage, "default");
    assertEquals((await migrate({ from, to }, sealKeyFile, clock.now())).cas, 1);
    assertEquals((await readSummary(to, clock.now())).cas, [record]);
  }
  {
    await using host = await stage.host("host-1");
    assertEquals(host.storedCa("sbox"), { record, keyPem: "planted" });
  }
  {
    await using from = await openFleet(stage, "default");
    await using to = await Database.open(back);
    assertEquals((await migrate({ from, to }, sealKeyFile, clock.now())).cas, 1);
  }
  await using alone = await State.open({ dir: back, sealKeyFile, clock });
  assertEquals(alone.storedCa("sbox"), { record, keyPem: "planted" });
});
