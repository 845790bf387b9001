/**
 * Work that is given up after a time, or with a signal that lives longer. `AbortSignal.any()` would not do: of every signal that
 * it makes, something stays with those that live longer, and a name is looked up millions of times.
 *
 * @module
 */
import { FailedLookup } from "./failed_lookup.ts";

/** How long, and what else ends it. */
export interface TimeLimit {
  readonly ms: number;
  readonly signal: AbortSignal;
}

/**
 * Runs `work`. Its signal aborts with a `FailedLookup` for a time-out, or with the outer signal's reason.
 *
 * @throws what `work` throws
 */
export async function withTimeLimit<T>(
  { ms, signal }: TimeLimit,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  const onAbort = () => inner.abort(signal.reason);
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  const timer = setTimeout(() => inner.abort(new FailedLookup("timeout")), ms);
  try {
    return await work(inner.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
