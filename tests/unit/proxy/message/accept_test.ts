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

Deno.test("prefersJson() reads the weight among eight parameters, and takes one behind them for none", () => {
  const others = (count: number) => Array.from({ length: count }, (_, i) => `;p${i}=1`).join("");
  assertEquals(json(`application/json${others(7)};q=0.1, text/plain;q=0.5`), false);
  assertEquals(json(`application/json${others(8)};q=0.1, text/plain;q=0.5`), true);
});

Deno.test("prefersJson() weighs what is not said as 1, and the best of each kind", () => {
  assertEquals(json("text/plain;q=0.9, application/json"), true);
  assertEquals(json("application/json;q=0.2, application/a+json;q=0.9, text/x;q=0.8, text/y;q=0.1"), true);
  assertEquals(json("application/json;q=0.9, application/a+json;q=0.2, text/x;q=0.1, text/y;q=0.95"), false);
  assertEquals(json("text/plain;q=0"), false);
  assertEquals(json("application/json;q=1, text/plain"), true);
  assertEquals(json("application/json;q=1, text/plain;q=1"), true);
  assertEquals(json("application/json;q=0.5, text/plain;q=0.5"), true);
  assertEquals(json("application/xml, textual/plain"), false);
  assertEquals(json("application/json;q=0.5, textual/plain;q=0.9"), true);
});
