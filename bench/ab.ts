/**
 * `deno run -A bench/ab.ts CHECKOUT… .`: the CPU of an inspected request, and of a new tunnel, in this checkout and in others:
 *
 *     git worktree add --detach /tmp/before COMMIT
 *     deno run -A bench/ab.ts /tmp/before .
 *
 * All of them run at once and are loaded in turns, in short rounds, so that a machine which is busy with something else
 * disturbs all alike; what counts are the medians, and the median of each against the first in the same round. Needs nginx
 * and hey. `BENCH_ROUNDS` is 25; `engine` and `go` stand for what the bench compares with. `BENCH_LOADS` has those of
 * the loads whose titles hold it.
 *
 * @module
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { hey } from "./load.ts";
import type { Peer } from "./peer.ts";
import { startEngine } from "./peer_engine.ts";
import { startGo } from "./peer_go.ts";
import { startSlicer } from "./peer_slicer.ts";
import { Rig } from "./rig.ts";
import { format, median } from "./stats.ts";

const ROUNDS = Number(Deno.env.get("BENCH_ROUNDS") ?? 25);
const LOADS = [
  { title: "request, 50 connections", connections: 50, seconds: 1 },
  { title: "request, 1 connection", connections: 1, seconds: 0.5 },
  { title: "new tunnel", connections: 8, seconds: 1, newTunnels: true },
] as const;

/** Microseconds of CPU for each answer. */
async function sample(peer: Peer, load: typeof LOADS[number]): Promise<number> {
  const before = threadsNs(peer);
  const { requests } = await hey(peer.inspected, load);
  return (threadsNs(peer) - before) / 1_000 / requests;
}

/** On a CPU so far, finer than by ticks. Threads that have ended are left out; those of a proxy stay. */
function threadsNs({ pids }: Peer): number {
  return pids.flatMap((pid) => [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) => [pid, name]))
    .reduce(
      (sum, [pid, task]) =>
        sum + Number(Deno.readTextFileSync(`/proc/${pid}/task/${task}/schedstat`).split(" ")[0]),
      0,
    );
}

async function main(roots: readonly string[]): Promise<void> {
  await using rig = await Rig.open();
  const peers: Peer[] = [];
  for (const root of roots) {
    if (root === "engine") peers.push(await startEngine(rig));
    else if (root === "go") peers.push(await startGo(rig));
    else peers.push(await startSlicer(rig, 1, { root: pathToFileURL(`${resolve(root)}/`) }));
  }
  for (const load of LOADS.filter(({ title }) => title.includes(Deno.env.get("BENCH_LOADS") ?? ""))) {
    for (const peer of peers) await hey(peer.inspected, { ...load, seconds: 8 }); // warms up: a JIT takes its time
    const samples = peers.map((): number[] => []);
    for (let round = 0; round < ROUNDS; round++) {
      // Whoever comes second finds the machine warmer.
      const order = [...peers.keys()];
      for (const i of round % 2 === 0 ? order : order.reverse()) {
        const peer = peers[i];
        if (peer) samples[i]?.push(await sample(peer, load));
      }
    }
    const [first = []] = samples;
    for (const [i, own] of samples.entries()) {
      const ratio = median(own.map((us, round) => us / (first[round] ?? NaN)));
      const line =
        `${load.title}: median ${format(median(own), 1)} µs, least ${format(Math.min(...own), 1)}, ` +
        `${ratio.toFixed(3)} of the first  ${roots[i]}\n`;
      await Deno.stdout.write(new TextEncoder().encode(line));
    }
  }
}

if (import.meta.main) await main(Deno.args.length === 0 ? ["."] : Deno.args);
