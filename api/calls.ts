/**
 * Counting the calls under way, to bound them and to know when the last one has ended.
 *
 * @module
 */
import { refuse } from "./errors.ts";

/** Answers a call. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** Deno calls a response completed before its last bytes have left (measured: cut at once, a caller gets nothing). */
const FLUSH_MS = 20;

/** The calls under way on all listeners of an API. A call lasts until its response has been sent, streams included. */
export class Calls {
  readonly #max: number;
  #running = 0;
  #onIdle = () => {};

  /** At most `max` at once: what comes on top is refused with 503, not queued. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Runs `handle` for a request. `completed` settles when the response has been sent, or cannot be any more. */
  async run(handle: Handler, request: Request, completed: Promise<void>): Promise<Response> {
    if (this.#running >= this.#max) {
      return refuse(503, `Cannot answer now: ${this.#max} calls are under way`, {
        headers: { "retry-after": "1" },
      });
    }
    this.#running++;
    completed.catch(() => {}).finally(() => {
      this.#running--;
      if (this.#running === 0) this.#onIdle();
    });
    return await handle(request);
  }

  /** Waits until no call is under way and the last response has left, at most `maxMs` and a moment. */
  async idle(maxMs: number): Promise<void> {
    if (this.#running > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      const timer = setTimeout(resolve, maxMs);
      await promise;
      clearTimeout(timer);
    }
    await new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
  }
}
