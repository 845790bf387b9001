/**
 * What the fleet's bench has measured, and as text.
 *
 * @module
 */
import type { ServerWork } from "./fleet_stage.ts";
import { format } from "./stats.ts";

/** One number of hosts. */
export interface MeasuredSize {
  readonly hosts: number;
  /** Processes that wanted a core of the machine meanwhile: the hosts', the server's and others'. */
  readonly load: number;
  readonly changes: number;
  /** Those of them that were not in force on all hosts within two seconds. */
  readonly late: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** What a change costs the server, less what it does at rest. */
  readonly each: ServerWork;
  /** CPU of each host for a change, its own or another's. */
  readonly hostCpuMs: number;
  /** What the server does at rest in a second. */
  readonly rest: ServerWork;
}

/** What processes keep, and how they start without rules. */
export interface Memory {
  /** Resident, of a host with one worker: without rules, and with them. */
  readonly emptyMb: number;
  readonly withRulesMb: number;
  /** What the rules take besides with two workers, of which each has a copy, as the main thread has one. */
  readonly secondWorkerMb: number;
  readonly emptyStartMs: number;
  readonly emptyStartCpuMs: number;
}

/** A run. */
export interface Measured {
  readonly date: string;
  readonly deno: string;
  readonly cores: number;
  /** Below 0 it went before what else ran on the machine. */
  readonly niceness: number;
  readonly clients: number;
  readonly rules: number;
  /** How long the server takes to make a small change durable. */
  readonly commitMs: number;
  readonly sizes: readonly MeasuredSize[];
  readonly start: {
    readonly p50Ms: number;
    readonly longestMs: number;
    readonly cpuMs: number; /** Of the server. */
    readonly serverCpuMs: number;
  };
  readonly memory: Memory;
}

/** The results as Markdown. */
export function formatFleet(measured: Measured): string {
  const { sizes, start, memory, rules, clients, cores } = measured;
  const per = 100_000 / rules;
  const row = (title: string, cell: (size: MeasuredSize) => string) =>
    `| ${title} | ${sizes.map(cell).join(" | ")} |`;
  return `# A fleet

${measured.date}, Deno ${measured.deno}, PostgreSQL with \`fsync\`, ${cores} CPUs for all hosts, the server and what else ran${
    measured.niceness < 0 ? ", before which these went" : ""
  }. ${format(clients, 0)} clients, ${
    format(rules, 0)
  } rules; each host a process, \`up --workers=1\`. \`deno run -A bench/fleet.ts\` writes this.

| hosts | ${sizes.map(({ hosts }) => hosts).join(" | ")} |
| --- | ${sizes.map(() => "---: |").join(" ")}
${row("load of the machine meanwhile", ({ load }) => format(load, 1))}
${row("change to in force on all: p50, ms", ({ p50Ms }) => format(p50Ms, 0))}
${row("p99, ms", ({ p99Ms }) => format(p99Ms, 0))}
${row("not within 2 s", ({ late, changes }) => `${late} of ${changes}`)}
${row("database per change: transactions", ({ each }) => format(each.transactions, 0))}
${row("WAL, kB", ({ each }) => format(each.walBytes / 1_000, 1))}
${row("CPU, ms", ({ each }) => format(each.cpuMs, 1))}
${row("CPU of each host per change, ms", ({ hostCpuMs }) => format(hostCpuMs, 1))}
${row("database at rest: transactions/s", ({ rest }) => format(rest.transactions, 0))}
${row("CPU, ms/s", ({ rest }) => format(rest.cpuMs, 0))}

| a host | |
| --- | ---: |
| start to listening: p50, s | ${format(start.p50Ms / 1_000, 1)} |
| longest, s | ${format(start.longestMs / 1_000, 1)} |
| CPU of it, s | ${format(start.cpuMs / 1_000, 1)} |
| CPU of the server for it, s | ${format(start.serverCpuMs / 1_000, 1)} |
| the same without rules: start, s | ${format(memory.emptyStartMs / 1_000, 1)} |
| CPU of it, s | ${format(memory.emptyStartCpuMs / 1_000, 1)} |
| memory, MB | ${format(memory.withRulesMb, 0)} |
| without rules, MB | ${format(memory.emptyMb, 0)} |
| per 100,000 rules, MB | ${format((memory.withRulesMb - memory.emptyMb) * per, 0)} |
| and besides with two workers, MB | ${format(memory.secondWorkerMb * per, 0)} |
| a commit of the server, ms | ${format(measured.commitMs, 1)} |
`;
}
