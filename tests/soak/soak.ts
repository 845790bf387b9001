/**
 * The soak: thousands of tunnels through the real program, mixed traffic, clients that vanish, upstreams that stall and die, for
 * minutes; then nothing may be left. Exit code 0 only if all of it held. `deno task soak`, `deno task soak h2`; SOAK_TUNNELS and
 * SOAK_SECONDS change its size. Linux only: it counts descriptors in /proc.
 */
// deno-lint-ignore-file no-console
import { openTlsTunnel, openTunnel, type RawPeer } from "../support/raw_peer.ts";
import { soakHttp2 } from "./http2.ts";
import { report, type Sample, SECONDS, sleep, startStage, tunnelCount } from "./stage.ts";

const stage = await startStage();
const { httpPort, ports, caPem, failures, tokenOf, sample } = stage;
if (Deno.args[0] === "h2") {
  await soakHttp2(stage);
  Deno.exit(await stage.finish());
}
const counts = { tunnels: 0, requests: 0, faults: 0, refused: 0 };
const HOST = `localhost:${ports.tls}`;

async function openInspected(i: number): Promise<RawPeer> {
  const peer = await openTlsTunnel(httpPort, HOST, tokenOf(i), caPem);
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
    using peer = await openTunnel(httpPort, HOST, tokenOf(i));
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
    using peer = await openTunnel(httpPort, `127.0.0.1:${ports.tcp}`, tokenOf(i));
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

// An inspected tunnel takes four.
const total = await tunnelCount(5_000, 4);
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
await stage.checkEmpty(before);
if (idle.length < Math.floor(total * 0.9)) failures.push(`only ${idle.length} idle tunnels were held`);
if (early && late.rssKib > early.rssKib * 1.2 + 20_000) failures.push("memory grew under steady load");

console.log(
  `tunnels opened ${counts.tunnels}, held idle ${idle.length}, requests ${counts.requests}, ` +
    `faults injected ${counts.faults}, refused ${counts.refused}, memory per idle tunnel ${
      perTunnelKib.toFixed(1)
    } KiB`,
);
Deno.exit(await stage.finish());
