/**
 * A guard against getting slower that does not depend on the machine's mood: how many system calls that move bytes an
 * inspected keep-alive request costs. With the engine that this proxy has, sends and receives are more than half of a
 * request's CPU time, and their number is exact: a response that leaves in two writes instead of one shows at once.
 *
 * Writes are left out: among them are the wake-ups of threads, whose number is a matter of timing.
 *
 * The proxy runs under `strace -c` twice, with few and with many requests; the difference is what the requests cost. Promises
 * and bytes are counted by V8 itself (`probe.ts`).
 *
 * @module
 */
import { Lab } from "./lab.ts";
import { PROBE, probed } from "./probed.ts";
import { heapCosts, type HeapNode } from "./profile_costs.ts";

/** Calls per request that succeeded. */
export interface SyscallCost {
  /** Four with the loopback hop: the request to the hop and to the upstream, the response to the hop and to the client. */
  readonly sends: number;
  /** As many, on the same ways. */
  readonly receives: number;
}

const FAMILIES: Readonly<Record<keyof SyscallCost, readonly string[]>> = {
  sends: ["sendto", "sendmsg"],
  receives: ["recvfrom", "recvmsg"],
};

/** True when `strace` is installed and may trace. */
export async function canTrace(): Promise<boolean> {
  try {
    return (await new Deno.Command("strace", { args: ["-c", "-o", "/dev/null", "true"], stderr: "null" })
      .output())
      .success;
  } catch {
    return false;
  }
}

/** What one of `requests` costs. Takes some ten seconds. */
export async function measureSyscalls(requests: number): Promise<SyscallCost> {
  const { few, many } = await traceTwice((lab, count) => lab.ask(count), requests);
  const cost = (family: keyof SyscallCost) =>
    FAMILIES[family].reduce((sum, name) => sum + (many.get(name) ?? 0) - (few.get(name) ?? 0), 0) / requests;
  return { sends: cost("sends"), receives: cost("receives") };
}

/** How many successful system calls one of `tunnels` new ones costs, with a request in it, by name. */
export async function measureTunnelSyscalls(tunnels: number): Promise<ReadonlyMap<string, number>> {
  const { few, many } = await traceTwice(async (lab, count) => {
    for (let i = 0; i < count; i++) await lab.ask(1);
  }, tunnels);
  return new Map([...many].map(([name, count]) => [name, (count - (few.get(name) ?? 0)) / tunnels]));
}

/** What a request makes V8 do: the same on any machine. */
export interface HeapCost {
  /** With those of `await`. */
  readonly promises: number;
  /** Of JavaScript's own memory; buffers of bytes are outside. */
  readonly bytes: number;
  /** At a clock, the machine's or the monotonic one: each is a call into the runtime. */
  readonly looks: number;
}

/**
 * Bytes of a request or a new tunnel that outlive the collection of what is young, reckoned from samples. Collecting what has died young costs
 * nothing; these are copied, twice, and pile up until everything is collected.
 */
export async function measureSurvivors(count: number, what: Unit = "request"): Promise<number> {
  await using lab = await Lab.open({ preload: PROBE });
  await ASK[what](lab, WARM_UP[what]);
  const old = await probed(lab, "survivors", () => ASK[what](lab, count)) as { readonly head: HeapNode };
  return Array.from(heapCosts(old.head, count).byStage.values()).reduce((sum, each) => sum + each, 0);
}

/** Bytes of JavaScript's memory and of buffers that an idle tunnel keeps, which has carried a request, by `tunnels` of them. */
export async function measureIdle(tunnels: number): Promise<number> {
  await using lab = await Lab.open({ preload: PROBE });
  await lab.askAnew(WARM_UP.tunnel, TUNNELS);
  using held = new DisposableStack();
  return await probed(lab, "kept", async () => void held.use(await lab.hold(tunnels))) as number / tunnels;
}

/** What one of `count` requests, or new tunnels, costs once its code is compiled. Takes some ten seconds. */
export async function measureHeap(count: number, what: Unit = "request"): Promise<HeapCost> {
  await using lab = await Lab.open({ preload: PROBE });
  await ASK[what](lab, WARM_UP[what]);
  const load = () => ASK[what](lab, count);
  const bytes = await probed(lab, "bytes", load) as number / count;
  const looks = await probed(lab, "looks", load) as number / count;
  const made = await probed(lab, "promises", load) as readonly [string, number][];
  return { bytes, looks, promises: made.reduce((sum, [, each]) => sum + each, 0) / count };
}

/** What is counted: a request in an open tunnel, or a new tunnel with one request. */
type Unit = "request" | "tunnel";
const ASK: Readonly<Record<Unit, (lab: Lab, count: number) => Promise<void>>> = {
  request: (lab, count) => lab.ask(count, TUNNELS),
  tunnel: (lab, count) => lab.askAnew(count, TUNNELS),
};
const WARM_UP: Readonly<Record<Unit, number>> = { request: 3_000, tunnel: 1_500 };
/** As many as are busy at once: what is written in pieces, such as the log, is shared by so many requests. */
const TUNNELS = 10;
const BASE = 50;

/** Counts of a proxy that is asked for little, and of one that is asked for so much more. */
async function traceTwice(ask: (lab: Lab, count: number) => Promise<void>, more: number) {
  const trace = async (count: number) => {
    const table = await Deno.makeTempFile();
    try {
      {
        await using lab = await Lab.open({ wrapper: ["strace", "-f", "-c", "-o", table] });
        await ask(lab, count);
      }
      return parseCalls(await Deno.readTextFile(table));
    } finally {
      await Deno.remove(table);
    }
  };
  return { few: await trace(BASE), many: await trace(BASE + more) };
}

/** The successful calls by name, in a table of `strace -c`: time, seconds, per call, calls, errors if any, name. */
export function parseCalls(table: string): ReadonlyMap<string, number> {
  const calls = new Map<string, number>();
  for (
    const [, count, errors, name = ""] of table.matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(\d+)? *(\w+)$/gm)
  ) {
    if (name !== "total") calls.set(name, Number(count) - Number(errors ?? 0));
  }
  return calls;
}
