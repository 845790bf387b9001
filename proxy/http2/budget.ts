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
   * @param max how many at once
   * @param perSecond how many more every second
   */
  constructor(max: number, perSecond: number) {
    this.#max = max;
    this.#perSecond = perSecond;
    this.#tokens = max;
  }

  /** Takes one. @returns false when there is none */
  take(): boolean {
    if (this.#tokens < 1) this.#fill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
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
