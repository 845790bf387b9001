/**
 * Connections until they have said who they are. Anybody who reaches a port can open them, so that they have a share of all
 * places, and at its end the oldest of whichever source has the most of them makes room for the one that comes. Who says at
 * once who it is loses nothing, whatever others open.
 *
 * Not here: what counts once somebody is known (`admission.ts`).
 *
 * @module
 */
import type { Limits } from "../../core/limits.ts";
import { Newcomers, sourceOf } from "../../core/newcomers.ts";
import type { Admission } from "./admission.ts";

/** A connection that was let in. */
export interface Arrival {
  /** It has said who it is, and never has to make room. */
  readonly known: () => void;
  /** It is gone. Safe to call more than once, and beside `known`. */
  readonly gone: () => void;
}

/** So many make room for one that comes: a place that was freed may be another thread's by the time it is asked for. */
const MAX_ENDED = 4;

/** The connections of one thread that nobody knows yet. */
export class Arrivals {
  readonly #limits: Limits;
  readonly #admission: Admission;
  readonly #newcomers = new Newcomers();

  constructor(limits: Limits, admission: Admission) {
    this.#limits = limits;
    this.#admission = admission;
  }

  /**
   * Lets a connection in.
   *
   * @param hostname the address that it comes from
   * @param end closes it, when it has to make room for another
   * @returns undefined when all places belong to those who are known
   */
  admit(hostname: string, end: () => void): Arrival | undefined {
    const place = this.#take(() => this.#admission.tryConnection());
    if (!place) return undefined;
    const share = this.#take(() =>
      this.#hasOwnPlace ? this.#admission.addUnauthenticated() : this.#admission.tryUnauthenticated()
    );
    if (!share) {
      place();
      return undefined;
    }
    const leave = this.#newcomers.add(sourceOf(hostname), () => {
      share();
      place();
      end();
    });
    const known = () => {
      leave();
      share();
    };
    const gone = () => {
      known();
      place();
    };
    return { known, gone };
  }

  /** A thread has some places whatever the others have: one that has just begun must not refuse everybody. */
  get #hasOwnPlace(): boolean {
    const { maxUnauthenticated, ownUnauthenticated } = this.#limits;
    return this.#newcomers.size < Math.min(ownUnauthenticated, maxUnauthenticated);
  }

  #take<T>(attempt: () => T | undefined): T | undefined {
    let taken = attempt();
    for (let i = 0; i < MAX_ENDED && !taken && this.#newcomers.endOldest(); i++) taken = attempt();
    return taken;
  }
}
