/**
 * On whose behalf names are looked up, and what is counted of it.
 *
 * @module
 */

/** Who wants to know a name. */
export interface Asker {
  /** Its name; `""` is the proxy itself. Clients have a share of the questions each. */
  readonly client: string;
  /** Gives up. */
  readonly signal: AbortSignal;
}

/** Sums since the start. */
export interface NameCounters {
  /** Questions that were asked of a name server, or of the system's resolver. */
  questions: number;
  /** Those of which nobody knows the answer: time-outs, SERVFAIL, REFUSED. A name that does not exist is none. */
  failures: number;
  /** Answers from memory. */
  cacheHits: number;
  /** Answers from memory beyond their time, because no name server answered. */
  stale: number;
}

/** None of each. */
export const NO_NAMES: Readonly<NameCounters> = { questions: 0, failures: 0, cacheHits: 0, stale: 0 };

/** The sums of two places. */
export function addNames(a: Readonly<NameCounters>, b: Readonly<NameCounters>): NameCounters {
  return {
    questions: a.questions + b.questions,
    failures: a.failures + b.failures,
    cacheHits: a.cacheHits + b.cacheHits,
    stale: a.stale + b.stale,
  };
}
