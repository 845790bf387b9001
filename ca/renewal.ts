/**
 * Renewal of the CA while the process runs, for a proxy that is up when its CA comes to its end.
 *
 * Not here: the renewal itself, which depends on where the CA is kept.
 *
 * @module
 */
import { callAt, type Clock } from "../core/clock.ts";
import { type LoadedAuthority, RENEW_BEFORE_MS } from "./authority.ts";
import type { Authority } from "./signer.ts";

/** How long after a failed renewal the next is tried, and how often a CA that cannot be renewed here is looked at. */
const RETRY_MS = 3_600_000;

/** What happens to the CA of a running process. */
export interface RenewalEvents {
  /** Another certificate is in force: renewed here, or found there after another process renewed it. */
  readonly onRenewed: (authority: Authority) => void;
  /** It could not be renewed; tried again in an hour. */
  readonly onError: (error: unknown) => void;
}

/** A CA that is kept somewhere. */
export interface KeptAuthority {
  readonly clock: Clock;
  /** The CA as it is there, renewed when that is due. */
  readonly load: () => Promise<LoadedAuthority>;
}

/**
 * Renews a CA when it is due, again and again. Does not keep the process alive.
 *
 * @param authority the CA in force
 * @returns a function that ends it
 */
export function startRenewal(
  authority: Authority,
  { clock, load }: KeptAuthority,
  { onRenewed, onError }: RenewalEvents,
): () => void {
  let current = authority;
  let isStopped = false;
  let cancel = plan(current.notAfterMs - RENEW_BEFORE_MS);

  function plan(atMs: number): () => void {
    return callAt(clock, atMs, () => void renew());
  }

  async function renew(): Promise<void> {
    let nextMs = clock.now() + RETRY_MS;
    try {
      const { authority: found, renewalError } = await load();
      if (isStopped) return;
      if (renewalError) onError(renewalError);
      if (found.certPem !== current.certPem) {
        current = found;
        nextMs = Math.max(nextMs, found.notAfterMs - RENEW_BEFORE_MS);
        onRenewed(found);
      }
    } catch (error) {
      if (isStopped) return;
      onError(error);
    }
    cancel = plan(nextMs);
  }

  return () => {
    isStopped = true;
    cancel();
  };
}
