// deno-lint-ignore-file no-console
/**
 * A fleet of any size, simulated: `deno run -A bench/fleet_model.ts [--seed 1]` prints how long a change takes until it is in
 * force everywhere, and what keeps it. The same seed gives the same numbers. What things cost is taken from a run of
 * `bench/fleet.ts` (`fleet_measured.json`), and a test holds the model to what that run saw.
 *
 * What it assumes:
 *
 * - The steps are those of the product: a change is five questions to the server and a commit, each host that is told asks what
 *   is new, makes it and says so, and the call looks who has it, more and more seldom (`store/fleet/`).
 * - A server's cores, a host's, or those of the machine that all share in the bench, are divided equally among all that wants
 *   them (processor sharing); in the bench others want them too, as many as the load of the machine says,
 *   and none where the bench goes first.
 * - CPU of a question is the measured growth of the server's CPU with the hosts, equal for each of a host's questions and its
 *   notice. A look at N hosts costs half a microsecond for each besides.
 * - A message takes a time of a log-normal distribution, whose middle and spread the network says. None is lost; a retransmission
 *   costs 200 ms, and comes once in 100,000 messages.
 * - All hosts live and are told; one that is not is waited for, for 2 s, whatever the size.
 * - Changes come one after the other. At rest every host asks once a second, which takes a part of the server.
 * - Memory, CPU of a start and bytes of a policy grow as the number of rules, by what was measured for 100,000.
 *
 * Not here: where the numbers go (`docs/FLEET.md`).
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Measured, MeasuredSize } from "./fleet_results.ts";
import { Engine, Pool } from "./fleet_engine.ts";
import { format, median, quantile } from "./stats.ts";

/** What things cost, in milliseconds of CPU unless it says otherwise. */
export interface Costs {
  /** A question to the server, or a notice by it. */
  readonly questionMs: number;
  /** What a change costs the server besides, however many hosts there are. */
  readonly changeMs: number;
  /** What a host takes to hear of a change, make it and say so. */
  readonly hostMs: number;
  /** Time until a commit is on the server's disk. */
  readonly commitMs: number;
}

/** Where the fleet runs. */
export interface Place {
  readonly hosts: number;
  readonly serverCores: number;
  /** Others that want a core of the server. */
  readonly others: number;
  /** All hosts run on the server's cores, as in the bench. */
  readonly isOneMachine: boolean;
  /** One way, the middle and the spread (sigma of the logarithm). */
  readonly network: { readonly ms: number; readonly spread: number };
}

/** What is looked at between looks at the others (`store/fleet/fleet.ts`). */
const LOOK_MS = [2, 5, 10, 20, 40, 80, 100];
/** A host's questions about a change: where the fleet is, what was before, what is new, and that it has it. */
const HOST_QUESTIONS = 4;
/** A change before its commit: begin, lock, rows, notice. */
const CHANGE_QUESTIONS = 4;
const LOOK_ROW_MS = 0.0005;
const WAIT_MS = 2_000;
const LOST_SHARE = 1e-5;
const RETRANSMIT_MS = 200;
/** A host's own cores: it does one thing at a time. */
const HOST_CORES = 1;
/** A quiet file system forgets a copy and says so. */
const DROP_MS = 1;

/** How long changes took. */
export interface Outcome {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Those of them that were not in force everywhere when the call stopped waiting. */
  readonly late: number;
  /** The server's CPU for each. */
  readonly serverMs: number;
}

/** The costs that a run has measured. */
export function costsOf({ sizes, commitMs }: Measured): Costs {
  const few = sizes[0];
  const many = sizes.at(-1);
  if (!few || !many || few.hosts === many.hosts) throw new Error("costs need runs of two sizes");
  const perHost = Math.max(0.01, (many.each.cpuMs - few.each.cpuMs) / (many.hosts - few.hosts));
  return {
    questionMs: perHost / (HOST_QUESTIONS + 1),
    changeMs: Math.max(0, few.each.cpuMs - perHost * few.hosts),
    hostMs: median(sizes.map(({ hostCpuMs }) => hostCpuMs)),
    commitMs,
  };
}

/** The machine of the bench, as it was at one size. */
export function benchPlace({ hosts, load }: MeasuredSize, { cores, niceness }: Measured): Place {
  return {
    hosts,
    serverCores: cores,
    others: niceness < 0 ? 0 : Math.max(0, load - 1),
    isOneMachine: true,
    network: { ms: 0.03, spread: 0.5 },
  };
}

/** Simulates changes, one after the other. */
export function simulate(place: Place, costs: Costs, { seed = 1, changes = 100 } = {}): Outcome {
  const engine = new Engine(seed);
  const server = new Pool(
    engine,
    place.serverCores,
    place.others + restShare(place, costs) * place.serverCores,
  );
  const own = () => place.isOneMachine ? server : new Pool(engine, HOST_CORES, 0);
  const hosts = Array.from({ length: place.hosts }, own);
  const times: number[] = [];
  let late = 0;
  for (let i = 0; i < changes; i++) {
    const ms = oneChange({ engine, server, hosts, place, costs }, i % place.hosts);
    if (ms === undefined) late++;
    else times.push(ms);
    engine.drain(); // a host that is late has it before the next
  }
  return {
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    late,
    serverMs: server.workedMs / changes,
  };
}

