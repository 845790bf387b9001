/**
 * How much of something that costs us and brings nobody anything a peer may do: a token bucket whose clock is only read
 * when it is empty.
 *
 * @module
 */

/** See the module. */
export class Budget {
  readonly #max: number;
  readonly #perSecond: number;
  #tokens: number;
  #filledAt = performance.now();

  /**
   * @param max how many at once; behind a rest twice as many, since the clock was not read when it began
   * @param perSecond how many more every second
   */
  constructor(max: number, perSecond: number) {
    this.#max = max;
    this.#perSecond = perSecond;
    this.#tokens = max;
  }

  /** There is none. */
  get isSpent(): boolean {
    if (this.#tokens < 1) this.#fill();
    return this.#tokens < 1;
  }

  /** All of it is there, as in a new one. */
  get isWhole(): boolean {
    this.#fill();
    return this.#tokens === this.#max;
  }

  /** Takes one. @returns false when there is none */
  take(): boolean {
    if (this.isSpent) return false;
    this.#tokens--;
    return true;
  }

  /** Takes what was used already: what is not there becomes a debt, of as many as there may be at once. */
  charge(count: number): void {
    this.#fill();
    this.#tokens = Math.max(-this.#max, this.#tokens - count);
  }

  /** Gives some back, for work that was useful. */
  give(count: number): void {
    this.#tokens = Math.min(this.#max, this.#tokens + count);
  }

  #fill(): void {
    const now = performance.now();
    this.give((now - this.#filledAt) / 1_000 * this.#perSecond);
    this.#filledAt = now;
  }
}
