/**
 * `deno run -A bench/http2.ts`: requests of HTTP/2 through this proxy, nghttpx and HAProxy, all TLS to TLS on loopback, in
 * turn; beside them HTTP/1.1 by the same load generator. Writes `results_http2.md` beside this file, or into `BENCH_OUT`.
 *
 * @module
 */
import { PeerFolder } from "../tests/support/http2_peers.ts";
import { type Http2Peer, PEERS, type Place } from "./peers_http2.ts";
import { OURS } from "./peer_slicer.ts";
import { useOf } from "./process_stats.ts";
import { Rig } from "./rig.ts";
import { HOST, UPSTREAM_H2_PORT } from "./settings.ts";
import { format, median } from "./stats.ts";

/** A kind of load: so many connections with so many streams each. Of HTTP/1.1 only ours is asked: it is what the target is about. */
interface Load {
  readonly title: string;
  readonly requests: number;
  readonly connections: number;
  readonly streams: number;
  readonly upstream: Place["name"];
  readonly path: string;
  readonly isHttp1?: boolean;
  readonly more?: readonly string[];
}

const NGINX = { upstream: "nginx", path: "/1k" } as const;
const LOADS: readonly Load[] = [
  {
    title: "HTTP/1.1, 50 connections",
    requests: 10_000,
    connections: 50,
    streams: 1,
    ...NGINX,
    isHttp1: true,
  },
  { title: "HTTP/2, 1 × 1", requests: 2_000, connections: 1, streams: 1, ...NGINX },
  { title: "HTTP/2, 1 × 100", requests: 20_000, connections: 1, streams: 100, ...NGINX },
  { title: "HTTP/2, 10 × 10", requests: 20_000, connections: 10, streams: 10, ...NGINX },
  {
    title: "gRPC unary, 10 × 10",
    requests: 10_000,
    connections: 10,
    streams: 10,
    upstream: "node",
    path: "/p.S/Unary",
    more: ["-H", "content-type: application/grpc", "-H", "te: trailers"],
  },
];
const ROUNDS = Number(Deno.env.get("BENCH_ROUNDS") ?? 3);
const BULK_MB = 1_073.741_824;

/** Samples by row and peer. */
type Table = Map<string, Map<string, number[]>>;

async function main(): Promise<void> {
  await using rig = await Rig.open();
  await using folder = await PeerFolder.make();
  await Deno.copyFile(`${rig.dir}/upstream/leaf.crt`, `${folder.dir}/up.crt`);
  await Deno.copyFile(`${rig.dir}/upstream/leaf.key`, `${folder.dir}/up.key`);
  await using node = await folder.serve(["node", `${folder.dir}/node_server.mjs`]);
  // One message of eleven bytes, as gRPC frames it.
  await Deno.writeFile(`${folder.dir}/message`, new Uint8Array([0, 0, 0, 0, 6, 10, 4, 97, 98, 99, 100]));
  const places: readonly Place[] = [
    { name: "nginx", port: UPSTREAM_H2_PORT },
    { name: "node", port: node.port },
  ];
  await using stack = new AsyncDisposableStack();
  const peers: Http2Peer[] = [];
  for (const { command, start } of PEERS) {
    if (command === "deno" || await isHere(command)) peers.push(stack.use(await start(rig, places)));
  }
  const table: Table = new Map();
  for (let round = 1; round <= ROUNDS; round++) {
    for (const load of LOADS) {
      for (const peer of load.isHttp1 ? peers.slice(0, 1) : peers) {
        await measure(table, { load, peer, places, dir: folder.dir });
      }
    }
    for (const peer of peers) await download(table, peer, places, rig.interceptCa);
  }
  const out = Deno.env.get("BENCH_OUT") ?? new URL(".", import.meta.url).pathname;
  const file = `${out}/results_http2.md`;
  await Deno.writeTextFile(file, report(table, peers.map(({ name }) => name)));
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", file] }).output();
  await Deno.stdout.write(await Deno.readFile(file));
}

