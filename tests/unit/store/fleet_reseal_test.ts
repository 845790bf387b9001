import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { Database } from "../../../store/kv.ts";
import { migrate } from "../../../store/migrate.ts";
import { SECRET_PREFIX } from "../../../store/secrets.ts";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { PostgresDatabase } from "../../../store/postgres/database.ts";
import { resealRow } from "../../../store/sealed_rows.ts";
import { deriveKeys, type StoreKeys, unseal } from "../../../store/seal.ts";
import { openProof } from "../../../store/seal_proof.ts";
import type { State } from "../../../store/state.ts";
import { type FleetStage, fleetTest, type HostOptions, policyOf, spreadOf, until } from "./fleet_support.ts";
import { assertCode, rule } from "./support.ts";

const SECRET = { host: "api.example.com", type: "bearer", cleartext: false };

/** Where a host's own seal key is. */
function keyFile(stage: FleetStage, name: string): string {
  return `${stage.dir}/keys-${name}/mk`;
}

/** A host whose seal key is a file of its own, copied from the first host's. */
async function ownHost(stage: FleetStage, name: string, more: HostOptions = {}): Promise<State> {
  const file = keyFile(stage, name);
  await Deno.mkdir(`${stage.dir}/keys-${name}`, { recursive: true });
  const first = keyFile(stage, "host-1");
  if (name !== "host-1" && !await isThere(file)) await Deno.copyFile(first, file);
  return await stage.host(name, { sealKeyFile: file, ...more });
}

