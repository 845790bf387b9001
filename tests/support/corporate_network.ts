/**
 * A host in a corporate network, as network namespaces: the host has a link to a router and two addresses on it; behind the
 * router are a parent proxy (tinyproxy) and an upstream at addresses that only routes lead to. What the host may send is the
 * test's choice. Nothing of the real machine is changed.
 */
import { Collected, Program } from "./program.ts";
import { runProgram } from "./programs.ts";

const ID = `${Deno.pid}`;
const HOST_NS = `slc-${ID}`;
const WORLD_NS = `slw-${ID}`;
const ROOT = new URL("../../", import.meta.url).pathname;

export const HOST_IP = "10.78.0.1";
/** A second address of the host. */
export const OTHER_IP = "10.78.0.7";
export const PARENT = { host: "10.78.0.2", port: 8080, user: "corp", password: "p4ss-w0rd" };
/** The upstream's addresses; its name is {@linkcode UPSTREAM}. */
export const UPSTREAM_V4 = "10.79.0.1";
export const UPSTREAM_V6 = "fd79::1";
export const UPSTREAM = "up.example.com";

/** Why the network cannot be here, or undefined. */
export async function whyNoNetwork(): Promise<string | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "it needs root on Linux";
  for (const program of ["ip", "iptables", "ip6tables", "unshare", "tinyproxy", "curl"]) {
    if ((await sh(`command -v ${program}`)).code !== 0) return `${program} is not installed`;
  }
  const made = await sh(`ip netns add slq-${ID} && ip netns delete slq-${ID}`);
  return made.code === 0 ? undefined : "network namespaces are not permitted here";
}

function sh(command: string) {
  return runProgram("sh", ["-c", command]);
}

async function must(command: string): Promise<string> {
  const { code, stdout, stderr } = await sh(command);
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${stderr}`);
  return stdout;
}

/** See the module. */
export class CorporateNetwork implements AsyncDisposable {
  readonly dir: string;
  /** The program on the host. */
  readonly program: Program;
  readonly #world: Deno.ChildProcess[] = [];

  private constructor(dir: string) {
    this.dir = dir;
    const inHost = `mount --bind ${dir}/hosts /etc/hosts && exec "$@"`;
    this.program = new Program(dir, {}, [
      ...["ip", "netns", "exec", HOST_NS, "unshare", "-m", "sh", "-c", inHost, "sh"],
    ]);
  }

  static async start(): Promise<CorporateNetwork> {
    const network = new CorporateNetwork(await Deno.makeTempDir({ prefix: "slicer-corporate-" }));
    try {
      await network.#build();
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a command in the host's network. */
  async onHost(command: string): Promise<string> {
    return await must(`ip netns exec ${HOST_NS} ${command}`);
  }

  /** Asks the upstream through the proxy; the address that it saw, or the proxy's reason. */
  async ask(port: number, token: string, url = `https://${UPSTREAM}/`): Promise<string> {
    const { stdout, stderr } = await sh(
      `ip netns exec ${HOST_NS} curl -sS --max-time 40 --cacert ${this.dir}/ca/ca.crt ` +
        `-x http://proxy:${token}@127.0.0.1:${port} -w '\\n%{http_code}' ${url}`,
    );
    const reason = /^slicer-proxy: .*\((\S+)\)$/m.exec(stdout)?.[1];
    return reason ?? (stdout.endsWith("\n200") ? stdout.slice(0, -4) : stdout + stderr);
  }

  /** Ends the parent. */
  async stopParent(): Promise<void> {
    const parent = this.#world.pop();
    parent?.kill("SIGKILL");
    await parent?.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#world) {
      child.kill("SIGKILL");
      await child.status;
    }
    await sh(`ip netns delete ${HOST_NS}; ip netns delete ${WORLD_NS}`);
    await Deno.remove(this.dir, { recursive: true });
  }

  async #build(): Promise<void> {
    const { dir } = this;
    await must(
      `ip netns add ${HOST_NS} && ip netns add ${WORLD_NS} && ` +
        `ip link add eth0 netns ${HOST_NS} type veth peer name eth0 netns ${WORLD_NS} && ` +
        [HOST_NS, WORLD_NS].map((ns) => `ip -n ${ns} link set lo up && ip -n ${ns} link set eth0 up && `)
          .join("") +
        `ip -n ${HOST_NS} address add ${HOST_IP}/24 dev eth0 && ip -n ${HOST_NS} address add ${OTHER_IP}/24 dev eth0 && ` +
        `ip -n ${HOST_NS} address add fd78::1/64 dev eth0 nodad && ip -n ${WORLD_NS} address add fd78::2/64 dev eth0 nodad && ` +
        `ip -n ${WORLD_NS} address add ${PARENT.host}/24 dev eth0 && ip -n ${WORLD_NS} address add ${UPSTREAM_V4}/32 dev lo && ` +
        `ip -n ${WORLD_NS} address add ${UPSTREAM_V6}/128 dev lo nodad && ` +
        `ip -n ${HOST_NS} route add default via ${PARENT.host} && ip -n ${HOST_NS} -6 route add default via fd78::2`,
    );
    await Deno.writeTextFile(
      `${dir}/hosts`,
      `127.0.0.1 localhost\n${UPSTREAM_V6} ${UPSTREAM}\n${UPSTREAM_V4} ${UPSTREAM}\n`,
    );
    const outside = new Program(dir);
    await outside.ok(["ca", "init", "--hostgroup", "world", "--ca-dir", "world-ca"]);
    await outside.ok(["ca", "issue", "--ca-dir", "world-ca", "--out", "up", "--host", UPSTREAM]);
    await Deno.writeTextFile(`${dir}/password`, `${PARENT.password}\n`);
    const { user, password, host, port } = PARENT;
    await Deno.writeTextFile(
      `${dir}/tinyproxy.conf`,
      `Port ${port}\nListen ${host}\nTimeout 60\nMaxClients 50\nBasicAuth ${user} ${password}\n`,
    );
    const upstream = this.#inWorld(
      `${Deno.execPath()} run -A --quiet ${ROOT}tests/support/who_asks.ts ${UPSTREAM_V4} ${UPSTREAM_V6} ${dir}/up.crt ${dir}/up.key`,
    );
    await new Collected(upstream.stdout).wait(/ready/, 60_000);
    const parent = this.#inWorld(`tinyproxy -d -c ${dir}/tinyproxy.conf`);
    new Collected(parent.stdout);
    await must(
      `for i in $(seq 200); do ip netns exec ${HOST_NS} sh -c 'echo | nc -w 1 ${host} ${port}' >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1`,
    );
  }

  #inWorld(command: string): Deno.ChildProcess {
    const child = new Deno.Command("ip", {
      args: ["netns", "exec", WORLD_NS, ...command.split(" ")],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#world.push(child);
    return child;
  }
}
