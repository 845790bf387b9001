/**
 * What a proxy says about itself while it is profiled: `lab.ts` loads this module before the program. It listens on a socket in
 * the program's folder; who connects names a {@linkcode Measure} to begin, ends it by closing its side, and gets JSON.
 *
 * @module
 */
import { Session } from "node:inspector";
import { getHeapStatistics } from "node:v8";

/**
 * Bytes that were allocated; looks at the clock; promises that were made, with the code that made them; where time goes; where
 * bytes do; where those do that outlive the collection of what is young; bytes that are kept, with those of buffers.
 */
export type Measure = "bytes" | "looks" | "promises" | "time" | "heap" | "survivors" | "kept";

/** Where the probe listens. */
export const PROBE_SOCKET = "probe.sock";

const SAMPLE_US = 100;
const SAMPLE_BYTES = 2_048;
/** Frames that are looked through for the program's own code. */
const DEPTH = 16;

/** Begins to measure. The function that it returns ends it. */
type Begin = () => Promise<() => Promise<unknown>>;

const BEGIN: Readonly<Record<Measure, Begin>> = {
  bytes: () => {
    const before = allocated();
    return Promise.resolve(() => Promise.resolve(allocated() - before));
  },
  looks: () => {
    const { now } = Date;
    const monotonic = performance.now.bind(performance);
    let looks = 0;
    Date.now = () => (looks++, now());
    performance.now = () => (looks++, monotonic());
    return Promise.resolve(() => {
      Date.now = now;
      Reflect.deleteProperty(performance, "now"); // its prototype has it
      return Promise.resolve(looks);
    });
  },
  promises: () => {
    const made = new Map<string, number>();
    const depth = Error.stackTraceLimit;
    Error.stackTraceLimit = DEPTH;
    setPromiseHooks(() => {
      const { stack = "" } = new Error();
      made.set(stack, (made.get(stack) ?? 0) + 1);
    });
    return Promise.resolve(() => {
      setPromiseHooks();
      Error.stackTraceLimit = depth;
      return Promise.resolve([...made]);
    });
  },
  time: async () => {
    const post = connect();
    await post("Profiler.enable");
    await post("Profiler.setSamplingInterval", { interval: SAMPLE_US });
    await post("Profiler.start");
    return async () => (await post("Profiler.stop"))["profile"];
  },
  heap: () => sampleHeap(true),
  survivors: () => sampleHeap(false),
  kept: () => {
    const before = kept();
    return Promise.resolve(() => Promise.resolve(kept() - before));
  },
};

async function sampleHeap(withShortLived: boolean) {
  const post = connect();
  await post("HeapProfiler.startSampling", {
    samplingInterval: SAMPLE_BYTES,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: withShortLived,
  });
  return async () => {
    if (!withShortLived) Reflect.get(globalThis, "gc")({ type: "minor" });
    return (await post("HeapProfiler.stopSampling"))["profile"];
  };
}

function kept(): number {
  Reflect.get(globalThis, "gc")();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

function allocated(): number {
  return (getHeapStatistics() as unknown as { readonly total_allocated_bytes: number }).total_allocated_bytes;
}

/** Called for every promise, those of `await` among them. The runtime has it for `node:async_hooks`. */
function setPromiseHooks(onMade?: () => void): void {
  const { internal } = Deno as unknown as { readonly internal: symbol };
  const runtime = Reflect.get(Deno, internal) as {
    readonly core: { setPromiseHooks(onMade?: () => void): void };
  };
  runtime.core.setPromiseHooks(onMade);
}

function connect() {
  const session = new Session();
  session.connect();
  return (method: string, parameters: object = {}) =>
    new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
      session.post(method, parameters, (error: Error | null, result?: object) => {
        if (error) reject(error);
        else resolve({ ...result });
      });
    });
}

/** A connection is one measurement. */
async function serve(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(64);
  const count = await conn.read(buffer);
  const end = await BEGIN[new TextDecoder().decode(buffer.subarray(0, count ?? 0)) as Measure]();
  await conn.write(buffer.subarray(0, 1)); // begun
  await conn.read(buffer); // the end of the other side
  await new Response(JSON.stringify(await end())).body?.pipeTo(conn.writable);
}

async function listen(): Promise<void> {
  const listener = Deno.listen({ transport: "unix", path: PROBE_SOCKET });
  listener.unref(); // the program is not started before what is preloaded has come to rest
  for await (const conn of listener) await serve(conn);
}

if (Deno.args[0] === "up") void listen();
