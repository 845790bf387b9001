/**
 * HAProxy, TLS to TLS with one thread: neither CONNECT, nor certificates made on the fly, nor policy. The ceiling: what is
 * left when a proxy in C does only the copying and the cryptography.
 *
 * @module
 */
import type { Peer } from "./peer.ts";
import type { Rig } from "./rig.ts";
import { CIPHER, HOST, UPSTREAM_PORT } from "./settings.ts";

/** Starts it. */
export async function startHaproxy(rig: Rig): Promise<Peer> {
  const dir = await rig.folder("haproxy");
  const [port, tcpPort] = [rig.port(), rig.port()];
  const settings = `global
  nbthread 1
  maxconn 9000
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
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
frontend inspected
  bind 127.0.0.1:${port} ssl crt ${rig.dir}/intercept/leaf.pem alpn http/1.1
  default_backend upstream
backend upstream
  server s 127.0.0.1:${UPSTREAM_PORT} ssl verify required ca-file ${rig.upstreamCa} verifyhost ${HOST} sni str(${HOST}) alpn http/1.1
listen passthrough
  mode tcp
  option tcplog
  bind 127.0.0.1:${tcpPort}
  server s 127.0.0.1:${UPSTREAM_PORT}
`;
  await Deno.writeTextFile(`${dir}/haproxy.cfg`, settings);
  const started = await rig.start(["haproxy", "-f", `${dir}/haproxy.cfg`], { dir, port });
  return {
    name: "HAProxy",
    inspected: { originPort: port, caFile: rig.interceptCa },
    passthrough: { originPort: tcpPort, caFile: rig.upstreamCa },
    pids: [started.pid],
    startMs: started.startMs,
    settings,
    logFile: `${dir}/words.log`,
    stop: started.stop,
  };
}
