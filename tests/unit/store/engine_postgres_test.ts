import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { PostgresDatabase } from "../../../store/postgres/database.ts";
import { postgresMissing, PostgresServer } from "../../support/postgres.ts";
import { testEngine } from "./engine_contract.ts";

testEngine("PostgresDatabase", async () => {
  const missing = await postgresMissing();
  if (missing !== undefined) return missing;
  const server = await PostgresServer.start();
  return {
    open: async () =>
      await PostgresDatabase.open({
        address: parseStoreAddress(server.url),
        password: () => Promise.resolve("change-me"),
        caPem: await Deno.readTextFile(server.caFile),
        timeoutMs: 20_000,
        name: "slicer-proxy test",
        fleet: "default",
        host: "host-1",
        now: Date.now,
      }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
});
