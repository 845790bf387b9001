/**
 * When a token is renewed, and how often that is tried: the one engine for all kinds. A token is renewed a little before
 * it ends, by one renewal at a time that everybody shares and that goes on when whoever asked for it has gone away. What
 * fails is tried again later and later; what is refused for good is not.
 *
 * States: without a token, or with one that is fresh, ending (used, while its successor is fetched) or ended; beside it,
 * a renewal is idle, under way, waiting after a failure, or refused.
 *
 * Not here: what a renewal does, where its result is kept and what survives a crash (`login.ts`).
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { isProxyError } from "../core/errors.ts";
import type { AccessToken } from "./oauth_kind.ts";
import { RenewalFailure } from "./token_answer.ts";

/** A renewal starts this long before the end of a token, or at the last fifth of its life, whichever is later. */
const LONGEST_MARGIN_MS = 300_000;
const MARGIN_OF_LIFE = 0.2;
/** How much of the margin chance takes away, so that logins adopted together are not renewed together. */
const JITTER = 0.2;
/** A token is not sent in its last moments: it would end on the way. */
export const LAST_MOMENT_MS = 5_000;
/** A new token is used this long whatever it says of its life: a provider that says 1 s is not asked for every request. */
const SHORTEST_USE_MS = 30_000;
/** A renewal that takes longer has failed. By a timer and not by the clock: one that is set must not cut an answer off. */
export const RENEWAL_LIMIT_MS = 30_000;
/** Waits after failures: doubled each time. The first is short, for a provider may still take a token twice for a moment. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 300_000;
/** Renewals that an upstream's 401 forces: the wait doubles from one to the next, so that a VM cannot burn tokens. */
const FIRST_FORCE_WAIT_MS = 60_000;
const LONGEST_FORCE_WAIT_MS = 3_600_000;
const FORCE_MEMORY_MS = 6 * 3_600_000;

/** An access token with a name of its own. */
export interface LiveToken {
  readonly token: string;
  /** Names the token and says nothing about it. */
  readonly generation: string;
}

/** What a {@linkcode Renewal} works with. */
export interface RenewalParts {
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  /** Calls back once the clock has reached a time; returns a function that cancels. */
  readonly schedule: (atMs: number, callback: () => void) => () => void;
  /** Makes the next token. Never runs twice at once. @throws RenewalFailure; ProxyError */
  readonly fetch: (signal: AbortSignal) => Promise<AccessToken>;
  readonly isRenewable: () => boolean;
  /** Renews also when nobody uses the token, so that the login itself does not end. */
  readonly isEager: boolean;
  /** How long a renewal may take. */
  readonly limitMs: number;
  /** How long after a refusal for good to ask again; Infinity is never. */
  readonly finalRetryMs: number;
  /** Takes what must not happen. */
  readonly reportBug: (error: unknown) => void;
}

/** One access token and its successors. */
export class Renewal implements Disposable {
  readonly #parts: RenewalParts;
  #token: LiveToken | undefined;
  #renewAtMs = Infinity;
  #endsAtMs = -Infinity;
  #isUsed = false;
  #pending: Promise<LiveToken> | undefined;
  #failure: RenewalFailure | undefined;
  #failures = 0;
  #retryAtMs = -Infinity;
  #forcedGeneration: string | undefined;
  #forces = 0;
  #forcedAtMs = -Infinity;
  #cancelTimer = () => {};
  #isClosed = false;

  constructor(parts: RenewalParts) {
    this.#parts = parts;
  }

  /** The renewal under way, which never rejects here. */
  get settled(): Promise<void> {
    return this.#pending?.then(() => {}, () => {}) ?? Promise.resolve();
  }

  /** Takes a token that is there already. `isDue` renews it at once. */
  adopt(token: AccessToken, { isDue = false } = {}): void {
    this.#accept(token, false);
    if (isDue) this.#renewAtMs = -Infinity;
    this.#arm();
  }