/** The part of the server's cores that hosts at rest take: each asks where the fleet is, and tells that it lives. */
export function restShare({ hosts, serverCores, isOneMachine }: Place, { questionMs }: Costs): number {
  if (isOneMachine) return 0; // it is in the load that was measured
  return Math.min(0.95, hosts * questionMs * 1.2 / 1_000 / serverCores);
}

interface Stage {
  readonly engine: Engine;
  readonly server: Pool;
  readonly hosts: readonly Pool[];
  readonly place: Place;
  readonly costs: Costs;
}

/** @returns after how many milliseconds its call has returned with all hosts; undefined when it stopped waiting */
function oneChange({ engine, server, hosts, place, costs }: Stage, origin: number): number | undefined {
  const travel = (then: () => void) => engine.after(messageMs(engine, place), then);
  const ask = (workMs: number, then: () => void) => travel(() => server.run(workMs, () => travel(then)));
  const askTimes = (times: number, then: () => void): void =>
    times === 0 ? then() : ask(costs.questionMs, () => askTimes(times - 1, then));
  const startedAt = engine.now;
  let having = 0;
  let result: number | undefined;
  const confirm = (then: () => void) =>
    engine.after(DROP_MS, () =>
      travel(() =>
        server.run(costs.questionMs, () => {
          having++;
          travel(then);
        })
      ));
  const hear = (host: Pool) =>
    server.run(
      costs.questionMs,
      () => travel(() => host.run(costs.hostMs, () => askTimes(HOST_QUESTIONS - 1, () => confirm(() => {})))),
    );
  const look = (turn: number): void => {
    const isLast = engine.now - startedAt >= WAIT_MS;
    travel(() =>
      server.run(costs.questionMs + LOOK_ROW_MS * place.hosts, () => {
        const hasAll = having === place.hosts;
        travel(() => {
          if (hasAll) result = engine.now - startedAt;
          else if (!isLast) engine.after(LOOK_MS[turn] ?? 100, () => look(turn + 1));
        });
      })
    );
  };
  const ownHost = hosts[origin];
  ownHost?.run(
    costs.hostMs,
    () =>
      askTimes(CHANGE_QUESTIONS, () =>
        ask(costs.changeMs, () =>
          engine.after(costs.commitMs, () => {
            for (const [i, host] of hosts.entries()) if (i !== origin) hear(host);
            confirm(() => look(0));
          }))),
  );
  engine.drain();
  return result;
}

function messageMs(engine: Engine, { network }: Place): number {
  const lost = engine.random() < LOST_SHARE ? RETRANSMIT_MS : 0;
  return lost + network.ms * Math.exp(network.spread * engine.gaussian());
}

/** What rules take, by what was measured: they grow as their number. */
export function policyCosts({ rules, start, memory }: Measured, wanted: number) {
  const factor = wanted / rules;
  return {
    memoryMb: memory.emptyMb + (memory.withRulesMb - memory.emptyMb) * factor,
    startMs: memory.emptyStartCpuMs + Math.max(0, start.cpuMs - memory.emptyStartCpuMs) * factor,
  };
}

/** In one zone of a cloud, and across two continents. */
const NEAR = { ms: 0.25, spread: 0.6 };
const FAR = { ms: 40, spread: 0.15 };

function main(): void {
  const { values } = parseArgs({ args: [...Deno.args], options: { seed: { type: "string", default: "1" } } });
  const measured: Measured = JSON.parse(
    Deno.readTextFileSync(new URL("fleet_measured.json", import.meta.url)),
  );
  console.log(formatModel(measured, Number(values.seed)));
}

/** The model's table, as Markdown. */
export function formatModel(measured: Measured, seed: number): string {
  const costs = costsOf(measured);
  const rows = [20, 100, 300, 1_000].flatMap((hosts) =>
    [["one zone", NEAR] as const, ["40 ms away", FAR] as const].map(([name, network]) => {
      const place = { hosts, serverCores: 8, others: 0, isOneMachine: false, network };
      const { p50Ms, p99Ms, late, serverMs } = simulate(place, costs, { seed });
      const cells = [format(hosts, 0), name, format(p50Ms, 0), format(p99Ms, 0), `${late} of 100`];
      const rate = 8_000 / serverMs * (1 - restShare(place, costs));
      return [...cells, format(serverMs, 1), format(rate, 0), format(restShare(place, costs) * 100, 1)];
    })
  );
  const head = ["hosts", "network", "p50, ms", "p99, ms", "not within 2 s", "server's CPU a change, ms"];
  const table = [[...head, "changes/s at most", "server busy at rest, %"], ...rows];
  const policies = [100_000, 1_000_000].map((rules) => {
    const { memoryMb, startMs } = policyCosts(measured, rules);
    return [format(rules, 0), format(memoryMb, 0), format(startMs / 1_000, 1)];
  });
  return `${markdown(table)}\n\n${
    markdown([["rules", "memory of a host, MB", "CPU of a start, s"], ...policies])
  }`;
}

function markdown([head = [], ...rows]: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---:"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

if (import.meta.main) main();
