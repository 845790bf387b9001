/**
 * Upstreams whose preferred address did not answer lately, for whoever asks how the proxy does: each costs the first dial of
 * every ten minutes a moment, and a network that has IPv6 on paper alone shows here.
 *
 * Not here: racing addresses (`race.ts`).
 *
 * @module
 */
import { type DeadChoice, REMEMBERED_MS } from "./race.ts";

/** Clients name places without end. */
export const MAX_DEAD_CHOICES = 64;

/** See the module. */
export class DeadChoices {
  readonly #now: () => number;
  /** By place, the latest last. */
  readonly #known = new Map<string, DeadChoice & { readonly untilMs: number }>();

  /** @param now milliseconds on any steady clock */
  constructor(now: () => number) {
    this.#now = now;
  }

  note(dead: DeadChoice): void {
    this.#known.delete(dead.place);
    this.#known.set(dead.place, { ...dead, untilMs: this.#now() + REMEMBERED_MS });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_DEAD_CHOICES && oldest !== undefined) this.#known.delete(oldest);
  }

  /** The latest first. */
  list(): readonly DeadChoice[] {
    const now = this.#now();
    return [...this.#known.values()].filter(({ untilMs }) => untilMs > now).toReversed()
      .map(({ place, address, instead }) => ({ place, address, instead }));
  }
}
