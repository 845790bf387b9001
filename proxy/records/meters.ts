/**
 * How much of each budget is used, in memory that all threads share and that no lock guards: a hash table of meters, each one
 * word of 64 bits that holds the hour or day and what was used in it. One atomic step changes both, so that no thread counts
 * into an hour that another has begun anew, and none lets more through than there is.
 *
 * What a thread that died has counted stays counted: it was used.
 *
 * Not here: what is counted (`proxy/decide/budgets.ts`), and keeping it over a restart (`cli/up/budget_keeper.ts`).
 *
 * @module
 */

/** Meters that there may be. Only those of budgets in force are kept ({@linkcode Meters.keepOnly}). */
const SLOTS = 65_536; // a power of two
/** Slots that are looked at for a key. At half of the slots in use, far fewer are needed. */
const MAX_PROBES = 1_024;
const EMPTY = 0n;
const FREED = 1n;
const USED_BITS = 48n;
const MAX_USED = (1n << USED_BITS) - 1n;

/** Memory for the meters of all threads. */
export function makeMetersMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(2 * SLOTS * BigUint64Array.BYTES_PER_ELEMENT);
}

/** What came of adding to a meter. */
export interface Added {
  /** What was used before. */
  readonly before: number;
  /** False when nothing was added: the limit was reached already. */
  readonly isAdded: boolean;
}

/** The meters. Keys are 64 bits of a digest, above 1. Periods are numbers of hours or days. */
export class Meters {
  readonly #words: BigUint64Array;

  constructor(memory: SharedArrayBuffer = makeMetersMemory()) {
    this.#words = new BigUint64Array(memory);
  }

  /** What is used in a period. */
  used(key: bigint, period: number): number {
    const slot = this.#find(key, false);
    if (slot === undefined) return 0;
    const word = Atomics.load(this.#words, slot + 1);
    return isLater(period, word) ? 0 : usedIn(word);
  }

  /** Adds to what is used in a period, unless that has reached `limit`. The last addition may go over it. */
  add(key: bigint, amount: number, { period, limit }: { period: number; limit: number }): Added {
    const slot = this.#find(key, true);
    if (slot === undefined) return { before: limit, isAdded: false }; // no meter: nothing is let through uncounted
    for (;;) {
      const word = Atomics.load(this.#words, slot + 1);
      const isNew = isLater(period, word);
      const before = isNew ? 0 : usedIn(word);
      if (before >= limit) return { before, isAdded: false };
      const next = wordOf(isNew ? BigInt(period) : word >> USED_BITS, before + amount);
      if (Atomics.compareExchange(this.#words, slot + 1, word, next) === word) {
        return { before, isAdded: true };
      }
    }
  }

  /**
   * Frees the meters of all other keys. To be called in one thread only. A request that is under way on a budget that is gone
   * may still add to its slot, which another budget has by then: one addition, and never one that is taken away.
   */
  keepOnly(keys: ReadonlySet<bigint>): void {
    for (let slot = 0; slot < this.#words.length; slot += 2) {
      const key = Atomics.load(this.#words, slot);
      if (key === EMPTY || key === FREED || keys.has(key)) continue;
      Atomics.store(this.#words, slot + 1, 0n);
      Atomics.store(this.#words, slot, FREED);
    }
  }

  /** Where the meter of a key is; with `isMade` one is made where there is none, as long as there is room. */
  #find(key: bigint, isMade: boolean): number | undefined {
    const home = Number(key & BigInt(SLOTS - 1));
    for (;;) {
      let free: { readonly slot: number; readonly was: bigint } | undefined;
      for (let i = 0; i < MAX_PROBES; i++) {
        const slot = 2 * ((home + i) & (SLOTS - 1));
        const found = Atomics.load(this.#words, slot);
        if (found === key) return slot;
        if (found === EMPTY || found === FREED) free ??= { slot, was: found };
        if (found === EMPTY) break;
      }
      if (!isMade || !free) return undefined;
      // Another thread may have taken it, for this key too: then the search begins anew.
      if (Atomics.compareExchange(this.#words, free.slot, free.was, key) === free.was) return free.slot;
    }
  }
}

/** The period comes after that of a word, or the word is that of a new meter. Sixteen bits of it are kept: seven years of hours. */
function isLater(period: number, word: bigint): boolean {
  if (word === 0n) return true;
  const ahead = (period - Number(word >> USED_BITS)) & 0xffff;
  return ahead > 0 && ahead < 0x8000;
}

function usedIn(word: bigint): number {
  return Number(word & MAX_USED);
}

function wordOf(period: bigint, used: number): bigint {
  const bounded = BigInt(Math.min(used, Number(MAX_USED)));
  return ((period & 0xffffn) << USED_BITS) | bounded;
}