/** One sample: requests per second and CPU of the proxy per request. Everything has to be answered with 2xx. */
async function measure(
  table: Table,
  { load, peer, places, dir }: {
    readonly load: Load;
    readonly peer: Http2Peer;
    readonly places: readonly Place[];
    readonly dir: string;
  },
): Promise<void> {
  const place = places.find(({ name }) => name === load.upstream);
  if (!place) return;
  // HTTP/1.1's Host is made from `:authority` too.
  const data = load.upstream === "node" ? ["-d", `${dir}/message`] : [];
  const args = ["-c", String(load.connections), "-m", String(load.streams), ...data, ...load.more ?? []];
  if (load.isHttp1) args.push("--h1");
  const url = `https://${HOST}:${peer.portOf(place)}${load.path}`;
  const run = async (requests: number) => {
    const count = ["-n", String(requests), "-H", `:authority: ${HOST}:${place.port}`];
    const { stdout } = await new Deno.Command("h2load", { args: [...count, ...args, url] }).output();
    const text = new TextDecoder().decode(stdout);
    if (!text.includes(`status codes: ${requests} 2xx`)) {
      throw new Error(`${load.title}, ${peer.name}: not everything was answered:\n${text}`);
    }
    return Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(text)?.[1]);
  };
  await run(load.connections * load.streams * 10); // warms up
  const before = useOf(peer.pids).cpuMs;
  const requests = peer.isSlow ? load.requests / 10 : load.requests;
  const perSecond = await run(requests);
  const cpuMs = useOf(peer.pids).cpuMs - before;
  add(table, `${load.title}: requests/s`, peer.name, perSecond);
  add(table, `${load.title}: CPU per request, µs`, peer.name, 1_000 * cpuMs / requests);
}

/** 1 GiB in one stream. */
async function download(
  table: Table,
  peer: Http2Peer,
  places: readonly Place[],
  caFile: string,
): Promise<void> {
  const [place] = places;
  if (!place) return;
  const before = useOf(peer.pids).cpuMs;
  const { stdout } = await new Deno.Command("curl", {
    args: [
      ...["-s", "--http2", "--cacert", caFile, "-o", "/dev/null", "-H", `Host: ${HOST}:${place.port}`, "-w"],
      ...["%{http_version} %{http_code} %{size_download} %{time_total}"],
      `https://${HOST}:${peer.portOf(place)}/1g`,
    ],
  }).output();
  const [version, status, bytes, seconds = NaN] = new TextDecoder().decode(stdout).split(" ").map(Number);
  if (version !== 2 || status !== 200 || bytes !== 1_073_741_824) {
    throw new Error(`1 GiB, ${peer.name}: HTTP/${version} ${status}, ${bytes} bytes`);
  }
  add(table, "1 GiB: MB/s", peer.name, BULK_MB / seconds);
  add(table, "1 GiB: CPU, s", peer.name, (useOf(peer.pids).cpuMs - before) / 1_000);
}

function add(table: Table, row: string, peer: string, sample: number): void {
  const cells = table.get(row) ?? new Map<string, number[]>();
  table.set(row, cells);
  cells.set(peer, [...cells.get(peer) ?? [], sample]);
}

function report(table: Table, peers: readonly string[]): string {
  const rows = [...table].map(([row, cells]) => {
    const digits = row.endsWith(", s") ? 2 : 0;
    return `| ${row} | ${
      peers.map((peer) => cells.has(peer) ? format(median(cells.get(peer) ?? []), digits) : "").join(" | ")
    } |`;
  });
  const cpuOf = (title: string) => median(table.get(`${title}: CPU per request, µs`)?.get(OURS) ?? []);
  const ratio = cpuOf("HTTP/2, 10 × 10") / cpuOf("HTTP/1.1, 50 connections");
  return `# HTTP/2

${
    new Date().toISOString().slice(0, 10)
  }, Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} CPUs with ${
    Deno.loadavg()[0]?.toFixed(1)
  } processes that wanted one. Medians of ${ROUNDS} rounds. ${OURS} with one worker; CPU is that of the proxy's
processes. \`N × M\` is connections and streams on each.

| | ${peers.join(" | ")} |
| --- | ${peers.map(() => "---: |").join(" ")}
${rows.join("\n")}

CPU per request of HTTP/2 at 10 × 10 is ${
    ratio.toFixed(2)
  } times that of HTTP/1.1 at 50 connections. The target is
at most 1: it is ${ratio <= 1 ? "reached" : "not reached"}.
`;
}

async function isHere(command: string): Promise<boolean> {
  try {
    return (await new Deno.Command(command, {
      args: [command === "mitmdump" ? "--version" : "-v"],
      stdout: "null",
      stderr: "null",
    }).output())
      .success;
  } catch {
    return false;
  }
}

if (import.meta.main) await main();
