import { assertEquals } from "@std/assert";
import { NO_FIGURES, readFigures, sumFigures } from "../../../store/fleet/host_figures.ts";

const FIGURES = { connections: 1, tunnels: 2, allowed: 3, denied: 4, passedThrough: 5 };

Deno.test("readFigures() takes counts, and of anything else that a row holds nothing", () => {
  assertEquals(readFigures({ ...FIGURES, other: 6 }), FIGURES);
  for (const json of [null, undefined, 1, "x", [], {}]) assertEquals(readFigures(json), NO_FIGURES);
  for (
    const [value, expected] of [
      [-1, 0],
      [0, 0],
      [1.9, 1],
      ["1", 0],
      [NaN, 0],
      [1e12, 1e12],
      [Infinity, 1e12],
      [1e13, 1e12],
    ]
  ) {
    assertEquals(readFigures({ ...FIGURES, tunnels: value }), { ...FIGURES, tunnels: expected });
  }
});

Deno.test("sumFigures() adds up each figure by itself", () => {
  assertEquals(sumFigures([]), NO_FIGURES);
  assertEquals(sumFigures([FIGURES, { ...FIGURES, denied: 10 }]), {
    connections: 2,
    tunnels: 4,
    allowed: 6,
    denied: 14,
    passedThrough: 10,
  });
});
