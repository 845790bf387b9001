// deno-lint-ignore-file no-console
/**
 * The stage of the fleet's bench: a PostgreSQL server that syncs, what it has done so far, and hosts that are processes of the
 * product (`up --workers=1`), each of which is asked over its own API.
 *
 * @module
 */
import { ApiClient } from "../cli/api/client.ts";
import { parseApiUrl } from "../cli/api/url.ts";
import { messageOf } from "../core/errors.ts";
import { systemClock } from "../core/clock.ts";
import { parseRule } from "../policy/rule.ts";
import { parseStoreAddress } from "../store/postgres/address.ts";
import { State } from "../store/state.ts";
import { PostgresServer } from "../tests/support/postgres.ts";
import { type Daemon, Program } from "../tests/support/program.ts";
import { useOf } from "./process_stats.ts";
import { median } from "./stats.ts";

/** The server counts what it does once a second. */
const COUNTED_MS = 2_000;
const GRACE_MS = 300_000;

/** Which host is started. */
export interface HostKind {
  /** Another fleet than that of the bench, which is empty. */
  readonly fleet?: string;
  readonly workers?: number;
}

/** A host that runs. */
export interface BenchHost {
  readonly pid: number;
  /** From its spawn until it listens, milliseconds. */
  readonly startMs: number;
  readonly startCpuMs: number;
  /** Makes a change. @returns how far it has spread: `20 of 20` */
  change(method: string, path: string, body: Readonly<Record<string, unknown>>): Promise<string>;
  /** Has it leave its fleet. */
  stop(): Promise<void>;
}

/** What a server has done. */
export interface ServerWork {
  readonly transactions: number;
  readonly walBytes: number;
  readonly cpuMs: number;
}

/** See the module. Disposing ends all. */
export class FleetBench implements AsyncDisposable {
  readonly server: PostgresServer;
  readonly #stack: AsyncDisposableStack;
  readonly #dir: string;
  readonly #serverPid: number;
  readonly #hosts: BenchHost[] = [];

  private constructor(
    parts: { server: PostgresServer; stack: AsyncDisposableStack; dir: string; pid: number },
  ) {
    this.server = parts.server;
    this.#stack = parts.stack;
    this.#dir = parts.dir;
    this.#serverPid = parts.pid;
  }

  static async open(): Promise<FleetBench> {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await PostgresServer.start());
    // Tests need no durability; what a change costs does.
    await server.query("ALTER SYSTEM SET fsync = on");
    await server.query("SELECT pg_reload_conf()");
    const dir = await Deno.makeTempDir({ prefix: "slicer-bench-fleet-" });
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    const pid = Number((await server.query("SELECT pg_read_file('postmaster.pid')")).split("\n")[0]);
    return new FleetBench({ server, stack: stack.move(), dir, pid });
  }

  /** The hosts so far, oldest first. */
  get hosts(): readonly BenchHost[] {
    return this.#hosts;
  }

  /** Gives the fleet its clients and rules. */
  async fill(clients: number, rules: number): Promise<void> {
    await using host = await State.open({
      dir: `${this.#dir}/first`,
      sealKeyFile: `${this.#dir}/mk`,
      clock: systemClock(),
      fleet: {
        address: parseStoreAddress(this.server.url),
        password: () => Promise.resolve("change-me"),
        caPem: await Deno.readTextFile(this.server.caFile),
        fleet: "default",
        hostName: "first",
        graceMs: GRACE_MS,
        version: "bench",
        log: { info: () => {}, warn: () => {}, error: () => {} },
      },
    });
    for (let c = 0; c < clients; c++) {
      await host.createClient(`client-${c}`);
      const specs = Array.from(
        { length: rules },
        (_, r) => parseRule({ host: ruleHost(c, r), methods: ["GET"] }),
      );
      await host.addRules(`client-${c}`, specs);
    }
  }

  /** Starts one more host of the fleet, which stays. */
  async add(): Promise<void> {
    this.#hosts.push(await this.start(`host-${this.#hosts.length + 1}`));
  }

  /** Starts a host. */
  async start(name: string, { fleet = "default", workers = 1 }: HostKind = {}): Promise<BenchHost> {
    const dir = `${this.#dir}/${name}`;
    await Deno.mkdir(dir);
    const { server } = this;
    const flags = [
      ...["--store", server.url, "--store-password-file", server.passwordFile, "--store-ca", server.caFile],
      ...["--fleet", fleet, "--host-name", name, "--store-grace", `${GRACE_MS / 1_000}s`],
      ...["--seal-key-file", `${this.#dir}/mk`, `--workers=${workers}`],
    ];
    const up = () => new Program(dir).up(flags);
    let startedAt = performance.now();
    const daemon = await up().catch((error) => {
      // On a busy machine a start may take longer than it is waited for.
      console.error(`${name} is started once more: ${messageOf(error)}`);
      startedAt = performance.now();
      return up();
    });
    const startMs = performance.now() - startedAt;
    this.#stack.defer(() => end(daemon));
    const { pid } = daemon.child;
    let spread = "";
    const say = (line: string) => spread = line.replace(/^hosts: /, "");
    const api = new ApiClient(parseApiUrl(`${dir}/.slicer/proxy/api.sock`, undefined), { say });
    return {
      pid,
      startMs,
      startCpuMs: useOf([pid]).cpuMs,
      change: async (method, path, body) => {
        await api.call(method, path, body);
        return spread;
      },
      stop: async () => void await daemon.end("SIGTERM"),
    };
  }

  /** What the server has done by now. */
  async work(): Promise<ServerWork> {
    await new Promise((resolve) => setTimeout(resolve, COUNTED_MS));
    const [transactions = 0, walBytes = 0] = (await this.server.sql(
      "SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'slicer_proxy'), (SELECT wal_bytes FROM pg_stat_wal)",
    )).split("|").map(Number);
    return { transactions, walBytes, cpuMs: useOf([this.#serverPid]).cpuMs };
  }

  /** How long the server takes to make a small change durable: the median of many, milliseconds. */
  async commitMs(): Promise<number> {
    const timed = await this.server.sql(
      "CREATE TABLE public.bench_commits (n int);\n\\timing on\n" +
        "INSERT INTO public.bench_commits VALUES (1);\n".repeat(51),
    );
    return median([...timed.matchAll(/Time: ([\d.]+) ms/g)].map(([, ms]) => Number(ms)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack[Symbol.asyncDispose]();
  }
}

/** The host of a client's rule. */
export function ruleHost(client: number, rule: number): string {
  return `h${rule}.c${client}.example.com`;
}

async function end(daemon: Daemon): Promise<void> {
  await daemon.end("SIGKILL");
}
