import { assertEquals } from "@std/assert";
import { countersIn, LocalCounts } from "../../../../proxy/records/counts.ts";

Deno.test("LocalCounts counts each key by itself, up and down, and knows none at 0", () => {
  const counts = new LocalCounts();
  counts.add("a", 2);
  counts.add("b", 5);
  counts.add("a", 1);
  assertEquals([counts.of("a"), counts.of("b"), counts.of("c")], [3, 5, 0]);
  counts.add("a", -3);
  counts.add("b", -1);
  assertEquals([counts.of("a"), counts.of("b")], [0, 4]);
  counts.add("a", 1);
  assertEquals(counts.of("a"), 1);
});

Deno.test("countersIn() says what is open", () => {
  const counts = new LocalCounts();
  counts.add("connection", 3);
  counts.add("tunnel", 2);
  counts.add("idle upstream", 1);
  assertEquals(countersIn(counts), { connections: 3, openTunnels: 2, idleUpstreams: 1 });
});
