/**
 * How long and how often things are measured, and what is the same for every proxy.
 *
 * @module
 */

/** One run of the bench. */
export interface Settings {
  readonly mode: "full" | "short" | "quick";
  /** Interleaved rounds: every proxy is measured once in each. */
  readonly rounds: number;
  /** Seconds of load before the first sample: a JIT compiles for so long on a slow machine. */
  readonly warmUpSeconds: number;
  /** Seconds of load per sample. */
  readonly seconds: number;
  /** Keep-alive connections of the throughput rows. */
  readonly connections: readonly number[];
  /** Requests of a latency sample, one after the other. */
  readonly latencyRequests: number;
  /** Rounds of the 1 GiB download, which takes some ten seconds each. */
  readonly downloads: number;
  /** Idle tunnels wanted; the proxy's own connection limit may allow fewer. */
  readonly idleTunnels: number;
  readonly clients: number;
  readonly rulesPerClient: number;
  /** Starts that are timed. */
  readonly starts: number;
  /** Rule changes that are timed under load. */
  readonly ruleChanges: number;
  /** Seconds to wait, in all, for other processes of the machine to be quiet. */
  readonly patienceSeconds: number;
}

const FULL: Settings = {
  mode: "full",
  rounds: 5,
  warmUpSeconds: 12,
  seconds: 3,
  connections: [1, 50, 500],
  latencyRequests: 4_000,
  downloads: 3,
  idleTunnels: 5_000,
  clients: 1_000,
  rulesPerClient: 10,
  starts: 9,
  ruleChanges: 100,
  patienceSeconds: 180,
};

const QUICK: Settings = {
  mode: "quick",
  rounds: 1,
  warmUpSeconds: 2,
  seconds: 2,
  connections: [1, 50, 500],
  latencyRequests: 1_000,
  downloads: 1,
  idleTunnels: 500,
  clients: 100,
  rulesPerClient: 10,
  starts: 3,
  ruleChanges: 20,
  patienceSeconds: 0,
};

/** What the targets name, against the proxies that they name. */
const SHORT: Settings = {
  ...FULL,
  mode: "short",
  rounds: 4,
  warmUpSeconds: 8,
  seconds: 2,
  connections: [50],
  latencyRequests: 2_000,
  downloads: 2,
  idleTunnels: 1_000,
  patienceSeconds: 0,
};

/** The full run takes about half an hour, `BENCH_SHORT=1` less than six minutes, `BENCH_QUICK=1` about three. */
export function readSettings(): Settings {
  if (Deno.env.get("BENCH_QUICK")) return QUICK;
  return Deno.env.get("BENCH_SHORT") ? SHORT : FULL;
}

/** hey puts the port into the SNI when it is another than 443, which TLS servers may refuse (RFC 6066 §3). */
export const UPSTREAM_PORT = 443;
/** The same content over HTTP/2. */
export const UPSTREAM_H2_PORT = 8_443;
export const HOST = "localhost";
/** The first suite of Go and one that every proxy has; nginx takes no other, so all upstream sides use it. */
export const CIPHER = "TLS_AES_128_GCM_SHA256";
/** What requests get as a bearer token, where that is measured. */
export const CREDENTIAL = "bench-credential-of-no-value-0123456789abcdef";
/** What every client and proxy here knows; of no value outside. */
export const USER = "proxy";
export const TOKEN = "spi_bench_token_of_no_value";
