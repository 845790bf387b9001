/**
 * Counters by key that several threads share, in memory of a fixed size and without a lock: a count-min sketch (Cormode and
 * Muthukrishnan, 2005). Each key has a cell in each of a few rows, chosen by hashing, and its count is the smallest of them.
 * It is never too small; it is too large only for a key that shares its cell with others in every row at once (a chance
 * of 1 in 30,000 with 2,000 keys in use), which costs that key a part of its limit and nobody anything else. The hashes are
 * seeded anew at each start, so that nobody can choose keys that collide.
 *
 * Each thread counts in a plane of its own: what a thread that was given up had counted is taken back by clearing its plane.
 * It may come back from where it hung and let go of what it held, which must not count then, for its plane is another's.
 *
 * @module
 */
import type { Counts } from "../proxy/records/counts.ts";

const ROWS = 3;
const WIDTH = 65_536; // a power of two
const PLANE = ROWS * WIDTH;

/** Memory for the counters of `planes` threads. */
export function makeCountsMemory(planes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(planes * PLANE * Int32Array.BYTES_PER_ELEMENT);
}

/** Seeds for the hashes, which all threads must have. */
export function makeSeeds(): readonly number[] {
  return [...crypto.getRandomValues(new Uint32Array(ROWS))];
}

/** The counters as one thread sees them: it changes its own plane, and reads the sum of all. */
export class SharedCounts implements Counts {
  readonly #cells: Int32Array;
  readonly #seeds: readonly number[];
  readonly #plane: number;
  readonly #planes: number;
  readonly #isGivenUp: () => boolean;

  constructor(
    memory: SharedArrayBuffer,
    seeds: readonly number[],
    plane: number,
    isGivenUp: () => boolean = () => false,
  ) {
    this.#cells = new Int32Array(memory);
    this.#seeds = seeds;
    this.#plane = plane;
    this.#planes = this.#cells.length / PLANE;
    this.#isGivenUp = isGivenUp;
  }

  of(key: string): number {
    let least = Infinity;
    for (let row = 0; row < ROWS; row++) {
      const at = this.#cell(key, row);
      let sum = 0;
      for (let plane = 0; plane < this.#planes; plane++) sum += Atomics.load(this.#cells, plane * PLANE + at);
      least = Math.min(least, sum);
    }
    return least;
  }

  add(key: string, change: number): void {
    if (this.#isGivenUp()) return;
    for (let row = 0; row < ROWS; row++) {
      Atomics.add(this.#cells, this.#plane * PLANE + this.#cell(key, row), change);
    }
  }

  /** Takes back all that a thread has counted. That thread must be gone, or given up. */
  clear(plane: number): void {
    this.#cells.fill(0, plane * PLANE, (plane + 1) * PLANE);
  }

  #cell(key: string, row: number): number {
    return row * WIDTH + (hash(key, this.#seeds[row] ?? 0) & (WIDTH - 1));
  }
}

/** FNV-1a over UTF-16 units, with a seed and the final mixing of MurmurHash3. */
function hash(text: string, seed: number): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
