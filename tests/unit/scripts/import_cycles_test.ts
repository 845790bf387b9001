import { assert, assertEquals } from "@std/assert";
import { findCycles, importsIn, readGraph } from "../../../scripts/import_cycles.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

Deno.test("importsIn() finds every form of a relative import", () => {
  const source = [
    `import { a } from "./a.ts";`,
    `import type { B } from "../b.ts";`,
    `import {\n  c,\n} from "./c.ts";`,
    `import "./d.ts";`,
    `export { e } from "./e.ts";`,
    `export * from "./f.ts";`,
    `const g = async () => (await import("./g.ts")).run;`,
    `import { x } from "npm:x";`,
    `import { y } from "@std/assert";`,
  ].join("\n");
  const expected = ["./a.ts", "../b.ts", "./c.ts", "./d.ts", "./e.ts", "./f.ts", "./g.ts"];
  assertEquals(importsIn(source), expected);
});

Deno.test("findCycles() finds circles, and nothing where there is none", async (t) => {
  const rows: readonly (readonly [name: string, edges: readonly string[], expected: readonly string[]])[] = [
    ["none", ["a b", "a c", "b d", "c d"], []],
    ["a file and itself", ["a a"], ["a a"]],
    ["two files", ["a b", "b a"], ["a b a"]],
    ["a long way, behind others", ["a b", "b c", "c d", "d b"], ["b c d b"]],
    ["two circles", ["a b", "b a", "c d", "d c"], ["a b a", "c d c"]],
    ["a file that is not there", ["a gone"], []],
  ];
  for (const [name, edges, expected] of rows) {
    await t.step(name, () => {
      const graph = new Map<string, string[]>();
      for (const edge of edges) {
        const [from = "", to = ""] = edge.split(" ");
        graph.set(from, [...graph.get(from) ?? [], to]);
      }
      assertEquals(findCycles(graph).map((cycle) => cycle.join(" ")), expected);
    });
  }
});

Deno.test("readGraph() reads the whole program", async () => {
  const graph = await readGraph(ROOT);
  assert(graph.get(`${ROOT}main.ts`)?.includes(`${ROOT}cli/run.ts`));
  assert(graph.has(`${ROOT}sdk/slicer_proxy.ts`) && graph.has(`${ROOT}api/ui/dom.js`));
});
