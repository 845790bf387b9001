/**
 * `deno run -A bench/layers.ts`: in which layer the CPU of an inspected request goes, for this proxy, the engine alone and Go,
 * by sampling the whole process: what is the kernel's, what the runtime's, and what is this program's. Two minutes; needs
 * Linux, perf (`apt-get install linux-perf`), nginx, hey and go.
 *
 * Not here: which stage of a request costs what (`profile.ts`); comparisons of whole requests (`ab.ts`).
 *
 * @module
 */
import { hey } from "./load.ts";
import type { Peer } from "./peer.ts";
import { startEngine } from "./peer_engine.ts";
import { startGo } from "./peer_go.ts";
import { startSlicer } from "./peer_slicer.ts";
import { Rig } from "./rig.ts";
import { format } from "./stats.ts";

/** V8 names what it has compiled in `/tmp/perf-PID.map`, which perf reads. */
const V8_FLAGS = "--perf-basic-prof";
const HERTZ = 1_999;
const CONNECTIONS = 50;
/** A JIT takes its time. */
const WARM_UP_SECONDS = 8;
const SECONDS = 10;

/** From the top of a stack downwards. */
interface Sample {
  readonly thread: string;
  readonly frames: readonly string[];
}

/** Each sample counts for the first layer that has it. */
const LAYERS: readonly (readonly [string, (sample: Sample) => boolean])[] = [
  ["kernel", ({ frames: [top = ""] }) => top.includes("([kernel") || top.includes("[vdso]")],
  ["memory of the C library", ({ frames: [top = ""] }) => top.includes("/libc.so")],
  ["V8's other threads: collecting garbage, compiling", ({ thread }) => thread.startsWith("V8 ")],
  ["this program's own code", ({ frames: [top = ""] }) => top.includes(".map)")],
  [
    "the runtime, called by it: promises, reads and writes, strings",
    ({ frames }) => frames.some((frame) => frame.includes(".map)")),
  ],
  ["the runtime by itself: event loop, TLS, garbage", () => true],
];

async function main(): Promise<void> {
  await using rig = await Rig.open();
  const starts = [
    () => startSlicer(rig, 1, { v8Flags: V8_FLAGS }),
    () => startEngine(rig, V8_FLAGS),
    () => startGo(rig),
  ];
  const columns: { readonly name: string; readonly layers: ReadonlyMap<string, number> }[] = [];
  for (const start of starts) {
    const peer = await start();
    columns.push({ name: peer.name, layers: await measure(peer, rig) });
    await peer.stop();
  }
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const figures = (layer: string) => columns.map(({ layers }) => format(layers.get(layer) ?? 0, 1));
  const sums = columns.map(({ layers }) => format([...layers.values()].reduce((a, b) => a + b, 0), 1));
  const lines = [
    row(["µs of CPU for a request", ...columns.map(({ name }) => name)]),
    row(["---", ...columns.map(() => "---:")]),
    ...LAYERS.map(([layer]) => row([layer, ...figures(layer)])),
    row(["sum", ...sums]),
  ];
  await Deno.stdout.write(new TextEncoder().encode(lines.join("")));
}

/** Microseconds of a request by layer. */
async function measure({ inspected, pids }: Peer, rig: Rig): Promise<ReadonlyMap<string, number>> {
  await hey(inspected, { connections: CONNECTIONS, seconds: WARM_UP_SECONDS });
  const file = `${rig.dir}/perf.data`;
  const recording = new Deno.Command("perf", {
    args: ["record", "--quiet", "-F", `${HERTZ}`, "--call-graph", "fp", "-p", pids.join(","), "-o", file],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const { requests } = await hey(inspected, { connections: CONNECTIONS, seconds: SECONDS });
  recording.kill("SIGINT");
  await recording.status;
  const layers = new Map<string, number>();
  for (const sample of await samplesIn(file)) {
    const layer = LAYERS.find(([, isIn]) => isIn(sample))?.[0] ?? "";
    layers.set(layer, (layers.get(layer) ?? 0) + 1_000_000 / HERTZ / requests);
  }
  return layers;
}

/** `perf script` prints a line with the thread's name, one for each frame, and an empty one. */
async function samplesIn(file: string): Promise<readonly Sample[]> {
  const { stdout } = await new Deno.Command("perf", {
    args: ["script", "-i", file, "-F", "comm,ip,sym,dso"],
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout).split("\n\n").flatMap((block) => {
    const [thread = "", ...frames] = block.split("\n").filter((line) => line.trim() !== "");
    return frames.length === 0 ? [] : [{ thread: thread.trim(), frames }];
  });
}

if (import.meta.main) await main();
