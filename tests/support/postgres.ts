/**
 * A PostgreSQL server of a test's own: a cluster in a temporary folder, run by an unprivileged user, on a port of its own,
 * with TLS. Its database and role are made by the SQL of `docs/FLEET.md`, so that tests have no right that users lack.
 *
 * Not here: what is in it.
 *
 * @module
 */
import { freePorts } from "./program.ts";
import { mountSmallDisk } from "./small_disk.ts";
import { makeAuthority } from "./test_authority.ts";

/** Where Debian puts each version, below its number. */
const VERSIONS = "/usr/lib/postgresql";
const OLDEST = 13;
const DOCUMENT = new URL("../../docs/FLEET.md", import.meta.url);
const START_TRIES = 600;

/** The programs of the newest server below a folder that has a folder for each version; undefined where there is none. */
export function newestPostgres(folder: string): string | undefined {
  const versions = namesIn(folder).map(Number).filter((version) => version >= OLDEST).sort((a, b) => b - a);
  const folders = versions.map((version) => `${folder}/${version}/bin`);
  return folders.find((bin) => namesIn(bin).includes("initdb")); // psql alone is no server
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch {
    return []; // there is none
  }
}

const BIN = newestPostgres(VERSIONS);

/** Why there is no server for tests on this machine; undefined where there is one. */
export async function postgresMissing(): Promise<string | undefined> {
  if (BIN === undefined) {
    return `there is no PostgreSQL ${OLDEST} or newer in ${VERSIONS} (apt-get install postgresql)`;
  }
  if (Deno.uid() !== 0) return undefined;
  const { success } = await command("setpriv", ["--version"]).catch(() => ({ success: false }));
  return success ? undefined : "PostgreSQL does not run as root, and setpriv is missing";
}

/** How a server is not as usual. */
export interface ServerOptions {
  /** Its data is on a disk of its own of this size, as `mount` takes it: only root may have one. */
  readonly diskSize?: string;
}

/** A running server, or one that can be started again. Disposing ends it and removes its folder. */
export class PostgresServer implements AsyncDisposable {
  /** The folder of everything. */
  readonly dir: string;
  readonly port: number;
  #child: Deno.ChildProcess | undefined;
  #disk: AsyncDisposable | undefined;

  private constructor(dir: string, port: number) {
    this.dir = dir;
    this.port = port;
  }

  /** The file with the role's password, for `--store-password-file`. */
  get passwordFile(): string {
    return `${this.dir}/password`;
  }

  /** The file with the CA of the server's certificate, for `--store-ca`. */
  get caFile(): string {
    return `${this.dir}/ca.crt`;
  }

  /** What `--store` is given. */
  get url(): string {
    return `postgres://slicer_proxy@localhost:${this.port}/slicer_proxy?sslmode=verify-full`;
  }