function isThere(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

/** What an operator does for a host. */
async function bringNext(stage: FleetStage, from: string, to: string): Promise<void> {
  await Deno.copyFile(`${keyFile(stage, from)}.next`, `${keyFile(stage, to)}.part`);
  await Deno.rename(`${keyFile(stage, to)}.part`, `${keyFile(stage, to)}.next`);
}

async function keysIn(file: string): Promise<StoreKeys> {
  const pairs = (await Deno.readTextFile(file)).trim().match(/../g) ?? [];
  return await deriveKeys(Uint8Array.from(pairs.map((pair) => parseInt(pair, 16))));
}

function openDatabase(stage: FleetStage): Promise<PostgresDatabase> {
  return (async () =>
    await PostgresDatabase.open({
      address: parseStoreAddress(stage.server.url),
      password: () => Promise.resolve("change-me"),
      caPem: await Deno.readTextFile(stage.server.caFile),
      ...{ fleet: "default", timeoutMs: 5_000, name: "test", host: "test", now: () => Date.now() },
    }))();
}

/** Everything in the store opens with this key, and nothing of it, the changes included, with that one. */
async function checkStore(stage: FleetStage, key: StoreKeys, former: StoreKeys): Promise<void> {
  await using db = await openDatabase(stage);
  assert(db.sealCheck);
  assertEquals([db.sealKeyId, await openProof(former, db.sealCheck)], [key.id, undefined]);
  const rows = await Array.fromAsync(db.rows(SECRET_PREFIX));
  const changes = (await db.changesAfter(0)).flatMap(({ mutations }) => mutations);
  const sealed = [...rows, ...changes.filter(({ key, value }) => key[0] === "secret" && value)];
  for (const { key: rowKey, value } of sealed) {
    await resealRow({ key: rowKey, value }, { from: key.sealing, to: key.sealing });
    await assertRejects(() => resealRow({ key: rowKey, value }, { from: former.sealing, to: key.sealing }));
  }
  assertEquals(await stage.server.sql("SELECT count(*) FROM slicer_proxy.resealed"), "0");
}

/** No file of a host's folder opens with the key from before. */
async function checkFolder(stage: FleetStage, name: string, former: StoreKeys): Promise<void> {
  for (const file of ["fleet-copy", "fleet-contact"]) {
    const bytes = await Deno.readFile(`${stage.dir}/${name}/${file}`).catch(() => undefined);
    if (bytes) assertEquals(await unseal(former.sealing, ["fleet", "default", file], bytes), undefined);
  }
}

async function untilDone(...hosts: readonly State[]): Promise<void> {
  for (const host of hosts) {
    await until("the rotation is over", async () => {
      const now = await host.sealKey().catch(() => undefined);
      return now !== undefined && now.rotation === undefined;
    });
  }
}

fleetTest("another seal key comes to three hosts under a load of changes", async (stage) => {
  await using a = await ownHost(stage, "host-1");
  await using b = await ownHost(stage, "host-2");
  await using c = await ownHost(stage, "host-3");
  const hosts = [a, b, c];
  const { token } = await a.createClient("ci-1");
  for (let n = 0; n < 230; n++) {
    await a.putSecret({ ...SECRET, name: `s-${n}`, value: `planted-${n}` }, { force: false });
  }
  const former = await keysIn(keyFile(stage, "host-1"));
  const last = new Map<string, string>();
  let isOver = false;
  let failures = 0;
  const load = Promise.all(hosts.map(async (host, i) => {
    for (let n = 0; !isOver; n++) {
      const name = `s-${(n * 7 + i) % 230}`;
      if (Number(name.slice(2)) % 3 !== i) continue;
      const value = `changed-${i}-${n}`;
      await host.putSecret({ ...SECRET, name, value }, { force: true }).then(
        () => last.set(name, value),
        () => failures++,
      );
      await host.addRule("ci-1", rule(`h${i}-${n}.test`), { ttlMs: 60_000 });
    }
  }));
  await a.fleet?.beginRotation(undefined);
  const begun = await b.sealKey();
  assertEquals(begun.rotation?.phase, "waiting");
  assertEquals(begun.rotation?.formerId, former.id);
  await until("the first host says that it has it", async () => {
    return (await b.sealKey()).rotation?.waitingFor.join() === "host-2,host-3";
  });
  await bringNext(stage, "host-1", "host-2");
  await until("the second, too", async () => (await a.sealKey()).rotation?.waitingFor.join() === "host-3");
  assertStringIncludes(
    stage.lines.join("\n"),
    `host-3 warn: this fleet waits for this host: copy seal key ${begun.rotation?.nextId} from another host to ${
      keyFile(stage, "host-3")
    }.next`,
  );
  assertEquals((await c.sealKey()).id, former.id, "nothing is sealed with a key that one does not have");
  await bringNext(stage, "host-1", "host-3");
  await untilDone(...hosts);
  const changes = last.size;
  await until("changes go on", () => last.size > Math.min(changes + 10, 200));
  isOver = true;
  await load;
  assertEquals(failures, 0);
  const key = await keysIn(keyFile(stage, "host-1"));
  assertEquals(key.id, begun.rotation?.nextId);
  await until(
    "all have the last change",
    async () => (await spreadOf(() => a.createClient(`ci-${crypto.randomUUID()}`)))?.waitingFor.length === 0,
  );
  for (const [name, value] of last) {
    for (const host of hosts) assertEquals(host.secretValue(name)?.value, value);
  }
  assertEquals(policyOf(b), policyOf(a));
  assertEquals(policyOf(c), policyOf(a));
  assertEquals(hosts.map((host) => host.clientByToken(token)?.name), ["ci-1", "ci-1", "ci-1"]);
  await checkStore(stage, key, former);
  for (const name of ["host-1", "host-2", "host-3"]) {
    const file = keyFile(stage, name);
    assertEquals((await keysIn(file)).id, key.id);
    await until("the key from before goes", async () => !await isThere(`${file}.former`));
    assertEquals(await isThere(`${file}.next`), false);
    assertEquals(await isThere(`${file}.${former.id}`), name === "host-1", "one is kept for backups");
    await until(
      "nothing of its folder opens with it",
      () => checkFolder(stage, name, former).then(() => true, () => false),
    );
  }
  await using late = await ownHost(stage, "host-4");
  assertEquals(policyOf(late), policyOf(a));
});

/** A host that cannot connect to the store while `isCut`. */
interface Cuttable {
  isCut: boolean;
}

function cuttable(cut: Cuttable): HostOptions {
  const password = () => cut.isCut ? Promise.reject(new Error("cut")) : Promise.resolve("change-me");
  return { password };
}

async function cutOff(stage: FleetStage, name: string): Promise<void> {
  await stage.server.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'slicer-proxy ${name}'`,
  );
}

/** What the others would find out after its grace. */
async function markDead(stage: FleetStage, name: string): Promise<void> {
  await stage.server.sql(`UPDATE slicer_proxy.hosts SET is_dead = true WHERE name = '${name}'`);
}

fleetTest(
  "a host that was away while another seal key came denies, and says what it needs",
  async (stage) => {
    await using a = await ownHost(stage, "host-1");
    const cut = { isCut: false };
    await using b = await ownHost(stage, "host-2", { graceMs: 2_000, ...cuttable(cut) });
    await using _c = await ownHost(stage, "host-3");
    await a.createClient("ci-1");
    await a.putSecret({ ...SECRET, name: "s", value: "one" }, { force: false });
    const former = await keysIn(keyFile(stage, "host-1"));
    cut.isCut = true;
    await cutOff(stage, "host-2");
    await until("it denies", () => b.isLost());
    await markDead(stage, "host-2");
    await a.fleet?.beginRotation(undefined);
    await bringNext(stage, "host-1", "host-3");
    await untilDone(a);
    await a.putSecret({ ...SECRET, name: "s", value: "two" }, { force: true });
    const { id } = await a.sealKey();
    cut.isCut = false;
    const said =
      `host-2 error: the store cannot be used, and no change is taken: Cannot unseal the fleet's policy: ` +
      `the seal key ${
        keyFile(stage, "host-2")
      } is not the one that it is sealed with (its key is ${id}, and this one ` +
      `${former.id}); copy the fleet's key from another host to ${
        keyFile(stage, "host-2")
      }.next, with mode 600`;
    await until("it says so", () => stage.lines.includes(said));
    assertEquals(b.isLost(), true);
    await assertCode(b.createClient("ci-2"), "store.refused");
    await Deno.copyFile(keyFile(stage, "host-1"), `${keyFile(stage, "host-2")}.next`);
    await until("it goes on", () => !b.isLost() && b.secretValue("s")?.value === "two");
    assertEquals(policyOf(b), policyOf(a));
    await until(
      "its files are in their places",
      async () =>
        (await keysIn(keyFile(stage, "host-2"))).id === id &&
        !await isThere(`${keyFile(stage, "host-2")}.former`),
    );
    assertEquals(
      stage.lines.filter((line) => line === said).length,
      1,
    );
    await b.createClient("ci-2");
    await checkStore(stage, await keysIn(keyFile(stage, "host-1")), former);
  },
);

