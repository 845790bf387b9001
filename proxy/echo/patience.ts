/**
 * Waiting for more of a body, but not for long while something of it is held back: who gets it may answer only what is whole.
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import type { MessageBody } from "../message/message.ts";

/** How long anything is held back, in milliseconds. */
const HOLD_MS = 250;

/** See the module. */
export class Patience {
  readonly #deadlines: Pick<Deadlines, "start">;
  #pending: Promise<boolean> | undefined;
  #isLate = false;

  constructor(deadlines: Pick<Deadlines, "start">) {
    this.#deadlines = deadlines;
  }

  /** True while more is waited for: the body must not be touched. */
  get isWaiting(): boolean {
    return this.#pending !== undefined;
  }

  /** True when what is held back has to go, once. */
  takeLate(): boolean {
    const isLate = this.#isLate;
    this.#isLate = false;
    return isLate;
  }

  /** As {@linkcode MessageBody.fill}; true also when it took too long for what is held. */
  async fill(body: MessageBody, isHolding: boolean): Promise<boolean> {
    const filled = this.#pending ??= body.fill();
    if (!isHolding) return await this.#settle(filled);
    const { promise: late, resolve } = Promise.withResolvers<"late">();
    const deadline = this.#deadlines.start(HOLD_MS, () => resolve("late"));
    // A failure is for whoever asks next.
    const first = await Promise.race([filled.then(() => undefined, () => undefined), late]);
    deadline.stop();
    if (first === undefined) return await this.#settle(filled);
    return this.#isLate = true;
  }

  async #settle(filled: Promise<boolean>): Promise<boolean> {
    try {
      return await filled;
    } finally {
      this.#pending = undefined;
    }
  }
}
