/**
 * The program as processes: from source with exactly the permissions that a release has, or the compiled binary that
 * `SLICER_PROXY_BIN` names. What is tested through this file is tested on both.
 */
import { permissionFlags } from "../../scripts/permissions.ts";

const ROOT = new URL("../../", import.meta.url);
const START_MS = 30_000;

/** The compiled binary under test, or undefined when the program runs from source. */
export const BINARY: string | undefined = Deno.env.get("SLICER_PROXY_BIN") || undefined;

/** Set by `deno test --coverage`: what the program runs counts too (`deno task mutate`). */
const COVERAGE_DIR = Deno.env.get("DENO_COVERAGE_DIR");

/** The command line that runs the program with `args`. */
export function programCommand(
  args: readonly string[],
): { readonly command: string; readonly args: string[] } {
  if (BINARY !== undefined) return { command: BINARY, args: [...args] };
  const source = ["--config", new URL("deno.json", ROOT).pathname, new URL("main.ts", ROOT).pathname];
  return { command: Deno.execPath(), args: ["run", "--quiet", ...permissionFlags(), ...source, ...args] };
}

/** What a process did. */
export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  /** On top of what {@linkcode Program} gives; nothing is inherited. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The program in one working folder. Nothing of the environment reaches it, so a `deno` on the PATH cannot help it. */
export class Program {
  readonly dir: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #through: readonly string[];

  /** @param through a program with its arguments that runs the command given after them, such as `prlimit` */
  constructor(dir: string, env: Readonly<Record<string, string>> = {}, through: readonly string[] = []) {
    this.dir = dir;
    this.#env = env;
    this.#through = through;
  }

  /** Runs one command to its end. Never throws for its exit code. */
  async run(args: readonly string[], { stdin = "", env = {} }: RunOptions = {}): Promise<Result> {
    const child = this.spawn(args, env);
    const writer = child.stdin.getWriter();
    // The command may end without reading: then the pipe breaks, which is no failure.
    await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
    await writer.close().catch(() => {});
    const { code, stdout, stderr } = await child.output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  /** The stdout of a command that has to succeed, without its last newline. */
  async ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, options);
    if (code !== 0) throw new Error(`slicer-proxy ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** Starts a command, all three streams piped. */
  spawn(args: readonly string[], env: Readonly<Record<string, string>> = {}): Deno.ChildProcess {
    const { command, args: all } = programCommand(args);
    const [first = command, ...rest] = [...this.#through, command, ...all];
    return new Deno.Command(first, {
      args: rest,
      cwd: this.dir,
      clearEnv: true,
      env: this.environment(env),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** What the processes find in their environment. */
  environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
    const source = {
      DENO_NO_UPDATE_CHECK: "1",
      DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
      ...(COVERAGE_DIR === undefined ? {} : { DENO_COVERAGE_DIR: COVERAGE_DIR }),
    };
    return { HOME: this.dir, NO_COLOR: "1", ...(BINARY === undefined ? source : {}), ...this.#env, ...more };
  }

  /** Starts `up` on free loopback ports and waits until it listens. Throws what it said when it does not. */
  async up(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<Daemon> {
    const [httpPort, httpsPort] = freePorts();
    const ports = ["--http-port", String(httpPort), "--https-port", String(httpsPort)];
    const daemon = new Daemon(this.spawn(["up", ...ports, ...args], env), httpPort, httpsPort);
    try {
      await daemon.waitWords(/ listening on /, START_MS);
      return daemon;
    } catch (error) {
      await daemon.end("SIGKILL");
      throw error;
    }
  }
}

/** A running `up`. Disposing stops it, and throws when it does not end with 0. */
export class Daemon implements AsyncDisposable {
  readonly child: Deno.ChildProcess;
  readonly httpPort: number;
  readonly httpsPort: number;
  /** The audit lines so far, and what it said on stderr. */
  readonly stdout: Collected;
  readonly stderr: Collected;
  #ended: Promise<Deno.CommandStatus> | undefined;

  constructor(child: Deno.ChildProcess, httpPort: number, httpsPort: number) {
    this.child = child;
    this.httpPort = httpPort;
    this.httpsPort = httpsPort;
    this.stdout = new Collected(child.stdout);
    this.stderr = new Collected(child.stderr);
  }

  /** Waits until stdout matches. */
  waitLine(pattern: RegExp, ms = 30_000): Promise<void> {
    return this.stdout.wait(pattern, ms);
  }

  /** Waits until stderr matches. */
  waitWords(pattern: RegExp, ms = 30_000): Promise<void> {
    return this.stderr.wait(pattern, ms);
  }

  /** Sends the signal, waits for the end and gives the status. Further calls give the same. */
  end(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    return this.#ended ??= (async () => {
      try {
        this.child.kill(signal);
      } catch {
        // It has ended by itself.
      }
      await this.child.stdin.close().catch(() => {});
      const status = await this.child.status;
      await Promise.all([this.stdout.ended, this.stderr.ended]);
      return status;
    })();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const hadEnded = this.#ended !== undefined;
    const { code } = await this.end();
    if (!hadEnded && code !== 0) throw new Error(`slicer-proxy up ended with ${code}: ${this.stderr.text}`);
  }
}

/** A stream's text, as it comes. */
export class Collected {
  text = "";
  readonly ended: Promise<void>;
  #hasEnded = false;
  #wake = () => {};

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = this.#read(stream);
  }

  /** Waits until the text matches. Throws with the text when it ends or `ms` pass before. */
  async wait(pattern: RegExp, ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (!pattern.test(this.text)) {
      const leftMs = until - performance.now();
      if (this.#hasEnded || leftMs <= 0) throw new Error(`nothing matches ${pattern} in:\n${this.text}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, leftMs);
      });
      clearTimeout(timer);
    }
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.text += text;
      this.#wake();
    }
    this.#hasEnded = true;
    this.#wake();
  }
}

/** Two free loopback ports. Somebody else could take them in the meantime; then the start fails and says so. */
export function freePorts(): readonly [number, number] {
  const listeners = [0, 0].map((port) => Deno.listen({ hostname: "127.0.0.1", port }));
  const [first = 0, second = 0] = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return [first, second];
}
