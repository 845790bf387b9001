/**
 * The soak: thousands of tunnels through the real program, mixed traffic, clients that vanish, upstreams that stall and die, for
 * minutes; then nothing may be left. Exit code 0 only if all of it held. `deno task soak`; SOAK_TUNNELS and SOAK_SECONDS
 * change its size. Linux only: it counts descriptors in /proc.
 */
// deno-lint-ignore-file no-console
import { openTlsTunnel, openTunnel, type RawPeer } from "../support/raw_peer.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const SECONDS = Number(Deno.env.get("SOAK_SECONDS") ?? 180);
const CLIENTS = 40; // each holds few: a client with many gets no more when places are scarce
const HTTP_PORT = 21_128;

/** (hard descriptor limit − 1,000) / 4, and 5,000 at most: an inspected tunnel takes four. */
async function tunnelCount(): Promise<number> {
  const limits = await Deno.readTextFile("/proc/self/limits");
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? 4_096);
  return Math.min(5_000, Math.floor((hard - 1_000) / 4), Number(Deno.env.get("SOAK_TUNNELS") ?? 5_000));
}

const dir = await Deno.makeTempDir({ prefix: "slicer-soak-" });
const deno = (args: readonly string[], stdout: "piped" | "null") =>
  new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--config", `${ROOT}deno.json`, ...args],
    cwd: dir,
    stdout,
    stderr: "inherit",
  });
const cli = async (...args: string[]): Promise<string> => {
  const { success, stdout } = await deno([`${ROOT}main.ts`, ...args], "piped").output();
  if (!success) throw new Error(`slicer-proxy ${args.join(" ")} failed`);
  return new TextDecoder().decode(stdout).trim();
};

const upstream = deno([`${ROOT}tests/soak/upstream.ts`, dir], "piped").spawn();
const ports = JSON.parse(await firstLine(upstream.stdout)) as { tls: number; tcp: number };
const program = Deno.env.get("SLICER_PROXY_BIN");
const up = ["up", "--http-port", String(HTTP_PORT), "--https-port", String(HTTP_PORT + 1)];
const flags = ["--allow-cidr", "127.0.0.1", "--upstream-ca", `${dir}/upstream-ca.pem`];
const proxy = program
  ? new Deno.Command(program, { args: [...up, ...flags], cwd: dir, stdout: "null", stderr: "inherit" })
    .spawn()
  : deno([`${ROOT}main.ts`, ...up, ...flags], "null").spawn();
await waitFor(async () => (await Deno.stat(`${dir}/.slicer/proxy/api.sock`)).isSocket === true);

const tokens: string[] = [];
for (let i = 0; i < CLIENTS; i++) {
  tokens.push(await cli("client", "create", `soak-${i}`));
  await cli("allow", `soak-${i}`, "--host", "localhost", "--port", String(ports.tls));
  await cli("allow", `soak-${i}`, "--host", "127.0.0.1", "--port", String(ports.tcp), "--passthrough");
}
const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);

interface Sample {
  readonly descriptors: number;
  readonly rssKib: number;
  readonly connections: number;
  readonly tunnels: number;
}

async function sample(): Promise<Sample> {
  let descriptors = 0;
  for await (const _ of Deno.readDir(`/proc/${proxy.pid}/fd`)) descriptors++;
  const rssKib = Number(/VmRSS:\s+(\d+)/.exec(await Deno.readTextFile(`/proc/${proxy.pid}/status`))?.[1]);
  const status = JSON.parse(await cli("status", "--json"));
  return { descriptors, rssKib, connections: status.open_connections, tunnels: status.open_tunnels };
}

const failures: string[] = [];
const counts = { tunnels: 0, requests: 0, faults: 0, refused: 0 };
const HOST = `localhost:${ports.tls}`;
const tokenOf = (i: number) => tokens[i % CLIENTS] ?? "";

async function openInspected(i: number): Promise<RawPeer> {
  const peer = await openTlsTunnel(HTTP_PORT, HOST, tokenOf(i), caPem);
  counts.tunnels++;
  return peer;
}

