/** The real program in a folder of its own, with an upstream, an innocent client and an attacker's. */
import { type Daemon, freePorts, Program } from "../support/program.ts";
import type { Errand, Findings } from "./innocent.ts";
import type { Tally, Target } from "./target.ts";

const HERE = new URL(".", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

/** What is told of the program while it runs. */
export interface Vitals {
  readonly residentBytes: number;
  readonly replacedWorkers: number;
  readonly startedAt: string;
  /** Of all its threads, user and system; undefined where there is no /proc. */
  readonly cpuSeconds: number | undefined;
}

export class Site implements AsyncDisposable {
  readonly #dir: string;
  readonly #program: Program;
  readonly #daemon: Daemon;
  readonly #upstream: Deno.ChildProcess;
  readonly #target: Omit<Target, "seconds">;
  readonly #innocent: Omit<Errand, "seconds" | "first">;
  #next = 0;

  private constructor(parts: {
    readonly dir: string;
    readonly program: Program;
    readonly daemon: Daemon;
    readonly upstream: Deno.ChildProcess;
    readonly target: Omit<Target, "seconds">;
    readonly token: string;
  }) {
    this.#dir = parts.dir;
    this.#program = parts.program;
    this.#daemon = parts.daemon;
    this.#upstream = parts.upstream;
    this.#target = parts.target;
    const { httpPort: port, tlsHost: host, caPem } = parts.target;
    this.#innocent = { port, host, caPem, token: parts.token };
  }

  /** Starts everything. */
  static async open(workers: number): Promise<Site> {
    const dir = await Deno.makeTempDir({ prefix: "slicer-attack-" });
    const upstream = deno(["upstream.ts", dir]);
    const ports: { tls: number; bulk: number; clear: number; http2: number; names: number } = JSON.parse(
      await firstLine(upstream.stdout),
    );
    const program = new Program(dir);
    const [apiPort] = freePorts();
    const daemon = await program.up([
      ...["--workers", String(workers), "--allow-cidr", "127.0.0.0/8,::1/128"],
      ...["--dns", `wide.test=127.0.0.1:${ports.names}`],
      ...["--upstream-ca", `${dir}/upstream-ca.pem`, "--api-bind", `0.0.0.0:${apiPort}`],
    ]);
    const token = await program.ok(["client", "create", "innocent"]);
    const attackerToken = await program.ok(["client", "create", "attacker"]);
    const moreTokens = await Promise.all(
      [2, 3, 4].map((nth) => program.ok(["client", "create", `attacker-${nth}`])),
    );
    const tlsHost = `localhost:${ports.tls}`;
    const clearHost = `127.0.0.1:${ports.clear}`;
    const http2Host = `localhost:${ports.http2}`;
    const bulkHost = `127.0.0.1:${ports.bulk}`;
    const loginHost = `127.0.0.2:${ports.tls}`;
    await program.ok(["allow", "innocent", "--host", "localhost", "--port", String(ports.tls)]);
    await program.ok(["secret", "create", "key", "--host", "127.0.0.1", "--value-file", "-", "--cleartext"], {
      stdin: "upstream-key-0123456789",
    });
    await program.ok(["allow", "attacker", "--host", "localhost", "--port", String(ports.http2)]);
    await program.ok(["allow", "attacker", "--host", "127.0.0.1", "--port", String(ports.bulk)]);
    await program.ok(["allow", "attacker", "--host", "*.wide.test"]);
    await program.ok(["allow", "attacker", "--host", "words.test", "--graphql", "query"]);
    const login = { token_endpoint: `https://${loginHost}/token`, client_id: "one", client_secret: "two" };
    const kind = ["--host", "127.0.0.2", "--type", "oauth-client-creds"];
    await program.ok(["secret", "create", "login", ...kind, "--value-file", "-"], {
      stdin: JSON.stringify(login),
    });
    await program.ok(["allow", "attacker", "--host", "127.0.0.2", "--port", String(ports.tls)]);
    const rule = ["--host", "127.0.0.1", "--port", String(ports.clear), "--method", "GET,POST"];
    await program.ok(["allow", "attacker", ...rule, "--path", "/pub/*", "--secret", "key"]);
    const target = {
      httpPort: daemon.httpPort,
      httpsPort: daemon.httpsPort,
      apiPort,
      token: attackerToken,
      moreTokens,
      caPem: await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`),
      tlsHost,
      clearHost,
      http2Host,
      bulkHost,
      loginHost,
    };
    return new Site({ dir, program, daemon, upstream, target, token });
  }

  /** Has the innocent client go on for that long. */
  async measure(seconds: number): Promise<Findings> {
    const errand: Errand = { ...this.#innocent, seconds, first: this.#next };
    const findings = await tell<Findings>(["innocent.ts"], errand);
    this.#next = findings.next;
    return findings;
  }

  /** Runs an attack to its end. */
  attack(name: string, seconds: number): Promise<Tally> {
    return tell<Tally>(["attacker.ts", name], { ...this.#target, seconds });
  }

  async vitals(): Promise<Vitals> {
    const status = JSON.parse(await this.#program.ok(["status", "--json"]));
    return {
      residentBytes: status.process.resident_bytes,
      replacedWorkers: status.replaced_workers,
      startedAt: status.process.started_at,
      cpuSeconds: await cpuSeconds(this.#daemon.child.pid),
    };
  }

  /** How many of the innocent client's requests have no record in the audit log. */
  async lostRecords(): Promise<number> {
    const text = await this.#program.ok(["logs", "--client", "innocent", "--json"]);
    const seen = new Set(Array.from(text.matchAll(/"path":"\/i\/(\d+)"/g), ([, nth]) => Number(nth)));
    return this.#next - seen.size;
  }

  /** The request lines that the upstream saw, without the innocent client's. */
  async seen(): Promise<readonly string[]> {
    return (await Deno.readTextFile(`${this.#dir}/seen.txt`)).split("\n").filter((line) => line !== "");
  }

  /** What the program said on stderr. */
  get words(): string {
    return this.#daemon.stderr.text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.end("SIGTERM");
    this.#upstream.kill();
    await this.#upstream.status;
    await Deno.remove(this.#dir, { recursive: true });
  }
}

/** proc_pid_stat(5): fields 14 and 15, behind the name, which may hold spaces; in hundredths of a second. */
async function cpuSeconds(pid: number): Promise<number | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function deno(args: readonly string[]): Deno.ChildProcess {
  const [module = "", ...more] = args;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--config", CONFIG, `${HERE}${module}`, ...more],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** Starts one of our processes, tells it `what`, and gives what it said at its end. */
async function tell<T>(args: readonly string[], what: unknown): Promise<T> {
  const child = deno(args);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(what)));
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new Error(`${args.join(" ")} failed`);
  return JSON.parse(new TextDecoder().decode(stdout)) as T;
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const piece of stream.pipeThrough(new TextDecoderStream()).values({ preventCancel: true })) {
    text += piece;
    if (text.includes("\n")) break;
  }
  return text.split("\n")[0] ?? "";
}
