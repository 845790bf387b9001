import { assertEquals } from "@std/assert";
import { judge, Results } from "../../../bench/results.ts";

const CPU = { key: "cpu", title: "CPU", unit: "µs", digits: 0, better: "less" } as const;

Deno.test("judge() says of each target whether the medians reach it", () => {
  const results = new Results();
  const targets = [
    { peer: "Go", factor: 1 },
    { peer: "Squid", factor: 0.5 },
    { peer: "not here", factor: 1 },
    { atMost: 90 },
  ];
  const spec = { ...CPU, targets };
  results.add(spec, "ours", 80, 90, 700);
  results.add(spec, "Go", 100);
  results.add(spec, "Squid", 100);
  assertEquals(results.rows.map((row) => judge(row, "ours")), [[
    { ok: true, words: "≤ 1× Go: 0.90×" },
    { ok: false, words: "≤ 0.5× Squid: 0.90×" },
    { ok: true, words: "≤ 90 µs" },
  ]]);
});

Deno.test("judge() wants as much as the target says where more is better", () => {
  const results = new Results();
  const spec = { ...CPU, better: "more", targets: [{ peer: "Go", factor: 1.1 }] } as const;
  results.add(spec, "ours", 109);
  results.add(spec, "Go", 100);
  assertEquals(results.rows.flatMap((row) => judge(row, "ours")), [{ ok: false, words: "≥ 1.1× Go: 1.09×" }]);
});
