/**
 * The rows that all proxies run in turn: throughput, CPU, new tunnels, downloads, latency, first event.
 *
 * @module
 */
import { curlDownload, curlFirstEvent, curlLatencies, hey } from "./load.ts";
import type { Peer, Route } from "./peer.ts";
import { GO } from "./peer_go.ts";
import { useOf } from "./process_stats.ts";
import type { Sampler } from "./quiet.ts";
import type { Results, RowSpec } from "./results.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./stats.ts";

/** What a row needs. */
export interface Bench {
  readonly settings: Settings;
  readonly sampler: Sampler;
  readonly results: Results;
  /** In the order in which they take turns. */
  readonly peers: readonly Peer[];
  /** No proxy at all. */
  readonly direct: Route;
  readonly say: (text: string) => void;
}

const perSecond = (connections: number): RowSpec => ({
  key: `rps-${connections}`,
  title: `inspected keep-alive requests, 1 KiB, ${connections} connection${connections === 1 ? "" : "s"}`,
  unit: "/s",
  digits: 0,
  better: "more",
  ...(connections === 50 ? { targets: [{ peer: GO, factor: 1.1 }] } : {}),
});
const CPU_TARGETS = [
  { peer: GO, factor: 1 },
  { peer: "Squid, peek", factor: 0.75 },
  { peer: "mitmproxy", factor: 0.1 },
];
const cpu = (connections: number): RowSpec => ({
  key: `cpu-${connections}`,
  title: `CPU per inspected request, ${connections} connection${connections === 1 ? "" : "s"}`,
  unit: "µs",
  digits: 0,
  better: "less",
  ...(connections === 50 ? { targets: CPU_TARGETS } : {}),
});
const failed = (connections: number): RowSpec => ({
  key: `failed-${connections}`,
  title: `failed requests of that, ${connections} connection${connections === 1 ? "" : "s"}`,
  unit: "",
  digits: 0,
  better: "less",
  targets: [{ atMost: 0 }],
});
const INJECTED: RowSpec = {
  key: "cpu-injected",
  title: "CPU per inspected request with a credential put in, 50 connections",
  unit: "µs",
  digits: 0,
  better: "less",
};
const PEAK: RowSpec = {
  key: "peak",
  title: "peak memory of the proxy's processes after that",
  unit: "MiB",
  digits: 0,
  better: "less",
};
const TUNNELS: RowSpec = {
  key: "tunnels",
  title: "new tunnels: CONNECT, TLS, one request",
  unit: "/s",
  digits: 0,
  better: "more",
};
const TUNNELS_FAILED: RowSpec = { ...failed(0), key: "tunnels-failed", title: "new tunnels that failed" };
const TUNNEL_CPU: RowSpec = {
  key: "tunnel-cpu",
  title: "CPU per new tunnel",
  unit: "ms",
  digits: 2,
  better: "less",
  targets: [{ peer: GO, factor: 1.3 }],
};
const DOWNLOAD: RowSpec = {
  key: "download",
  title: "1 GiB inspected",
  unit: "MB/s",
  digits: 0,
  better: "more",
  targets: [{ peer: GO, factor: 1 }, { peer: "Squid", factor: 1.5 }],
};
const DOWNLOAD_CPU: RowSpec = {
  key: "download-cpu",
  title: "CPU per GiB inspected",
  unit: "s",
  digits: 2,
  better: "less",
  targets: [{ peer: GO, factor: 1 }],
};
const PASSED: RowSpec = {
  key: "passed",
  title: "1 GiB passthrough",
  unit: "MB/s",
  digits: 0,
  better: "more",
};
const PASSED_CPU: RowSpec = {
  key: "passed-cpu",
  title: "CPU per GiB passthrough",
  unit: "s",
  digits: 2,
  better: "less",
};
const ADDED_50: RowSpec = {
  key: "added-p50",
  title: "added latency at one connection, p50",
  unit: "ms",
  digits: 3,
  better: "less",
  targets: [{ peer: "Squid", factor: 1 }],
};
const ADDED_99: RowSpec = {
  key: "added-p99",
  title: "added latency at one connection, p99",
  unit: "ms",
  digits: 3,
  better: "less",
  targets: [{ peer: GO, factor: 1.2 }],
};
const EVENT: RowSpec = {
  key: "event",
  title: "request to first server-sent event",
  unit: "ms",
  digits: 2,
  better: "less",
};

const NO_PROXY = "no proxy";

