import { assertEquals } from "@std/assert";
import { sdkTypes, TYPES_FILE } from "../../../scripts/sdk_types.ts";
import config from "../../../deno.json" with { type: "json" };
import manifest from "../../../sdk/package.json" with { type: "json" };

Deno.test("sdk/openapi.ts is what the API's document says today: else run deno task sdk:types", async () => {
  assertEquals((await Deno.readTextFile(TYPES_FILE)).split("\n"), (await sdkTypes()).split("\n"));
});

Deno.test("the SDK has the program's version, and depends on nothing", () => {
  assertEquals(manifest.version, config.version);
  assertEquals(Object.keys(manifest).filter((key) => /dependencies/i.test(key)), []);
});
