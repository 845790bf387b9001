/** dnsmasq and unbound on free ports of 127.0.0.1, each with names of its own. */
import { closeQuietly } from "../../proxy/streams/byte_reader.ts";
import { Collected } from "./program.ts";
import { waitUntil } from "./sockets.ts";
import { upstreamAuthority } from "./test_authority.ts";

/** A running one. */
export interface RealNameServer extends AsyncDisposable {
  readonly port: number;
}

/** Where those of Debian are, which are not on everybody's PATH. */
export const DNSMASQ = "/usr/sbin/dnsmasq";
export const UNBOUND = "/usr/sbin/unbound";

/** UDP and TCP. `many.corp.test` has 60 addresses, which go over TCP alone; of other names below `corp.test` there are none. */
export async function startDnsmasq(): Promise<RealNameServer> {
  const port = freePort();
  const many = Array.from({ length: 60 }, (_, at) => `--host-record=many.corp.test,10.1.0.${at + 1}`);
  return await start(DNSMASQ, port, [
    ...["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"],
    ...[
      "--listen-address=127.0.0.1",
      "--bind-interfaces",
      `--port=${port}`,
      "--local=/corp.test/",
      "--pid-file=",
    ],
    ...["--host-record=db.corp.test,10.1.2.3,fd00::3,120", "--cname=alias.corp.test,db.corp.test"],
    ...["--txt-record=db.corp.test,hello", "--host-record=here.corp.test,127.0.0.1"],
    ...many,
  ]);
}

/** TLS or HTTPS, with a certificate of the test CA for `dns.test` and 127.0.0.1. */
export async function startUnbound(
  scheme: "tls" | "https",
): Promise<RealNameServer & { readonly caPem: string }> {
  const port = freePort();
  const dir = await Deno.makeTempDir({ prefix: "slicer-unbound-" });
  const ca = await upstreamAuthority();
  const { certPem, keyPem } = await ca.issue(["dns.test", "127.0.0.1"]);
  await Deno.writeTextFile(`${dir}/cert.pem`, certPem);
  await Deno.writeTextFile(`${dir}/key.pem`, keyPem);
  await Deno.writeTextFile(
    `${dir}/unbound.conf`,
    `server:
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: "${dir}"
  use-syslog: no
  num-threads: 1
  interface: 127.0.0.1@${port}
  ${scheme === "tls" ? `tls-port: ${port}` : `https-port: ${port}`}
  tls-service-key: key.pem
  tls-service-pem: cert.pem
  local-zone: "corp.test." static
  local-data: "db.corp.test. 60 IN A 10.1.2.3"
remote-control:
  control-enable: no
`,
  );
  const server = await start(UNBOUND, port, ["-d", "-c", `${dir}/unbound.conf`]);
  return {
    port,
    caPem: ca.caPem,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

async function start(program: string, port: number, args: readonly string[]): Promise<RealNameServer> {
  const child = new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const words = [new Collected(child.stdout), new Collected(child.stderr)];
  const stop = async () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await child.status;
    await Promise.all(words.map(({ ended }) => ended));
  };
  try {
    await waitUntil(`${program} on ${port}`, () => isListening(port));
  } catch (error) {
    await stop();
    throw new Error(`${program} does not start: ${words.map(({ text }) => text).join("\n")}`, {
      cause: error,
    });
  }
  return { port, [Symbol.asyncDispose]: stop };
}

async function isListening(port: number): Promise<boolean> {
  try {
    closeQuietly(await Deno.connect({ hostname: "127.0.0.1", port }));
    return true;
  } catch {
    return false;
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
