/**
 * A host of a fleet as a process (`fleet_host.ts`) that is asked one question after the other, and killed at any time.
 *
 * Not here: what is asked (`fleet.ts`).
 *
 * @module
 */
import type { Spread } from "../../store/fleet/spread_note.ts";
import type { PostgresServer } from "../support/postgres.ts";
import { linesOf } from "./lines.ts";

/** What a host says. */
export interface Answer {
  readonly error?: string;
  readonly spread?: Spread;
  /** When the call returned, epoch milliseconds. */
  readonly returnedAt?: number;
  readonly policy?: unknown;
}

/** One run of the process. */
interface Run {
  readonly child: Deno.ChildProcess;
  readonly writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly lines: AsyncGenerator<string>;
}

/** A host, running or not. */
export class HostProcess {
  readonly name: string;
  /** Where it writes down what it allowed, and when: `HOST MILLISECONDS` in a line. */
  readonly journal: string;
  readonly #args: readonly string[];
  #run: Run | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(name: string, root: string, server: PostgresServer) {
    this.name = name;
    this.journal = `${root}/${name}.allowed`;
    const access = [server.url, server.passwordFile, server.caFile];
    this.#args = [`${root}/${name}`, `${root}/mk`, ...access, name, this.journal];
  }

  get isUp(): boolean {
    return this.#run !== undefined;
  }

  /** Resolves when it has its policy. @returns false when it refused to start, as while the store is away */
  async start(): Promise<boolean> {
    const script = new URL("fleet_host.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, ...this.#args],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const run = { child, writer: child.stdin.getWriter(), lines: linesOf(child.stdout) };
    const { done } = await run.lines.next();
    if (done) await end(run);
    else this.#run = run;
    return !done;
  }

  /** One question after the other. Undefined when it was killed before it answered. */
  ask(op: string, host = ""): Promise<Answer | undefined> {
    const answer = this.#turn.then(async () => {
      const run = this.#run; // a later one knows nothing of the question
      if (!run) return undefined;
      try {
        await run.writer.write(new TextEncoder().encode(`${JSON.stringify({ op, host })}\n`));
        const next = await run.lines.next();
        return next.done ? undefined : JSON.parse(next.value) as Answer;
      } catch {
        return undefined;
      }
    });
    this.#turn = answer;
    return answer;
  }

  /** In good order without a signal. */
  async end(signal?: "SIGKILL"): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    if (run) await end(run, signal);
  }
}

async function end({ child, writer, lines }: Run, signal?: "SIGKILL"): Promise<void> {
  if (signal) child.kill(signal);
  await writer.close().catch(() => {});
  for (;;) if ((await lines.next()).done) break;
  await child.status;
}
