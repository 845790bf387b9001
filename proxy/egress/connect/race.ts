/**
 * Happy Eyeballs (RFC 8305): the addresses of a name are tried in turn, families interleaved, the next one a moment later or
 * as soon as one has failed; the first that answers wins. An address that swallows packets costs that moment, not the whole
 * connect time-out.
 *
 * Not here: which addresses may be dialled at all; they were checked before, every one.
 *
 * @module
 */
import { RecentMap } from "../../../core/recent_map.ts";

/** How the attempts of one race are made. */
export interface RaceOptions<C> {
  readonly connect: (address: string, signal: AbortSignal) => Promise<C>;
  /** Closes a connection that came too late. */
  readonly discard: (connection: C) => void;
  /** Asks for the place of an attempt beside others. Undefined: there is none, the oldest one ends for it. */
  readonly tryExtra: () => (() => void) | undefined;
  /** How long an attempt is the only new one. */
  readonly delayMs: number;
  /** Ends the race, which rejects with its reason. */
  readonly signal: AbortSignal;
  /** Calls back after a time; returns a function that cancels. */
  readonly schedule?: (ms: number, callback: () => void) => () => void;
}

/** Who won. */
export interface Winner<C> {
  readonly address: string;
  readonly connection: C;
}

/** So many attempts of one race at once: with the usual delay a peer has had two seconds before it makes room. */
const MAX_AT_ONCE = 8;

interface Attempt {
  readonly cancel: AbortController;
  release: () => void;
}

/**
 * The first connection that comes about.
 *
 * @param addresses at least one, in the order of preference
 * @throws the failures of all attempts as an `AggregateError`, or the signal's reason
 */
export function race<C>(addresses: readonly string[], options: RaceOptions<C>): Promise<Winner<C>> {
  return new Race(addresses, options).run();
}

class Race<C> {
  readonly #addresses: readonly string[];
  readonly #options: RaceOptions<C>;
  readonly #outcome = Promise.withResolvers<Winner<C>>();
  /** Under way, oldest first. */
  readonly #attempts = new Set<Attempt>();
  readonly #failures: unknown[] = [];
  #next = 0;
  /** There is a winner, or nobody waits for one any more. */
  #isOver = false;
  #cancelTimer = () => {};

  constructor(addresses: readonly string[], options: RaceOptions<C>) {
    this.#addresses = addresses;
    this.#options = options;
  }

  async run(): Promise<Winner<C>> {
    const { signal } = this.#options;
    const onAbort = () => {
      this.#isOver = true;
      this.#outcome.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    else this.#startNext();
    try {
      return await this.#outcome.promise;
    } finally {
      this.#cancelTimer();
      signal.removeEventListener("abort", onAbort);
      for (const attempt of this.#attempts) this.#end(attempt);
    }
  }

  /** Starts the next attempt, or ends the race where there is none to start and none under way. */
  #startNext(): void {
    if (this.#isOver) return;
    this.#cancelTimer();
    const address = this.#addresses[this.#next++];
    if (address !== undefined) {
      this.#attempt(address, this.#makeRoom());
      const { delayMs, schedule = later } = this.#options;
      this.#cancelTimer = schedule(delayMs, () => this.#startNext());
    } else if (this.#attempts.size === 0) {
      this.#outcome.reject(new AggregateError(this.#failures, "no address answers"));
    }
  }

  /** The first attempt has the place of the dial itself. */
  #makeRoom(): () => void {
    const [oldest] = this.#attempts;
    if (!oldest) return () => {};
    const release = this.#attempts.size < MAX_AT_ONCE ? this.#options.tryExtra() : undefined;
    if (release) return release;
    const inherited = oldest.release;
    oldest.release = () => {};
    this.#end(oldest);
    return inherited;
  }

  async #attempt(address: string, release: () => void): Promise<void> {
    const attempt: Attempt = { cancel: new AbortController(), release };
    this.#attempts.add(attempt);
    try {
      const connection = await this.#options.connect(address, attempt.cancel.signal);
      if (this.#isOver || attempt.cancel.signal.aborted) this.#options.discard(connection);
      else {
        this.#isOver = true;
        this.#outcome.resolve({ address, connection });
      }
    } catch (error) {
      if (attempt.cancel.signal.aborted) return; // given up by us: whoever did goes on
      this.#failures.push(error);
      this.#end(attempt);
      this.#startNext();
    }
  }

  #end(attempt: Attempt): void {
    this.#attempts.delete(attempt);
    attempt.cancel.abort();
    attempt.release();
  }
}

function later(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
}

/** Addresses in the order in which to try them: as the resolver gave them, but the families in turn (RFC 8305 §4). */
export function interleave(addresses: readonly string[]): readonly string[] {
  const isV6 = (address: string) => address.includes(":");
  const startsWithV6 = isV6(addresses[0] ?? "");
  const first = addresses.filter((address) => isV6(address) === startsWithV6);
  const second = addresses.filter((address) => isV6(address) !== startsWithV6);
  const longest = Math.max(first.length, second.length);
  return Array.from({ length: longest }, (_, at) => [first[at], second[at]]).flat()
    .filter((address) => address !== undefined);
}

/** A winner is begun with for ten minutes (RFC 6555 §4.2), then the resolver's own order is tried again. */
export const REMEMBERED_MS = 600_000;
const MAX_REMEMBERED = 1_024;

/** A place whose preferred address did not answer, or not before another did. */
export interface DeadChoice {
  /** `host:port`. */
  readonly place: string;
  readonly address: string;
  /** Which one answered. */
  readonly instead: string;
}

/** Which address of a place answered when another one did not, so that the next dial does not wait for that one again. */
export class Winners {
  readonly #now: () => number;
  readonly #known = new RecentMap<string, { readonly address: string; readonly untilMs: number }>(
    MAX_REMEMBERED,
  );

  /** @param now milliseconds on any steady clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The addresses with the remembered one first. One that the name does not have any more is not dialled. */
  order(place: string, addresses: readonly string[]): readonly string[] {
    const found = this.#known.get(place);
    if (!found || found.untilMs <= this.#now() || !addresses.includes(found.address)) return addresses;
    return [found.address, ...addresses.filter((address) => address !== found.address)];
  }

  /**
   * Remembers the outcome.
   *
   * @param tried the addresses in the order of the race
   * @returns what was learnt, if anything
   */
  note(place: string, winner: string, tried: readonly string[]): DeadChoice | undefined {
    const [preferred = winner] = tried;
    if (winner === preferred) return undefined; // what was learnt before goes on until its end
    this.#known.set(place, { address: winner, untilMs: this.#now() + REMEMBERED_MS });
    return { place, address: preferred, instead: winner };
  }
}
