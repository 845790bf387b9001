/**
 * What is done for one client in one turn of the event loop, over all its connections: a few requests begin or end, the others
 * in the turns behind it, in order. Forty connections with a hundred requests each would else make turns of a tenth of a second,
 * and whoever opens a tunnel meanwhile needs ten of them.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** See the module. */
export class Turns {
  readonly #most: number;
  #left: number;
  #waiting: (() => void)[] = [];
  #isArmed = false;

  /** @param most pieces of work in a turn */
  constructor(most: number) {
    this.#most = most;
    this.#left = most;
  }

  /** Nothing waits. */
  get isIdle(): boolean {
    return this.#waiting.length === 0;
  }

  /** Does it now, or in its turn. It must not throw. */
  run(work: () => void): void {
    this.#arm();
    if (this.#left > 0 && this.isIdle) {
      this.#left--;
      work();
    } else this.#waiting.push(work);
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    setImmediate(() => this.#begin());
  }

  #begin(): void {
    this.#isArmed = false;
    this.#left = this.#most;
    if (this.isIdle) return;
    this.#arm();
    const due = this.#waiting.slice(0, this.#most);
    this.#waiting = this.#waiting.slice(this.#most);
    for (const work of due) {
      this.#left--;
      work();
    }
  }
}
