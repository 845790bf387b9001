/**
 * How many callers the audit log is read or followed for at once: whatever reads it has its files open, and takes its
 * share of the thread that serves.
 *
 * @module
 */
import { refuse } from "./errors.ts";

type Kind = "followers" | "readers" | "readers of all hosts";

/** A bounded number of places for one kind of caller. */
export class AuditSlots {
  readonly #kind: Kind;
  readonly #max: number;
  #taken = 0;

  constructor(kind: Kind, max: number) {
    this.#kind = kind;
    this.#max = max;
  }

  /** A place, which disposing gives back; the refusal when there is none. */
  take(): Disposable | Response {
    if (this.#taken >= this.#max) {
      return refuse(503, `Cannot read the audit log now: it has ${this.#max} ${this.#kind}`, {
        hint: "end one of them (slicer-proxy logs -f, the web page), or try again later",
        headers: { "retry-after": "5" },
      });
    }
    this.#taken++;
    return { [Symbol.dispose]: () => void this.#taken-- };
  }
}
