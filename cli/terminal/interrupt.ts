/**
 * Ctrl-C as a signal to abort with, for commands that have something to end first.
 *
 * @module
 */

/**
 * Aborts with `reason` at the first SIGINT or SIGTERM; a second one ends the process, as the default does. Disposing
 * restores the default.
 */
export function onInterrupt(reason: unknown): Disposable & { readonly signal: AbortSignal } {
  const abort = new AbortController();
  // Windows has no SIGTERM to listen for.
  const signals: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  const stopListening = () => {
    for (const each of signals) Deno.removeSignalListener(each, onSignal);
  };
  const onSignal = () => {
    stopListening();
    abort.abort(reason);
  };
  for (const each of signals) Deno.addSignalListener(each, onSignal);
  return { signal: abort.signal, [Symbol.dispose]: stopListening };
}
