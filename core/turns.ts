/**
 * How much of one kind of work is done in one turn of the event loop: what is above that waits for later turns, in order, so
 * that others have their turns in between.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { inLaterTurn } from "./later_turn.ts";

/** See the module. */
export class Turns {
  readonly #most: number;
  #left: number;
  readonly #waiting: { readonly cost: number; readonly enter: () => void }[] = [];
  #isRenewed = true;
  #isAsked = false;

  /** @param most what a turn may cost; the last work of it may cost more than is left */
  constructor(most: number) {
    this.#most = most;
    this.#left = most;
  }

  /** Nothing waits. */
  get isIdle(): boolean {
    return this.#waiting.length === 0;
  }

  /** Does it now, or in its turn. It must not throw. */
  run(work: () => void, cost = 1): void {
    if (this.#takes(cost)) work();
    else this.#wait(cost, work);
  }

  /** @returns what to wait for before work of this cost; undefined when there is room in this turn */
  after(cost: number): Promise<void> | undefined {
    return this.#takes(cost) ? undefined : new Promise((enter) => this.#wait(cost, enter));
  }

  #takes(cost: number): boolean {
    if (this.#left <= 0 || !this.isIdle) return false;
    this.#use(cost);
    return true;
  }

  #use(cost: number): void {
    this.#left -= cost;
    if (!this.#isRenewed) return;
    this.#isRenewed = false;
    setImmediate(this.#renew);
  }

  #wait(cost: number, enter: () => void): void {
    this.#waiting.push({ cost, enter });
    this.#ask();
  }

  #ask(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    inLaterTurn(this.#serve);
  }

  /** The turn is over. Where somebody waits, the next one begins with them. */
  readonly #renew = () => {
    this.#isRenewed = true;
    if (this.isIdle) this.#left = this.#most;
  };

  readonly #serve = () => {
    this.#isAsked = false;
    this.#left = this.#most;
    while (this.#left > 0) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#use(next.cost);
      next.enter();
    }
    if (!this.isIdle) this.#ask();
  };
}
