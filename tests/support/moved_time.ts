/** `performance.now()`, moved on by a test: for times that nobody waits for. */

/** See {@linkcode moveTime}. */
export interface MovedTime extends Disposable {
  later(ms: number): void;
}

/** Until it is disposed the clock goes on from wherever a test has put it. */
export function moveTime(): MovedTime {
  const real = performance.now;
  let offsetMs = 0;
  performance.now = () => real.call(performance) + offsetMs;
  return {
    later: (ms) => offsetMs += ms,
    [Symbol.dispose]: () => performance.now = real,
  };
}
