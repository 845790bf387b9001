/**
 * A later turn of the event loop for those who have to wait for one, behind what has come over the network meanwhile.
 *
 * `setImmediate` alone does not give that: while immediates wait, the runtime's loop goes on and looks for what has come only
 * once in a great many turns. With four clients that kept it busy by turns of half a millisecond, a request beside them took
 * 0.2 to 0.5 s, since each of its steps needs such a look (measured). A timer makes the loop rest, and look. It rests for two
 * milliseconds, in which only others have their turns: so this is done now and then, and never while nobody waits. What does
 * not rest (work of another thread that is waited for) makes no look where others want the CPU.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** How long turns may follow each other without a look: shorter, and one large download takes a quarter longer. */
const MOST_MS = 10;

const waiting: (() => void)[] = [];
/** A turn is asked for. */
let isArmed = false;
/** Since when there was one after the other, on the monotonic clock. */
let busySince = 0;

/** Calls `work` in a later turn, after all that was asked for before. It must not throw. */
export function inLaterTurn(work: () => void): void {
  waiting.push(work);
  if (isArmed) return;
  isArmed = true;
  busySince = performance.now();
  setImmediate(turn);
}

function turn(): void {
  if (waiting.length === 0) {
    isArmed = false; // a whole turn has gone by in which nobody asked
  } else if (performance.now() - busySince < MOST_MS) serve();
  else setTimeout(serveRested, 0);
}

function serveRested(): void {
  busySince = performance.now();
  serve();
}

function serve(): void {
  setImmediate(turn);
  for (const work of waiting.splice(0)) work();
}
