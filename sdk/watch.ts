/**
 * What may end a call before its answer does: the caller's signal, and time.
 *
 * @module
 */
import { SlicerProxyError } from "./error.ts";
import type { Target } from "./target.ts";
import { explainFailure } from "./unreachable.ts";

/** Joins a caller's signal and a limit in time, and knows afterwards which of them ended the call. */
export class Watch {
  readonly #caller: AbortSignal | undefined;
  readonly #both = new AbortController();
  readonly #onAbort = () => this.#both.abort();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLate = false;

  constructor(caller: AbortSignal | undefined, timeoutMs: number) {
    this.#caller = caller;
    this.arm(timeoutMs);
    if (caller?.aborted) this.#onAbort();
    else caller?.addEventListener("abort", this.#onAbort);
  }

  get signal(): AbortSignal {
    return this.#both.signal;
  }

  /** Sets the limit in time, from now on. */
  arm(timeoutMs: number): void {
    this.disarm();
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#both.abort();
    }, timeoutMs);
  }

  /** Lifts the limit in time. */
  disarm(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    this.disarm();
    this.#caller?.removeEventListener("abort", this.#onAbort);
  }

  /** What to throw for what was thrown. */
  explain(error: unknown, target: Target): unknown {
    if (this.#caller?.aborted) return this.#caller.reason;
    if (error instanceof SlicerProxyError) return error;
    return explainFailure(target, this.#isLate ? "late" : error);
  }
}