  /** Starts a new server with the database and the role of the document. */
  static async start({ diskSize }: ServerOptions = {}): Promise<PostgresServer> {
    const server = await PostgresServer.#make();
    try {
      if (diskSize !== undefined) await server.#mount(diskSize);
      await Deno.writeTextFile(`${server.dir}/admin`, "admin");
      await own(`${server.dir}/admin`);
      await run("initdb", [
        ...["-D", server.dataDir, "-U", "postgres", "--pwfile", `${server.dir}/admin`],
        ...["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
      ]);
      await server.#configure();
      await server.begin();
      const role = await roleSql();
      await server.sql(role, "postgres");
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts a standby of `primary` that streams from it. */
  static async standbyOf(primary: PostgresServer): Promise<PostgresServer> {
    const server = await PostgresServer.#make();
    try {
      await run("pg_basebackup", [
        ...["-D", server.dataDir, "-h", primary.dir, "-p", String(primary.port), "-U", "postgres"],
        ...["-R", "-X", "stream", "--checkpoint=fast", "--no-sync"],
      ]);
      await server.#configure();
      await server.begin();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #make(): Promise<PostgresServer> {
    const dir = await Deno.makeTempDir({ prefix: "slicer-pg-" });
    const [port] = freePorts();
    const server = new PostgresServer(dir, port);
    await Deno.writeTextFile(server.passwordFile, "change-me\n", { mode: 0o600 });
    const authority = await makeAuthority("test-postgres");
    const { certPem, keyPem } = await authority.issue(["localhost", "127.0.0.1"]);
    await Deno.writeTextFile(server.caFile, authority.caPem);
    await Deno.writeTextFile(`${dir}/server.crt`, certPem);
    await Deno.writeTextFile(`${dir}/server.key`, keyPem, { mode: 0o600 });
    await own(dir);
    await own(`${dir}/server.crt`);
    await own(`${dir}/server.key`);
    return server;
  }

  async #mount(size: string): Promise<void> {
    this.#disk = await mountSmallDisk(this.dataDir, size);
    if (!this.#disk) throw new Error("a small disk cannot be mounted here");
    await own(this.dataDir);
  }

  /** The folder of its data. */
  get dataDir(): string {
    return `${this.dir}/data`;
  }

  async #configure(): Promise<void> {
    const settings = {
      port: this.port,
      listen_addresses: "'127.0.0.1,127.0.0.2'", // its certificate is for the first
      unix_socket_directories: `'${this.dir}'`,
      ssl: "on",
      ssl_cert_file: `'${this.dir}/server.crt'`,
      ssl_key_file: `'${this.dir}/server.key'`,
      fsync: "off", // a test kills processes, not machines
      shared_buffers: "'16MB'",
      max_wal_size: "'64MB'",
      wal_receiver_status_interval: "1s",
      log_min_messages: "fatal",
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`).join("");
    await Deno.writeTextFile(`${this.dataDir}/postgresql.auto.conf`, lines, { append: true });
  }

  /**
   * Starts it (again), and resolves when it answers.
   *
   * @param through a program with its arguments that runs it, such as `ip netns exec NAME`
   */
  async begin(through: readonly string[] = []): Promise<void> {
    const [program = "", ...args] = [...through, ...asUser("postgres", ["-D", this.dataDir])];
    this.#child = new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
    const ended = this.#child.status.then(({ code }) => code);
    for (let i = 0; i < START_TRIES; i++) {
      if (await this.query("select 1").then(() => true, () => false)) return;
      const code = await Promise.race([ended, new Promise<void>((resolve) => setTimeout(resolve, 50))]);
      if (typeof code === "number") throw new Error(`postgres ended with ${code}`);
    }
    throw new Error("postgres does not answer");
  }

  /** Kills every process of it, as a crash would, and resolves when they are gone. */
  async crash(): Promise<void> {
    const pids = await this.#pids();
    signal(pids, "SIGKILL");
    await this.#child?.status;
    this.#child = undefined;
    await waitGone(pids);
    await Deno.remove(`${this.dataDir}/postmaster.pid`).catch(() => {});
  }

  /** Stops it in the middle of whatever it does; the returned function lets it go on. */
  async pause(): Promise<() => void> {
    const pids = await this.#pids();
    signal(pids, "SIGSTOP");
    return () => signal(pids, "SIGCONT");
  }

  /** Makes a standby the primary. */
  async promote(): Promise<void> {
    await this.query("select pg_promote()");
  }

  /** Runs SQL as the superuser, psql's own commands included. */
  async sql(text: string, database = "slicer_proxy"): Promise<string> {
    const args = ["-h", this.dir, "-p", String(this.port), "-U", "postgres", "-d", database];
    const all = [...args, "-v", "ON_ERROR_STOP=1", "-X", "-q", "-A", "-t", "-f", "-"];
    const child = new Deno.Command(`${BIN}/psql`, {
      args: all,
      clearEnv: true,
      env: { PGCONNECT_TIMEOUT: "5" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text)).catch(() => {});
    await writer.close().catch(() => {});
    const { success, stdout, stderr } = await child.output();
    if (!success) throw new Error(`psql: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout).trimEnd();
  }

  /** The same in the database that every cluster has. */
  query(text: string): Promise<string> {
    return this.sql(text, "postgres");
  }

  async #pids(): Promise<number[]> {
    const main = this.#child?.pid;
    if (main === undefined) return [];
    const { stdout } = await command("ps", ["-e", "-o", "pid=,ppid="]);
    const pairs = new TextDecoder().decode(stdout).trim().split("\n").map((line) =>
      line.trim().split(/\s+/).map(Number)
    );
    return [main, ...pairs.flatMap(([pid = 0, parent]) => parent === main ? [pid] : [])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pids = await this.#pids();
    signal(pids, "SIGCONT");
    signal(pids, "SIGKILL");
    await this.#child?.status;
    await waitGone(pids);
    await this.#disk?.[Symbol.asyncDispose]();
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** The SQL of the document that makes the database and the role. */
export async function roleSql(): Promise<string> {
  const text = await Deno.readTextFile(DOCUMENT);
  const block = /```sql\n([^`]*)```/.exec(text)?.[1];
  if (block === undefined) throw new Error("docs/FLEET.md has no SQL");
  return block;
}

/** A server takes its processes along by itself, a moment later. */
async function waitGone(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    while (await Deno.stat(`/proc/${pid}`).then(() => true, () => false)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function signal(pids: readonly number[], name: Deno.Signal): void {
  for (const pid of pids) {
    try {
      Deno.kill(pid, name);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
    }
  }
}

function asUser(program: string, args: readonly string[]): [string, ...string[]] {
  if (Deno.uid() !== 0) return [`${BIN}/${program}`, ...args];
  return [
    "setpriv",
    ...["--reuid=postgres", "--regid=postgres", "--clear-groups", `${BIN}/${program}`],
    ...args,
  ];
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const [first, ...rest] = asUser(program, args);
  const { success, stderr } = await command(first, rest);
  if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
}

async function own(path: string): Promise<void> {
  if (Deno.uid() === 0) await command("chown", ["postgres:postgres", path]);
}

function command(program: string, args: readonly string[]): Promise<Deno.CommandOutput> {
  // Nothing of the caller's: a PG… variable would decide for psql and its like.
  const env = { PATH: Deno.env.get("PATH") ?? "" };
  return new Deno.Command(program, {
    args: [...args],
    clearEnv: true,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
}
