/**
 * A server of the runtime that comes back. Deno's accept loop gives up for good at its first error, when descriptors run out:
 * `finished` rejects, which would end the process. So the listener is opened anew at its place until that works; connections that are
 * open go on.
 *
 * Not here: where it listens and what it answers (`server.ts`).
 *
 * @module
 */
import { messageOf } from "../core/errors.ts";
import type { ApiLog } from "./control.ts";

/** A server of the runtime that has begun. */
export interface Begun {
  /** 0 for a unix socket. */
  readonly port: number;
  /** Rejects when it accepts no more. */
  readonly finished: Promise<void>;
  /** Ends it and cuts what is open. Safe to call again. */
  readonly stop: () => void;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;
/** So many servers that have failed are kept for what is open on them; the oldest one ends with that. */
const MAX_FAILED = 8;
/** Between two lines about failures. */
const QUIET_MS = 60_000;

/** Keeps a server open until it is disposed, which cuts what is open on it. */
export class HttpServer implements AsyncDisposable {
  readonly #open: (port: number) => Begun | Promise<Begun>;
  readonly #log: ApiLog;
  /** The one that accepts, and those before it, whose connections go on. */
  readonly #begun: Begun[];
  readonly #watching: Promise<void>;
  #isStopping = false;
  #quietUntil = 0;
  #wake = () => {};

  /**
   * @param first the server as it was opened at first
   * @param open opens another one in its place: on its port, for TCP
   */
  constructor(first: Begun, open: (port: number) => Begun | Promise<Begun>, log: ApiLog) {
    this.port = first.port;
    this.#open = open;
    this.#log = log;
    this.#begun = [first];
    this.#watching = this.#watch(first);
  }

  /** The same for as long as it lives. */
  readonly port: number;

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    for (const begun of this.#begun) begun.stop();
    await this.#watching;
  }

  async #watch(first: Begun): Promise<void> {
    for (let current: Begun | undefined = first; current;) {
      try {
        await current.finished;
      } catch (error) {
        if (!this.#isStopping) this.#say(`Cannot accept calls, listening anew: ${messageOf(error)}`);
      }
      current = await this.#again();
    }
  }

  /** The next server, or undefined once this is to stop. */
  async #again(): Promise<Begun | undefined> {
    for (let pauseMs = FIRST_PAUSE_MS; !this.#isStopping; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      await this.#pause(pauseMs);
      if (this.#isStopping) break;
      try {
        const begun = await this.#open(this.port);
        if (this.#begun.push(begun) > MAX_FAILED) this.#begun.shift()?.stop();
        if (this.#isStopping) begun.stop();
        return begun;
      } catch {
        // Still no descriptor. The first line said what is the matter.
      }
    }
    return undefined;
  }

  #say(line: string): void {
    if (performance.now() < this.#quietUntil) return;
    this.#quietUntil = performance.now() + QUIET_MS;
    this.#log.error(line);
  }

  async #pause(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}
