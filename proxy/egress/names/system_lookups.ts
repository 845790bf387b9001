/**
 * The system's resolver, asked with care: it cannot be told to give up, and takes one of the runtime's threads for each name
 * until it does by itself.
 *
 * @module
 */
import { NAME_LIMITS } from "../../../core/limits.ts";
import type { Asker, NameCounters } from "./asker.ts";
import { FailedLookup, failedSystemLookup } from "./failed_lookup.ts";
import { orAborted } from "./or_aborted.ts";
import { Turns } from "./turns.ts";

/** Look-ups that are shared, and bounded for each client. */
export class SystemLookups {
  readonly #resolve: (host: string) => Promise<readonly string[]>;
  readonly #counters: NameCounters;
  readonly #turns = new Turns(NAME_LIMITS.maxQuestions, NAME_LIMITS.maxQuestionsPerClient);
  readonly #underWay = new Map<string, Promise<readonly string[]>>();

  constructor(resolve: (host: string) => Promise<readonly string[]>, counters: NameCounters) {
    this.#resolve = resolve;
    this.#counters = counters;
  }

  /**
   * All addresses of a name.
   *
   * @throws FailedLookup, or the signal's reason
   */
  async addresses(name: string, { client, signal }: Asker): Promise<readonly string[]> {
    const shared = this.#underWay.get(name);
    if (shared) return await orAborted(shared, signal);
    const release = await this.#turns.take(client, signal).catch((error) => {
      throw error instanceof FailedLookup ? new FailedLookup("busy") : error; // it has waited for all its time
    });
    const late = this.#underWay.get(name);
    if (late) release();
    return await orAborted(late ?? this.#ask(name, release), signal);
  }

  #ask(name: string, release: () => void): Promise<readonly string[]> {
    this.#counters.questions++;
    const asking = this.#resolve(name).catch((error) => {
      const failure = failedSystemLookup(error);
      if (failure.isUnknown) this.#counters.failures++;
      throw failure;
    }).finally(() => {
      this.#underWay.delete(name);
      release();
    });
    this.#underWay.set(name, asking);
    return asking;
  }
}
