import { assertEquals, assertThrows } from "@std/assert";
import { RecentMap } from "../../../core/recent_map.ts";

Deno.test("RecentMap drops what was not used for longest, and reading is using", () => {
  const map = new RecentMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  assertEquals(map.get("a"), 1);
  map.set("c", 3);
  assertEquals([map.get("a"), map.get("b"), map.get("c"), map.size], [1, undefined, 3, 2]);
  map.set("a", 4); // not a new one
  assertEquals([map.get("a"), map.get("c"), map.size], [4, 3, 2]);
  map.delete("a");
  assertEquals([map.get("a"), map.size], [undefined, 1]);
  assertThrows(() => new RecentMap(0), RangeError);
});
