/**
 * The rows that need a proxy of their own: idle tunnels on a fresh process, start-up, the cost of a large policy, and
 * changes of rules under load.
 *
 * @module
 */
import { basic, dialRaw, openTlsTunnel } from "../tests/support/raw_peer.ts";
import { hey } from "./load.ts";
import type { Peer } from "./peer.ts";
import {
  addClient,
  ALL_WORKERS,
  denoCommand,
  OURS,
  OURS_ON_ALL,
  type SlicerPeer,
  startBare,
  startSlicer,
} from "./peer_slicer.ts";
import { useOf } from "./process_stats.ts";
import type { RowSpec } from "./results.ts";
import type { Rig } from "./rig.ts";
import type { Bench } from "./rows_load.ts";
import { HOST, UPSTREAM_PORT } from "./settings.ts";
import { median, quantile } from "./stats.ts";

const POLICY_CPU: RowSpec = {
  key: "policy-cpu",
  title: "CPU per request with the large policy, relative to one client with one rule",
  unit: "×",
  digits: 3,
  better: "less",
  targets: [{ atMost: 1.05 }],
};
const POLICY_RPS: RowSpec = {
  key: "policy-rps",
  title: "requests/s with the large policy, relative to one client with one rule",
  unit: "×",
  digits: 3,
  better: "more",
};
const HELD: RowSpec = { key: "held", title: "tunnels held for that", unit: "", digits: 0, better: "more" };
const START: RowSpec = {
  key: "start",
  title: "start to listening",
  unit: "s",
  digits: 2,
  better: "less",
};
const START_BINARY: RowSpec = {
  ...START,
  key: "start-binary",
  title: "start to listening, compiled binary",
  targets: [{ atMost: 0.3 }],
};

/** Resident memory that an idle tunnel costs, each having carried one request. */
export async function measureIdleTunnels(
  { settings, results, say }: Bench,
  starts: readonly (() => Promise<Peer>)[],
): Promise<void> {
  for (const start of starts) {
    const peer = await start();
    try {
      // mitmproxy needs minutes for thousands of handshakes; memory per tunnel does not depend on their number.
      const wanted = peer.name === "mitmproxy" ? Math.min(300, settings.idleTunnels) : settings.idleTunnels;
      await hey(peer.inspected, { connections: 4, seconds: 1 });
      const users = "api" in peer
        ? await addUsers(peer as SlicerPeer, wanted)
        : { count: wanted, tokens: [] };
      say(`${users.count} idle tunnels through ${peer.name}`);
      const before = useOf(peer.pids).rssKib;
      const held = await hold(peer, users);
      const spec: RowSpec = {
        key: "idle",
        title: `memory per idle inspected tunnel, ${settings.idleTunnels.toLocaleString("en-US")} wanted`,
        unit: "KiB",
        digits: 1,
        better: "less",
        targets: [{ atMost: 40 }],
      };
      results.add(spec, peer.name, (useOf(peer.pids).rssKib - before) / held.count);
      results.add(HELD, peer.name, held.count);
      await held.release();
    } finally {
      await peer.stop();
    }
  }
}

/** All clients may hold 4,700 connections, and one of them a third of what is free (proxy/accept/admission.ts). */
async function addUsers({ api }: SlicerPeer, wanted: number) {
  const count = Math.min(wanted, 4_400);
  const tokens = Array.from({ length: Math.ceil(count / 80) }, (_, i) => `spi_bench_token_of_holder_${i}`);
  for (const [i, token] of tokens.entries()) await addClient(api, `holder-${i}`, token, [HOST]);
  return { count, tokens };
}

