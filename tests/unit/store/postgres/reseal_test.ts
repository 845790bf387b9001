import { assert, assertEquals } from "@std/assert";
import type { Mutation } from "../../../../store/engine.ts";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
import { PostgresDatabase } from "../../../../store/postgres/database.ts";
import * as reseal from "../../../../store/postgres/reseal.ts";
import { encodeRow } from "../../../../store/row_codec.ts";
import { makeProof, openProof } from "../../../../store/seal_proof.ts";
import { readSecret, SECRET_PREFIX, writeSecret } from "../../../../store/secrets.ts";
import { postgresMissing, PostgresServer } from "../../../support/postgres.ts";
import { until } from "../fleet_support.ts";
import { keysOf } from "../memory_engine.ts";
import { assertCode } from "../support.ts";

const [from, to, other] = [await keysOf(1), await keysOf(2), await keysOf(3)];
const BOTH = { from, to, host: "host-1" };
const NEXT = { sealCheck: await makeProof(to, { carriesToken: true }), sealKeyId: to.id };
const HOST = "00000000-0000-4000-8000-00000000000";

/** Secrets with values of so many characters. */
function secrets(count: number, chars = 1): Promise<Mutation[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => {
    const name = `s${String(i).padStart(4, "0")}`;
    const record = { name, host: "a.test", type: "bearer", version: "1", cleartext: false, createdAt: 0 };
    return writeSecret(from.sealing, { record, value: "x".repeat(chars) });
  }));
}

/** A server, and fleets on it that are sealed with the first key. */
class Stage implements AsyncDisposable {
  readonly notices: string[] = [];
  readonly #open: PostgresDatabase[] = [];
  private constructor(readonly server: PostgresServer) {}

  static async start(): Promise<Stage> {
    return new Stage(await PostgresServer.start());
  }

  async connect(fleet: string): Promise<PostgresDatabase> {
    const db = await PostgresDatabase.open({
      address: parseStoreAddress(this.server.url),
      password: () => Promise.resolve("change-me"),
      caPem: await Deno.readTextFile(this.server.caFile),
      ...{ fleet, timeoutMs: 20_000, name: "test", host: "test", now: () => Date.now() },
      onNotice: (told) => this.notices.push(told),
    });
    this.#open.push(db);
    return db;
  }

  async fleet(fleet: string, rows: readonly Mutation[] = []): Promise<PostgresDatabase> {
    const db = await this.connect(fleet);
    await db.fill(await makeProof(from), from.id, rows);
    return db;
  }

