/**
 * A VM, as the helper sees one: its own network namespace whose only route leads to the proxy, its own files (an overlay
 * over this machine's, thrown away afterwards) and its own processes. On the other side a host that passes nothing but the
 * proxy's two ports, with the proxy and the servers of the outside world.
 *
 * Nothing of the real machine is changed.
 */
import { dirname } from "node:path";
import { BINARY, Collected } from "./program.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const ID = `${Deno.pid}`;
const HOST_NS = `slh-${ID}`;
const VM_NS = `slv-${ID}`;

/** Where the proxy is. */
export const PROXY_IP = "192.168.222.1";
/** Where every outside name leads. */
export const OUTSIDE_IP = "10.77.0.1";
export const VM_CLIENT = "vm-1";

/** Outside names that the upstream's certificate is for. */
const NAMES = [
  "archive.ubuntu.com",
  "security.ubuntu.com",
  "api.example.com",
  "git.example.com",
  "pypi.example.com",
  "denied.example.com",
  "dns.example.com",
  "ssh-host.example.com",
  "db.internal.example",
];

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, for messages. */
  readonly all: string;
  readonly ms: number;
}

/** Programs that the lab itself needs. */
const NEEDED = ["ip", "nsenter", "unshare", "chroot", "mount"];

/** Why the lab cannot be here, or undefined. */
export async function whyNoVm(): Promise<string | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "it needs root on Linux";
  for (const program of NEEDED) if (!await hasProgram(program)) return `${program} is not installed`;
  if (!await hasProgram("nft") && !await hasProgram("iptables")) {
    return "neither nft nor iptables is installed";
  }
  const probe = `slp-${ID}`;
  const made = await sh(`ip netns add ${probe} && ip netns delete ${probe}`);
  if (made.code !== 0) return "network namespaces are not permitted here";
  const overlay = await sh(
    "unshare -m sh -c 'mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w && " +
      "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /media'",
  );
  if (overlay.code !== 0) return "overlay mounts are not permitted here";
  return undefined;
}

export async function hasProgram(name: string): Promise<boolean> {
  return (await sh(`command -v ${name}`)).code === 0;
}

/** Runs a shell command on the real machine. */
export async function sh(command: string): Promise<Ran> {
  return await run("sh", ["-c", command]);
}

/** The lab. */
export class AgentVm implements AsyncDisposable {
  readonly dir: string;
  readonly token: string;
  readonly #processes: Deno.ChildProcess[];
  readonly #vmPid: string;
  readonly #proxyOut: Collected;

  private constructor(
    parts: { dir: string; token: string; processes: Deno.ChildProcess[]; vmPid: string; proxyOut: Collected },
  ) {
    this.dir = parts.dir;
    this.token = parts.token;
    this.#processes = parts.processes;
    this.#vmPid = parts.vmPid;
    this.#proxyOut = parts.proxyOut;
  }

  /** Builds it. `files` are outside files by `host/path`. */
  static async start(prepare: (www: string) => Promise<void> = async () => {}): Promise<AgentVm> {
    const dir = await Deno.makeTempDir({ prefix: "slicer-vm-" });
    const processes: Deno.ChildProcess[] = [];
    try {
      await networks();
      const www = `${dir}/www`;
      await Deno.mkdir(www);
      await prepare(www);
      await must(
        `cd ${dir} && ${program("ca init --hostgroup up --ca-dir ./up")} && ${
          program(`ca issue --ca-dir ./up --out ./up/leaf ${NAMES.map((name) => `--host ${name}`).join(" ")}`)
        }`,
      );
      await Deno.writeTextFile(
        `${dir}/hosts`,
        `127.0.0.1 localhost\n${OUTSIDE_IP} ${NAMES.join(" ")}\n`,
      );
      await Deno.writeTextFile(
        `${dir}/resolv.conf`,
        `nameserver ${OUTSIDE_IP}\noptions timeout:1 attempts:1\n`,
      );
      const inHost = (command: string) =>
        spawn("ip", [
          ...["netns", "exec", HOST_NS, "unshare", "-m", "sh", "-c"],
          `mount --bind ${dir}/hosts /etc/hosts && mount --bind ${dir}/resolv.conf /etc/resolv.conf && cd ${dir} && exec ${command}`,
        ]);
      processes.push(
        inHost(
          `${Deno.execPath()} run -A --quiet --config ${ROOT}deno.json ${ROOT}tests/support/agent_upstream.ts ` +
            `${www} ${OUTSIDE_IP} ./up/leaf.crt ./up/leaf.key`,
        ),
      );
      const proxy = inHost(
        program(`up --bind ${PROXY_IP} --upstream-ca ./up/ca.crt --hostgroup sbox --ca-dir ./ca`),
      );
      processes.push(proxy);
      const proxyOut = new Collected(proxy.stdout);
      const proxyErr = new Collected(proxy.stderr);
      await proxyErr.wait(/listening on/, 30_000);
      const [first] = processes;
      if (first) {
        new Collected(first.stdout);
        new Collected(first.stderr);
      }
      await until(() => exists(`${www}/ready`));
      const token = await must(`cd ${dir} && ${program(`client create ${VM_CLIENT}`)} 2>/dev/null`);
      const { child, pid } = await startVm(dir);
      processes.push(child);
      const vm = new AgentVm({ dir, token: token.trim(), processes, vmPid: pid, proxyOut });
      await vm.#putProgram();
      return vm;
    } catch (error) {
      await end(processes);
      await removeNetworks();
      await Deno.remove(dir, { recursive: true });
      throw error;
    }
  }

