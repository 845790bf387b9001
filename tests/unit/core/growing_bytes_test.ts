import { assertEquals } from "@std/assert";
import { GrowingBytes } from "../../../core/growing_bytes.ts";

Deno.test("GrowingBytes holds what was added and not taken, in order", () => {
  const held = new GrowingBytes();
  const text = () => held.bytes.toString("latin1");
  const add = (piece: string) => held.add(new TextEncoder().encode(piece));
  assertEquals([held.size, text()], [0, ""]);
  add("hello ");
  add("");
  add("world");
  assertEquals(held.take(6).toString(), "hello ");
  add("!");
  assertEquals([held.size, text()], [6, "world!"]);
  assertEquals(held.take(100).toString(), "world!");
  held.clear();
  assertEquals(held.size, 0);
});

Deno.test("GrowingBytes.take() gives a copy, which later pieces do not change", () => {
  const held = new GrowingBytes();
  held.add(Uint8Array.of(1, 2, 3));
  const taken = held.take(2);
  held.add(Uint8Array.of(9, 9, 9));
  assertEquals([...taken], [1, 2]);
  assertEquals([...held.bytes], [3, 9, 9, 9]);
});
