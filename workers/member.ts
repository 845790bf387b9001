/**
 * A worker's place among the workers, as the main thread keeps it.
 *
 * Not here: who is put into it and when (`pool.ts`).
 *
 * @module
 */
import type { SharedMemory, ToWorker } from "./messages.ts";
import { makeExchangesMemory, SharedExchanges } from "./shared_exchanges.ts";
import { makeSignalsMemory, Signals } from "./signals.ts";

/** Before a worker is replaced, longer each time that it dies again at once. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;
const STEADY_MS = 60_000;

/** One worker's place: who is in it now, and what is known of them. */
export interface Member {
  memory: SharedMemory;
  worker: Worker | undefined;
  /** It was sent the policy, and needs every change from then on. */
  hasPolicy: boolean;
  /** What it was told and has not said to have done. */
  readonly waiting: Map<number, () => void>;
  /** Its requests that wait for a person, by their ids: how to end that. */
  readonly asks: Map<string, () => void>;
  /** The first worker in this place listens. */
  readonly listening: PromiseWithResolvers<void>;
  stopped: PromiseWithResolvers<void>;
  startedAt: number;
  /** At the last look. */
  beats: number;
  silentLooks: number;
  pauseMs: number;
  respawn: ReturnType<typeof setTimeout> | undefined;
}

/** The signals of who is in a place now. */
export function signalsOf({ memory }: Member): Signals {
  return new Signals(memory.signals);
}

/** The open exchanges of who is in a place now. */
export function exchangesOf({ memory }: Member): SharedExchanges {
  return new SharedExchanges(memory.exchanges);
}

/** Sends who is in a place a message. */
export function post({ worker }: Member, message: ToWorker): void {
  worker?.postMessage(message);
}

/** Memory for one that is put into a place, which no former one has. */
export function ownMemory(): Pick<SharedMemory, "signals" | "exchanges"> {
  return { signals: makeSignalsMemory(), exchanges: makeExchangesMemory() };
}

/** A place that nobody has been in. */
export function emptyPlace(memory: Omit<SharedMemory, "signals" | "exchanges">): Member {
  return {
    memory: { ...memory, ...ownMemory() },
    waiting: new Map(),
    asks: new Map(),
    worker: undefined,
    hasPolicy: false,
    listening: Promise.withResolvers(),
    stopped: Promise.withResolvers(),
    startedAt: 0,
    beats: 0,
    silentLooks: 0,
    pauseMs: FIRST_PAUSE_MS,
    respawn: undefined,
  };
}

/** How long to wait before the next worker is put into a place, in milliseconds. */
export function nextPauseMs(member: Member): number {
  const isSteady = performance.now() - member.startedAt > STEADY_MS;
  return member.pauseMs = isSteady ? FIRST_PAUSE_MS : Math.min(member.pauseMs * 2, LONGEST_PAUSE_MS);
}

/** True when `promise` is fulfilled within `ms`. */
export async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), ms));
  try {
    return await Promise.race([promise.then(() => true as const), late]);
  } finally {
    clearTimeout(timer);
  }
}
