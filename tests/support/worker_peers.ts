/** A client's side of the data plane on several threads: tunnels to `localhost`, enough of them that every thread has some. */
import { parseRule } from "../../policy/rule.ts";
import { startEchoUpstream, type Upstream } from "./echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel, type RawPeer } from "./raw_peer.ts";
import type { WorkersStage } from "./start_workers.ts";

export const MANY = 24; // by chance all in one of three workers: once in 10^11 runs

export const startUpstream = () => startEchoUpstream({ names: ["localhost"] });

export async function allow(stage: WorkersStage, { port }: Upstream): Promise<void> {
  await stage.state.addRule("one", parseRule({ host: "localhost", ports: [port] }));
}

export function openTunnels(stage: WorkersStage, { port }: Upstream, count = MANY): Promise<RawPeer[]> {
  const one = () => openTlsTunnel(stage.port, `localhost:${port}`, stage.token, stage.caPem);
  return Promise.all(Array.from({ length: count }, one));
}

/**
 * Tunnels, all of which opened. Where a worker was given up the old listeners are shut, and what the system had dealt to them
 * by then is reset: so a first round may fail, and later ones must not.
 */
export async function openTunnelsAtLast(stage: WorkersStage, upstream: Upstream): Promise<RawPeer[]> {
  for (const until = performance.now() + 20_000;;) {
    const settled = await Promise.allSettled(
      Array.from({ length: MANY }, async () => (await openTunnels(stage, upstream, 1))[0]),
    );
    const opened = settled.flatMap((each) => each.status === "fulfilled" && each.value ? [each.value] : []);
    if (opened.length === MANY) return opened;
    closeAll(opened);
    if (performance.now() > until) throw new Error(`only ${opened.length} of ${MANY} tunnels opened`);
  }
}

export async function get(tunnel: RawPeer, { port }: Upstream): Promise<number> {
  await tunnel.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  return (await tunnel.readResponse()).status;
}

/** The status that a new CONNECT to the upstream gets. */
export function connect(stage: WorkersStage, { port }: Upstream): Promise<number> {
  return ask(stage, `localhost:${port}`);
}

/** The status that a new CONNECT gets. */
export async function ask(stage: WorkersStage, target: string): Promise<number> {
  using peer = await dialRaw(stage.port);
  const auth = `Proxy-Authorization: ${basic(stage.token)}`;
  await peer.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${auth}\r\n\r\n`);
  return Number((await peer.readHead()).slice(9, 12));
}

/** Which of the tunnels can still be used. */
export async function living(tunnels: readonly RawPeer[], upstream: Upstream): Promise<RawPeer[]> {
  const answers = await Promise.all(tunnels.map((tunnel) => get(tunnel, upstream).catch(() => 0)));
  return tunnels.filter((_, i) => answers[i] === 200);
}

export function closeAll(tunnels: readonly RawPeer[]): void {
  for (const tunnel of tunnels) tunnel[Symbol.dispose]();
}
