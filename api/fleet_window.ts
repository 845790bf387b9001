/**
 * What comes live from several hosts, in order: each record waits a moment for earlier ones of other hosts. No host holds up
 * another one's records, nor sends them on early, whatever times it writes: a time counts as far as it lies in that moment.
 *
 * A host that sends faster than its records are read is read no further: what waits is bounded, and what it then misses it
 * counts itself.
 *
 * @module
 */
import type { FleetItem } from "./fleet_items.ts";

interface Entry {
  /** When it would have come without any delay, monotonic milliseconds. */
  readonly at: number;
  readonly item: FleetItem;
  readonly chars: number;
  /** Whose room it takes. */
  readonly source: string;
}

/** What one source has waiting. */
interface Share {
  chars: number;
  /** Of its last entry: what comes from one source stays in its order. */
  lastAt: number;
  wake: () => void;
}

/** See the module. */
export class FleetWindow {
  readonly #windowMs: number;
  readonly #maxChars: number;
  readonly #now: () => number;
  /** The earliest first. */
  #waiting: Entry[] = [];
  readonly #shares = new Map<string, Share>();
  #isClosed = false;
  #wake = () => {};

  constructor(
    { windowMs, maxWindowChars }: Readonly<Record<"windowMs" | "maxWindowChars", number>>,
    now: () => number = () => performance.now(),
  ) {
    this.#windowMs = windowMs;
    this.#maxChars = maxWindowChars;
    this.#now = now;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves when a source has room for one more, or all is over. */
  async room(source: string): Promise<void> {
    while (!this.#isClosed && !this.hasRoom(source)) {
      const share = this.#shareOf(source);
      await new Promise<void>((resolve) => share.wake = resolve);
    }
  }

  /** For what is dropped rather than waited for. */
  hasRoom(source: string): boolean {
    return (this.#shares.get(source)?.chars ?? 0) < this.#maxChars;
  }

  /** @param ageMs how old it says it is */
  add(
    source: string,
    item: FleetItem,
    { ageMs, chars }: { readonly ageMs: number; readonly chars: number },
  ): void {
    const share = this.#shareOf(source);
    const at = Math.max(share.lastAt, this.#now() - Math.max(0, Math.min(ageMs, this.#windowMs)));
    share.lastAt = at;
    share.chars += chars;
    let place = this.#waiting.length;
    while (place > 0 && (this.#waiting[place - 1]?.at ?? 0) > at) place--;
    this.#waiting.splice(place, 0, { at, item, chars, source });
    if (place === 0) this.#wake();
  }

  /** Ends {@linkcode items}, and whoever waits for room. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
    for (const share of this.#shares.values()) share.wake();
  }

  /** What has waited long enough, until it is closed. For one reader. */
  async *items(): AsyncGenerator<FleetItem> {
    while (!this.#isClosed) {
      const due = this.#takeDue();
      for (const { item, chars, source } of due) {
        yield item;
        const share = this.#shares.get(source);
        if (!share) continue;
        share.chars -= chars;
        if (share.chars <= 0) this.#shares.delete(source); // sources come and go as whoever writes to the store likes
        share.wake();
      }
      if (due.length === 0) await this.#rest();
    }
  }

  #takeDue(): readonly Entry[] {
    const until = this.#now() - this.#windowMs;
    const end = this.#waiting.findIndex(({ at }) => at > until);
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
  }

  async #rest(): Promise<void> {
    const [first] = this.#waiting;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (first) timer = setTimeout(resolve, Math.max(1, first.at + this.#windowMs - this.#now()));
    });
    clearTimeout(timer);
  }

  #shareOf(source: string): Share {
    let share = this.#shares.get(source);
    if (!share) this.#shares.set(source, share = { chars: 0, lastAt: -Infinity, wake: () => {} });
    return share;
  }
}
