/**
 * What a soak runs on: the real program with some clients, an upstream of its own process, and what the program holds by now.
 * Linux only: it counts descriptors in /proc.
 */
// deno-lint-ignore-file no-console
import { freePorts } from "../support/program.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const CLIENTS = 8;

/** What the proxy holds. */
export interface Sample {
  readonly descriptors: number;
  readonly rssKib: number;
  readonly connections: number;
  readonly tunnels: number;
}

/** See each field. */
export interface Stage {
  readonly httpPort: number;
  readonly ports: { readonly tls: number; readonly h2: number; readonly tcp: number };
  readonly caPem: string;
  /** What went wrong; a soak without any has passed. */
  readonly failures: string[];
  tokenOf(i: number): string;
  sample(): Promise<Sample>;
  /** Everybody has gone: waits until nothing is left of them, and says what is. */
  checkEmpty(before: Sample): Promise<void>;
  /** Stops everything, prints the failures, and gives the exit code. */
  finish(): Promise<number>;
}

/** Starts it, with eight clients that may reach the upstream in all ways. */
export async function startStage(): Promise<Stage> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-soak-" });
  const deno = (args: readonly string[], stdout: "piped" | "null") =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--config", `${ROOT}deno.json`, ...args],
      cwd: dir,
      stdout,
      stderr: "inherit",
    });
  const cli = async (...args: string[]): Promise<string> => {
    const { success, stdout } = await deno([`${ROOT}main.ts`, ...args], "piped").output();
    if (!success) throw new Error(`slicer-proxy ${args.join(" ")} failed`);
    return new TextDecoder().decode(stdout).trim();
  };

  const upstream = deno([`${ROOT}tests/soak/upstream.ts`, dir], "piped").spawn();
  const ports: Stage["ports"] = JSON.parse(await firstLine(upstream.stdout));
  const program = Deno.env.get("SLICER_PROXY_BIN");
  const [httpPort, httpsPort] = freePorts();
  const up = ["up", "--http-port", String(httpPort), "--https-port", String(httpsPort)];
  const flags = ["--allow-cidr", "127.0.0.1", "--upstream-ca", `${dir}/upstream-ca.pem`];
  const proxy = program
    ? new Deno.Command(program, { args: [...up, ...flags], cwd: dir, stdout: "null", stderr: "inherit" })
      .spawn()
    : deno([`${ROOT}main.ts`, ...up, ...flags], "null").spawn();
  await waitFor(async () => (await Deno.stat(`${dir}/.slicer/proxy/api.sock`)).isSocket === true);
  const tokens: string[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    tokens.push(await cli("client", "create", `soak-${i}`));
    await cli("allow", `soak-${i}`, "--host", "localhost", "--port", `${ports.tls},${ports.h2}`);
    await cli("allow", `soak-${i}`, "--host", "127.0.0.1", "--port", String(ports.tcp), "--passthrough");
  }

  const failures: string[] = [];
  const sample = async (): Promise<Sample> => {
    let descriptors = 0;
    for await (const _ of Deno.readDir(`/proc/${proxy.pid}/fd`)) descriptors++;
    const rssKib = Number(/VmRSS:\s+(\d+)/.exec(await Deno.readTextFile(`/proc/${proxy.pid}/status`))?.[1]);
    const status = JSON.parse(await cli("status", "--json"));
    return { descriptors, rssKib, connections: status.open_connections, tunnels: status.open_tunnels };
  };
  return {
    httpPort,
    ports,
    caPem: await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`),
    failures,
    tokenOf: (i) => tokens[i % CLIENTS] ?? "",
    sample,
    async checkEmpty(before) {
      let after = await sample();
      for (let i = 0; i < 60 && (after.connections > 0 || after.descriptors > before.descriptors + 5); i++) {
        await sleep(2_000);
        after = await sample();
      }
      report("after", after);
      if (after.connections !== 0 || after.tunnels !== 0) failures.push("connections or tunnels are left");
      // One loopback listener per intercepted host stays open on purpose.
      if (after.descriptors > before.descriptors + 5) {
        failures.push(`${after.descriptors - before.descriptors} descriptors are left`);
      }
    },
    async finish() {
      proxy.kill("SIGTERM");
      const stopped = await proxy.status;
      if (!stopped.success) failures.push(`the proxy ended with ${stopped.code}`);
      upstream.kill();
      await upstream.status;
      if (Deno.env.get("SOAK_KEEP")) console.log(`kept ${dir}`);
      else await Deno.remove(dir, { recursive: true });
      const kinds = new Map<string, number>();
      for (const failure of failures) kinds.set(failure, (kinds.get(failure) ?? 0) + 1);
      for (const [failure, count] of kinds) console.log(`FAILED (${count}×): ${failure}`);
      return failures.length === 0 ? 0 : 1;
    },
  };
}

/** How long the mixed traffic goes on. */
export const SECONDS = Number(Deno.env.get("SOAK_SECONDS") ?? 180);

/** As many tunnels as descriptors allow, each taking so many, and `most` or SOAK_TUNNELS at most. */
export async function tunnelCount(most: number, descriptorsEach: number): Promise<number> {
  const limits = await Deno.readTextFile("/proc/self/limits");
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? 4_096);
  return Math.min(
    most,
    Math.floor((hard - 1_000) / descriptorsEach),
    Number(Deno.env.get("SOAK_TUNNELS") ?? most),
  );
}

/** Prints a sample. */
export function report(what: string, { descriptors, rssKib, connections, tunnels }: Sample): void {
  console.log(
    `${what}: ${connections} connections, ${tunnels} tunnels, ${descriptors} descriptors, ${
      Math.round(rssKib / 1_024)
    } MiB`,
  );
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function waitFor(isTrue: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await isTrue().catch(() => false)) return;
    await sleep(100);
  }
  throw new Error("the proxy did not start");
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const piece of stream.pipeThrough(new TextDecoderStream()).values({ preventCancel: true })) {
    text += piece;
    if (text.includes("\n")) break;
  }
  return text.split("\n")[0] ?? "";
}
