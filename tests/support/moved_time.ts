/** `performance.now()`, moved on by a test: for times that nobody waits for. */

/** See {@linkcode moveTime}. */
export interface MovedTime extends Disposable {
  later(ms: number): void;
}

/** Until it is disposed the clock stands still where a test has put it. */
export function moveTime(): MovedTime {
  const real = performance.now;
  let nowMs = Math.ceil(performance.now()); // whole: sums of fractions are now and then less than they should be
  performance.now = () => nowMs;
  return {
    later: (ms) => nowMs += ms,
    [Symbol.dispose]: () => performance.now = real,
  };
}
