/** A clock that is set by hand, and the timers on it. */
import type { Clock } from "../../core/clock.ts";

/** Time stands still until {@linkcode FakeClock.advance}. */
export class FakeClock implements Clock {
  #nowMs: number;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];

  constructor(nowMs = Date.UTC(2026, 10, 1)) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  /** As `core/clock.ts` callAt() does it, with time that only a test moves. Fires within `advance`, or soon when due. */
  schedule = (atMs: number, callback: () => void): () => void => {
    const timer = { atMs, callback };
    this.#timers.push(timer);
    if (atMs <= this.#nowMs) queueMicrotask(() => this.#fire());
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** The times at which timers are due. */
  get due(): number[] {
    return this.#timers.map(({ atMs }) => atMs).sort((a, b) => a - b);
  }

  /** Moves time, also backwards, and fires what is due then. */
  advance(ms: number): void {
    this.#nowMs += ms;
    this.#fire();
  }

  #fire(): void {
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { callback } of due) callback();
  }
}
