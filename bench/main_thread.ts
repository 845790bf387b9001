/**
 * How many requests a second the main thread can keep the audit log of, whatever the number of workers: records come from
 * threads at a rate that rises, through the log to its three places on the disk and stdout. Two cores cannot run enough
 * workers to find this limit with real requests; what a worker asks of the main thread for a request under a rule with a
 * static secret, or none, is its record alone; under a rule with a login it asks for the credential too.
 *
 *     deno run -A bench/main_thread.ts
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { Deadlines } from "../core/deadlines.ts";
import { openAuditPlaces } from "../cli/up/audit_places.ts";
import { Output } from "../cli/terminal/output.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import { AuditLog } from "../proxy/records/audit_log.ts";
import type { SourceOrder } from "./record_source.ts";

const SOURCES = 4;
const RATES = [1_000, 10_000, 25_000, 50_000, 75_000, 100_000, 150_000];
const FOR_MS = 4_000;

/** USER_HZ is 100 on every Linux that Deno runs on. */
function mainThreadCpuMs(): number {
  const text = Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const CREDENTIAL = { ref: 1, credential: { headers: [["authorization", `Bearer ${"x".repeat(200)}`]] } };

/** Records taken, and the main thread's CPU for them. */
async function measure(perSecond: number, asks: boolean) {
  const dir = await Deno.makeTempDir({ prefix: "slicer-main-thread-" });
  const config = { stateDir: dir, logFile: `${dir}/audit.log`, logFormat: "text" } as const;
  const nowhere = new Output(() => {}, () => {});
  await using places = await openAuditPlaces(config, nowhere);
  const audit = new AuditLog({ sink: places.sink, now: Date.now, deadlines: new Deadlines() });
  let taken = 0;
  const [cpuMs, startedAt] = [mainThreadCpuMs(), performance.now()];
  await Promise.all(Array.from({ length: SOURCES }, () => {
    const source = new Worker(new URL("record_source.ts", import.meta.url), { type: "module" });
    return new Promise<void>((resolve) => {
      source.onmessage = (
        { data }: MessageEvent<readonly AuditRecord[] | "end" | { readonly id: number }>,
      ) => {
        if (data === "end") {
          source.terminate();
          return resolve();
        }
        if ("id" in data) return source.postMessage({ id: data.id, value: CREDENTIAL });
        audit.writeAll(data);
        taken += data.length;
      };
      source.postMessage({ perSecond: perSecond / SOURCES, forMs: FOR_MS, asks } satisfies SourceOrder);
    });
  }));
  await audit.flush();
  const seconds = (performance.now() - startedAt) / 1_000;
  const usedMs = mainThreadCpuMs() - cpuMs;
  await audit[Symbol.asyncDispose]();
  await Deno.remove(dir, { recursive: true });
  return { perSecond: taken / seconds, busy: usedMs / 1_000 / seconds, microseconds: usedMs * 1_000 / taken };
}

console.log("credential asked  offered/s  taken/s  main thread  µs a request");
for (const asks of [false, true]) {
  for (const rate of RATES) {
    const { perSecond, busy, microseconds } = await measure(rate, asks);
    const cells = [asks ? "yes" : "no", rate, perSecond.toFixed(0), `${(busy * 100).toFixed(0)} %`];
    const widths = [16, 9, 7, 11];
    console.log(
      [...cells.map((cell, i) => String(cell).padStart(widths[i] ?? 0)), microseconds.toFixed(1).padStart(12)]
        .join("  "),
    );
  }
}
