/** A signal that tells who listens to it: whoever is done must let go of one that lives longer. */

/** See {@linkcode watchSignal}. */
export interface WatchedSignal {
  readonly signal: AbortSignal;
  /** How many listeners there are now. */
  readonly listeners: number;
  abort(reason?: unknown): void;
}

/** Makes one. */
export function watchSignal(): WatchedSignal {
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = new Set<unknown>();
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = ((...args: Parameters<typeof add>) => {
    listeners.add(args[1]);
    add(...args);
  }) as typeof signal.addEventListener;
  signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
    listeners.delete(args[1]);
    remove(...args);
  }) as typeof signal.removeEventListener;
  return {
    signal,
    get listeners() {
      return listeners.size;
    },
    abort: (reason) => controller.abort(reason),
  };
}
