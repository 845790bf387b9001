/**
 * `deno task bench`: this proxy beside Squid, mitmproxy and HAProxy and a small proxy on Go's standard library, all on
 * loopback, under the same load in turn. Writes `results.md` and `results.svg` beside this file, or into `BENCH_OUT`.
 * `BENCH_SHORT=1` measures what the targets name, in less than six minutes; `BENCH_QUICK=1` takes three and is good for seeing
 * that everything works, not for numbers.
 *
 * @module
 */
import { checkRoute } from "./load.ts";
import type { Peer } from "./peer.ts";
import { startEngine } from "./peer_engine.ts";
import { startGo } from "./peer_go.ts";
import { startHaproxy } from "./peer_haproxy.ts";
import { startMitmproxy } from "./peer_mitmproxy.ts";
import { ALL_WORKERS, OURS, startSlicer } from "./peer_slicer.ts";
import { startSquid } from "./peer_squid.ts";
import { plot } from "./plot.ts";
import { Sampler } from "./quiet.ts";
import { formatReport } from "./report.ts";
import { judge, Results } from "./results.ts";
import { nginxConf, Rig } from "./rig.ts";
import {
  type Bench,
  measureDownloads,
  measureFirstEvent,
  measureInjection,
  measureKeepAlive,
  measureLatency,
  measureNewTunnels,
} from "./rows_load.ts";
import { measureIdleTunnels, measurePolicy, measureRuleChanges, measureStart } from "./rows_own.ts";
import { CIPHER, readSettings, type Settings, UPSTREAM_PORT } from "./settings.ts";
import { format, quantile } from "./stats.ts";

/** Needed, with the Debian package and how its version is asked for. */
const TOOLS = [
  { command: "nginx", debian: "nginx-light", version: ["-v"], isRequired: true },
  { command: "hey", debian: "hey", version: undefined, isRequired: true },
  { command: "curl", debian: "curl", version: ["--version"], isRequired: true },
  { command: "go", debian: "golang-go", version: ["version"], isRequired: false },
  { command: "squid", debian: "squid-openssl", version: ["-v"], isRequired: false },
  { command: "mitmdump", debian: "mitmproxy", version: ["--version"], isRequired: false },
  { command: "haproxy", debian: "haproxy", version: ["-v"], isRequired: false },
] as const;

/** A column of the table. */
interface Start {
  readonly command: string;
  readonly start: (rig: Rig) => Promise<Peer>;
  /** No target is about it. */
  readonly isBeside?: boolean;
}

const STARTS: readonly Start[] = [
  { command: "deno", start: startSlicer },
  ...(ALL_WORKERS > 1
    ? [{ command: "deno", start: (rig: Rig) => startSlicer(rig, ALL_WORKERS), isBeside: true }]
    : []),
  { command: "deno", start: startEngine },
  { command: "go", start: startGo },
  { command: "squid", start: (rig) => startSquid(rig, "at-once") },
  { command: "squid", start: (rig) => startSquid(rig, "peek-first") },
  { command: "mitmdump", start: startMitmproxy },
  { command: "haproxy", start: startHaproxy, isBeside: true },
];

const WORDS_OF_MODE: Readonly<Record<Settings["mode"], string>> = {
  full: "",
  short: "; short: only what targets are about",
  quick: "; QUICK: not for numbers",
};

