/** Whether an attack was held, and in one line why not. */
import type { Findings } from "./innocent.ts";
import type { Vitals } from "./site.ts";
import type { Attack, Tally } from "./target.ts";
import { FORBIDDEN } from "./tricks.ts";

/** What was seen of one attack. */
export interface Report {
  readonly attack: Attack;
  /** Of the data plane. */
  readonly threads: number;
  /** How long the attack went on. */
  readonly seconds: number;
  readonly quiet: Findings;
  readonly busy: Findings;
  readonly tally: Tally;
  readonly before: Vitals;
  readonly after: Vitals;
  /** Records of the innocent client that are missing. */
  readonly lost: number;
  readonly seen: readonly string[];
  readonly words: string;
}

/** The innocent client's p99 stays within this many times of its quiet p99, and this much more. */
const FACTOR = 3;
const GRACE_MS = 100;

/** How much the program may grow under an attack. */
const MOST_GROWTH_BYTES = 256 * 1_048_576;

/** Lines on stderr that an attack may cause. */
const MOST_LINES = 200;

/** What became of an attack. */
export interface Judgement {
  readonly held: boolean;
  /** Nothing but latency was wrong, which may be the machine's. */
  readonly isOnlySlow: boolean;
  readonly line: string;
}

export function judge(report: Report): Judgement {
  const { quiet, busy, before, after, threads, seconds, attack: { mostBegun } } = report;
  const slow: string[] = [];
  const wrong: string[] = [];
  const times = (["keptMs", "freshMs"] as const).map((which) => {
    const [calm, hot] = [p99(quiet[which]), p99(busy[which])];
    if (!mostBegun && hot > FACTOR * calm + GRACE_MS) slow.push(`${which} p99 is too high`);
    return `${which} p99 ${calm.toFixed(1)} → ${hot.toFixed(1)}`;
  });
  const growth = after.residentBytes - before.residentBytes;
  const lines = report.words.split("\n").length;
  const forbidden = report.seen.find((line) => FORBIDDEN.test(line));
  if (busy.failures.length > 0) {
    wrong.push(`${busy.failures.length} failures (${busy.failures[0]?.slice(0, 60)})`);
  }
  if (report.lost > 0) wrong.push(`${report.lost} records are lost`);
  if (after.replacedWorkers > 0) wrong.push(`${after.replacedWorkers} workers were replaced`);
  if (after.startedAt !== before.startedAt) wrong.push("the process was started anew");
  if (growth > MOST_GROWTH_BYTES) wrong.push("memory grew too much");
  if (lines > MOST_LINES) wrong.push(`${lines} lines on stderr`);
  if (forbidden !== undefined) wrong.push(`the upstream saw: ${forbidden}`);
  const begun = begunIn(report);
  if (mostBegun && begun > threads * (mostBegun.atOnce + mostBegun.perSecond * seconds)) {
    wrong.push("the upstream saw too many requests");
  }
  if (mostBegun && begun < mostBegun.atOnce / 10) wrong.push("the attack began too little to tell");
  const { tries, note } = report.tally;
  const facts = [
    `${tries} tries`,
    ...(note ? [note] : []),
    ...times,
    `${Math.round(growth / 1_048_576)} MiB more`,
    ...(after.cpuSeconds === undefined
      ? []
      : [`${(after.cpuSeconds - (before.cpuSeconds ?? 0)).toFixed(1)} s of CPU`]),
    ...(mostBegun ? [`${begun} requests begun`] : []),
  ];
  return {
    held: wrong.length + slow.length === 0,
    isOnlySlow: wrong.length === 0,
    line: [...facts, ...[...slow, ...wrong].map((each) => `!! ${each}`)].join(", "),
  };
}

/** Requests of the attack that went upstream. */
function begunIn({ seen }: Report): number {
  return seen.filter((line) => line.startsWith("HTTP/2 ")).length;
}

/** The 99th percentile; of fewer than a hundred figures, the greatest. */
function p99(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * 0.99) - 1)] ?? 0;
}
