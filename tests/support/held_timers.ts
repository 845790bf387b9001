/** Timers that end when a test says so: for what happens after a time, without waiting for it. */

/** See {@linkcode holdTimers}. Disposing it gives the runtime's own calls back. */
export interface HeldTimers extends Disposable {
  /** Milliseconds of those that wait, in the order in which they were set. */
  readonly pending: readonly number[];
  /** Of those that wait, how many keep no process alive. */
  readonly unrefed: number;
  /** Ends those that wait with this time, the first `most` of them. Throws when none does. */
  fire(ms: number, most?: number): void;
}

interface Held {
  readonly ms: number;
  readonly callback: () => void;
  isUnrefed: boolean;
}

/** Holds `setTimeout` calls with exactly these times. Others go on as usual. */
export function holdTimers(...times: readonly number[]): HeldTimers {
  const { setTimeout: realSet, clearTimeout: realClear } = globalThis;
  const realUnref = Deno.unrefTimer;
  const held = new Set<Held>();
  const set = (callback: () => void, ms = 0) => {
    if (!times.includes(ms)) return realSet(callback, ms);
    const timer: Held = { ms, callback, isUnrefed: false };
    held.add(timer);
    return timer;
  };
  const clear = (timer: unknown) => {
    if (!held.delete(timer as Held)) realClear(timer as number | undefined);
  };
  const unref = (timer: unknown) => {
    if (held.has(timer as Held)) (timer as Held).isUnrefed = true;
    else realUnref(timer as number);
  };
  globalThis.setTimeout = set as unknown as typeof setTimeout;
  globalThis.clearTimeout = clear as unknown as typeof clearTimeout;
  Deno.unrefTimer = unref as unknown as typeof Deno.unrefTimer;
  return {
    get pending() {
      return [...held].map(({ ms }) => ms);
    },
    get unrefed() {
      return [...held].filter(({ isUnrefed }) => isUnrefed).length;
    },
    fire: (ms, most = Infinity) => {
      const due = [...held].filter((each) => each.ms === ms).slice(0, most);
      if (due.length === 0) throw new Error(`no timer of ${ms} ms waits`);
      for (const each of due) held.delete(each);
      for (const { callback } of due) callback();
    },
    [Symbol.dispose]: () => {
      globalThis.setTimeout = realSet;
      globalThis.clearTimeout = realClear;
      Deno.unrefTimer = realUnref;
    },
  };
}
