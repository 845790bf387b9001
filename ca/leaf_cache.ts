/**
 * Leaves of intercepted hosts, kept while they are fresh.
 *
 * Not here: how often a client may ask for new ones, and the listeners that use them. Both are the proxy's.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { Histogram, type HistogramData } from "../core/histogram.ts";
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

/** How the cache does, as plain numbers; all but `entries` only grow. */
export interface LeafFigures {
  /** Leaves kept now. */
  readonly entries: number;
  /** Questions answered with a leaf that was kept, and those that had to wait for a new one. */
  readonly hits: number;
  readonly misses: number;
  readonly mintFailures: number;
  /** How long it took to make a leaf. */
  readonly mintDuration: HistogramData;
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
  readonly #mintDuration = new Histogram();
  #hits = 0;
  #misses = 0;
  #mintFailures = 0;

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

  /** True when {@linkcode get} needs to make none. */
  has(host: string): boolean {
    const leaf = this.#leaves.get(host);
    return leaf !== undefined && this.#clock.now() < leaf.renewAt;
  }

  figures(): LeafFigures {
    return {
      entries: this.size,
      hits: this.#hits,
      misses: this.#misses,
      mintFailures: this.#mintFailures,
      mintDuration: this.#mintDuration.data(),
    };
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
      this.#hits++;
      this.#leaves.delete(host); // to the end of the order
      this.#leaves.set(host, leaf);
      return Promise.resolve(leaf);
    }
    this.#misses++;
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
    const startedAt = this.#clock.monotonic();
    try {
      const leaf = await mintLeaf(authority, [host], { nowMs: this.#clock.now() });
      this.#mintDuration.observe(this.#clock.monotonic() - startedAt);
      if (authority === this.#authority) this.#keep(host, leaf);
      return leaf;
    } catch (error) {
      this.#mintFailures++;
      throw error;
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