/** Has another process hold the tunnels, so that this one's memory and descriptors are not in question. */
async function hold({ inspected }: Peer, { count, tokens }: { count: number; tokens: readonly string[] }) {
  const options = JSON.stringify({ route: inspected, count, tokens });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("./hold.ts", import.meta.url).pathname, options],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const held = Number(new TextDecoder().decode(value));
  if (!(held > 0)) throw new Error("no idle tunnel could be opened");
  return {
    count: held,
    release: async () => {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

/** Two proxies in turn, under the same load: one client with one rule, and many clients with many rules. */
export async function measurePolicy({ settings, sampler, results, say }: Bench, rig: Rig): Promise<void> {
  const { clients, rulesPerClient } = settings;
  await using small = await disposable(startSlicer(rig));
  await using large = await disposable(startSlicer(rig));
  say(`a policy of ${clients} clients and ${clients * rulesPerClient} rules`);
  const hosts = (i: number) =>
    Array.from({ length: rulesPerClient }, (_, n) => `host-${n}.client-${i}.example`);
  const lanes = Array.from({ length: 8 }, async (_, lane) => {
    for (let i = lane; i < clients; i += 8) {
      await addClient(large.peer.api, `client-${i}`, undefined, hosts(i));
    }
  });
  await Promise.all(lanes);
  const token = "spi_bench_token_of_the_last_client";
  await addClient(large.peer.api, "last", token, [...hosts(clients).slice(1), HOST]);
  const routes = [small.peer.inspected, { ...large.peer.inspected, token }] as const;
  const load = { connections: 50, seconds: settings.seconds };
  for (const route of routes) await hey(route, { ...load, seconds: 2 });
  const samples: Record<"cpu" | "rps", number[]>[] = [{ cpu: [], rps: [] }, { cpu: [], rps: [] }];
  for (let round = 1; round <= settings.rounds + 2; round++) {
    say(`policy, round ${round}`);
    // Every second round the other way round: whoever comes second finds the machine warmer.
    for (const i of round % 2 ? [0, 1] : [1, 0]) {
      const [route, { peer }] = [routes[i] ?? routes[0], i === 0 ? small : large];
      const sample = await sampler.take(async () => {
        const before = useOf(peer.pids).cpuMs;
        const { requests, perSecond } = await hey(route, load);
        return { cpu: (useOf(peer.pids).cpuMs - before) / requests, rps: perSecond };
      });
      samples[i]?.cpu.push(sample.cpu);
      samples[i]?.rps.push(sample.rps);
    }
  }
  const [one, many] = samples;
  results.add(POLICY_CPU, OURS, median(many?.cpu ?? []) / median(one?.cpu ?? []));
  results.add(POLICY_RPS, OURS, median(many?.rps ?? []) / median(one?.rps ?? []));
}

/** Rules come and go while other clients keep the proxy busy: how long until the next tunnel sees it, and the open one ends. */
export async function measureRuleChanges(bench: Bench, rig: Rig): Promise<void> {
  for (const workers of new Set([1, ALL_WORKERS])) {
    await using proxy = await disposable(startSlicer(rig, workers));
    await measureRuleChangesOf(proxy.peer, bench, rig);
  }
}

async function measureRuleChangesOf(
  peer: SlicerPeer,
  { settings, results, say }: Bench,
  rig: Rig,
): Promise<void> {
  const { api, port, inspected, name } = peer;
  const token = "spi_bench_token_that_changes";
  await addClient(api, "changing", token, []);
  const caPem = await Deno.readTextFile(rig.interceptCa);
  const target = `${HOST}:${UPSTREAM_PORT}`;
  const load = { connections: 50, seconds: Math.max(4, settings.ruleChanges / 8) };
  await hey(inspected, { ...load, seconds: 2 });
  say(`load without rule changes, ${name}`);
  const without = await hey(inspected, load);
  say(`load with rule changes, ${name}`);
  const times = { allow: [] as number[], revoke: [] as number[], end: [] as number[] };
  let wrong = 0;
  let isLoaded = true;
  const loaded = hey(inspected, load).finally(() => isLoaded = false);
  for (let i = 0; i < settings.ruleChanges && isLoaded; i++) {
    times.allow.push(await timed(() => api.call("POST", "allows", { client: "changing", host: HOST })));
    if (await connectStatus(port, target, token) !== 200) wrong++;
    using tunnel = await openTlsTunnel(port, target, token, caPem);
    const revoke = () => api.call("POST", "allows/revoke", { client: "changing", host: HOST });
    times.revoke.push(await timed(revoke));
    const ended = timed(() => tunnel.isClosed());
    if (await connectStatus(port, target, token) !== 403) wrong++;
    times.end.push(await ended);
  }
  const withChanges = await loaded;
  const row = (key: string, title: string, unit: string, digits: number): RowSpec => ({
    key: `change-${key}`,
    title: `rule change under load: ${title}`,
    unit,
    digits,
    better: "less",
  });
  results.add(row("allow", "API call that adds a rule, p50", "ms", 1), name, median(times.allow));
  results.add(row("allow-99", "the same, p99", "ms", 1), name, quantile(times.allow, 0.99));
  results.add(row("revoke", "API call that revokes it, p50", "ms", 1), name, median(times.revoke));
  results.add(row("end", "open tunnel ends after that call returned, p50", "ms", 1), name, median(times.end));
  results.add(row("end-99", "the same, p99", "ms", 1), name, quantile(times.end, 0.99));
  results.add(
    {
      ...row("wrong", `decisions by the old rules, of ${2 * times.allow.length}`, "", 0),
      targets: [{ atMost: 0 }],
    },
    name,
    wrong,
  );
  results.add(
    { ...row("load", "requests/s of the others, relative to no changes", "×", 2), better: "more" },
    name,
    withChanges.perSecond / without.perSecond,
  );
}

/** From the spawn to the first accepted connection, with the state of an earlier run. */
export async function measureStart({ settings, results, peers, say }: Bench, rig: Rig): Promise<void> {
  const binary = new URL("../dist/slicer-proxy", import.meta.url).pathname;
  const hasBinary = await Deno.stat(binary).then(() => true, () => false);
  if (!hasBinary) say("no dist/slicer-proxy (deno task compile): its start is not measured");
  for (const peer of peers) {
    if (peer.name !== OURS && peer.name !== OURS_ON_ALL) results.add(START, peer.name, peer.startMs / 1_000);
  }
  const programs = [[START, denoCommand()], ...hasBinary ? [[START_BINARY, [binary]] as const] : []] as const;
  for (const [spec, program] of programs) {
    for (const workers of new Set([1, ALL_WORKERS])) {
      const dir = await rig.folder("start");
      const column = workers === 1 ? OURS : OURS_ON_ALL;
      for (let i = 0; i <= settings.starts; i++) {
        const { started } = await startBare(rig, dir, [...program, "up", `--workers=${workers}`]);
        if (i > 0) results.add(spec, column, started.startMs / 1_000); // the first one makes the state
        await started.stop();
      }
    }
  }
}

async function disposable(starting: Promise<SlicerPeer>) {
  const peer = await starting;
  return { peer, [Symbol.asyncDispose]: () => peer.stop() };
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await call();
  return performance.now() - startedAt;
}

async function connectStatus(port: number, target: string, token: string): Promise<number> {
  using peer = await dialRaw(port);
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
  );
  return Number((await peer.readHead()).split(" ")[1]);
}
