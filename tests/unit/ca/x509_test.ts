import { assertEquals, assertMatch } from "@std/assert";
import "../../../ca/authority.ts";
import "../../../ca/issue.ts";
import "../../../ca/leaf_cache.ts";
import "../../../ca/renewal.ts";
import { loadX509, randomSerial } from "../../../ca/x509.ts";

Deno.test("loadX509() loads the library when it is called, not when ca/ is imported", async () => {
  assertEquals("metadata" in Reflect, false); // what reflect-metadata, and with it the library, would have added
  const x509 = await loadX509();
  assertEquals("metadata" in Reflect, true);
  assertEquals(await loadX509(), x509);
});

Deno.test("randomSerial() is 16 bytes, positive, never the same", () => {
  const serials = Array.from({ length: 1_000 }, randomSerial);
  for (const serial of serials) assertMatch(serial, /^[4-7][0-9a-f]{31}$/);
  assertEquals(new Set(serials).size, serials.length);
});
