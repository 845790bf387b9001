/**
 * What waits for a person, and the place where it does: the request path puts it there, and who decides takes it out.
 *
 * Not here: which requests wait (`asking.ts`), and the one place that there is (`ask_book.ts`).
 *
 * @module
 */

/** A request that waits. Everything that a client has chosen is bounded, and is to be escaped where it is shown. */
export interface Ask {
  readonly id: string;
  readonly client: string;
  /** Of the rule that asks; without one the client asks for a rule, and says why in `reason`. */
  readonly ruleId?: string;
  readonly reason?: string;
  readonly method: string;
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly query?: string | undefined;
  /** Epoch milliseconds: when it began to wait, and when it is refused by itself. */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** What came of asking; `ended` when whoever asked has gone. */
export type AskDecision = "approved" | "denied" | "ended";

/** Where requests wait for a person. */
export interface Asks {
  hold(ask: Ask): { readonly decided: Promise<AskDecision>; readonly end: () => void };
}
