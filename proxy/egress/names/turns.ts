/**
 * Whose question is asked next. So many are under way at once, and so many of one client; the others wait, and the clients
 * take turns, so that whoever asks for a million names waits behind its own.
 *
 * @module
 */

/** Gives a place back. */
export type Release = () => void;

interface Asker {
  running: number;
  /** In the order in which they came. */
  readonly waiting: Set<() => void>;
}

/** The places of one thread. */
export class Turns {
  readonly #max: number;
  readonly #maxPerClient: number;
  #running = 0;
  /** Who waits or has a place. Whoever got one last is the last. */
  readonly #askers = new Map<string, Asker>();

  constructor(max: number, maxPerClient: number) {
    this.#max = max;
    this.#maxPerClient = maxPerClient;
  }

  /** Of how many clients something is known. */
  get size(): number {
    return this.#askers.size;
  }

  /**
   * Waits for a place. How many may wait is the caller's to bound.
   *
   * @throws the signal's reason
   */
  async take(client: string, signal: AbortSignal): Promise<Release> {
    signal.throwIfAborted();
    const asker = this.#askers.get(client) ?? { running: 0, waiting: new Set() };
    this.#askers.set(client, asker);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => {
      if (!asker.waiting.delete(resolve)) return;
      this.#forget(client, asker);
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort);
    asker.waiting.add(resolve);
    this.#next();
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    let isDone = false;
    return () => {
      if (isDone) return;
      isDone = true;
      this.#running--;
      asker.running--;
      this.#forget(client, asker);
      this.#next();
    };
  }

  /** Gives out places, as long as there are both. */
  #next(): void {
    while (this.#running < this.#max) {
      const [client, asker] = this.#neediest() ?? [];
      const [start] = asker?.waiting ?? [];
      if (client === undefined || !asker || !start) return;
      asker.waiting.delete(start);
      asker.running++;
      this.#running++;
      this.#askers.delete(client);
      this.#askers.set(client, asker);
      start();
    }
  }

  /** Of those who wait the one with the fewest places, and of these the one that got one longest ago. */
  #neediest(): readonly [string, Asker] | undefined {
    let best: readonly [string, Asker] | undefined;
    for (const each of this.#askers) {
      const [, { running, waiting }] = each;
      if (waiting.size === 0 || running >= (best?.[1].running ?? this.#maxPerClient)) continue;
      best = each;
    }
    return best;
  }

  #forget(client: string, asker: Asker): void {
    if (asker.running === 0 && asker.waiting.size === 0) this.#askers.delete(client);
  }
}
