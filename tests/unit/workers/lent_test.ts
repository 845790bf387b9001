import { assertEquals, assertStrictEquals } from "@std/assert";
import type { Credential } from "../../../secrets/credential.ts";
import { Lent } from "../../../workers/lent.ts";

const MOST = 256;

function credential(generation?: string): Credential {
  const made = { secret: "key", version: "1", host: "a.test", cleartext: false, headers: [], material: [] };
  return generation === undefined ? made : { ...made, generation };
}

Deno.test("Lent knows again what it has lent, by a number that stays the same", () => {
  const lent = new Lent();
  const [one, two] = [credential("1"), credential("2")];
  const ref = lent.lend(one)?.ref ?? -1;
  assertEquals(lent.lend(one)?.ref, ref);
  assertEquals(lent.lend(two)?.ref === ref, false);
  assertStrictEquals(lent.of(ref), one);
  assertEquals([lent.lend(undefined), lent.of(-1)], [undefined, undefined]);
});

Deno.test("Lent keeps nothing that cannot be renewed", () => {
  const lent = new Lent();
  const ref = lent.lend(credential())?.ref ?? -1;
  assertEquals(lent.of(ref), undefined);
});

Deno.test("Lent forgets what was not lent for the longest, and knows that again once it is lent again", () => {
  const lent = new Lent();
  const all = Array.from({ length: MOST + 1 }, (_, i) => credential(String(i)));
  const refs = all.slice(0, MOST).map((each) => lent.lend(each)?.ref ?? -1);
  lent.lend(all[0]); // now the second is the oldest
  lent.lend(all[MOST]);
  assertStrictEquals(lent.of(refs[0] ?? -1), all[0]);
  assertEquals(lent.of(refs[1] ?? -1), undefined);
  assertEquals(lent.lend(all[1])?.ref, refs[1]);
  assertStrictEquals(lent.of(refs[1] ?? -1), all[1]);
});