async function get(peer: RawPeer, path: string): Promise<void> {
  await peer.send(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  const { status } = await peer.readResponse();
  if (status !== 200) counts.refused++;
  counts.requests++;
}

/** Everything that goes wrong in production, by chance. Each returns with its connection closed. */
const FAULTS: readonly ((i: number) => Promise<void>)[] = [
  async (i) => { // vanishes while the upstream stalls
    using peer = await openInspected(i);
    await peer.send(`GET /stall HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await sleep(100);
  },
  async (i) => { // vanishes inside an upload
    using peer = await openInspected(i);
    await peer.send(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 100000\r\n\r\n${"y".repeat(5_000)}`);
  },
  async (i) => { // the upstream dies inside its answer
    using peer = await openInspected(i);
    await peer.send(`GET /die HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    const text = await peer.readAll().catch(() => "cut");
    if (text.length > 4_000) failures.push("a truncated response was completed");
  },
  async (i) => { // the upstream dies before it
    using peer = await openInspected(i);
    await get(peer, "/die-early");
  },
  async (i) => { // a tunnel without a ClientHello
    using peer = await openTunnel(HTTP_PORT, HOST, tokenOf(i));
    await peer.sendBytes(new Uint8Array([0x16, 3, 1]));
  },
  async (i) => { // a WebSocket that is cut
    using peer = await openInspected(i);
    await peer.send(
      `GET /upgrade HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    );
    await peer.readHead();
    await peer.send("ping");
    await peer.readBytes(4);
  },
  async (i) => { // a passthrough that is cut
    using peer = await openTunnel(HTTP_PORT, `127.0.0.1:${ports.tcp}`, tokenOf(i));
    counts.tunnels++;
    await peer.send("ping");
    await peer.readBytes(4);
  },
  async (i) => { // an event stream that is left early
    using peer = await openInspected(i);
    await peer.send(`GET /stream HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await peer.readUntil("data:");
  },
];

const total = await tunnelCount();
const before = await sample();
report("before", before);

// 1. The idle tunnels, each of which has carried one request.
const idle: RawPeer[] = [];
const openers = Array.from({ length: 32 }, async (_, lane) => {
  for (let i = lane; i < total * 0.9; i += 32) {
    const peer = await openInspected(i);
    await get(peer, "/");
    idle.push(peer);
  }
});
await Promise.all(openers);
await sleep(1_000);
const held = await sample();
report(`${idle.length} idle tunnels`, held);
const perTunnelKib = (held.rssKib - before.rssKib) / idle.length;

// 2. Mixed traffic beside them.
const until = performance.now() + SECONDS * 1_000;
let early: Sample | undefined;
const lanes = Array.from({ length: Math.min(48, Math.floor(total * 0.1)) }, async (_, lane) => {
  for (let i = lane; performance.now() < until; i++) {
    try {
      if (Math.random() < 0.5) {
        await (FAULTS[Math.floor(Math.random() * FAULTS.length)] ?? FAULTS[0])?.(i);
        counts.faults++;
      } else {
        using peer = await openInspected(i);
        for (let n = 0; n < 5; n++) await get(peer, n === 4 ? "/stream" : "/");
        const resting = idle[Math.floor(Math.random() * idle.length)];
        if (lane === 0 && resting) await get(resting, "/");
      }
    } catch (error) {
      failures.push(`a request failed: ${error instanceof Error ? error.stack : error}`);
      await sleep(200);
    }
  }
});
const watch = (async () => {
  while (performance.now() < until) {
    await sleep(Math.min(15_000, Math.max(0, until - performance.now())));
    const now = await sample();
    early ??= now;
    report("mixed traffic", now);
  }
})();
await Promise.all([...lanes, watch]);
const late = await sample();

// 3. Everybody goes; nothing may stay.
for (const peer of idle) peer[Symbol.dispose]();
let after = await sample();
for (let i = 0; i < 60 && (after.connections > 0 || after.descriptors > before.descriptors + 5); i++) {
  await sleep(2_000);
  after = await sample();
}
report("after", after);

if (idle.length < Math.floor(total * 0.9)) failures.push(`only ${idle.length} idle tunnels were held`);
if (after.connections !== 0 || after.tunnels !== 0) failures.push("connections or tunnels are left");
// One loopback listener per intercepted host stays open on purpose.
if (after.descriptors > before.descriptors + 5) {
  failures.push(`${after.descriptors - before.descriptors} descriptors are left`);
}
if (early && late.rssKib > early.rssKib * 1.2 + 20_000) failures.push("memory grew under steady load");

proxy.kill("SIGTERM");
const stopped = await proxy.status;
if (!stopped.success) failures.push(`the proxy ended with ${stopped.code}`);
upstream.kill();
await upstream.status;
if (Deno.env.get("SOAK_KEEP")) console.log(`kept ${dir}`);
else await Deno.remove(dir, { recursive: true });
const kinds = new Map<string, number>();
for (const failure of failures) kinds.set(failure, (kinds.get(failure) ?? 0) + 1);
console.log(
  `tunnels opened ${counts.tunnels}, held idle ${idle.length}, requests ${counts.requests}, ` +
    `faults injected ${counts.faults}, refused ${counts.refused}, memory per idle tunnel ${
      perTunnelKib.toFixed(1)
    } KiB`,
);
for (const [failure, count] of kinds) console.log(`FAILED (${count}×): ${failure}`);
Deno.exit(failures.length === 0 ? 0 : 1);

function report(what: string, { descriptors, rssKib, connections, tunnels }: Sample): void {
  console.log(
    `${what}: ${connections} connections, ${tunnels} tunnels, ${descriptors} descriptors, ${
      Math.round(rssKib / 1_024)
    } MiB`,
  );
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function waitFor(isTrue: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await isTrue().catch(() => false)) return;
    await sleep(100);
  }
  throw new Error("the proxy did not start");
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const piece of stream.pipeThrough(new TextDecoderStream()).values({ preventCancel: true })) {
    text += piece;
    if (text.includes("\n")) break;
  }
  return text.split("\n")[0] ?? "";
}
