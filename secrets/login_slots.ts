/**
 * The access tokens of one login: one for each repository of a GitHub App, one for the others. They are bounded, because
 * clients choose the paths that need new ones.
 *
 * Not here: what a renewal does (`login.ts`), and which request needs which token (`kind_*.ts`).
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { Credential } from "./credential.ts";
import { unavailable } from "./login_errors.ts";
import type { Renewal } from "./refresh.ts";
import { RenewalFailure } from "./token_answer.ts";

/** Tokens of one login that are kept. */
const MAX_SLOTS = 256;
/** New slots per minute and client: each costs the provider a look-up. */
const MAX_NEW_SLOTS_PER_MINUTE = 60;

/** One token and its successors, and the credentials that were made of it. */
export interface Slot {
  readonly renewal: Renewal;
  /** Of the token `generation`, by form. */
  readonly prepared: Map<string, Credential>;
  generation: string;
}

/** What {@linkcode LoginSlots} works with. */
export interface LoginSlotsOptions {
  /** The secret's name. */
  readonly name: string;
  readonly clock: Clock;
  readonly makeRenewal: (key: string) => Renewal;
}

/** See the module. */
export class LoginSlots implements AsyncDisposable {
  readonly #options: LoginSlotsOptions;
  /** In order of use. */
  readonly #slots = new Map<string, Slot>();
  #minute = 0;
  /** Of this minute, by client; so one with invented paths takes nothing from the others. */
  readonly #newSlots = new Map<string, number>();

  constructor(options: LoginSlotsOptions) {
    this.#options = options;
  }

  /**
   * The slot of a key, a new one where there is none. The key "" is the login itself, and always to be had.
   *
   * @throws ProxyError `credential.unavailable` when the client has had too many new ones
   */
  get(key: string, client = ""): Slot {
    const known = this.#slots.get(key);
    if (known) {
      this.#slots.delete(key);
      this.#slots.set(key, known); // at the end: the map is in order of use
      return known;
    }
    if (key !== "") this.#countNew(client);
    const slot = { renewal: this.#options.makeRenewal(key), prepared: new Map(), generation: "" };
    this.#slots.set(key, slot);
    return slot;
  }

  /** The machine has slept. */
  wake(): void {
    for (const { renewal } of this.#slots.values()) renewal.wake();
  }

  /** Waits for renewals under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    const slots = [...this.#slots.values()];
    for (const { renewal } of slots) renewal[Symbol.dispose]();
    await Promise.all(slots.map(({ renewal }) => renewal.settled));
  }

  #countNew(client: string): void {
    const { name, clock } = this.#options;
    const minute = Math.floor(clock.now() / 60_000);
    if (minute !== this.#minute) this.#newSlots.clear();
    this.#minute = minute;
    const count = (this.#newSlots.get(client) ?? 0) + 1;
    this.#newSlots.set(client, count);
    if (count > MAX_NEW_SLOTS_PER_MINUTE) {
      const failure = new RenewalFailure("too many repositories or hosts were asked for within a minute");
      throw unavailable(name, failure);
    }
    const oldest = this.#slots.size >= MAX_SLOTS ? this.#slots.entries().next().value : undefined;
    if (!oldest) return;
    this.#slots.delete(oldest[0]);
    oldest[1].renewal[Symbol.dispose]();
  }
}