/** Requests per second, CPU per request and peak memory at each number of connections. */
export async function measureKeepAlive(bench: Bench): Promise<void> {
  const { settings, sampler, results, peers, direct, say } = bench;
  for (const peer of peers) await hey(peer.inspected, { connections: 50, seconds: settings.warmUpSeconds }); // JITs and caches
  for (const connections of settings.connections) {
    // Opening 500 tunnels takes seconds, which would be most of a short sample.
    const seconds = connections > 100 ? settings.seconds * 2 : settings.seconds;
    for (let round = 1; round <= settings.rounds; round++) {
      say(`keep-alive, ${connections} connections, round ${round}`);
      const load = (route: Route) => hey(route, { connections, seconds });
      results.add(perSecond(connections), NO_PROXY, (await sampler.take(() => load(direct))).perSecond);
      for (const peer of peers) {
        const used = await sampler.take(() => withCpu(peer, () => load(peer.inspected)));
        results.add(perSecond(connections), peer.name, used.value.perSecond);
        results.add(cpu(connections), peer.name, 1_000 * used.cpuMs / used.value.requests);
        results.add(failed(connections), peer.name, used.value.failed);
      }
    }
  }
  for (const peer of peers) results.add(PEAK, peer.name, useOf(peer.pids).peakRssKib / 1_024);
}

/** The same where requests get a credential, and answers are watched for it, by those that do. */
export async function measureInjection({ settings, sampler, results, peers, say }: Bench): Promise<void> {
  for (let round = 1; round <= settings.rounds; round++) {
    say(`with a credential, round ${round}`);
    for (const peer of peers) {
      const { injected } = peer;
      if (!injected) continue;
      const load = () => hey(injected, { connections: 50, seconds: settings.seconds });
      const used = await sampler.take(() => withCpu(peer, load));
      results.add(INJECTED, peer.name, 1_000 * used.cpuMs / used.value.requests);
    }
  }
}

/** CONNECT, TLS handshake and one request, over and over. */
export async function measureNewTunnels({ settings, sampler, results, peers, say }: Bench): Promise<void> {
  for (let round = 1; round <= settings.rounds; round++) {
    say(`new tunnels, round ${round}`);
    for (const peer of peers) {
      const load = () => hey(peer.inspected, { connections: 8, seconds: settings.seconds, newTunnels: true });
      const used = await sampler.take(() => withCpu(peer, load));
      results.add(TUNNELS, peer.name, used.value.perSecond);
      results.add(TUNNELS_FAILED, peer.name, used.value.failed);
      results.add(TUNNEL_CPU, peer.name, used.cpuMs / used.value.requests);
    }
  }
}

/** 1 GiB through each, looked into and not. */
export async function measureDownloads(
  { settings, sampler, results, peers, direct, say }: Bench,
): Promise<void> {
  const MB = 1_073.741_824;
  for (let round = 1; round <= settings.downloads; round++) {
    say(`1 GiB, round ${round}`);
    results.add(DOWNLOAD, NO_PROXY, MB / await sampler.take(() => curlDownload(direct)));
    for (const peer of peers) {
      for (
        const [route, speed, cpu] of [
          [peer.inspected, DOWNLOAD, DOWNLOAD_CPU],
          [peer.passthrough, PASSED, PASSED_CPU],
        ] as const
      ) {
        if (!route || (speed === PASSED && settings.mode === "short")) continue;
        const used = await sampler.take(() => withCpu(peer, () => curlDownload(route)));
        results.add(speed, peer.name, MB / used.value);
        results.add(cpu, peer.name, used.cpuMs / 1_000);
      }
    }
  }
}

/** What a proxy adds to the latency of a request, against no proxy in the same round. */
export async function measureLatency(
  { settings, sampler, results, peers, direct, say }: Bench,
): Promise<void> {
  for (let round = 1; round <= settings.rounds; round++) {
    say(`latency, round ${round}`);
    const base = await sampler.take(() => curlLatencies(direct, settings.latencyRequests));
    for (const peer of peers) {
      const times = await sampler.take(() => curlLatencies(peer.inspected, settings.latencyRequests));
      results.add(ADDED_50, peer.name, quantile(times, 0.5) - quantile(base, 0.5));
      results.add(ADDED_99, peer.name, quantile(times, 0.99) - quantile(base, 0.99));
    }
  }
}

/** How long a client waits for the first event of a stream that is far from its end. */
export async function measureFirstEvent({ settings, results, peers, direct, say }: Bench): Promise<void> {
  for (let round = 1; round <= settings.rounds; round++) {
    say(`first event, round ${round}`);
    results.add(EVENT, NO_PROXY, await curlFirstEvent(direct));
    for (const peer of peers) results.add(EVENT, peer.name, await curlFirstEvent(peer.inspected));
  }
}

/** The CPU time that the proxy used meanwhile. */
async function withCpu<T>(
  peer: Peer,
  load: () => Promise<T>,
): Promise<{ readonly value: T; readonly cpuMs: number }> {
  const before = useOf(peer.pids).cpuMs;
  const value = await load();
  return { value, cpuMs: useOf(peer.pids).cpuMs - before };
}