fleetTest("a local copy from before another seal key is used within its grace, and goes", async (stage) => {
  await using a = await ownHost(stage, "host-1");
  const former = await keysIn(keyFile(stage, "host-1"));
  await a.putSecret({ ...SECRET, name: "s", value: "one" }, { force: false });
  const copyFile = `${stage.dir}/host-2/fleet-copy`;
  const opensWith = async ({ sealing }: StoreKeys, file: string) => {
    const bytes = await Deno.readFile(`${stage.dir}/host-2/${file}`).catch(() => undefined);
    return bytes !== undefined && await unseal(sealing, ["fleet", "default", file], bytes) !== undefined;
  };
  {
    await using b = await ownHost(stage, "host-2", { graceMs: 600_000 });
    await until("the copy is written", () => isThere(copyFile));
    await stage.server.crash();
    await until("it knows", () => b.fleet?.status.awaySince !== undefined);
  }
  await stage.server.begin();
  await until("the store is back", () => a.fleet?.status.awaySince === undefined);
  await markDead(stage, "host-2");
  await a.fleet?.beginRotation(undefined);
  await untilDone(a);
  await a.putSecret({ ...SECRET, name: "s", value: "two" }, { force: true });
  const error = await assertCode(ownHost(stage, "host-2"), "seal.key-wrong");
  assertStringIncludes(error.hint ?? "", `${keyFile(stage, "host-2")}.next`);
  const key = await keysIn(keyFile(stage, "host-1"));
  await stage.server.crash();
  {
    await using b = await ownHost(stage, "host-2", { graceMs: 600_000 });
    assertEquals(b.secretValue("s")?.value, "one");
    // Brought while the store is away: the copy that is there is still one of the key from before.
    await Deno.copyFile(keyFile(stage, "host-1"), `${keyFile(stage, "host-2")}.next`);
    await stage.server.begin();
    await until("it has caught up", () => b.secretValue("s")?.value === "two");
    await until(
      "its files are sealed with the new key",
      async () => await opensWith(key, "fleet-copy") && await opensWith(key, "fleet-contact"),
    );
    await until(
      "the key is in its place",
      async () => (await keysIn(keyFile(stage, "host-2"))).id === key.id,
    );
    assertEquals([await opensWith(former, "fleet-copy"), await opensWith(former, "fleet-contact")], [
      false,
      false,
    ]);
    await stage.server.crash();
    await until("it knows", () => b.fleet?.status.awaySince !== undefined);
  }
  {
    await using b = await ownHost(stage, "host-2", { graceMs: 600_000 });
    assertEquals(b.secretValue("s")?.value, "two");
  }
  await stage.server.begin();
});

