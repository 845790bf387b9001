/**
 * mitmproxy (mitmdump): TLS ended, upstream verified, proxy authentication, every flow logged. Large bodies are streamed,
 * which is not its default, or 1 GiB would be held in memory.
 *
 * @module
 */
import type { Peer } from "./peer.ts";
import type { Rig, Started } from "./rig.ts";
import { TOKEN, UPSTREAM_PORT, USER } from "./settings.ts";

/** Starts it, twice: what is not to be inspected is an option of the whole process. */
export async function startMitmproxy(rig: Rig, http2 = false): Promise<Peer> {
  const dir = await rig.folder("mitmproxy");
  await Deno.copyFile(`${rig.dir}/intercept/ca.pem`, `${dir}/mitmproxy-ca.pem`);
  const options = [
    `confdir=${dir}`,
    `proxyauth=${USER}:${TOKEN}`,
    `ssl_verify_upstream_trusted_ca=${rig.upstreamCa}`,
    "stream_large_bodies=64k",
    "tls_version_client_min=TLS1_3",
    "tls_version_server_min=TLS1_3",
    `http2=${http2}`,
    "flow_detail=1",
  ];
  const command = (port: number, more: readonly string[]) => [
    "mitmdump",
    "--listen-host",
    "127.0.0.1",
    "-p",
    String(port),
    ...[...options, ...more].flatMap((option) => ["--set", option]),
  ];
  const [port, plainPort] = [rig.port(), rig.port()];
  const started: Started[] = [
    await rig.start(command(port, []), { dir, port }),
    await rig.start(command(plainPort, ["ignore_hosts=.*"]), { dir, port: plainPort }),
  ];
  return {
    name: "mitmproxy",
    inspected: { proxyPort: port, originPort: UPSTREAM_PORT, caFile: rig.interceptCa },
    passthrough: { proxyPort: plainPort, originPort: UPSTREAM_PORT, caFile: rig.upstreamCa },
    pids: started.map(({ pid }) => pid),
    startMs: started[0]?.startMs ?? 0,
    settings: command(port, []).join(" ") + "\n",
    logFile: `${dir}/words.log`,
    stop: async () => {
      for (const each of started) await each.stop();
    },
  };
}
