/**
 * `deno task profile`: what a request costs, stage by stage. Where CPU time goes (V8's sampling profiler), how many bytes and
 * promises are made (counts, the same on any machine) and by which stage. `--lines N` names the N places of each that cost most.
 *
 * It runs this checkout; for a comparison, run it in two. Nothing has to be installed.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { Lab } from "./lab.ts";
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
const WARM_UP = 8_000;
const REQUESTS = 8_000;
/** With a stack for each promise a request takes some milliseconds. */
const TRACED = 800;

/** Measures, and prints Markdown. */
async function main(): Promise<void> {
  const { lines = "0" } = parseArgs(Deno.args, { string: ["lines"] });
  await using lab = await Lab.open({ preload: PROBE });
  const load = (requests: number) => () => lab.ask(requests, TUNNELS);
  await lab.ask(WARM_UP, TUNNELS);
  const bytes = await probed(lab, "bytes", load(REQUESTS)) as number / REQUESTS;
  const time = timeCosts(await probed(lab, "time", load(REQUESTS)) as TimeProfile, REQUESTS);
  const heap = await probed(lab, "heap", load(REQUESTS)) as { readonly head: HeapNode };
  const old = await probed(lab, "survivors", load(REQUESTS)) as { readonly head: HeapNode };
  const made = await probed(lab, "promises", load(TRACED)) as readonly [string, number][];
  const costs = {
    "µs": time,
    bytes: heapCosts(heap.head, REQUESTS),
    "that get old": heapCosts(old.head, REQUESTS),
    promises: promiseCosts(made, TRACED),
  };
  say(table(costs));
  say(`Without a profiler a request allocates ${bytes.toFixed(0)} bytes.\n`);
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
