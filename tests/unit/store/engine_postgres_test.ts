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

Deno.test("PostgresDatabase keeps so many bytes of changes, and the last one however large it is", async (t) => {
  const missing = await postgresMissing();
  if (missing !== undefined) {
    return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
  }
  await using server = await PostgresServer.start();
  await using db = await openDatabase(server);
  await db.initialise(new Uint8Array([1]), "id");
  const change = (size: number) => db.commit([{ key: ["row", size], value: { text: "x".repeat(size) } }]);
  const kept = async () => (await server.sql(
    "SELECT count(*), sum(octet_length(mutations)) <= 67108864, max(sequence) FROM slicer_proxy.changes",
  ));
  for (let i = 0; i < 6; i++) await change(12_000_000); // as it is kept, a third more
  assertEquals(await kept(), "4|t|6");
  await change(60_000_000);
  assertEquals(await kept(), "1|f|7");
  for (let i = 8; i < 64; i++) await change(1);
  assertEquals(await kept(), "57|f|63");
  await change(1); // small ones are counted now and then
  assertEquals(await kept(), "57|t|64");
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
