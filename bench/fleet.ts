// deno-lint-ignore-file no-console
/**
 * A fleet on a real PostgreSQL, its hosts real processes: `deno run -A bench/fleet.ts [--hosts 20] [--clients 1000]
 * [--rules 100] [--changes 200]`, or `BENCH_SHORT=1` for four hosts and few rules. How long a change takes until it is in force
 * on every host, what it costs the database, and what a host takes to start and to keep. A run of full size writes
 * `fleet_measured.json`, from which the model takes what things cost (`fleet_model.ts`), and `results_fleet.md`.
 *
 * Everything runs on this one machine: what 20 hosts and a server do at once on their cores is done here by a few. Changes of
 * one size end after two minutes. Where others use the machine, it goes first with
 * `setsid sh -c 'echo -15 > /proc/self/autogroup; exec deno run -A bench/fleet.ts'`.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { postgresMissing } from "../tests/support/postgres.ts";
import { FleetBench, type HostKind, ruleHost, type ServerWork } from "./fleet_stage.ts";
import { formatFleet, type Measured, type MeasuredSize, type Memory } from "./fleet_results.ts";
import { useOf } from "./process_stats.ts";
import { median, quantile } from "./stats.ts";

const MAX_CHANGES_MS = 120_000;
/** For as long the fleet is left alone, to know what it costs at rest. */
const REST_MS = 12_000;
/** A host writes its local copy a second after it has the policy. */
const SETTLE_MS = 5_000;

interface Size {
  readonly hosts: number;
  readonly clients: number;
  readonly rules: number;
  readonly changes: number;
}

if (import.meta.main) await main();

async function main(): Promise<void> {
  const isShort = Deno.env.get("BENCH_SHORT") !== undefined;
  const { values } = parseArgs({
    args: [...Deno.args],
    options: {
      hosts: { type: "string", default: isShort ? "4" : "20" },
      clients: { type: "string", default: isShort ? "100" : "1000" },
      rules: { type: "string", default: isShort ? "20" : "100" },
      changes: { type: "string", default: isShort ? "40" : "200" },
    },
  });
  const [hosts, clients, rules, changes] = [values.hosts, values.clients, values.rules, values.changes].map(
    Number,
  );
  if (!hosts || !clients || !rules || !changes) throw new Error("every option is a number above 0");
  const missing = await postgresMissing();
  if (missing !== undefined) throw new Error(missing);
  const measured = await measure({ hosts, clients, rules, changes });
  console.log(formatFleet(measured));
  if (hosts < 20 || clients * rules < 100_000) return;
  const here = (name: string) => new URL(name, import.meta.url);
  await Deno.writeTextFile(here("fleet_measured.json"), `${JSON.stringify(measured, undefined, 2)}\n`);
  await Deno.writeTextFile(here("results_fleet.md"), formatFleet(measured));
}

async function measure(size: Size): Promise<Measured> {
  await using bench = await FleetBench.open();
  say("filling the store");
  await bench.fill(size.clients, size.rules);
  const commitMs = await bench.commitMs();
  const memory = await measureMemory(bench);
  const sizes: MeasuredSize[] = [];
  let startWork = 0;
  for (const count of [...new Set([2, Math.ceil(size.hosts / 2), size.hosts])]) {
    const before = await bench.work();
    while (bench.hosts.length < count) await bench.add();
    startWork += (await bench.work()).cpuMs - before.cpuMs;
    say(`${count} hosts`);
    await settle();
    const rest = await measureRest(bench);
    sizes.push(await measureChanges(bench, size, rest));
  }
  const starts = bench.hosts.map(({ startMs }) => startMs);
  return {
    date: new Date().toISOString().slice(0, 10),
    deno: Deno.version.deno,
    cores: navigator.hardwareConcurrency,
    niceness: niceness(),
    clients: size.clients,
    rules: size.clients * size.rules,
    commitMs,
    sizes,
    start: {
      p50Ms: median(starts),
      longestMs: Math.max(...starts),
      cpuMs: median(bench.hosts.map(({ startCpuMs }) => startCpuMs)),
      serverCpuMs: startWork / bench.hosts.length,
    },
    memory,
  };
}

