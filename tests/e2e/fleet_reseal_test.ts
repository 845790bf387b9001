/** A host that replaces the fleet's seal key is killed before each of its steps: nothing is lost, and another host goes on. */
import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../core/clock.ts";
import { Database } from "../../store/kv.ts";
import { migrate } from "../../store/migrate.ts";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { PostgresDatabase } from "../../store/postgres/database.ts";
import { deriveKeys } from "../../store/seal.ts";
import { State } from "../../store/state.ts";
import { type FleetStage, fleetTest, until } from "../unit/store/fleet_support.ts";

/** Of a size that takes three batches. */
const SECRETS = 50;
const VALUE_CHARS = 48_000;

/** What the host is about to do when it is killed. */
const STEPS: readonly (readonly [kind: string, nth: number, what: string])[] = [
  ["link ", 1, "the key in force is kept for backups"],
  ["link ", 2, "the next key appears"],
  ["SET next_seal_check = decode", 1, "it is announced"],
  ["SET next_key", 1, "this host says that it has it"],
  ["sealing: INSERT INTO slicer_proxy.resealed", 1, "the first batch"],
  ["sealing: COMMIT", 1, "the commit of the first batch"],
  ["sealing: INSERT INTO slicer_proxy.resealed", 2, "the second batch"],
  ["sealing: WITH put AS", 1, "the rows are exchanged"],
  ["sealing: WITH gone AS", 1, "the proof is exchanged"],
  ["sealing: COMMIT", 3, "the commit of the new key"],
  ["sealing: UPDATE slicer_proxy.hosts SET applied", 1, "this host says that it is in force"],
  ["mk.former.tmp", 2, "the file of the key from before gets another name"],
  ["mk.former.tmp", 3, "that name is put in its place"],
  ["mk.next", 4, "the file of the new key is put in its place"],
  ["SET switched_at = NULL", 1, "old changes go"],
  ["mk.former", 4, "the key from before goes"],
];

interface Made {
  readonly dir: string;
  readonly token: string;
  readonly keyId: string;
  readonly values: ReadonlyMap<string, string | undefined>;
}

async function makeState(dir: string): Promise<Made> {
  await using state = await State.open({ dir, clock: systemClock() });
  const { token } = await state.createClient("one");
  for (let n = 0; n < SECRETS; n++) {
    const value = `value-${n}-`.padEnd(VALUE_CHARS, String(n));
    const input = { name: `key-${n}`, host: "api.example.com", type: "bearer", value, cleartext: false };
    await state.putSecret(input, { force: false });
  }
  return { dir, token, keyId: (await state.sealKey()).id, values: valuesOf(state) };
}

function valuesOf(state: State): ReadonlyMap<string, string | undefined> {
  return new Map(state.listSecrets().map(({ name }) => [name, state.secretValue(name)?.value]));
}

async function fillFleet(stage: FleetStage, made: Made, fleet: string): Promise<void> {
  await using from = await Database.open(made.dir);
  await using to = await PostgresDatabase.open({
    address: parseStoreAddress(stage.server.url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(stage.server.caFile),
    ...{ fleet, timeoutMs: 30_000, name: "test", host: "", now: () => Date.now() },
  });
  await migrate({ from, to }, `${made.dir}/mk`, Date.now());
}

async function runChild(
  stage: FleetStage,
  [dir, sealKeyFile]: readonly [string, string],
  step: readonly [fleet: string, kind: string, nth: string],
): Promise<void> {
  const { stdout, stderr, signal } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...[
        "run",
        "--no-check",
        "--unstable-kv",
        "-A",
        "--config",
        new URL("../../deno.json", import.meta.url).pathname,
      ],
      ...[new URL("./fleet_reseal_child.ts", import.meta.url).pathname, dir, sealKeyFile],
      ...[stage.server.url, stage.server.caFile, ...step],
    ],
  }).output();
  const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  assertEquals(signal, "SIGKILL", `${step.join(" ")}: ${text}`);
}

function isThere(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

/** Resolves when the store has one key, and the host's files are in their places; with that key. */
async function untilOver(host: State, file: string): Promise<string> {
  await until("the rotation is over", async () => (await host.sealKey()).rotation === undefined);
  await until(
    "its key is in its place, and no other",
    async () => !await isThere(`${file}.next`) && !await isThere(`${file}.former`),
  );
  const { id } = await host.sealKey();
  assertEquals(await idIn(file), id);
  return id;
}

async function idIn(file: string): Promise<string> {
  const pairs = (await Deno.readTextFile(file)).trim().match(/../g) ?? [];
  return (await deriveKeys(Uint8Array.from(pairs.map((pair) => parseInt(pair, 16))))).id;
}

fleetTest(
  "the host that replaces the seal key is killed before each step, and another goes on",
  async (stage, t) => {
    const made = await makeState(`${stage.dir}/made`);
    const first = await Deno.readTextFile(`${made.dir}/mk`);
    for (const [i, [kind, nth, what]] of STEPS.entries()) {
      await t.step(`before ${what}`, async () => {
        const fleet = `f-${i}`;
        const keyOf = (name: string) => `${stage.dir}/${name}-${i}.keys/mk`;
        const open = (name: string) =>
          stage.host(`${name}-${i}`, { fleet, hostName: name, sealKeyFile: keyOf(name) });
        for (const name of ["one", "two"]) {
          await Deno.mkdir(`${stage.dir}/${name}-${i}.keys`);
          await Deno.copyFile(`${made.dir}/mk`, keyOf(name));
        }
        await fillFleet(stage, made, fleet);
        await runChild(stage, [`${stage.dir}/one-${i}`, keyOf("one")], [fleet, kind, String(nth)]);
        // What others would find out after its grace.
        await stage.server.sql(`UPDATE slicer_proxy.hosts SET is_dead = true WHERE fleet = '${fleet}'`);
        // The operator brings the new key, wherever the dead host has it; where it has none, there is none.
        const has = await Deno.readTextFile(keyOf("one"));
        const next = await Deno.readTextFile(`${keyOf("one")}.next`).catch(() => undefined);
        const newest = next ?? (has === first ? undefined : has);
        if (newest !== undefined) await Deno.writeTextFile(`${keyOf("two")}.next`, newest, { mode: 0o600 });

        await using two = await open("two");
        assertEquals([valuesOf(two), two.clientByToken(made.token)?.name], [made.values, "one"]);
        if ((await two.sealKey()).id === made.keyId) await two.fleet?.beginRotation(undefined);
        const id = await untilOver(two, keyOf("two"));
        assert(id !== made.keyId);
        assertEquals(valuesOf(two), made.values);
        const after = await Deno.readTextFile(keyOf("two"));

        if (has !== after) await Deno.writeTextFile(`${keyOf("one")}.next`, after, { mode: 0o600 });
        await using one = await open("one");
        assertEquals(await untilOver(one, keyOf("one")), id);
        assertEquals([valuesOf(one), one.clientByToken(made.token)?.name], [made.values, "one"]);
        assertEquals(await Deno.readTextFile(keyOf("one")), after);
      });
    }
  },
);
