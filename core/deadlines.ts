/**
 * Many deadlines on one timer. A deadline that moves with every byte of every connection must cost an assignment, not a
 * timer of its own.
 *
 * @module
 */
import { type Linked, LinkedSet } from "./linked_set.ts";

/** Late by at most this much; never early. */
const TICK_MS = 100;

/** One deadline. */
export interface Deadline {
  /** Moves it to `ms` from now, or starts it again after {@linkcode stop}. */
  restart(ms: number): void;
  /** Until the next {@linkcode restart} it does not fire. */
  stop(): void;
}

/** A set of deadlines. The shared timer runs only while one is pending. */
export class Deadlines {
  readonly #pending = new LinkedSet<Entry>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Calls `onDue` once when `ms` have passed without a {@linkcode Deadline.restart}. */
  start(ms: number, onDue: () => void): Deadline {
    const entry = new Entry(this, onDue);
    entry.restart(ms);
    return entry;
  }

  /** For the deadlines themselves. */
  add(entry: Entry): void {
    this.#pending.add(entry);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  /** For the deadlines themselves. */
  remove(entry: Entry): void {
    this.#pending.delete(entry);
    if (this.#pending.size > 0 || this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    const now = performance.now();
    for (const entry of this.#pending.those(({ dueAt }) => dueAt <= now)) {
      if (!entry.isLinked || entry.dueAt > now) continue; // stopped or moved by one before it
      this.remove(entry);
      entry.onDue();
    }
  }
}

class Entry implements Deadline, Linked<Entry> {
  readonly #deadlines: Deadlines;
  readonly onDue: () => void;
  dueAt = 0;
  isLinked = false;
  previous: Entry | undefined = undefined;
  next: Entry | undefined = undefined;

  constructor(deadlines: Deadlines, onDue: () => void) {
    this.#deadlines = deadlines;
    this.onDue = onDue;
  }

  restart(ms: number): void {
    this.dueAt = performance.now() + ms;
    this.#deadlines.add(this);
  }

  stop(): void {
    this.#deadlines.remove(this);
  }
}
