/**
 * `deno task profile`: what a request costs, stage by stage; with `--tunnels`, what a new tunnel with one request costs. Where CPU time goes (V8's sampling profiler), how many bytes and
 * promises are made (counts, the same on any machine) and by which stage. `--lines N` names the N places of each that cost most.
 *
 * It runs this checkout; for a comparison, run it in two. Nothing has to be installed.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { Lab } from "./lab.ts";
import type { Measure } from "./probe.ts";
import { PROBE, probed } from "./probed.ts";
import {
  type Costs,
  heapCosts,
  type HeapNode,
  LOOP,
  OUTSIDE,
  promiseCosts,
  timeCosts,
  type TimeProfile,
} from "./profile_costs.ts";
import { STAGE_NAMES } from "./stages.ts";

/** Tunnels at once, each with one request under way. */
const TUNNELS = 16;

/** What is asked for, and how often. With a stack for each promise everything takes some milliseconds. */
interface Load {
  readonly what: string;
  readonly ask: (lab: Lab, count: number) => Promise<void>;
  readonly count: number;
  readonly traced: number;
}
const REQUESTS: Load = {
  what: "request",
  ask: (lab, count) => lab.ask(count, TUNNELS),
  count: 8_000,
  traced: 800,
};
const NEW_TUNNELS: Load = {
  what: "new tunnel",
  ask: (lab, count) => lab.askAnew(count, TUNNELS),
  count: 3_200,
  traced: 320,
};

/** Measures, and prints Markdown. */
async function main(): Promise<void> {
  const { lines = "0", tunnels } = parseArgs(Deno.args, { string: ["lines"], boolean: ["tunnels"] });
  const { what, ask, count, traced } = tunnels ? NEW_TUNNELS : REQUESTS;
  await using lab = await Lab.open({ preload: PROBE });
  await ask(lab, count); // warms up
  const measure = (kind: Measure) => {
    const asked = kind === "promises" ? traced : count;
    return probed(lab, kind, () => ask(lab, asked));
  };
  const bytes = await measure("bytes") as number / count;
  const looks = await measure("looks") as number / count;
  const time = timeCosts(await measure("time") as TimeProfile, count);
  const heap = await measure("heap") as { readonly head: HeapNode };
  const old = await measure("survivors") as { readonly head: HeapNode };
  const made = await measure("promises") as readonly [string, number][];
  const costs = {
    "µs": time,
    bytes: heapCosts(heap.head, count),
    "that get old": heapCosts(old.head, count),
    promises: promiseCosts(made, traced),
  };
  say(table(costs));
  say(`Without a profiler a ${what} allocates ${bytes.toFixed(0)} bytes.`);
  say(`It looks at the clock ${looks.toFixed(1)} times.\n`);
  for (const [unit, { byPlace }] of Object.entries(costs)) {
    for (const [place, amount] of sorted(byPlace).slice(0, Number(lines))) {
      say(`${amount.toFixed(1).padStart(9)} ${unit}  ${place}`);
    }
  }
}

/** A row for each stage, and their sum. */
function table(costs: Readonly<Record<string, Costs>>): string {
  const all = Object.values(costs);
  const row = (title: string, figure: (costs: Costs) => number) =>
    `| ${[title, ...all.map((each) => figure(each).toFixed(1))].join(" | ")} |`;
  const rows = [...STAGE_NAMES, LOOP, ...new Set(Object.values(OUTSIDE))].map((stage) =>
    row(stage, ({ byStage }) => byStage.get(stage) ?? 0)
  );
  const sum = row("sum", ({ byStage }) => [...byStage.values()].reduce((a, b) => a + b, 0));
  const head = [`| | ${Object.keys(costs).join(" | ")} |`, `| --- |${" ---: |".repeat(all.length)}`];
  return [...head, ...rows, sum, ""].join("\n");
}

function sorted(amounts: ReadonlyMap<string, number>): readonly (readonly [string, number])[] {
  return [...amounts].sort(([, a], [, b]) => b - a);
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

if (import.meta.main) await main();
