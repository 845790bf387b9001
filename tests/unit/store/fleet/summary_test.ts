import { assertEquals } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { readSummary } from "../../../../store/fleet/summary.ts";
import type { PostgresDatabase } from "../../../../store/postgres/database.ts";
import { assertCode } from "../support.ts";

const STANDING = { keyId: "k", nextKeyId: undefined, formerKeyId: undefined, switchedAt: undefined };

/** A store with as many rows of each kind as its name has letters. */
function storeOf(
  position: () => Promise<unknown>,
): { readonly db: PostgresDatabase; readonly asked: string[] } {
  const asked: string[] = [];
  const note = <T>(what: string, answer: T): Promise<T> => {
    asked.push(what);
    return Promise.resolve(answer);
  };
  const db = {
    position: () => note("position", undefined).then(position),
    link: { query: () => note("hosts", [{ sequence: 7, id: null }]) },
    count: ([kind]: Deno.KvKey) => note(`count ${String(kind)}`, String(kind).length),
    rows: async function* () {},
    sizeBytes: () => note("size", 9),
  };
  return { db: db as unknown as PostgresDatabase, asked };
}

Deno.test("readSummary() counts what a store holds of each kind", async () => {
  const { db } = storeOf(() => Promise.resolve({ sequence: 7, changeId: "c", seal: STANDING }));
  assertEquals(await readSummary(db, 0), {
    ...{ sequence: 7, clients: 6, rules: 4, secrets: 6, cas: [], bytes: 9, hosts: [], rotation: undefined },
  });
});

Deno.test("readSummary() reads nothing of tables that a newer program has changed", async () => {
  const { db, asked } = storeOf(() => Promise.reject(new ProxyError("state.newer", "Cannot use the store")));
  await assertCode(readSummary(db, 0), "state.newer");
  assertEquals(asked, ["position"]);
});