/** A host with the rules, and with a second worker, beside one of a fleet without any. */
async function measureMemory(bench: FleetBench): Promise<Memory> {
  const rss = async (name: string, kind: HostKind) => {
    const host = await bench.start(name, kind);
    await settle();
    const mb = useOf([host.pid]).rssKib * 1_024 / 1e6;
    await host.stop();
    return { ...host, mb };
  };
  const empty = await rss("empty", { fleet: "empty" });
  const one = await rss("one", {});
  const two = await rss("two", { workers: 2 });
  const emptyTwo = await rss("empty-two", { fleet: "empty", workers: 2 });
  return {
    emptyMb: empty.mb,
    withRulesMb: one.mb,
    secondWorkerMb: two.mb - one.mb - (emptyTwo.mb - empty.mb),
    emptyStartMs: empty.startMs,
    emptyStartCpuMs: empty.startCpuMs,
  };
}

async function measureRest(
  bench: FleetBench,
): Promise<{ readonly perSecond: ServerWork; readonly hostCpu: number }> {
  const before = await bench.work();
  const startedAt = performance.now();
  const hostsBefore = useOf(bench.hosts.map(({ pid }) => pid)).cpuMs;
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const hostCpu = useOf(bench.hosts.map(({ pid }) => pid)).cpuMs - hostsBefore;
  const seconds = (performance.now() - startedAt) / 1_000;
  const perSecond = scaled(difference(await bench.work(), before), 1 / (seconds + 2));
  return { perSecond, hostCpu: hostCpu / seconds };
}

/** Revokes rules and adds them again, each time on another host. */
async function measureChanges(
  bench: FleetBench,
  { clients, rules, changes }: Size,
  rest: { readonly perSecond: ServerWork; readonly hostCpu: number },
): Promise<MeasuredSize> {
  const { hosts } = bench;
  const pids = hosts.map(({ pid }) => pid);
  const before = await bench.work();
  const startedAt = performance.now();
  const hostsBefore = useOf(pids).cpuMs;
  const times: number[] = [];
  const loads: number[] = [];
  let late = 0;
  for (let i = 0; i < changes && performance.now() - startedAt < MAX_CHANGES_MS; i++) {
    const pair = Math.floor(i / 2);
    const rule = {
      client: `client-${pair % clients}`,
      host: ruleHost(pair % clients, pair % rules),
      methods: ["GET"],
    };
    const sentAt = performance.now();
    const spread = await hosts[i % hosts.length]?.change(
      "POST",
      i % 2 === 0 ? "allows/revoke" : "allows",
      rule,
    );
    if (spread === `${hosts.length} of ${hosts.length}`) times.push(performance.now() - sentAt);
    else late++;
    loads.push(Deno.loadavg()[0] ?? 0);
  }
  const count = times.length + late;
  const seconds = (performance.now() - startedAt) / 1_000;
  const hostCpu = useOf(pids).cpuMs - hostsBefore - rest.hostCpu * seconds;
  const work = difference(await bench.work(), before);
  const atRest = scaled(rest.perSecond, seconds + 2);
  const each = scaled(difference(work, atRest), 1 / count);
  say(
    `p50 ${median(times).toFixed(0)} ms, p99 ${
      quantile(times, 0.99).toFixed(0)
    } ms, ${late} of ${count} late`,
  );
  return {
    hosts: hosts.length,
    load: median(loads),
    changes: count,
    late,
    p50Ms: median(times),
    p99Ms: quantile(times, 0.99),
    each,
    hostCpuMs: hostCpu / count / hosts.length,
    rest: rest.perSecond,
  };
}

function difference(after: ServerWork, before: ServerWork): ServerWork {
  // What is at rest comes and goes: a little less than nothing is nothing.
  return {
    transactions: Math.max(0, after.transactions - before.transactions),
    walBytes: Math.max(0, after.walBytes - before.walBytes),
    cpuMs: Math.max(0, after.cpuMs - before.cpuMs),
  };
}

function scaled({ transactions, walBytes, cpuMs }: ServerWork, by: number): ServerWork {
  return { transactions: transactions * by, walBytes: walBytes * by, cpuMs: cpuMs * by };
}

/** Of all that this process starts: where others use the machine, it says who goes first. Linux counts by session. */
function niceness(): number {
  try {
    return Number(Deno.readTextFileSync("/proc/self/autogroup").trim().split(" nice ")[1] ?? 0);
  } catch {
    return 0;
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

function say(line: string): void {
  console.error(`${line} (load ${Deno.loadavg()[0]?.toFixed(1)})`);
}
