/**
 * A dial that has failed just now: whoever needs the same one next is told so, instead of waiting for the same failure again.
 *
 * @module
 */
import type { ProxyError } from "../../core/errors.ts";

/** A client that asks later than this gets a dial of its own. */
const FRESH_MS = 5_000;

/** See the module. */
export class FailedDial {
  readonly #ruleHost: string;
  readonly #untilMs: number;
  #error: ProxyError | undefined;

  /**
   * @param ruleHost the host pattern that it was dialled under, which says what may be dialled
   * @param nowMs on any steady clock
   */
  constructor(error: ProxyError, ruleHost: string, nowMs: number) {
    this.#error = error;
    this.#ruleHost = ruleHost;
    this.#untilMs = nowMs + FRESH_MS;
  }

  /** Why it failed, once, for a dial of the same place under the same host pattern; else undefined. */
  take(ruleHost: string, nowMs: number): ProxyError | undefined {
    if (ruleHost !== this.#ruleHost || nowMs > this.#untilMs) return undefined;
    const error = this.#error;
    this.#error = undefined;
    return error;
  }
}
