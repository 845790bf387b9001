/**
 * Which certificates are trusted for an upstream beside the runtime's roots, as they are now.
 *
 * Not here: reading them (`cli/up/upstream_trust.ts`).
 *
 * @module
 */
import { matchHost } from "../../../policy/match.ts";

/** PEM certificates for the hosts that a pattern covers. */
export interface TrustedFor {
  readonly pattern: string;
  readonly pem: readonly string[];
}

/** What one thread trusts. */
export class Trust {
  #trusted: readonly TrustedFor[];

  constructor(trusted: readonly TrustedFor[]) {
    this.#trusted = trusted;
  }

  /** The PEM certificates to trust for a host. */
  certificatesFor(host: string): readonly string[] {
    return this.#trusted.filter(({ pattern }) => matchHost(pattern, host)).flatMap(({ pem }) => pem);
  }

  /**
   * Trusts these from now on, in the place of all before.
   *
   * @returns true when one of those is missing: what was dialled while it was trusted has to go
   */
  replace(trusted: readonly TrustedFor[]): boolean {
    const kept = new Set(trusted.flatMap(keysOf));
    const isSmaller = this.#trusted.flatMap(keysOf).some((key) => !kept.has(key));
    this.#trusted = trusted;
    return isSmaller;
  }
}

function keysOf({ pattern, pem }: TrustedFor): readonly string[] {
  return pem.map((each) => `${pattern}\n${each}`);
}
