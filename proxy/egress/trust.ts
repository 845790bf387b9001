/**
 * Which certificates are trusted for an upstream beside the runtime's roots.
 *
 * Not here: reading them (`cli/up/upstream_trust.ts`).
 *
 * @module
 */
import { matchHost } from "../../policy/match.ts";

/** PEM certificates for the hosts that a pattern covers. */
export interface TrustedFor {
  readonly pattern: string;
  readonly pem: readonly string[];
}

/** The PEM certificates to trust for a host. */
export function certificatesFor(trusted: readonly TrustedFor[], host: string): readonly string[] {
  return trusted.filter(({ pattern }) => matchHost(pattern, host)).flatMap(({ pem }) => pem);
}
