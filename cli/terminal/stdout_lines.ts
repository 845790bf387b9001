/**
 * Lines for a stdout that may be read slowly, or by nobody: what does not fit into a bounded queue is left out and counted.
 * A pipe that is full would stop whoever writes to it directly, and with it everything that this process serves.
 *
 * @module
 */
import { logger } from "../../core/log.ts";
import type { LineWriter } from "../../proxy/records/audit_sinks.ts";
import type { Output } from "./output.ts";

/** Some 5,000 lines. */
const MAX_WAITING_CHARS = 1_048_576;
/** How long the last lines may take once there are no more to come. */
const LAST_MS = 1_000;

/** Writes to stdout behind its caller's back: `write` never waits and never fails. */
export class StdoutLines implements LineWriter, AsyncDisposable {
  readonly #output: Output;
  #waiting = "";
  #skipped = 0;
  #hasReader = true;
  #writing: Promise<void> | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  write(lines: string): Promise<void> {
    if (!this.#hasReader) return Promise.resolve();
    if (this.#skipped > 0 || this.#waiting.length + lines.length > MAX_WAITING_CHARS) {
      this.#skipped += lines.split("\n").length - 1;
    } else {
      this.#waiting += lines;
      this.#writing ??= this.#drain();
    }
    return Promise.resolve();
  }

  /** Gives the last lines a moment, and gives them up when nobody reads them. */
  async [Symbol.asyncDispose](): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([this.#writing, new Promise((resolve) => timer = setTimeout(resolve, LAST_MS))]);
    clearTimeout(timer);
  }

  async #drain(): Promise<void> {
    while (this.#waiting !== "") {
      const bytes = new TextEncoder().encode(this.#waiting);
      this.#waiting = "";
      try {
        await this.#output.raw(bytes);
      } catch {
        this.#hasReader = false; // it went away: that is no failure of the log
        this.#waiting = "";
        return;
      }
    }
    this.#writing = undefined;
    if (this.#skipped === 0) return;
    logger("up").warn(
      `${this.#skipped} audit lines are not on stdout, which is read too slowly; they are in the log`,
    );
    this.#skipped = 0;
  }
}
