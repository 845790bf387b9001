import { assertEquals } from "@std/assert";
import { newestPostgres } from "../../support/postgres.ts";

Deno.test("newestPostgres() finds the newest server that tests may use, whatever its version is", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-versions-" });
  try {
    assertEquals(newestPostgres(`${dir}/none`), undefined);
    assertEquals(newestPostgres(dir), undefined);
    const install = async (version: string, program: string) => {
      await Deno.mkdir(`${dir}/${version}/bin`, { recursive: true });
      await Deno.writeTextFile(`${dir}/${version}/bin/${program}`, "");
    };
    await install("12", "initdb");
    await install("common", "initdb");
    assertEquals(newestPostgres(dir), undefined); // too old, and none
    await install("13", "initdb");
    await install("9.6", "initdb");
    assertEquals(newestPostgres(dir), `${dir}/13/bin`);
    await install("17", "initdb");
    await install("18", "psql"); // the client without a server
    await Deno.mkdir(`${dir}/19`);
    assertEquals(newestPostgres(dir), `${dir}/17/bin`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
