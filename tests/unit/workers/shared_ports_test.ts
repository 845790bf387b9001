import { assert, assertEquals } from "@std/assert";
import { makePortsMemory, SharedPorts } from "../../../workers/shared_ports.ts";

Deno.test("SharedPorts knows the ports of every thread, and forgets those of one that is gone", () => {
  const memory = makePortsMemory(3);
  const [main, one, two] = [0, 1, 2].map((plane) => new SharedPorts(memory, plane));
  assert(main && one && two);
  const edges = [0, 31, 32, 33, 3_128, 65_534, 65_535];
  for (const port of edges) {
    assertEquals(two.has(port), false);
    one.add(port);
    assertEquals([main.has(port), two.has(port), two.has(port ^ 1)], [
      true,
      true,
      edges.includes(port ^ 1) && port % 2 === 1,
    ]);
  }
  two.add(32);
  one.delete(32);
  assertEquals(main.has(32), true); // the other thread listens there still
  main.clear(1);
  assertEquals(edges.map((port) => main.has(port)), edges.map((port) => port === 32));
});
