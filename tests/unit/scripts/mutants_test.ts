import { assertEquals } from "@std/assert";
import { applyMutant, mutantsOf } from "../../../scripts/mutants.ts";

Deno.test("mutantsOf() finds each place where a small change makes the code wrong", () => {
  const source = [
    "import { a } from './a.ts';",
    "export function f(x: number): boolean {",
    "  if (x < 3 && !g()) throw new RangeError(`x is ${x + 1}`);",
    "  release();",
    '  return ["one"].includes(String(x));',
    "}",
  ].join("\n");
  const found = mutantsOf("f.ts", source).map((mutant) =>
    applyMutant(source, mutant).split("\n").find((line, i) => line !== source.split("\n")[i])?.trim()
  );
  assertEquals(found, [
    "if (true) throw new RangeError(`x is ${x + 1}`);",
    "if (false) throw new RangeError(`x is ${x + 1}`);",
    "if (x < 3 || !g()) throw new RangeError(`x is ${x + 1}`);",
    "if (x <= 3 && !g()) throw new RangeError(`x is ${x + 1}`);",
    "if (x < 4 && !g()) throw new RangeError(`x is ${x + 1}`);",
    "if (x < 3 && g()) throw new RangeError(`x is ${x + 1}`);",
    "if (x < 3 && !g()) ;",
    ";",
    "return [...[]].includes(String(x));",
  ]);
});