async function main(): Promise<number> {
  const startedAt = performance.now();
  const say = (text: string) =>
    Deno.stderr.writeSync(
      new TextEncoder().encode(`[${Math.round((performance.now() - startedAt) / 1_000)} s] ${text}\n`),
    );
  const versions = await findTools();
  const missing = TOOLS.filter(({ command }) => !versions.has(command));
  for (const { command, debian } of missing) say(`${command} is missing: apt-get install ${debian}`);
  if (missing.some(({ isRequired }) => isRequired)) return 1;

  const settings = readSettings();
  const sampler = new Sampler(settings.patienceSeconds);
  const results = new Results();
  await using rig = await Rig.open();
  const starts = STARTS.filter(({ command, isBeside }) =>
    (command === "deno" || versions.has(command)) && !(isBeside && settings.mode === "short")
  );
  const peers: Peer[] = [];
  const ciphers: string[] = [];
  for (const { start } of starts) {
    const peer = await start(rig);
    peers.push(peer);
    ciphers.push(`${peer.name}: ${await check(peer)}`);
    say(`${peer.name} is up; client side ${ciphers.at(-1)}`);
  }
  const direct = { originPort: UPSTREAM_PORT, caFile: rig.upstreamCa };
  const bench: Bench = { settings, sampler, results, peers, direct, say };
  await measureKeepAlive(bench);
  await measureInjection(bench);
  await measureNewTunnels(bench);
  await measureLatency(bench);
  if (settings.mode !== "short") await measureFirstEvent(bench);
  await measureDownloads(bench);
  for (const peer of peers) await check(peer); // still looked into, still logged
  for (const peer of peers) await peer.stop();
  if (settings.mode !== "short") {
    await measurePolicy(bench, rig);
    await measureRuleChanges(bench, rig);
  }
  const holders = starts.filter(({ start }) =>
    start !== startEngine && (settings.mode !== "short" || start === startSlicer || start === startGo)
  );
  await measureIdleTunnels(bench, holders.map(({ start }) => () => start(rig)));
  if (settings.mode !== "short") await measureStart(bench, rig);

  const minutes = (performance.now() - startedAt) / 60_000;
  const { noise } = sampler;
  const columns = ["no proxy", ...peers.map(({ name }) => name)];
  const report = formatReport(results.rows, {
    ours: OURS,
    columns,
    facts: [
      `${new Date().toISOString().slice(0, 10)}, ${format(minutes, 1)} minutes${
        WORDS_OF_MODE[settings.mode]
      }`,
      `${navigator.hardwareConcurrency} CPUs (${cpuModel()}), shared by load generator, upstream and proxy`,
      `other processes used ${format(quantile(noise, 0.5), 2)} CPUs in the median sample, ${
        format(quantile(noise, 0.9), 2)
      } in the ninth decile`,
      [`Deno ${Deno.version.deno}`, ...versions.values()].join("; "),
      `client side: ${
        ciphers.join("; ")
      }; upstream side: TLSv1.3 / ${CIPHER} everywhere, verified by every proxy`,
      "every proxy logs each request to a file; all leaf and CA keys are P-256",
    ],
    settings: [
      [
        "load",
        "hey -z SECONDS -c CONNECTIONS [-disable-keepalive] -x http://proxy:TOKEN@127.0.0.1:PORT https://localhost/1k\n" +
        JSON.stringify(settings),
      ],
      ["nginx, the upstream", nginxConf(rig.dir)],
      ...peers.map(({ name, settings }) => [name, settings] as const),
    ],
  });
  const out = Deno.env.get("BENCH_OUT") ?? new URL(".", import.meta.url).pathname;
  await Deno.writeTextFile(`${out}/results.md`, report);
  await Deno.writeTextFile(`${out}/results.svg`, plot(results.rows, columns));
  // `deno task ok` checks the form of such files too.
  const files = [`${out}/results.md`, `${out}/results.svg`];
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", ...files] }).output();
  await Deno.stdout.write(new TextEncoder().encode(report.split("## Settings")[0]));
  const failed = results.rows.filter((row) => judge(row, OURS).some(({ ok }) => !ok));
  for (const { spec } of failed) say(`target not reached: ${spec.title}`);
  return 0;
}

/** Asks for one file over each route: who signed, which cipher, and whether it was logged. */
async function check(peer: Peer): Promise<string> {
  const cipher = await checkRoute(peer.inspected);
  if (peer.passthrough) await checkRoute(peer.passthrough);
  for (let tries = 0; peer.logFile !== undefined; tries++) {
    if (/\/1k/.test(await tail(peer.logFile))) break;
    if (tries > 50) throw new Error(`${peer.name} does not log requests`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return cipher;
}

async function tail(file: string): Promise<string> {
  using opened = await Deno.open(file);
  const { size } = await opened.stat();
  await opened.seek(Math.max(0, size - 4_096), Deno.SeekMode.Start);
  return new TextDecoder().decode(await new Response(opened.readable).bytes());
}

/** The tools that are here, with their versions. */
async function findTools(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { command, version } of TOOLS) {
    try {
      const { stdout, stderr } = await new Deno.Command(command, { args: [...version ?? []] }).output();
      const [first = ""] = new TextDecoder().decode(stdout.length > 0 ? stdout : stderr).trim().split("\n");
      found.set(command, version ? first.replace(/\s+(\(|http|[\d/]+ -).*$/, "").trim() : command);
    } catch {
      // Not installed.
    }
  }
  return found;
}

function cpuModel(): string {
  return /model name\s*:\s*(.*)/.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1] ?? "unknown";
}

if (import.meta.main) Deno.exit(await main());