fleetTest("another seal key is given up, brought, and refused", async (stage) => {
  await using a = await ownHost(stage, "host-1");
  await using b = await ownHost(stage, "host-2");
  await a.putSecret({ ...SECRET, name: "s", value: "one" }, { force: false });
  const file = keyFile(stage, "host-1");
  const former = await keysIn(file);
  const begin = (host: State, brought?: string) => Promise.resolve(host.fleet?.beginRotation(brought));
  await assertCode(begin(a, file), "input.conflict");
  await assertCode(begin(a, `${stage.dir}/none`), "seal.key-missing");
  await assertCode(a.cancelSealKey(), "input.not-found");
  assertEquals(await isThere(`${file}.next`), false);

  await begin(a);
  const { rotation } = await b.sealKey();
  await begin(b); // the one that is under way
  await begin(a);
  assertEquals([(await a.sealKey()).rotation?.nextId, await isThere(`${keyFile(stage, "host-2")}.next`)], [
    rotation?.nextId,
    false,
  ]);
  const brought = `${stage.dir}/brought`;
  await Deno.writeTextFile(brought, `${"5a".repeat(32)}\n`, { mode: 0o600 });
  await assertCode(begin(b, brought), "input.conflict");
  await b.cancelSealKey();
  assertEquals([(await a.sealKey()).rotation, (await a.sealKey()).id], [undefined, former.id]);

  await Deno.writeTextFile(`${keyFile(stage, "host-2")}.next`, "half", { mode: 0o600 }); // is being copied
  await using opened = await openDatabase(stage); // before the key changes
  await begin(b, brought);
  const next = await keysIn(brought);
  await until(
    "it waits for the other",
    async () => (await a.sealKey()).rotation?.waitingFor.join() === "host-1",
  );
  assertEquals((await keysIn(`${keyFile(stage, "host-2")}.next`)).id, next.id);
  await stage.server.sql(
    `INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms, next_key)
    VALUES ('default', gen_random_uuid(), 'older', gen_random_uuid(), '0', 20000, '${next.id}')`,
  );
  await Deno.copyFile(brought, `${file}.next`);
  await until(
    "an older program is waited for",
    async () => (await a.sealKey()).rotation?.waitingFor.join() === "older",
  );
  await stage.server.sql(`BEGIN; DELETE FROM slicer_proxy.hosts WHERE name = 'older';
    INSERT INTO slicer_proxy.rows (fleet, key, value) VALUES ('default', '\\x0266757475726500', '\\x00'); COMMIT;`);
  await until(
    "what a newer program may have sealed stops it",
    () =>
      stage.lines.some((line) =>
        /host-\d error: .*a newer slicer-proxy keeps what this one does not know/.test(line)
      ),
  );
  assertEquals((await a.sealKey()).id, former.id);
  await stage.server.sql("DELETE FROM slicer_proxy.rows WHERE key = '\\x0266757475726500'");
  await untilDone(a, b);
  for (const host of ["host-1", "host-2"]) {
    await until("the key is in its place", async () => (await keysIn(keyFile(stage, host))).id === next.id);
  }
  assert(await isThere(brought));
  await using empty = await Database.open(`${stage.dir}/migrated`);
  const moved = migrate({ from: opened, to: empty }, `${keyFile(stage, "host-2")}.${former.id}`, Date.now());
  await assertCode(moved, "seal.row-damaged"); // and no copy that nobody can read
  await checkStore(stage, next, former);
  await using late = await ownHost(stage, "host-3", { sealKeyFile: brought });
  assertEquals(late.secretValue("s")?.value, "one");
});

fleetTest("what is sealed with a key while that is given up does not stay", async (stage) => {
  await using a = await ownHost(stage, "host-1");
  await using _b = await ownHost(stage, "host-2"); // never has the key, so nothing more is done
  await a.fleet?.beginRotation(undefined);
  const nextId = (await a.sealKey()).rotation?.nextId ?? "";
  await using other = await openDatabase(stage);
  const cancelled = await other.inTurn(async (turn) => {
    await other.query(
      `INSERT INTO slicer_proxy.resealed (fleet, key, key_id, former, value) VALUES ($1, '\\x01', $2, '\\x01', '\\x01')`,
      [other.fleet, nextId],
    );
    const ended = a.cancelSealKey().then(() => "given up", (error) => error);
    const waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'" +
      " AND application_name = 'slicer-proxy host-1'";
    await until("it waits for its turn", async () => await stage.server.sql(waiting) !== "0");
    await turn.end();
    return { ended };
  });
  assertEquals(await cancelled.ended, "given up");
  assertEquals((await a.sealKey()).rotation, undefined);
  assertEquals(await stage.server.sql("SELECT count(*) FROM slicer_proxy.resealed"), "0");
});

fleetTest(
  "two hosts that share a key file begin a rotation at once, and its key stays in the file",
  async (stage) => {
    await using a = await ownHost(stage, "host-1");
    const file = keyFile(stage, "host-1");
    await using b = await stage.host("host-2", { sealKeyFile: file });
    await using _c = await ownHost(stage, "host-3"); // never has the key, so it does not come into force
    for (let n = 0; n < 5; n++) {
      await Promise.all([a, b].map((host) => host.fleet?.beginRotation(undefined)));
      const { rotation } = await a.sealKey();
      assertEquals(rotation?.nextId, (await keysIn(`${file}.next`)).id);
      await b.cancelSealKey();
    }
  },
);

fleetTest("State.rotateSealKey() makes no key in a fleet, whose hosts rotate together", async (stage) => {
  await using a = await ownHost(stage, "host-1");
  const before = (await a.sealKey()).id;
  assertThrows(() => a.rotateSealKey(), TypeError, "as that of one host");
  assertEquals([(await a.sealKey()).id, await isThere(`${keyFile(stage, "host-1")}.next`)], [before, false]);
});
