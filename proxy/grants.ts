/**
 * What is open under which permission. When a client, rule or secret goes, everything that was admitted under it ends at
 * once: streams, tunnels, upgrades, idle connections.
 *
 * @module
 */
import type { Grant, PolicySource } from "./policy_source.ts";

/** Ends what a grant had opened. Must not throw. */
export type EndGrant = () => void;

/** The open grants of a proxy. */
export class Grants {
  readonly #policy: PolicySource;
  readonly #open = new Map<symbol, { readonly grant: Grant; readonly end: EndGrant }>();
  readonly #unsubscribe: () => void;

  constructor(policy: PolicySource) {
    this.#policy = policy;
    this.#unsubscribe = policy.onChange(() => this.#sweep());
  }

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Calls `end` once, as soon as the grant is no longer in force: at once when it is not now.
   *
   * @returns a function that lets go
   */
  hold(grant: Grant, end: EndGrant): () => void {
    if (!this.#policy.isLive(grant)) {
      end();
      return () => {};
    }
    const key = Symbol();
    this.#open.set(key, { grant, end });
    return () => this.#open.delete(key);
  }

  /** Stops listening for changes. */
  close(): void {
    this.#unsubscribe();
    this.#open.clear();
  }

  #sweep(): void {
    for (const [key, { grant, end }] of this.#open) {
      if (this.#policy.isLive(grant)) continue;
      this.#open.delete(key);
      end();
    }
  }
}
