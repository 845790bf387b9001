import { assertEquals } from "@std/assert";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { PostgresDatabase } from "../../../store/postgres/database.ts";
import { postgresMissing, PostgresServer } from "../../support/postgres.ts";
import { testEngine } from "./engine_contract.ts";

testEngine("PostgresDatabase", async () => {
  const missing = await postgresMissing();
  if (missing !== undefined) return missing;
  const server = await PostgresServer.start();
  return {
    open: () => openDatabase(server),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
});

Deno.test("PostgresDatabase.changesAfter() gives few large changes at once, all of them in the end", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using server = await PostgresServer.start();
  await using db = await openDatabase(server);
  await db.initialise(new Uint8Array([1]), "id");
  for (const size of [1, 4_000_000, 4_000_000, 4_000_000, 1]) {
    await db.commit([{ key: ["row", size], value: { text: "x".repeat(size) } }]);
  }
  const read = async (after: number) => (await db.changesAfter(after)).map(({ sequence }) => sequence);
  assertEquals([await read(0), await read(3), await read(5)], [[1, 2, 3], [4, 5], []]);
});

async function openDatabase(server: PostgresServer): Promise<PostgresDatabase> {
  return await PostgresDatabase.open({
    address: parseStoreAddress(server.url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(server.caFile),
    timeoutMs: 20_000,
    name: "slicer-proxy test",
    fleet: "default",
    host: "host-1",
    now: Date.now,
  });
}
