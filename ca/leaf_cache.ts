/**
 * Leaves of intercepted hosts, kept while they are fresh.
 *
 * Not here: how often a client may ask for new ones, and the listeners that use them. Both are the proxy's.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { type Leaf, mintLeaf } from "./leaf.ts";
import type { Authority } from "./signer.ts";

/** About 3 KiB each; twice the listeners that `core/limits.ts` keeps open, so that a closed one reopens cheaply. */
const DEFAULT_MAX_LEAVES = 2_048;

/** See {@linkcode LeafCache}. */
export interface LeafCacheOptions {
  readonly clock: Clock;
  /** Leaves kept at most; the one unused for longest goes first. */
  readonly maxLeaves?: number;
}

/**
 * One leaf per host, minted when it is first asked for and replaced when a quarter of its life is left. Callers that
 * ask for the same host at the same time share one minting. Failures are not kept.
 */
export class LeafCache {
  readonly #clock: Clock;
  readonly #maxLeaves: number;
  #authority: Authority;
  /** In the order of use, oldest first. */
  readonly #leaves = new Map<string, Leaf>();
  readonly #pending = new Map<string, Promise<Leaf>>();

  constructor(authority: Authority, { clock, maxLeaves = DEFAULT_MAX_LEAVES }: LeafCacheOptions) {
    if (!(maxLeaves >= 1)) throw new RangeError("maxLeaves must be at least 1");
    this.#authority = authority;
    this.#clock = clock;
    this.#maxLeaves = maxLeaves;
  }

  /** How many leaves are kept. */
  get size(): number {
    return this.#leaves.size;
  }

  /**
   * The leaf of a host.
   *
   * @param host canonical, as `parseHost` returns it: the key of the cache
   * @throws ProxyError as {@linkcode mintLeaf}
   */
  get(host: string): Promise<Leaf> {
    const leaf = this.#leaves.get(host);
    if (leaf && this.#clock.now() < leaf.renewAt) {
      this.#leaves.delete(host); // to the end of the order
      this.#leaves.set(host, leaf);
      return Promise.resolve(leaf);
    }
    let pending = this.#pending.get(host);
    if (!pending) {
      pending = this.#mint(host);
      this.#pending.set(host, pending);
    }
    return pending;
  }

  /** Signs with another CA from now on, such as the renewed one. Leaves handed out before stay valid. */
  setAuthority(authority: Authority): void {
    this.#authority = authority;
    this.#leaves.clear();
    this.#pending.clear();
  }

  async #mint(host: string): Promise<Leaf> {
    const authority = this.#authority;
    try {
      const leaf = await mintLeaf(authority, [host], { nowMs: this.#clock.now() });
      if (authority === this.#authority) this.#keep(host, leaf);
      return leaf;
    } finally {
      // After setAuthority the entry, if any, is that of the new CA's minting.
      if (authority === this.#authority) this.#pending.delete(host);
    }
  }

  #keep(host: string, leaf: Leaf): void {
    this.#leaves.delete(host);
    this.#leaves.set(host, leaf);
    if (this.#leaves.size <= this.#maxLeaves) return;
    const [oldest] = this.#leaves.keys();
    if (oldest !== undefined) this.#leaves.delete(oldest);
  }
}
