/** Deadlines that pass when a test says so. */
import { type Deadline, Deadlines } from "../../core/deadlines.ts";

interface Entry {
  dueAt: number;
  readonly onDue: () => void;
}

/** Time stands still until {@linkcode FakeDeadlines.advance}. */
export class FakeDeadlines extends Deadlines {
  readonly #pending = new Set<Entry>();
  #nowMs = 0;

  override start(ms: number, onDue: () => void): Deadline {
    const entry: Entry = { dueAt: 0, onDue };
    const restart = (ms: number) => {
      entry.dueAt = this.#nowMs + ms;
      this.#pending.add(entry);
    };
    restart(ms);
    return { restart, stop: () => void this.#pending.delete(entry) };
  }

  /** How long each of those that run has left, in milliseconds, the shortest first. */
  get left(): readonly number[] {
    return [...this.#pending].map(({ dueAt }) => dueAt - this.#nowMs).sort((a, b) => a - b);
  }

  /** Lets time pass, and fires what is due by then. */
  advance(ms: number): void {
    this.#nowMs += ms;
    for (const entry of [...this.#pending]) {
      if (entry.dueAt > this.#nowMs || !this.#pending.delete(entry)) continue;
      entry.onDue();
    }
  }
}
