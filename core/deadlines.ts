/**
 * Many deadlines on one timer. A deadline that moves with every byte of every connection must cost an assignment, not a
 * timer of its own.
 *
 * @module
 */
import { type Linked, LinkedSet } from "./linked_set.ts";

/** A short deadline is late by at most this much, a long one by at most twice as much; none is early. */
const TICK_MS = 100;
/** From here on a deadline counts from the next tick: a look at the clock costs several times what moving one does. */
const LONG_MS = 1_000;

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
    for (const entry of this.#pending.those((each) => each.isDue(now))) {
      if (!entry.isLinked || !entry.isDue(now)) continue; // stopped or moved by one before it
      this.remove(entry);
      entry.onDue();
    }
  }
}

class Entry implements Deadline, Linked<Entry> {
  readonly #deadlines: Deadlines;
  readonly onDue: () => void;
  /** Undefined until the next tick of a long one. */
  #dueAt: number | undefined;
  #ms = 0;
  isLinked = false;
  previous: Entry | undefined = undefined;
  next: Entry | undefined = undefined;

  constructor(deadlines: Deadlines, onDue: () => void) {
    this.#deadlines = deadlines;
    this.onDue = onDue;
  }

  restart(ms: number): void {
    this.#ms = ms;
    this.#dueAt = ms < LONG_MS ? performance.now() + ms : undefined;
    this.#deadlines.add(this);
  }

  stop(): void {
    this.#deadlines.remove(this);
  }

  isDue(now: number): boolean {
    this.#dueAt ??= now + this.#ms;
    return this.#dueAt <= now;
  }
}
