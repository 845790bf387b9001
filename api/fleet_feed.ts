/**
 * The logs of several hosts as one, in the order of their times, as far as they are stored. Of each host one record is held.
 *
 * A host's clock is its own: between hosts, times are as right as their clocks are.
 *
 * Not here: what comes live (`fleet_window.ts`), and how hosts are asked (`fleet_reader.ts`).
 *
 * @module
 */
import { isProxyError } from "../core/errors.ts";
import type { StoredRecord } from "../policy/audit_record.ts";
import type { HostItem } from "./fleet_answer.ts";
import type { FleetItem } from "./fleet_items.ts";

/** How far a host's log was read: to a time, and how many records of that very time. */
export interface Mark {
  readonly timeMs: number;
  readonly count: number;
}

/** Whose log it is. */
export interface FeedOptions {
  readonly host: string;
  /** Of the host. */
  readonly id: string;
  /** An end of its own is a failure then. */
  readonly isFollowing: boolean;
  /** Where an earlier reading came to: stored records up to there are passed over. */
  readonly from?: Mark | undefined;
}

/** One host's log, as it is read. Its words about failures are for people. */
export class HostFeed {
  readonly host: string;
  readonly id: string;
  readonly #isFollowing: boolean;
  readonly #from: Mark | undefined;
  readonly #items: AsyncIterator<HostItem>;
  readonly #cut: AbortController;
  /** The next of its stored records. */
  head: StoredRecord | undefined;
  /** All that was stored has been read. */
  isLive = false;
  isOver = false;
  /** Since when a record is waited for, monotonic milliseconds. */
  waitedForSince: number | undefined;
  #mark: Mark | undefined;
  #missed = 0;
  #why: string | undefined;

  /** @param cut ends the reading; whatever `items` waits for has to reject then */
  constructor(options: FeedOptions, items: AsyncIterable<HostItem>, cut: AbortController) {
    this.host = options.host;
    this.id = options.id;
    this.#isFollowing = options.isFollowing;
    this.#from = options.from;
    this.#items = items[Symbol.asyncIterator]();
    this.#cut = cut;
  }

  /** Where its reading has come to. */
  get mark(): Mark | undefined {
    return this.#mark ?? this.#from;
  }

  /** The next item; undefined when there are no more. Never rejects. */
  async next(): Promise<HostItem | undefined> {
    this.waitedForSince ??= performance.now();
    try {
      for (;;) {
        const { done, value } = await this.#items.next();
        if (done) break;
        if ("record" in value && !this.#isNew(value.record)) continue;
        if (!("missed" in value)) this.waitedForSince = undefined;
        if ("live" in value) this.isLive = true;
        return value;
      }
      if (this.#isFollowing) this.#why ??= "it has stopped";
    } catch (error) {
      this.#why ??= stateOf(error);
    }
    this.waitedForSince = undefined;
    this.isOver = true;
    return undefined;
  }

  /** Reads on until there is a record, nothing stored is left, or all is over. */
  async advance(): Promise<void> {
    while (!this.head && !this.isLive && !this.isOver) {
      const item = await this.next();
      if (item && "record" in item) this.head = item.record;
      if (item && "missed" in item) this.#missed += item.missed;
    }
  }

  /** Ends the reading, and says why. */
  end(why?: string): void {
    this.#why ??= why;
    this.#cut.abort(new DOMException("no more is read", "AbortError"));
    this.#items.return?.()?.catch(() => {}); // what it failed with, it failed with in next()
  }

  /** What is to be told about it since the last call. */
  *news(): Generator<FleetItem> {
    const { host } = this;
    if (this.#missed > 0) yield { host, missed: this.#missed };
    this.#missed = 0;
    if (!this.isOver || this.#why === undefined) return;
    yield { host, unanswered: this.#why };
    this.#why = undefined;
  }

  /** False for what an earlier reading had. What comes live is new whatever its time: clocks are set back. */
  #isNew({ timeMs }: StoredRecord): boolean {
    const before = this.#mark?.timeMs === timeMs ? this.#mark.count : 0;
    this.#mark = { timeMs, count: before + 1 };
    const from = this.#from;
    return !from || this.isLive || timeMs > from.timeMs ||
      (timeMs === from.timeMs && this.#mark.count > from.count);
  }
}

/** The stored records of all, oldest first, and what there is to say about their hosts. Each is over or live then. */
export async function* mergeStored(feeds: readonly HostFeed[]): AsyncGenerator<FleetItem> {
  for (;;) {
    const awaited = feeds.filter(({ head, isLive, isOver }) => !head && !isLive && !isOver);
    if (awaited.length > 0) await Promise.all(awaited.map((feed) => feed.advance()));
    for (const feed of awaited) yield* feed.news();
    let first: HostFeed | undefined;
    for (const feed of feeds) {
      if (feed.head && (!first?.head || feed.head.timeMs < first.head.timeMs)) first = feed;
    }
    if (!first?.head) return;
    yield { host: first.host, record: first.head };
    first.head = undefined;
  }
}

/** Of an error only what is wrong: who was asked is said elsewhere. */
function stateOf(error: unknown): string {
  return isProxyError(error) ? error.message.replace(/^Cannot [^:]*: /, "") : "it cannot be read";
}
