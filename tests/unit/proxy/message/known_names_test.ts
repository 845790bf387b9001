import { assertEquals } from "@std/assert";
import { isAmbiguousName } from "../../../../proxy/message/fields.ts";
import { knownKey } from "../../../../proxy/message/known_names.ts";

Deno.test("knownKey() knows a name as it is mostly written and in lower case, and no other", () => {
  for (const name of ["Content-Length", "content-length"]) assertEquals(knownKey(name), "content-length");
  for (const name of ["CONTENT-LENGTH", "Content_Length", "Content-Length ", " host", "", "constructor"]) {
    assertEquals(knownKey(name), undefined, name);
  }
  assertEquals(isAmbiguousName(knownKey("Transfer-Encoding") ?? ""), false);
});