  /** Hosts of a fleet, by the last digit of their ids. */
  async addHosts(
    fleet: string,
    hosts: readonly { readonly n: number; readonly isDead?: boolean; readonly applied?: number }[],
  ) {
    for (const { n, isDead = false, applied = 0 } of hosts) {
      await this.server.sql(
        `INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms, is_dead, applied)
         VALUES ('${fleet}', '${HOST}${n}', 'host-${n}', '${HOST}${n}', '1', 1000, ${isDead}, ${applied})`,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const db of this.#open) await db[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

function own(n: number): { readonly id: string; readonly instance: string } {
  return { id: `${HOST}${n}`, instance: `${HOST}${n}` };
}

function names(rows: readonly { readonly [name: string]: unknown }[]): unknown[] {
  return rows.map(({ name }) => name);
}

/** Seals batches until one says something else than that there are more. */
async function outcomes(db: PostgresDatabase): Promise<string[]> {
  const all: string[] = [];
  while (all.at(-1) === undefined || all.at(-1) === "more") all.push(await reseal.resealBatch(db, BOTH));
  return all;
}

Deno.test("reseal: another seal key in the database of a fleet, step by step", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using stage = await Stage.start();
  await (await stage.connect("listener")).link.query("LISTEN slicer_proxy");

  await t.step("announceKey() takes one key at a time, to follow the one in force", async () => {
    const db = await stage.fleet("announce");
    assertEquals(await reseal.readNextSeal(db), undefined);
    assertEquals(await reseal.announceKey(db, NEXT, other.id), false);
    assertEquals(await reseal.announceKey(db, NEXT, from.id), true);
    assertEquals(await reseal.announceKey(db, NEXT, from.id), false);
    assertEquals(await reseal.readNextSeal(db), NEXT);
    await until("hosts are told once", () => stage.notices.length > 0);
    assertEquals(stage.notices, ["announce"]);
    const { seal } = await db.position();
    assertEquals(seal, { keyId: from.id, nextKeyId: to.id, formerKeyId: undefined, switchedAt: undefined });
  });

  await t.step("cancelKey() gives it up with what was sealed, and only in its fleet", async () => {
    const rows = await secrets(101);
    const [db, beside] = [await stage.fleet("cancel", rows), await stage.fleet("beside", rows)];
    assertEquals(await reseal.cancelKey(db), false);
    for (const each of [db, beside]) {
      await reseal.announceKey(each, NEXT, from.id);
      assertEquals(await reseal.resealBatch(each, BOTH), "more");
    }
    assertEquals(await reseal.cancelKey(db), true);
    assertEquals(
      [await reseal.readNextSeal(db), await reseal.cancelKey(db)],
      [undefined, false] as unknown[],
    );
    assertEquals(await reseal.countResealed(db, to.id), { rows: 101, resealed: 0 });
    assertEquals(await reseal.countResealed(beside, to.id), { rows: 101, resealed: 100 });
    assertEquals(await reseal.countResealed(beside, other.id), { rows: 101, resealed: 0 });
  });

  await t.step("hosts that may act are waited for until they have the key, and then its change", async () => {
    const db = await stage.fleet("hosts");
    await stage.addHosts("hosts", [{ n: 1, applied: 4 }, { n: 2, applied: 5 }, { n: 3, isDead: true }]);
    assertEquals(names(await reseal.hostsWithout(db, to.id)), ["host-1", "host-2"]);
    await reseal.sayNextKey(db, own(2), to.id);
    assertEquals(names(await reseal.hostsWithout(db, to.id)), ["host-1"]);
    await reseal.sayNextKey(db, { ...own(1), instance: own(2).instance }, to.id); // another process
    await reseal.sayNextKey(db, own(2), other.id);
    assertEquals(names(await reseal.hostsWithout(db, to.id)), ["host-1", "host-2"]);
    assertEquals(names(await reseal.hostsBefore(db, 5)), ["host-1"]);
    assertEquals(names(await reseal.hostsBefore(db, 6)), ["host-1", "host-2"]);
    assertEquals(names(await reseal.hostsBefore(db, 4)), []);
  });

  await t.step("resealBatch() seals a MiB at a time, to the byte", async () => {
    const [probe] = await secrets(1, 65_000);
    const chars = 65_536 - (encodeRow(probe?.value ?? {}).length - 65_000); // of a row of 64 KiB
    for (const [more, expected] of [[0, ["switched"]], [1, ["more", "switched"]]] as const) {
      const rows = [...(await secrets(15, chars)), ...(await secrets(16, chars + more)).slice(15)];
      assertEquals(rows.reduce((sum, { value = {} }) => sum + encodeRow(value).length, 0), 1_048_576 + more);
      const db = await stage.fleet(`mib-${more}`, rows);
      await reseal.announceKey(db, NEXT, from.id);
      const query = db.query.bind(db);
      const waits = new Set<number | undefined>();
      db.query = (text, parameters, timeoutMs) => {
        waits.add(timeoutMs);
        return query(text, parameters, timeoutMs);
      };
      assertEquals(await outcomes(db), [...expected]);
      assertEquals(waits, new Set([undefined, 30_000]), "the exchange of all rows alone has longer");
    }
  });

  await t.step(
    "resealBatch() seals a hundred rows at a time, a MiB of them, and puts all in force at once",
    async () => {
      const rows: readonly (readonly [count: number, chars: number, outcomes: readonly string[]])[] = [
        [0, 1, ["switched"]],
        [1, 1, ["switched"]],
        [100, 1, ["switched"]],
        [101, 1, ["more", "switched"]],
        [201, 1, ["more", "more", "switched"]],
        [21, 49_000, ["switched"]],
        [22, 49_000, ["more", "switched"]],
      ];
      for (const [count, chars, expected] of rows) {
        const name = `batch-${count}-${chars}`;
        const db = await stage.fleet(name, await secrets(count, chars));
        await reseal.announceKey(db, NEXT, from.id);
        assertEquals([name, await outcomes(db)], [name, expected]);
        const stored = await Array.fromAsync(db.rows(SECRET_PREFIX));
        const values = await Promise.all(stored.map((row) => readSecret(to.sealing, row)));
        assertEquals(values.filter(({ value }) => value.length === chars).length, count);
        assertEquals(await reseal.countResealed(db, to.id), { rows: count, resealed: 0 });
        const { sealCheck, sealKeyId } = await db.seal();
        assertEquals([sealKeyId, (await openProof(to, sealCheck))?.id], [to.id, to.id]);
        const { sequence, seal } = await db.position();
        assertEquals([sequence, seal], [1, {
          keyId: to.id,
          nextKeyId: undefined,
          formerKeyId: from.id,
          switchedAt: 1,
        }]);
        assertEquals((await db.changesAfter(0)).map(({ mutations }) => mutations), [
          [{ key: ["seal"], value: { keyId: to.id } }],
        ]);
        await until("hosts are told", () => stage.notices.filter((told) => told === name).length >= 2);
      }
    },
  );

  await t.step("resealBatch() does nothing where it is not the time, and nothing by halves", async () => {
    const db = await stage.fleet("later", await secrets(100));
    assertEquals(await reseal.resealBatch(db, BOTH), "not-now");
    await reseal.announceKey(db, NEXT, from.id);
    assertEquals(await reseal.resealBatch(db, { ...BOTH, from: other }), "not-now");
    assertEquals(await reseal.resealBatch(db, { ...BOTH, to: other }), "not-now");
    await stage.addHosts("later", [{ n: 4 }]);
    assertEquals(await reseal.resealBatch(db, BOTH), "not-now");
    assertEquals(await reseal.countResealed(db, to.id), { rows: 100, resealed: 0 });
    await reseal.sayNextKey(db, own(4), to.id);
    await db.commit([{ key: ["later-kind", "x"], value: { a: 1 } }]);
    await assertCode(reseal.resealBatch(db, BOTH), "state.newer");
    const open = ["client", "rule", "mode", "suspended", "used"].map((kind) => ({
      key: [kind, "x"],
      value: {},
    }));
    await db.commit([{ key: ["later-kind", "x"] }, ...open]);
    assertEquals(await reseal.resealBatch(db, BOTH), "switched");
    assertEquals(await reseal.resealBatch(db, BOTH), "not-now");
  });

  await t.step(
    "resealBatch() seals a row once more that has changed since, and refuses what does not open",
    async () => {
      const [first, ...rest] = await secrets(101);
      assert(first);
      const db = await stage.fleet("changing", [first, ...rest]);
      await reseal.announceKey(db, NEXT, from.id);
      assertEquals(await reseal.resealBatch(db, BOTH), "more");
      const record = {
        name: "s0000",
        host: "a.test",
        type: "bearer",
        version: "2",
        cleartext: false,
        createdAt: 0,
      };
      await db.commit([await writeSecret(from.sealing, { record, value: "changed" })]);
      assertEquals(await outcomes(db), ["switched"]);
      const [row] = await Array.fromAsync(db.rows(SECRET_PREFIX));
      assert(row);
      assertEquals((await readSecret(to.sealing, row)).value, "changed");
      const damaged = await stage.fleet("damaged", [
        await writeSecret(other.sealing, { record, value: "x" }),
      ]);
      await reseal.announceKey(damaged, NEXT, from.id);
      await assertCode(reseal.resealBatch(damaged, BOTH), "seal.row-damaged");
    },
  );

  await t.step("finishSwitch() ends the rotation of that change, and what was before it goes", async () => {
    const db = await stage.fleet("finish");
    for (const name of ["a", "b"]) await db.commit([{ key: ["client", name], value: {} }]);
    await reseal.announceKey(db, NEXT, from.id);
    assertEquals(await outcomes(db), ["switched"]);
    await db.commit([{ key: ["client", "c"], value: {} }]);
    const kept = async () => (await db.changesAfter(0)).map(({ sequence }) => sequence);
    await reseal.finishSwitch(db, 2);
    assertEquals([await kept(), (await db.position()).seal.switchedAt], [[1, 2, 3, 4], 3]);
    assertEquals(
      await reseal.announceKey(db, { ...NEXT, sealKeyId: other.id }, to.id),
      false,
      "one is under way",
    );
    const told = () => stage.notices.filter((each) => each === "finish").length;
    const before = told();
    await reseal.finishSwitch(db, 3);
    assertEquals([await kept(), (await db.position()).seal.switchedAt], [[3, 4], undefined] as unknown[]);
    await until("hosts are told", () => told() > before);
  });
});