  /** The token, when there is one that can be used now. Starts its renewal when that is due, and does not wait for it. */
  usable(): LiveToken | undefined {
    const token = this.#token;
    const now = this.#parts.clock.now();
    if (!token || now >= this.#endsAtMs) return undefined;
    if (!this.#isUsed) {
      this.#isUsed = true;
      this.#arm();
    }
    if (now >= this.#renewAtMs) this.#startWhenDue();
    return token;
  }

  /** A token that can be used. @throws RenewalFailure */
  async get(): Promise<LiveToken> {
    const token = this.usable();
    if (token) return token;
    if (this.#pending) return await this.#pending;
    if (this.#failure && this.#parts.clock.now() < this.#retryAtMs) throw this.#failure;
    return await this.#start();
  }

  /**
   * The upstream has refused a token. The one to try instead, or undefined when that is pointless. Each token forces at
   * most one renewal.
   */
  async refused(generation: string): Promise<LiveToken | undefined> {
    const { clock, isRenewable } = this.#parts;
    try {
      const other = this.#pending ? await this.#pending : this.#token;
      if (other && other.generation !== generation) return other;
      // Refused upstream and, before, by the provider.
      if (this.#failure?.isFinal) this.#token = undefined;
      const now = clock.now();
      if (now - this.#forcedAtMs > FORCE_MEMORY_MS) this.#forces = 0;
      const waitMs = Math.min(FIRST_FORCE_WAIT_MS * 2 ** (this.#forces - 1), LONGEST_FORCE_WAIT_MS);
      const isPointless = !isRenewable() || this.#forcedGeneration === generation ||
        now < this.#forcedAtMs + waitMs || now < this.#retryAtMs;
      if (isPointless) return undefined;
      this.#forcedGeneration = generation;
      this.#forcedAtMs = now;
      this.#forces++;
      this.#renewAtMs = -Infinity; // when this fails in passing, it is tried again like any other
      const renewed = await this.#start();
      return renewed.generation === generation ? undefined : renewed;
    } catch (error) {
      // Refused upstream and by the provider: there is nothing left to send.
      const isDead = error instanceof RenewalFailure && error.isFinal &&
        this.#token?.generation === generation;
      if (isDead) this.#token = undefined;
      return undefined;
    }
  }

  /** The machine has slept: what is due is renewed now, and a failure that passes, of before or on the way out, waits no longer. */
  wake(): void {
    if (this.#failure && !this.#failure.isFinal) {
      this.#failures = 0;
      this.#retryAtMs = -Infinity;
    }
    this.#arm();
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#cancelTimer();
  }

  #startWhenDue(): void {
    const { clock, isRenewable } = this.#parts;
    if (this.#isClosed || this.#pending || clock.now() < this.#retryAtMs || !isRenewable()) return;
    void this.#start(); // what fails is remembered, and tried again
  }

  /** Runs one renewal to its end, whoever waits for it. */
  #start(): Promise<LiveToken> {
    const limit = new AbortController();
    const timer = setTimeout(
      () =>
        limit.abort(new RenewalFailure("the token endpoint did not answer in time", { isAnswered: false })),
      this.#parts.limitMs,
    );
    const run = async (): Promise<LiveToken> => {
      try {
        return this.#accept(await this.#parts.fetch(limit.signal), true);
      } catch (error) {
        throw this.#fail(error);
      } finally {
        clearTimeout(timer);
        this.#pending = undefined;
        this.#arm();
      }
    };
    const pending = run();
    pending.catch(() => {}); // when nobody waits
    return this.#pending = pending;
  }

  #accept({ token, expiresAtMs = Infinity, obtainedAtMs }: AccessToken, isNew: boolean): LiveToken {
    const { clock, random } = this.#parts;
    const now = clock.now();
    const lifeMs = Math.max(0, expiresAtMs - (obtainedAtMs ?? now));
    const marginMs = Math.min(LONGEST_MARGIN_MS, lifeMs * MARGIN_OF_LIFE) * (1 - JITTER * random());
    this.#renewAtMs = Math.max(expiresAtMs - marginMs, isNew ? now + SHORTEST_USE_MS : -Infinity);
    this.#endsAtMs = Math.max(expiresAtMs - LAST_MOMENT_MS, isNew ? now + SHORTEST_USE_MS : -Infinity);
    this.#isUsed = false;
    this.#failure = undefined;
    this.#failures = 0;
    this.#retryAtMs = -Infinity;
    return this.#token = { token, generation: crypto.randomUUID() };
  }

  #fail(error: unknown): RenewalFailure {
    const { clock, random, finalRetryMs, reportBug } = this.#parts;
    const failure = asFailure(error, reportBug);
    const waitMs = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS);
    this.#failures++;
    this.#failure = failure;
    this.#retryAtMs = clock.now() +
      (failure.isFinal ? finalRetryMs : failure.atHome !== undefined
        ? FIRST_RETRY_MS // costs nobody but us, and its operator has just repaired it
        : Math.max(failure.retryAfterMs ?? 0, waitMs * (1 - JITTER * random())));
    return failure;
  }

  #arm(): void {
    const { isRenewable, isEager, schedule } = this.#parts;
    this.#cancelTimer();
    this.#cancelTimer = () => {};
    const isWanted = isEager || (this.#isUsed && this.#token !== undefined);
    if (this.#isClosed || !isWanted || !isRenewable()) return;
    const atMs = Math.max(this.#token ? this.#renewAtMs : -Infinity, this.#retryAtMs);
    if (atMs === Infinity) return;
    this.#cancelTimer = schedule(atMs, () => this.#startWhenDue());
  }
}

function asFailure(error: unknown, reportBug: (error: unknown) => void): RenewalFailure {
  if (error instanceof RenewalFailure) return error;
  if (isProxyError(error, "state.write-failed", "state.damaged")) {
    return new RenewalFailure("the proxy cannot write its state");
  }
  if (isProxyError(error)) return new RenewalFailure(error.message, { isAnswered: false });
  reportBug(error);
  return new RenewalFailure("the renewal failed; the log of the proxy says how", { isAnswered: false });
}
