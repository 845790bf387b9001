/**
 * A map of bounded size: what was not used for longest makes room. For what is learnt about places that strangers may name
 * without end.
 *
 * @module
 */

/** See the module. Reading an entry counts as using it. */
export class RecentMap<K, V> {
  readonly #capacity: number;
  /** In the order of use, oldest first. */
  readonly #entries = new Map<K, V>();
  /** Used last: it stands at the end already. */
  #latest: K | undefined;

  /** @param capacity at least 1 */
  constructor(capacity: number) {
    if (!(capacity >= 1)) throw new RangeError("capacity must be at least 1");
    this.#capacity = capacity;
  }

  /** How many entries there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** The value, which is the most recently used one from now on. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined && key !== this.#latest) this.set(key, value);
    return value;
  }

  /** Keeps a value, and drops the one that was not used for longest when there are too many. */
  set(key: K, value: V): void {
    this.#latest = key;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#capacity) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  delete(key: K): void {
    this.#entries.delete(key);
  }
}
