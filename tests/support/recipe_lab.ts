/**
 * Where the commands of a document run as they stand: a network and mount namespace with a host, a VM and the places outside,
 * in which the documented names, addresses and ports are free. Needs no root where user namespaces are permitted.
 *
 * Nothing of the real machine is changed.
 */
import { quoteShell } from "../../core/escape.ts";
import { HOSTS, REAL } from "./outside_world.ts";
import { Collected, programCommand } from "./program.ts";
import { hasProgram, type Outcome, runProgram } from "./programs.ts";
import { upstreamAuthority } from "./test_authority.ts";

const OUTSIDE_IP = "10.77.0.1";
const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const WORLD = new URL("outside_world.ts", import.meta.url).pathname;
const START_MS = 60_000;

/** Why the lab cannot be here, or undefined. */
export async function whyNoLab(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "it needs Linux";
  for (const name of ["ip", "nsenter", "unshare", "git", "curl", "bash"]) {
    if (!hasProgram(name)) return `${name} is not installed`;
  }
  const probe = await runProgram("unshare", ["-rnm", "sh", "-c", `mount --bind /etc/hosts ${BUNDLE}`]);
  return probe.code === 0
    ? undefined
    : "namespaces are not permitted here, or there is no Debian trust store";
}

/** The lab. `host` and `vm` are folders in which commands run. */
export class RecipeLab implements AsyncDisposable {
  readonly dir: string;
  readonly #stack: AsyncDisposableStack;
  readonly #pid: number;

  private constructor(dir: string, stack: AsyncDisposableStack, pid: number) {
    this.dir = dir;
    this.#stack = stack;
    this.#pid = pid;
  }

  /** Starts the outside and the proxy. `prepare` may put files into the folder before. */
  static async start(prepare: (dir: string) => Promise<void>): Promise<RecipeLab> {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-recipes-" }));
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    for (const name of ["host", "vm", "bin", "tools", "out"]) await Deno.mkdir(`${dir}/${name}`);
    await writeProgram(dir);
    await prepare(dir);
    const ca = await runProgram(`${dir}/bin/slicer-proxy`, ["ca", "init"], { cwd: `${dir}/host` });
    if (ca.code !== 0) throw new Error(ca.stderr);
    await writeTrust(dir);
    const setup = [
      "ip link set lo up",
      `ip addr add ${OUTSIDE_IP}/32 dev lo`,
      `mount --bind ${dir}/hosts /etc/hosts`,
      `mount --bind ${dir}/bundle.pem ${BUNDLE}`,
      "echo ready",
      "exec sleep 3600",
    ].join(" && ");
    const space = start(stack, "unshare", ["-rnm", "sh", "-c", setup]);
    await space.stdout.wait(/ready/, START_MS);
    const lab = new RecipeLab(dir, stack.move(), space.pid);
    try {
      await lab.#startServers();
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs lines of a shell on the host: with the real credentials, and `slicer-proxy` on the PATH. */
  host(script: string): Promise<Outcome> {
    return this.#run(script, "host", { ...REAL, PATH: `${this.dir}/bin:${Deno.env.get("PATH")}` });
  }

  /**
   * Runs lines of a shell in the VM of `client`: with the environment that `env` wrote to `CLIENT.env` on the host, and none of
   * the host's.
   */
  async vm(script: string, client: string): Promise<Outcome> {
    for await (const { name } of Deno.readDir(`${this.dir}/host`)) {
      if (!name.endsWith(".env")) continue;
      // There is one /runner for the whole machine, so the VM has its own.
      const text = await Deno.readTextFile(`${this.dir}/host/${name}`);
      await Deno.writeTextFile(`${this.dir}/vm/${name}`, text.replaceAll("/runner/", `${this.dir}/vm/`));
    }
    const path = `${this.dir}/tools:${Deno.env.get("PATH")}`;
    return await this.#run(`. ./${client}.env\n${script}`, "vm", { PATH: path, GIT_TERMINAL_PROMPT: "0" });
  }

  /** Takes the calls that reached the outside since the last time: `GET github.com/… 200`. */
  async takeSeen(): Promise<string[]> {
    const path = `${this.dir}/out/seen.log`;
    const text = await Deno.readTextFile(path).catch(() => "");
    await Deno.writeTextFile(path, "");
    return text.split("\n").filter((line) => line !== "");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #startServers(): Promise<void> {
    const { dir } = this;
    const leaf = [`${dir}/leaf.crt`, `${dir}/leaf.key`];
    const args = ["run", "-A", "--quiet", WORLD, `${dir}/out`, OUTSIDE_IP, ...leaf];
    const world = start(this.#stack, "nsenter", [...this.#enter(), Deno.execPath(), ...args]);
    const proxy = start(this.#stack, "nsenter", [
      ...this.#enter(),
      ...["bash", "-c", `cd ${dir}/host && exec ${dir}/bin/slicer-proxy up "$@"`, "up"],
      ...["--bind", "192.168.222.1", "--upstream-ca", `${dir}/upstream.pem`],
      ...["--allow-cidr", `${OUTSIDE_IP}/32`, "--workers", "1"],
    ]);
    await proxy.stderr.wait(/ listening on /, START_MS);
    await world.stdout.wait(/ready/, START_MS);
  }

  #enter(): string[] {
    return ["-t", `${this.#pid}`, "-U", "-n", "-m", "--preserve-credentials", "--"];
  }

  #run(script: string, place: "host" | "vm", env: Record<string, string>): Promise<Outcome> {
    const home = `${this.dir}/${place}`;
    const clean = ["env", "-i", `HOME=${home}`, "LANG=C.UTF-8", "NO_COLOR=1"];
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const shell = ["bash", "-c", `set -euo pipefail\ncd ${home}\n${script}`];
    return runProgram("nsenter", [...this.#enter(), ...clean, ...variables, ...shell], { ms: 180_000 });
  }
}

/** A process that ends with the stack. */
function start(stack: AsyncDisposableStack, command: string, args: readonly string[]) {
  const streams = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
  const child = new Deno.Command(command, { args: [...args], ...streams }).spawn();
  const [stdout, stderr] = [new Collected(child.stdout), new Collected(child.stderr)];
  stack.defer(async () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await Promise.all([child.status, stdout.ended, stderr.ended]);
  });
  return { pid: child.pid, stdout, stderr };
}

async function writeProgram(dir: string): Promise<void> {
  const { command, args } = programCommand([]);
  const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const line = [command, ...args].map(quoteShell).join(" ");
  const text = `#!/bin/sh\nexport DENO_NO_UPDATE_CHECK=1 NO_COLOR=1 DENO_DIR=${
    quoteShell(cache)
  }\nexec ${line} "$@"\n`;
  await Deno.writeTextFile(`${dir}/bin/slicer-proxy`, text, { mode: 0o755 });
  await Deno.symlink("slicer-proxy", `${dir}/bin/slicer`);
}

/** What the VM trusts: the proxy's CA alone, so that nothing can go around the proxy unnoticed. */
async function writeTrust(dir: string): Promise<void> {
  const authority = await upstreamAuthority();
  const { certPem, keyPem } = await authority.issue(HOSTS);
  const ca = await Deno.readTextFile(`${dir}/host/.slicer/ca/sbox/ca.crt`);
  const files = {
    "leaf.crt": certPem,
    "leaf.key": keyPem,
    "upstream.pem": authority.caPem,
    "bundle.pem": ca,
    "vm/ca.crt": ca,
    "hosts": `127.0.0.1 localhost\n${HOSTS.map((host) => `${OUTSIDE_IP} ${host}\n`).join("")}`,
  };
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${dir}/${name}`, text);
}
