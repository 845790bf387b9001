import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { checkRows, nextPlace, sourceOf, switchedKey } from "../../../../store/fleet/rows.ts";
import { RULE_PREFIX } from "../../../../store/rules.ts";

const rule = (place: number, value: Record<string, unknown> | undefined = {}) => ({
  key: [...RULE_PREFIX, "client", place, "id"],
  value,
});

Deno.test("nextPlace() is behind all rules that are put, and first where none is", () => {
  assertEquals(nextPlace([]), 0);
  assertEquals(nextPlace([rule(0)]), 1);
  assertEquals(nextPlace([rule(7), rule(2.5)]), 8);
  assertEquals(nextPlace([{ key: [...RULE_PREFIX, "client", 9, "id"] }, rule(2.5)]), 3);
  assertEquals(nextPlace([{ key: ["clients", "x", 9], value: {} }]), 0);
});

Deno.test("checkRows() refuses a rule of a newer version, and looks at no other row", () => {
  const key = [...RULE_PREFIX, "client", 1, "id"];
  checkRows([{ key: ["clients", "c"], value: { never: 1 } }]);
  assertEquals(
    assertThrows(() => checkRows([{ key, value: { host: "a.test", never: 1 } }]), ProxyError).code,
    "state.newer",
  );
});

Deno.test("sourceOf() gives the rows below a prefix, in their order", async () => {
  const rows = [["a"], ["rule", "c", 1], ["rule", "c", 2], ["rule", "d", 1]].map((key) => ({
    key,
    value: {},
  }));
  const below = async (prefix: Deno.KvKey) =>
    (await Array.fromAsync(sourceOf(rows).rows(prefix))).map(({ key }) => key.join(" "));
  assertEquals(await below(["rule"]), ["rule c 1", "rule c 2", "rule d 1"]);
  assertEquals(await below(["rule", "c"]), ["rule c 1", "rule c 2"]);
  assertEquals(await below(["c"]), []);
  assertEquals((await below([])).length, 4);
});

Deno.test("switchedKey() is the key that comes into force with a change, and none otherwise", () => {
  assertEquals(switchedKey([rule(1)]), undefined);
  assertEquals(switchedKey([rule(1), { key: ["seal"], value: { keyId: "ab" } }]), "ab");
});
