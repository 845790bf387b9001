import { assertEquals } from "@std/assert";
import { prefersJson } from "../../../../proxy/message/accept.ts";
import { makeField } from "../../../../proxy/message/fields.ts";

const json = (...values: string[]) => prefersJson(values.map((value) => makeField("Accept", value)));

Deno.test("prefersJson() reads parameters with spaces around their separators", () => {
  assertEquals(json("application/json ; q=0.4 , text/plain\t;\tq=0.5"), false);
  assertEquals(json("application/json ; charset=utf-8 ;q=0.6", "text/plain ; q=0.5"), true);
});

Deno.test("prefersJson() takes a list that is too long for none", () => {
  const others = (count: number) => Array.from({ length: count }, () => "a/b").join();
  assertEquals(json(others(31) + ",application/json"), true);
  assertEquals(json(others(32) + ",application/json"), false);
  assertEquals(json("application/json" + " ".repeat(2_032)), true);
  assertEquals(json("application/json" + " ".repeat(2_033)), false);
  assertEquals(json("application/json", " ".repeat(2_033)), false);
});
