/**
 * The requests that wait for a person, of all threads: in the main thread, where people are.
 *
 * Not here: holding them (`asking.ts`).
 *
 * @module
 */
import type { Ask, AskDecision, Asks } from "./asks.ts";

/** See the module. How many wait is bounded where they are held. */
export class AskBook implements Asks {
  readonly #waiting = new Map<
    string,
    { readonly ask: Ask; readonly settle: (decision: AskDecision) => void }
  >();
  /** Is told of every request that begins to wait. Must not throw. */
  onAsk: (ask: Ask) => void = () => {};

  hold(ask: Ask): { readonly decided: Promise<AskDecision>; readonly end: () => void } {
    const { promise: decided, resolve: settle } = Promise.withResolvers<AskDecision>();
    const entry = { ask, settle };
    this.#waiting.get(ask.id)?.settle("ended");
    this.#waiting.set(ask.id, entry);
    this.onAsk(ask);
    const end = () => {
      if (this.#waiting.get(ask.id) === entry) this.#waiting.delete(ask.id);
      settle("ended");
    };
    return { decided, end };
  }

  /** Those that wait, the first first. */
  list(): readonly Ask[] {
    return [...this.#waiting.values()].map(({ ask }) => ask);
  }

  get(id: string): Ask | undefined {
    return this.#waiting.get(id)?.ask;
  }

  /** Decides. False when it waits no more. */
  settle(id: string, decision: "approved" | "denied"): boolean {
    const entry = this.#waiting.get(id);
    this.#waiting.delete(id);
    entry?.settle(decision);
    return entry !== undefined;
  }
}
