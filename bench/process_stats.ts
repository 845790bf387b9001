/**
 * CPU time and memory of process trees, from /proc (Linux only).
 *
 * @module
 */

/** USER_HZ is 100 on every Linux that Deno runs on. */
const MS_PER_TICK = 10;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly cpuMs: number;
  /** Of children that have ended and were waited for. */
  readonly endedCpuMs: number;
}

/** A process and everything below it. */
export interface TreeUse {
  readonly cpuMs: number;
  /** Sum over the processes; pages that they share are counted more than once. */
  readonly rssKib: number;
  readonly peakRssKib: number;
  readonly processes: number;
}

/** What the trees of `roots` have used so far. */
export function useOf(roots: readonly number[]): TreeUse {
  const tree = treeOf(roots);
  let [cpuMs, rssKib, peakRssKib] = [0, 0, 0];
  for (const { pid, cpuMs: own, endedCpuMs } of tree) {
    cpuMs += own + endedCpuMs;
    const status = readProc(`${pid}/status`);
    rssKib += Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
    peakRssKib += Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
  }
  return { cpuMs, rssKib, peakRssKib, processes: tree.length };
}

/** CPU time that this process and its descendants have used, and that of everything else. */
export function machineUse(): { readonly ownMs: number; readonly otherMs: number } {
  const ownMs = treeOf([Deno.pid]).reduce((sum, stat) => sum + stat.cpuMs + stat.endedCpuMs, 0);
  const [user = 0, nice = 0, system = 0] = readProc("stat").split("\n", 1)[0]?.split(/\s+/).slice(1).map(
    Number,
  ) ?? [];
  return { ownMs, otherMs: (user + nice + system) * MS_PER_TICK - ownMs };
}

function treeOf(roots: readonly number[]): Stat[] {
  const all = new Map<number, Stat>();
  for (const { name } of Deno.readDirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined;
    if (stat) all.set(stat.pid, stat);
  }
  const isInTree = (stat: Stat | undefined): boolean =>
    stat !== undefined && (roots.includes(stat.pid) || isInTree(all.get(stat.parent)));
  return [...all.values()].filter(isInTree);
}

function readStat(pid: number): Stat | undefined {
  const text = readProc(`${pid}/stat`);
  if (text === "") return undefined;
  // The name, in parentheses, may hold spaces. After it: state, ppid, …, utime (14th of all), stime, cutime, cstime.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const ticks = (at: number) => Number(fields[at - 3] ?? 0);
  return {
    pid,
    parent: ticks(4),
    cpuMs: (ticks(14) + ticks(15)) * MS_PER_TICK,
    endedCpuMs: (ticks(16) + ticks(17)) * MS_PER_TICK,
  };
}

/** A file below /proc; empty when the process is gone. */
function readProc(path: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${path}`);
  } catch {
    return "";
  }
}
