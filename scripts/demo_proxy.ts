/**
 * The program itself as child processes, started as `deno task start` starts it: the daemon, and one process per command.
 *
 * @module
 */
import config from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);
const START_MS = 20_000;
const WAIT_MS = 10_000;

/** A running `slicer-proxy up`. */
export interface Daemon {
  readonly httpPort: number;
  /** The audit lines so far. */
  readonly lines: readonly string[];
  /** The next line that matches, now or soon. Throws when none comes. */
  waitLine(pattern: RegExp): Promise<string>;
  /** Asks it to stop. Throws unless it ends with exit code 0. */
  stop(): Promise<void>;
}

/** The program in one working folder. */
export class Program {
  readonly #dir: string;

  /** @param dir where state, CA and socket go, as for anybody who types the commands there */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Runs one command and returns its stdout.
   *
   * @throws Error with its stderr when it fails
   */
  async run(args: readonly string[], input = ""): Promise<string> {
    const child = this.#spawn(args, "piped");
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input)).catch(() => {}); // it may not read any
    await writer.close().catch(() => {});
    const { code, stdout, stderr } = await child.output();
    if (code !== 0) throw new Error(`slicer-proxy ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout).trimEnd();
  }

  /** Starts the daemon on free ports and waits until it listens. */
  async up(args: readonly string[]): Promise<Daemon> {
    const [httpPort, httpsPort] = freePorts();
    const child = this.#spawn(
      ["up", "--http-port", String(httpPort), "--https-port", String(httpsPort), ...args],
      "null",
    );
    const audit = new Lines(child.stdout);
    const words = new Lines(child.stderr);
    try {
      await words.wait(/ listening on /, START_MS);
    } catch (error) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
      await Promise.all([child.status, audit.ended, words.ended]);
      throw new Error(`slicer-proxy up does not listen: ${words.all.join(" ")}`, { cause: error });
    }
    let hasEnded = false;
    return {
      httpPort,
      lines: audit.all,
      waitLine: (pattern) => audit.wait(pattern, WAIT_MS),
      stop: async () => {
        if (hasEnded) return;
        hasEnded = true;
        child.kill("SIGTERM");
        const { code } = await child.status;
        await Promise.all([audit.ended, words.ended]);
        if (code !== 0) throw new Error(`slicer-proxy up ended with ${code}: ${words.all.join(" ")}`);
      },
    };
  }

  #spawn(args: readonly string[], stdin: "piped" | "null"): Deno.ChildProcess {
    return new Deno.Command(Deno.execPath(), {
      args: [...startArgs(), ...args],
      cwd: this.#dir,
      // An empty variable counts as unset: the demonstration talks to its own proxy only.
      env: { SLICER_URL: "", SLICER_TOKEN: "", SLICER_TOKEN_FILE: "", NO_COLOR: "1" },
      stdin,
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }
}

/** What `deno task start` runs, with whole paths: the same permissions, nothing more. */
function startArgs(): readonly string[] {
  const [deno, run, ...flags] = config.tasks.start.split(" ");
  const entry = flags.pop();
  if (deno !== "deno" || run !== "run" || entry !== "main.ts") {
    throw new Error("the task start is another now");
  }
  const inRoot = (file: string) => new URL(file, ROOT).pathname;
  return [run, "--config", inRoot("deno.json"), ...flags, inRoot(entry)];
}

/** Two free ports. Somebody else could take them in the meantime; then the start fails and says so. */
function freePorts(): [number, number] {
  const listeners = [0, 0].map((port) => Deno.listen({ hostname: "127.0.0.1", port }));
  const [first = 0, second = 0] = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return [first, second];
}

/** The lines of a stream, as they come. */
class Lines {
  readonly all: string[] = [];
  readonly ended: Promise<void>;
  #hasEnded = false;
  #onLine = () => {};
  #waitedFor = 0;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = this.#read(stream);
  }

  /** The next line, after those that were waited for before, that matches. */
  async wait(pattern: RegExp, ms: number): Promise<string> {
    const until = performance.now() + ms;
    for (;;) {
      while (this.#waitedFor < this.all.length) {
        const line = this.all[this.#waitedFor++] ?? "";
        if (pattern.test(line)) return line;
      }
      const leftMs = until - performance.now();
      if (this.#hasEnded || leftMs <= 0) throw new Error(`no line came that matches ${pattern}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
        timer = setTimeout(resolve, leftMs);
      });
      clearTimeout(timer);
    }
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.all.push(...lines);
      this.#onLine();
    }
    if (rest !== "") this.all.push(rest);
    this.#hasEnded = true;
    this.#onLine();
  }
}
