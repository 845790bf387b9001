/**
 * Renewal of the CA while the process runs, for a proxy that is up when its CA comes to its end.
 *
 * Not here: the renewal itself. See `authority.ts`.
 *
 * @module
 */
import { callAt } from "../core/clock.ts";
import { type AuthorityOptions, loadOrCreateAuthority, RENEW_BEFORE_MS } from "./authority.ts";
import type { Authority } from "./signer.ts";

/** How long after a failed renewal the next is tried, and how often a CA that cannot be renewed here is looked at. */
const RETRY_MS = 3_600_000;

/** What happens to the CA of a running process. */
export interface RenewalEvents {
  /** Another certificate is in force: renewed here, or found on disk after another process renewed it. */
  readonly onRenewed: (authority: Authority) => void;
  /** It could not be renewed; tried again in an hour. */
  readonly onError: (error: unknown) => void;
}

/**
 * Renews the CA of `options.dir` when it is due, again and again. Does not keep the process alive.
 *
 * @param authority the CA in force
 * @returns a function that ends it
 */
export function startRenewal(
  authority: Authority,
  options: AuthorityOptions,
  { onRenewed, onError }: RenewalEvents,
): () => void {
  let current = authority;
  let isStopped = false;
  let cancel = plan(current.notAfterMs - RENEW_BEFORE_MS);

  function plan(atMs: number): () => void {
    return callAt(options.clock, atMs, () => void renew());
  }

  async function renew(): Promise<void> {
    let nextMs = options.clock.now() + RETRY_MS;
    try {
      const { authority: found, renewalError } = await loadOrCreateAuthority(options);
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
