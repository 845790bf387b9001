/**
 * How far a change has spread when its call returns, handed from the store to whoever made the call without a word from all
 * that is between.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** How many hosts of the fleet have a change in force. */
export interface Spread {
  /** Hosts that act on the policy. */
  readonly live: number;
  /** Those among them that do not have it yet. Empty: a revocation is in force on all. */
  readonly waitingFor: readonly string[];
  /** Nobody can say, since the store stopped answering. */
  readonly isUnknown?: boolean;
}

/** What a call leaves behind. */
export interface SpreadNote {
  spread?: Spread;
}

const notes = new AsyncLocalStorage<SpreadNote>();

/** Runs a call; how far its change has spread is in `note` when it has ended. */
export function withSpreadNote<T>(note: SpreadNote, call: () => Promise<T>): Promise<T> {
  return notes.run(note, call);
}

/** Leaves word for the call that this runs within. */
export function noteSpread(spread: Spread): void {
  const note = notes.getStore();
  if (note) note.spread = spread;
}

/** `8 of 8`, `7 of 8, waiting for host-3`: at most ten names. */
export function formatSpread({ live, waitingFor, isUnknown }: Spread): string {
  if (isUnknown) return "unknown, the store stopped answering";
  const done = `${live - waitingFor.length} of ${live}`;
  if (waitingFor.length === 0) return done;
  const more = waitingFor.length > MAX_NAMES ? ` and ${waitingFor.length - MAX_NAMES} more` : "";
  return `${done}, waiting for ${waitingFor.slice(0, MAX_NAMES).join(", ")}${more}`;
}

const MAX_NAMES = 10;
