import { assertEquals } from "@std/assert";
import { Newcomers, sourceOf } from "../../../core/newcomers.ts";

Deno.test("endOldest() ends the oldest of the source that has the most, or of the one that is named", () => {
  const ended: string[] = [];
  const newcomers = new Newcomers();
  const add = (source: string, name: string) => newcomers.add(source, () => ended.push(name));
  add("b", "b1");
  for (const name of ["a1", "a2", "a3"]) add("a", name);
  assertEquals([newcomers.size, newcomers.countOf("a"), newcomers.countOf("c")], [4, 3, 0]);
  newcomers.endOldest();
  newcomers.endOldest();
  assertEquals(ended, ["a1", "a2"]);
  newcomers.endOldest("b");
  newcomers.endOldest("b"); // it has none
  assertEquals([ended, newcomers.size], [["a1", "a2", "b1"], 1]);
  assertEquals([newcomers.endOldest(), newcomers.endOldest(), newcomers.size], [true, false, 0]);
});

Deno.test("who has said who it is makes no room", () => {
  const ended: string[] = [];
  const newcomers = new Newcomers();
  const grown = newcomers.add("a", () => ended.push("first"));
  newcomers.add("a", () => ended.push("second"));
  grown();
  grown();
  newcomers.endOldest();
  assertEquals([ended, newcomers.size], [["second"], 0]);
});

Deno.test("sourceOf() counts IPv6 by /64 and IPv4 by address, in either notation", async (t) => {
  const rows: [hostname: string, source: string][] = [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2::1", "20010db800010002::/64"],
    ["2001:db8:1:2:ffff:ffff:ffff:ffff", "20010db800010002::/64"],
    ["2001:db8:1:3::1", "20010db800010003::/64"],
    ["fe80::1%eth0", "fe80000000000000::/64"],
  ];
  for (const [hostname, source] of rows) {
    await t.step(hostname, () => assertEquals(sourceOf(hostname), source));
  }
});