  /** Runs a shell command inside the VM, as root with nothing in its environment. */
  async run(
    command: string,
    options: { readonly user?: string; readonly login?: boolean } = {},
  ): Promise<Ran> {
    const shell = options.login ? ["bash", "-lc", command] : ["bash", "-c", command];
    const as = options.user === undefined ? [] : [
      "setpriv",
      ...[`--reuid=${options.user}`, `--regid=${options.user}`, "--clear-groups"],
    ];
    return await run("nsenter", [
      ...["-t", this.#vmPid, "-m", "-n", "-p", "-r", "-w", "--"],
      ...["env", "-i", "HOME=/root", "TERM=dumb", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      ...["DENO_NO_UPDATE_CHECK=1", `DENO_DIR=${denoDir()}`],
      ...as,
      ...shell,
    ]);
  }

  /** Runs one that has to succeed. */
  async ok(
    command: string,
    options: { readonly user?: string; readonly login?: boolean } = {},
  ): Promise<string> {
    const ran = await this.run(command, options);
    if (ran.code !== 0) throw new Error(`${command} ended with ${ran.code}:\n${ran.all}`);
    return ran.stdout;
  }

  /** Runs a command of the program on the host. */
  async host(args: string): Promise<string> {
    return await must(`cd ${this.dir} && ${program(args)}`);
  }

  /** Runs a command in the host's network. */
  hostProcess(command: string): void {
    const child = spawn("ip", ["netns", "exec", HOST_NS, "sh", "-c", `cd ${this.dir} && exec ${command}`]);
    new Collected(child.stdout);
    new Collected(child.stderr);
    this.#processes.push(child);
  }

  /** The audit lines so far. */
  get audit(): string {
    return this.#proxyOut.text;
  }

  /** Waits for an audit line. */
  waitLine(pattern: RegExp): Promise<void> {
    return this.#proxyOut.wait(pattern, 30_000);
  }

  /** Names that the proxy has asked a name server for. */
  async namesAsked(): Promise<string> {
    return await Deno.readTextFile(`${this.dir}/www/names.log`).catch(() => "");
  }

  /** Files of the VM that the helper may change, with their type, mode, owner, time and content, as one text. */
  async fingerprint(): Promise<string> {
    return await this.ok(
      "cd /; for f in /etc/resolv.conf /etc/environment /etc/docker /etc/docker/daemon.json " +
        "/etc/profile.d /etc/profile.d/slicer-proxy-agent.sh /etc/slicer-proxy-agent " +
        "/etc/systemd/system/slicer-proxy-agent.service /usr/local/bin/slicer-proxy-agent " +
        "/etc/profile.d/slicer-agent.sh /etc/slicer-agent /etc/slicer-agent/agent.json /usr/local/bin/slicer-agent " +
        "/etc/systemd/system/slicer-agent.service " +
        "/usr/local/share/ca-certificates /usr/local/share/ca-certificates/slicer-proxy-agent.crt " +
        "/etc/ssl/certs/ca-certificates.crt /root/.pki /root/.pki/nssdb/cert9.db; do " +
        'if [ -d "$f" ]; then echo "$f folder"; elif [ -e "$f" ] || [ -L "$f" ]; then ' +
        'echo "$f $(stat -c "%F %a %u %g" "$f") $(readlink "$f") $(sha256sum < "$f")"; ' +
        'else echo "$f absent"; fi; done; ls /etc/ssl/certs | sort | sha256sum; ' +
        "nft list ruleset 2>/dev/null | grep -v '^#'; ip rule; ip -6 rule; ip route show table all | grep 1803; true",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#processes);
    await removeNetworks();
    await Deno.remove(this.dir, { recursive: true });
  }

  async #putProgram(): Promise<void> {
    const command = BINARY ?? `${Deno.execPath()} run -A --quiet --no-prompt ${ROOT}main.ts`;
    await this.ok(
      `printf '#!/bin/sh\\nexec ${command} "$@"\\n' > /usr/local/bin/slicer-proxy && ` +
        "chmod 755 /usr/local/bin/slicer-proxy && update-ca-certificates >/dev/null 2>&1; " +
        "cd /usr/local/bin && ln -s slicer-proxy slicer-proxy-agent && " +
        // What a real VM has by the name of the guest agent: nobody touches it.
        "printf '#!/bin/sh\\necho guest agent\\n' > slicer-agent && chmod 755 slicer-agent && " +
        "mkdir -p /etc/slicer-agent /etc/systemd/system && echo '{}' > /etc/slicer-agent/agent.json && " +
        "printf '[Service]\\nExecStart=/usr/local/bin/slicer-agent\\n' > /etc/systemd/system/slicer-agent.service && " +
        `mkdir -p /runner && cat > /runner/ca.crt <<'EOF'\n${await Deno.readTextFile(
          `${this.dir}/ca/ca.crt`,
        )}EOF`,
    );
  }
}

async function networks(): Promise<void> {
  await must(
    `ip netns add ${HOST_NS} && ip netns add ${VM_NS} && ` +
      `ip link add slp0 netns ${HOST_NS} type veth peer name eth0 netns ${VM_NS} && ` +
      `ip -n ${HOST_NS} link set lo up && ip -n ${VM_NS} link set lo up && ` +
      `ip -n ${HOST_NS} address add ${PROXY_IP}/24 dev slp0 && ip -n ${HOST_NS} link set slp0 up && ` +
      `ip -n ${HOST_NS} address add ${OUTSIDE_IP}/32 dev lo && ` +
      `ip -n ${VM_NS} address add 192.168.222.2/32 dev eth0 && ip -n ${VM_NS} link set eth0 up && ` +
      `ip -n ${VM_NS} route add ${PROXY_IP}/32 dev eth0 src 192.168.222.2`,
  );
  // Default drop: the VM reaches the proxy's two ports and nothing else, not even the outside address beside it.
  const rules = `table inet vm { chain input { type filter hook input priority 0; policy accept;
    iifname slp0 ct state established,related accept
    iifname slp0 ip daddr ${PROXY_IP} tcp dport { 3128, 3129 } accept
    iifname slp0 meta l4proto icmpv6 accept
    iifname slp0 drop
  }
}`;
  if (await hasProgram("nft")) {
    await must(`ip netns exec ${HOST_NS} nft -f - <<'EOF'\n${rules}\nEOF`);
  } else {
    await must(
      `ip netns exec ${HOST_NS} sh -c 'iptables -A INPUT -i slp0 -d ${PROXY_IP} -p tcp --dport 3128:3129 -j ACCEPT && ` +
        "iptables -A INPUT -i slp0 -j DROP'",
    );
  }
}

async function removeNetworks(): Promise<void> {
  await sh(`ip netns delete ${HOST_NS}; ip netns delete ${VM_NS}`);
}

/** The VM's processes live and die with the one that this starts. */
async function startVm(dir: string): Promise<{ child: Deno.ChildProcess; pid: string }> {
  const script = [
    "set -e",
    "mount --make-rprivate /",
    `mkdir -p ${dir}/vm && mount -t tmpfs vm ${dir}/vm && cd ${dir}/vm && mkdir upper work root`,
    `mount -t overlay vm -o lowerdir=/,upperdir=${dir}/vm/upper,workdir=${dir}/vm/work root`,
    "mount -t proc proc root/proc",
    "mount --rbind /dev root/dev",
    "mount -t tmpfs run root/run",
    "mount -t tmpfs tmp root/tmp -o mode=1777",
    // The checkout and the binary may be below what has just been covered.
    ...[ROOT, ...(BINARY ? [dirname(BINARY)] : [])].map((path) =>
      `mkdir -p root${path} && mount --bind ${path} root${path}`
    ),
    // A shell that waits reaps what it inherits, as an init does.
    "exec chroot root sh -c 'echo up; while :; do sleep 1; done'",
  ].join("\n");
  const child = spawn("ip", [
    ...["netns", "exec", VM_NS, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c"],
    script,
  ]);
  const words = new Collected(child.stderr);
  const said = new Collected(child.stdout);
  try {
    await said.wait(/up/, 30_000);
  } catch (error) {
    throw new Error(`the VM does not start: ${words.text}`, { cause: error });
  }
  const pid = (await Deno.readTextFile(`/proc/${child.pid}/task/${child.pid}/children`)).trim().split(" ")[0];
  if (!pid) throw new Error("the VM has no process");
  return { child, pid };
}

function program(args: string): string {
  return BINARY === undefined
    ? `${Deno.execPath()} run -A --quiet ${ROOT}main.ts ${args}`
    : `${BINARY} ${args}`;
}

function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
}

function spawn(command: string, args: string[]): Deno.ChildProcess {
  return new Deno.Command(command, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
}

async function end(processes: readonly Deno.ChildProcess[]): Promise<void> {
  for (const child of processes.toReversed()) {
    try {
      child.kill("SIGKILL");
    } catch {
      // ended by itself
    }
    await child.status;
    // Streams that nobody reads would count as leaks.
    for (const stream of [child.stdout, child.stderr]) if (!stream.locked) await stream.cancel();
  }
}

async function run(command: string, args: string[]): Promise<Ran> {
  const startedAt = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return {
    code,
    stdout: out ?? "",
    stderr: err ?? "",
    all: `${out}${err}`,
    ms: performance.now() - startedAt,
  };
}

async function must(command: string): Promise<string> {
  const ran = await sh(command);
  if (ran.code !== 0) throw new Error(`${command} ended with ${ran.code}:\n${ran.all}`);
  return ran.stdout;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Waits until it is so, at most ten seconds. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 30_000; performance.now() < end;) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`it did not come true: ${isSo}`);
}
