/**
 * Squid with ssl-bump: TLS ended with a certificate made by its own generator, upstream verified, proxy authentication,
 * an access list for the one host, nothing cached, every request logged.
 *
 * There are two ways to bump, and both are measured: at once, with a certificate for the CONNECT host and upstream
 * connections shared by all tunnels (faster); and after a look at the ClientHello, which is what its documentation advises,
 * with a certificate that imitates the upstream's and an upstream connection per tunnel.
 *
 * @module
 */
import type { Peer } from "./peer.ts";
import type { Rig } from "./rig.ts";
import { HOST, TOKEN, UPSTREAM_PORT, USER } from "./settings.ts";

const LIB = "/usr/lib/squid";

/** How it bumps. */
export type Bump = "at-once" | "peek-first";

/** Starts it. */
export async function startSquid(rig: Rig, bump: Bump): Promise<Peer> {
  const dir = await rig.folder("squid");
  const [port, plainPort] = [rig.port(), rig.port()];
  const isRoot = Deno.uid() === 0;
  const settings = squidConf({
    dir,
    port,
    plainPort,
    ca: rig.upstreamCa,
    signer: `${rig.dir}/intercept`,
    isRoot,
    bump,
  });
  await Deno.writeTextFile(`${dir}/squid.conf`, settings);
  const hash = await text("openssl", ["passwd", "-apr1", TOKEN]);
  await Deno.writeTextFile(`${dir}/passwd`, `${USER}:${hash}\n`);
  await text(`${LIB}/security_file_certgen`, ["-c", "-s", `${dir}/certs`, "-M", "16MB"]);
  if (isRoot) await text("chown", ["-R", "proxy", dir]);
  // The service name keeps its shared memory apart from another Squid's.
  const service = `bench${Deno.pid}n${port}`;
  const started = await rig.start(["squid", "-N", "-n", service, "-f", `${dir}/squid.conf`], { dir, port });
  return {
    name: bump === "at-once" ? "Squid" : "Squid, peek",
    inspected: { proxyPort: port, originPort: UPSTREAM_PORT, caFile: rig.interceptCa },
    passthrough: { proxyPort: plainPort, originPort: UPSTREAM_PORT, caFile: rig.upstreamCa },
    pids: [started.pid],
    startMs: started.startMs,
    settings,
    logFile: `${dir}/access.log`,
    stop: async () => {
      await started.stop();
      for (const part of ["cf__metadata", "cf__queues", "cf__readers", "tls_session_cache"]) {
        await Deno.remove(`/dev/shm/${service}-${part}.shm`).catch(() => {}); // it leaves some of them behind
      }
    },
  };
}

interface SquidOptions {
  readonly dir: string;
  readonly port: number;
  readonly plainPort: number;
  readonly ca: string;
  readonly signer: string;
  readonly isRoot: boolean;
  readonly bump: Bump;
}

function squidConf({ dir, port, plainPort, ca, signer, isRoot, bump }: SquidOptions): string {
  return `http_port 127.0.0.1:${port} ssl-bump tls-cert=${signer}/ca.pem generate-host-certificates=on dynamic_cert_mem_cache_size=16MB
http_port 127.0.0.1:${plainPort}
sslcrtd_program ${LIB}/security_file_certgen -s ${dir}/certs -M 16MB
sslcrtd_children 2 startup=1 idle=1
${bump === "peek-first" ? "acl first at_step SslBump1\nssl_bump peek first\n" : ""}ssl_bump bump all
tls_outgoing_options cafile=${ca} min-version=1.3
auth_param basic program ${LIB}/basic_ncsa_auth ${dir}/passwd
auth_param basic children 2 startup=1 idle=1
auth_param basic credentialsttl 2 hours
acl known proxy_auth REQUIRED
acl site dstdomain ${HOST}
acl tls port ${UPSTREAM_PORT}
http_access deny !known
http_access allow site tls
http_access deny all
cache deny all
cache_store_log none
access_log stdio:${dir}/access.log
cache_log ${dir}/cache.log
client_persistent_connections on
server_persistent_connections on
pconn_timeout 10 minutes
client_idle_pconn_timeout 10 minutes
max_filedescriptors 20000
pid_filename none
coredump_dir ${dir}
pinger_enable off
shutdown_lifetime 0 seconds
${isRoot ? "cache_effective_user proxy\n" : ""}`;
}

async function text(command: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  if (code !== 0) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout).trim();
}
