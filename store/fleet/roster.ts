/**
 * Who is in the fleet, for whoever asks this host: read from the store when somebody asks, never more than once a second
 * (with more than 50 hosts less often, every 20 seconds with 1,000), and as it last was while the store does not answer. A
 * question for the status or for metrics never waits long for the store.
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import type { HostList } from "./host_list.ts";

/** The hosts as they were at a moment. */
export interface Roster extends HostList {
  /** Epoch milliseconds; undefined when this host has never seen any. */
  readonly readAt: number | undefined;
}

/** How this host stands in its fleet. */
export interface FleetStatus {
  readonly fleet: string;
  readonly host: string;
  readonly hostId: string;
  /** The last change that is in force here. */
  readonly sequence: number;
  /** Changes that the store is known to have beyond it. */
  readonly behind: number;
  /** Since all that the store had was last known to be in force here, milliseconds: a second at rest. */
  readonly behindMs: number;
  /** Since when the store is away, epoch milliseconds; undefined while it answers. */
  readonly awaySince: number | undefined;
  /** Until when the policy counts should the store stay away. */
  readonly heldUntilMs: number;
}

/** The same with the others. */
export interface FleetReport extends FleetStatus {
  readonly roster: Roster;
}

/** Younger than this it is what it was: many who ask cost the store one question. */
const FRESH_MS = 1_000;
/** The same for each host: where all hosts are scraped, each of them reads all, and no more than 50 rows a second. */
const FRESH_MS_PER_HOST = 20;
/** Whoever scrapes waits ten seconds at most, and a store that hangs takes longer. */
const WAIT_MS = 1_000;

/** See the module. */
export class RosterReader {
  readonly #read: () => Promise<HostList>;
  readonly #clock: Clock;
  #last: Roster = { sequence: 0, hosts: [], isCut: false, readAt: undefined };
  #readAt = -Infinity;
  #reading: Promise<void> | undefined;
  /** @param read asks the store */
  constructor(read: () => Promise<HostList>, clock: Clock) {
    this.#read = read;
    this.#clock = clock;
  }

  /** As it is, or the last that is known. Never rejects. */
  async get(): Promise<Roster> {
    const freshMs = Math.max(FRESH_MS, this.#last.hosts.length * FRESH_MS_PER_HOST);
    if (this.#clock.monotonic() - this.#readAt >= freshMs) {
      this.#reading ??= this.#ask().finally(() => this.#reading = undefined);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const tooLong = new Promise<void>((resolve) => timer = setTimeout(resolve, WAIT_MS));
      await Promise.race([this.#reading, tooLong]);
      clearTimeout(timer);
    }
    return this.#last;
  }

  async #ask(): Promise<void> {
    try {
      const list = await this.#read();
      this.#last = { ...list, readAt: this.#clock.now() };
      this.#readAt = this.#clock.monotonic();
    } catch {
      // The store is away, which this host finds out and says by itself.
    }
  }
}
