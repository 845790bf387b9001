import { assert, assertEquals } from "@std/assert";
import { CopyKeeper, type TakenPolicy } from "../../../store/fleet/copy_keeper.ts";
import { loadCopy, LocalCopy } from "../../../store/fleet/local_copy.ts";
import { deriveKeys } from "../../../store/seal.ts";
import { until } from "./fleet_support.ts";
import { tempFolder } from "./support.ts";

const LOG = { info: () => {}, warn: () => {}, error: () => {} };

Deno.test("CopyKeeper: what was taken before a drop is not written after it", async () => {
  await using folder = await tempFolder();
  const keys = await deriveKeys(new Uint8Array(32));
  const copy = new LocalCopy(folder.path, "default", { keys });
  const load = (nowMs: number, graceMs: number) =>
    loadCopy({ dir: folder.path, fleet: "default" }, [keys], { nowMs, graceMs });
  const taken: PromiseWithResolvers<TakenPolicy>[] = [];
  const take = () => {
    const each = Promise.withResolvers<TakenPolicy>();
    taken.push(each);
    return each.promise;
  };
  const isThere = () => Deno.stat(`${folder.path}/fleet-copy`).then(() => true, () => false);
  const keeper = new CopyKeeper(copy, take, LOG);
  keeper.saveSoon();
  await until("it takes the policy", () => taken.length === 1);
  const dropped = keeper.drop(); // a newer policy is about to be in force
  taken[0]?.resolve({ position: { sequence: 1, changeId: undefined }, rows: [], keys });
  await dropped;
  await until("it takes the newer one", () => taken.length === 2);
  assertEquals(await isThere(), false);
  taken[1]?.resolve({ position: { sequence: 2, changeId: undefined }, rows: [], keys });
  await until("that is written", isThere);
  await copy.saveContact(1_000, 60_000);
  assertEquals((await load(1_001, 60_000)).sequence, 2);
  assertEquals((await load(1_001, 86_400_000)).heldUntilMs, 61_000); // a longer grace is not the one that was told
  await keeper[Symbol.asyncDispose]();
});

Deno.test("CopyKeeper: writing a large policy leaves room for everything else", async () => {
  await using folder = await tempFolder();
  const keys = await deriveKeys(new Uint8Array(32));
  const copy = new LocalCopy(folder.path, "default", { keys });
  const rows = Array.from({ length: 50_000 }, (_, i) => ({ key: ["rule", "id", i], value: { id: `${i}` } }));
  const take = () => Promise.resolve({ position: { sequence: 1, changeId: undefined }, rows, keys });
  const keeper = new CopyKeeper(copy, take, LOG);
  keeper.saveSoon();
  let turns = 0;
  const closed = keeper[Symbol.asyncDispose](); // it is written before that ends
  for (let isOver = false; !isOver;) {
    isOver = await Promise.race([
      closed.then(() => true),
      new Promise<false>((go) => setTimeout(() => go(false))),
    ]);
    turns++;
  }
  assert(turns > 50, `others had ${turns} turns meanwhile`);
  await copy.saveContact(1_000, 60_000);
  const place = { dir: folder.path, fleet: "default" };
  const { rows: written } = await loadCopy(place, [keys], { nowMs: 1_001, graceMs: 60_000 });
  assertEquals([written.length, written.at(-1)], [50_000, rows.at(-1)]);
});
