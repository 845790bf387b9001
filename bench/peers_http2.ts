/**
 * What ends TLS in front of an HTTP/2 upstream and begins it again: this proxy, and the ceilings, nghttpx and HAProxy, both
 * with one thread and without CONNECT, certificates made on the fly, or policy.
 *
 * @module
 */
import { openTunnel } from "../tests/support/raw_peer.ts";
import { startForwarder } from "../tests/support/forwarder.ts";
import type { Peer } from "./peer.ts";
import { startMitmproxy } from "./peer_mitmproxy.ts";
import { startSlicer } from "./peer_slicer.ts";
import type { Rig, Started } from "./rig.ts";
import { CIPHER, HOST, TOKEN } from "./settings.ts";

/** An upstream that the peers lead to. */
export interface Place {
  readonly name: "nginx" | "node";
  readonly port: number;
}

/** A peer as h2load sees it: a port for each upstream, where TLS is ended. */
export interface Http2Peer extends AsyncDisposable {
  readonly name: string;
  readonly pids: readonly number[];
  /** A tenth of the requests is enough. */
  readonly isSlow?: boolean;
  readonly portOf: (place: Place) => number;
}

type Start = (rig: Rig, places: readonly Place[]) => Promise<Http2Peer>;

/** The program that each needs, and its start. */
export const PEERS: readonly { readonly command: string; readonly start: Start }[] = [
  { command: "deno", start: startOurs },
  { command: "nghttpx", start: startNghttpx },
  { command: "haproxy", start: startHaproxy },
  {
    command: "mitmdump",
    start: async (rig, places) => {
      const peer = await throughTunnels(await startMitmproxy(rig, true), places, () => Promise.resolve());
      return { ...peer, isSlow: true };
    },
  },
];

async function startOurs(rig: Rig, places: readonly Place[]): Promise<Http2Peer> {
  const peer = await startSlicer(rig);
  return await throughTunnels(peer, places, async (port) => {
    await peer.api.call("POST", "allows", { client: "bench", host: HOST, ports: [port] });
  });
}

/** Ports that lead into tunnels, since h2load knows no proxy; what they cost is not the proxy's. */
async function throughTunnels(
  { name, pids, inspected: { proxyPort = 0 }, stop }: Peer,
  places: readonly Place[],
  allow: (port: number) => Promise<void>,
): Promise<Http2Peer> {
  const stack = new AsyncDisposableStack();
  stack.defer(stop);
  const ports = new Map<string, number>();
  for (const { name, port } of places) {
    await allow(port);
    const open = async () => (await openTunnel(proxyPort, `${HOST}:${port}`, TOKEN)).conn;
    ports.set(name, stack.use(startForwarder(open)).port);
  }
  return {
    name,
    pids,
    portOf: ({ name }) => ports.get(name) ?? 0,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function startNghttpx(rig: Rig, places: readonly Place[]): Promise<Http2Peer> {
  const dir = await rig.folder("nghttpx");
  const started: Started[] = [];
  const ports = new Map<string, number>();
  for (const { name, port } of places) {
    const own = rig.port();
    ports.set(name, own);
    started.push(
      await rig.start([
        ...["nghttpx", "--conf=/dev/null", "--workers=1", "--no-via", `--accesslog-file=${dir}/access.log`],
        ...[`--frontend=127.0.0.1,${own}`, `--backend=127.0.0.1,${port};;proto=h2;tls;sni=${HOST}`],
        ...[`--cacert=${rig.upstreamCa}`, "--no-server-rewrite", `--tls13-ciphers=${CIPHER}`],
        ...[`${rig.dir}/intercept/leaf.key`, `${rig.dir}/intercept/leaf.crt`],
      ], { dir, port: own }),
    );
  }
  return {
    name: "nghttpx",
    pids: started.map(({ pid }) => pid),
    portOf: ({ name }) => ports.get(name) ?? 0,
    [Symbol.asyncDispose]: async () => {
      for (const each of started) await each.stop();
    },
  };
}

async function startHaproxy(rig: Rig, places: readonly Place[]): Promise<Http2Peer> {
  const dir = await rig.folder("haproxy-h2");
  const ports = new Map(places.map(({ name }) => [name, rig.port()]));
  const sections = places.map(({ name, port }) =>
    `frontend ${name}
  bind 127.0.0.1:${ports.get(name)} ssl crt ${rig.dir}/intercept/leaf.pem alpn h2,http/1.1
  default_backend ${name}
backend ${name}
  server s 127.0.0.1:${port} ssl verify required ca-file ${rig.upstreamCa} verifyhost ${HOST} sni str(${HOST}) alpn h2`
  );
  await Deno.writeTextFile(
    `${dir}/haproxy.cfg`,
    `global
  nbthread 1
  log stdout format raw local0
  ssl-default-bind-ciphersuites ${CIPHER}
  ssl-default-server-ciphersuites ${CIPHER}
defaults
  mode http
  log global
  option httplog
  http-reuse always
  timeout connect 10s
  timeout client 10m
  timeout server 10m
${sections.join("\n")}
`,
  );
  const port = ports.get(places[0]?.name ?? "nginx") ?? 0;
  const started = await rig.start(["haproxy", "-f", `${dir}/haproxy.cfg`], { dir, port });
  return {
    name: "HAProxy",
    pids: [started.pid],
    portOf: ({ name }) => ports.get(name) ?? 0,
    [Symbol.asyncDispose]: () => started.stop(),
  };
}
