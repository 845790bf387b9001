/**
 * Guessing tokens. A client may bring a token of any length, and a short one can be guessed: so wrong tokens are counted by
 * source address, and a source with too many of them within a minute has its short tokens refused, the right one among them:
 * whoever sees a difference goes on guessing.
 *
 * Whom this does not lock out: other sources; long tokens, which nobody guesses and which are always looked at; and a short
 * token of a client that this source was let in as before.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { sourceOf } from "../../core/newcomers.ts";
import type { Client, PolicySource } from "../policy_source.ts";
import type { Counts } from "../records/counts.ts";

/** What decides about a token that was shown. */
export interface ShownToken {
  readonly token: string;
  /** The client address, as the socket says it. */
  readonly source: string;
  readonly nowMs: number;
}

/** The counters of one thread; the counts themselves are of all. */
export class TokenGuesses {
  readonly #limits: Limits;
  readonly #counts: Counts;
  /** Wrong tokens of this minute, by source: what this thread has counted. */
  readonly #wrong = new Map<string, number>();
  /** Sources that were let in as a client with a short token, by this thread. The oldest makes room. */
  readonly #known = new Set<string>();
  #minute = 0;

  constructor(limits: Limits, counts: Counts) {
    this.#limits = limits;
    this.#counts = counts;
  }

  /**
   * The client of a token.
   *
   * @throws ProxyError `auth.invalid`, or `limit.reached` with the reason `auth-throttled`
   */
  clientOf({ token, source, nowMs }: ShownToken, policy: Pick<PolicySource, "clientByToken">): Client {
    const isShort = token.length < this.#limits.minUnguessableTokenChars;
    if (!isShort) {
      const client = policy.clientByToken(token);
      if (client) return client; // the usual way, which counts nothing
    }
    const block = sourceOf(source);
    this.#turnTo(Math.floor(nowMs / 60_000));
    const isThrottled = this.#isThrottled(block);
    const client = isShort ? policy.clientByToken(token) : undefined;
    if (client && (!isThrottled || this.#counts.of(knownKey(block, client)) > 0)) {
      this.#remember(block, client);
      return client;
    }
    if (isThrottled) throw throttled();
    this.#countWrong(block);
    throw invalid();
  }

  #isThrottled(block: string): boolean {
    const { maxWrongTokensPerSourcePerMinute, maxWrongTokenSources } = this.#limits;
    // Full: a source that cannot be counted gets no guess. It takes that many addresses to make it so for a minute.
    if (!this.#wrong.has(block) && this.#wrong.size >= maxWrongTokenSources) return true;
    return this.#counts.of(this.#wrongKey(block)) >= maxWrongTokensPerSourcePerMinute;
  }

  #countWrong(block: string): void {
    this.#wrong.set(block, (this.#wrong.get(block) ?? 0) + 1);
    this.#counts.add(this.#wrongKey(block), 1);
  }

  #turnTo(minute: number): void {
    if (minute === this.#minute) return;
    for (const [block, count] of this.#wrong) this.#counts.add(this.#wrongKey(block), -count);
    this.#wrong.clear();
    this.#minute = minute;
  }

  #wrongKey(block: string): string {
    return `wrong ${this.#minute} ${block}`;
  }

  #remember(block: string, client: Client): void {
    const key = knownKey(block, client);
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.#counts.add(key, 1);
    if (this.#known.size <= this.#limits.maxWrongTokenSources) return;
    const [oldest] = this.#known;
    if (oldest === undefined) return;
    this.#known.delete(oldest);
    this.#counts.add(oldest, -1);
  }
}

function knownKey(block: string, { name }: Client): string {
  return `known ${name} ${block}`;
}

function invalid(): ProxyError {
  return new ProxyError("auth.invalid", "Cannot tell who is asking: no client has this token", {
    reason: "auth-invalid",
  });
}

function throttled(): ProxyError {
  return new ProxyError(
    "limit.reached",
    "Cannot tell who is asking: too many wrong tokens came from this address within a minute",
    { reason: "auth-throttled" },
  );
}
