import { assert, assertEquals } from "@std/assert";
import { Engine, Pool } from "../../../bench/fleet_engine.ts";
import { benchPlace, costsOf, simulate } from "../../../bench/fleet_model.ts";
import measured from "../../../bench/fleet_measured.json" with { type: "json" };

/** How far the model may be from what was measured, either way: the machine of that run had other work too. */
const FACTOR = 2;
const COSTS = { questionMs: 0.1, changeMs: 1, hostMs: 1, commitMs: 1 };
const PLACE = {
  ...{ hosts: 20, serverCores: 8, others: 0, isOneMachine: false },
  network: { ms: 0.25, spread: 0.5 },
};

Deno.test("the model of a fleet agrees with what was measured of 2, 10 and 20 hosts", async (t) => {
  const costs = costsOf(measured);
  for (const size of measured.sizes) {
    const { p50Ms } = simulate(benchPlace(size, measured), costs, { changes: 200 });
    await t.step(
      `${size.hosts} hosts: ${size.p50Ms.toFixed(0)} ms measured, ${p50Ms.toFixed(0)} ms by the model`,
      () => {
        assert(p50Ms < size.p50Ms * FACTOR && p50Ms > size.p50Ms / FACTOR);
      },
    );
  }
});

Deno.test("simulate() gives the same numbers for the same seed, and others for another", () => {
  const outcome = simulate(PLACE, COSTS, { seed: 7 });
  assertEquals(simulate(PLACE, COSTS, { seed: 7 }), outcome);
  assert(simulate(PLACE, COSTS, { seed: 8 }).p50Ms !== outcome.p50Ms);
});

Deno.test("simulate() says what more hosts, fewer cores and a slow network do", () => {
  const at = (more: Partial<typeof PLACE>) => simulate({ ...PLACE, ...more }, COSTS, { changes: 30 });
  const base = at({});
  assert(at({ hosts: 1_000 }).p50Ms > base.p50Ms);
  assert(at({ hosts: 1_000, serverCores: 1 }).p50Ms > at({ hosts: 1_000 }).p50Ms * 3);
  assert(
    at({ network: { ms: 40, spread: 0.1 } }).p50Ms > 40 * 14,
    "a change takes seven answers, one after the other",
  );
  const slow = simulate({ ...PLACE, hosts: 1_000, serverCores: 1 }, { ...COSTS, questionMs: 1 }, {
    changes: 3,
  });
  assertEquals([base.late, slow.late], [0, 3]);
  // A change's own questions, those of 19 others and of its own host, and the looks.
  assert(base.serverMs > 1 + 4 * 0.1 + 19 * 0.5 && base.serverMs < 1 + 4 * 0.1 + 20 * 0.5 + 20 * 0.2);
});

Deno.test("Pool shares its cores equally among all that want one", () => {
  const engine = new Engine(1);
  const pool = new Pool(engine, 2, 0);
  const ends: [string, number][] = [];
  const end = (name: string) => () => void ends.push([name, engine.now]);
  pool.run(4, end("a"));
  pool.run(8, end("b"));
  engine.after(2, () => pool.run(2, end("c"))); // three for two cores: each has two thirds of one
  engine.drain();
  assertEquals(ends.map(([name, at]) => [name, Math.round(at * 1e6) / 1e6]), [["a", 5], ["c", 5], ["b", 9]]);
  assertEquals(pool.workedMs, 14);
});
