/**
 * The audit logs of all hosts of a fleet, this one's and what the others answer: what is stored in the order of its times,
 * then what comes. A host whose records are missing is named, and while somebody follows it is asked again.
 *
 * Not here: the order (`fleet_feed.ts`, `fleet_window.ts`), what an answer may hold (`fleet_answer.ts`), and how a host is
 * reached (`cli/up/fleet_call.ts`).
 *
 * @module
 */
import { type FLEET_LOG_LIMITS, RECORD_LIMITS } from "../core/limits.ts";
import { sizeOfRecord } from "../policy/audit_record.ts";
import type { LogHost } from "../store/fleet/log_ways.ts";
import type { Item } from "./audit_stream.ts";
import type { FleetLogs } from "./control.ts";
import { type AskedFor, type HostItem, readAnswer } from "./fleet_answer.ts";
import { HostFeed, mergeStored } from "./fleet_feed.ts";
import type { FleetItem } from "./fleet_items.ts";
import { FleetWindow } from "./fleet_window.ts";

/** See {@linkcode FLEET_LOG_LIMITS}; tests pass shorter ones. */
export type FleetLogLimits = Readonly<Record<keyof typeof FLEET_LOG_LIMITS, number>>;

/** What is asked, of whom. */
export interface FleetQuestion extends AskedFor {
  /** The same as other hosts are asked it. */
  readonly query: URLSearchParams;
  /** This host's own log. */
  readonly own: AsyncIterable<Item>;
  readonly logs: FleetLogs;
  readonly limits: FleetLogLimits;
}

/** How often it is looked whether a host has been waited for too long. */
const LOOK_MS = 500;

/** The answer; it goes on until `signal` aborts or its reader stops, where it follows. */
export async function* readFleet(question: FleetQuestion, signal: AbortSignal): AsyncGenerator<FleetItem> {
  const reader = new FleetReader(question);
  const end = () => reader.end();
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  try {
    yield* reader.items();
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

class FleetReader {
  readonly #question: FleetQuestion;
  readonly #window: FleetWindow;
  /** By the id of the host: the last reading of each. */
  readonly #feeds = new Map<string, HostFeed>();
  /** Of them, and of hosts that cannot be asked, it was said that their records are missing. */
  readonly #unanswered = new Set<string>();
  /** Hosts that could not be named, as the reader had not taken what was said before. */
  #unnamed = 0;
  readonly #looks: ReturnType<typeof setInterval>;
  #isOver = false;
  #wake = () => {};

  constructor(question: FleetQuestion) {
    this.#question = question;
    this.#window = new FleetWindow(question.limits);
    this.#looks = setInterval(() => this.#cutLate(), Math.min(LOOK_MS, question.limits.recordMs / 2));
  }

  async *items(): AsyncGenerator<FleetItem> {
    const { limit, isFollowing, limits } = this.#question;
    const { hosts, notes } = await this.#find();
    if (this.#isOver) return;
    yield* notes;
    const own = this.#ownFeed(hosts);
    const feeds = [own, ...hosts.filter(({ way }) => way).map((host) => this.#ask(host, this.#question))];
    const stored = mergeStored(feeds);
    yield* limit === undefined ? stored : newest(stored, limit, limits.maxNewestChars);
    if (!isFollowing || this.#isOver) return;
    for (const feed of feeds) {
      if (feed.isOver) this.#unanswered.add(feed.id);
      else void this.#follow(feed);
    }
    void this.#keepAsking();
    yield* this.#window.items();
  }

  /** Ends everything that is under way. */
  end(): void {
    this.#isOver = true;
    clearInterval(this.#looks);
    this.#window.close();
    this.#wake();
    for (const feed of this.#feeds.values()) feed.end();
  }

  /** The hosts that can be asked, and what is to be said of others. */
  async #find(): Promise<{ readonly hosts: readonly LogHost[]; readonly notes: readonly FleetItem[] }> {
    const { logs, limits: { maxHosts } } = this.#question;
    const notes: FleetItem[] = [];
    const note = (id: string, host: string, unanswered: string) => {
      if (!this.#unanswered.has(id)) notes.push({ host, unanswered });
      this.#unanswered.add(id);
    };
    try {
      const { hosts: all, asOf, isCut, unread = 0 } = await logs.hosts();
      this.#forget(new Set(all.map(({ id }) => id)));
      const isOther = ({ isOwn, way }: LogHost) => !isOwn && way !== undefined;
      const others = all.filter(isOther);
      for (const { id, label, whyNot } of all) if (whyNot !== undefined) note(id, label, whyNot);
      if (asOf !== undefined) {
        note("", ALL, `the store is away, these are the hosts as of ${new Date(asOf).toISOString()}`);
      } else this.#unanswered.delete("");
      const more = Math.max(0, others.length - maxHosts) + unread;
      if (isCut || more > 0) {
        note(
          MORE,
          ALL,
          `${isCut ? "more than " : ""}${more} hosts are not asked: ${Math.min(others.length, maxHosts)} are`,
        );
      }
      return { hosts: [...all.filter(({ isOwn }) => isOwn), ...others.slice(0, maxHosts)], notes };
    } catch {
      note("", ALL, "the store is away, and has not said who there is");
      return { hosts: [], notes };
    }
  }

  #ownFeed(hosts: readonly LogHost[]): HostFeed {
    const { own, logs, isFollowing } = this.#question;
    const self = hosts.find(({ isOwn }) => isOwn);
    const options = { host: self?.label ?? logs.ownLabel, id: OWN, isFollowing };
    const feed = new HostFeed(options, ownItems(own), new AbortController());
    this.#feeds.set(OWN, feed);
    return feed;
  }

  #ask(
    { id, label, way }: LogHost,
    { query, limit }: { readonly query: URLSearchParams; readonly limit?: number | undefined },
  ): HostFeed {
    const { logs, filter, isFollowing, limits } = this.#question;
    const cut = new AbortController();
    const items = async function* (): AsyncGenerator<HostItem> {
      if (!way) return;
      yield* readAnswer(await logs.ask(way, query, cut.signal), { filter, limit, isFollowing }, limits);
    };
    const from = this.#feeds.get(id)?.mark;
    const feed = new HostFeed({ host: label, id, isFollowing, from }, items(), cut);
    this.#feeds.delete(id); // so that the last ones asked are last
    this.#feeds.set(id, feed);
    return feed;
  }

  /** Takes what comes from a host into the window until its answer ends. Never rejects. */
  async #follow(feed: HostFeed): Promise<void> {
    const { host, id } = feed;
    const add = (item: FleetItem, { ageMs = 0, chars = NOTE_CHARS } = {}) =>
      this.#window.add(id, item, { ageMs, chars });
    for (;;) {
      await this.#window.room(id);
      const item = await feed.next();
      if (this.#isOver) return;
      if (!item) break;
      if (this.#unanswered.delete(id)) add({ host, answers: true });
      if ("record" in item) {
        const { record, chars } = item;
        add({ host, record }, { ageMs: Date.now() - record.timeMs, chars });
      } else if ("missed" in item) add({ host, missed: item.missed });
    }
    for (const item of feed.news()) if (!this.#unanswered.has(id)) add(item);
    this.#unanswered.add(id);
    if (id === OWN) this.end();
  }

  /** Asks hosts that do not answer, or are new, now and then. Never rejects. */
  async #keepAsking(): Promise<void> {
    for (;;) {
      await this.#pause(this.#question.limits.retryMs);
      if (this.#isOver) return;
      const { hosts, notes } = await this.#find();
      if (this.#isOver) return;
      this.#tell(notes);
      for (const host of hosts) {
        const before = this.#feeds.get(host.id);
        if (host.isOwn || (before && !before.isOver)) continue;
        if (!before) this.#unanswered.add(host.id); // it is new, which is told when it answers
        void this.#follow(this.#ask(host, { query: this.#queryFrom(before?.mark?.timeMs) }));
      }
    }
  }

  /** Says it as far as there is room: whoever writes to the store can list other hosts each time. */
  #tell(notes: readonly FleetItem[]): void {
    const add = (item: FleetItem) => this.#window.add(ALL, item, { ageMs: 0, chars: NOTE_CHARS });
    if (this.#unnamed > 0 && this.#window.hasRoom(ALL)) {
      add({
        host: ALL,
        unanswered: `${this.#unnamed} more hosts were not read, too many at once to name them`,
      });
      this.#unnamed = 0;
    }
    for (const item of notes) {
      if (this.#window.hasRoom(ALL)) add(item);
      else this.#unnamed++;
    }
  }

  /**
   * Drops what is known of hosts that the store does not list. How far the last of them were read stays: a host that
   * starts again is not listed for a while, and its records must not come twice.
   */
  #forget(listed: ReadonlySet<string>): void {
    const isGone = ({ id, isOver }: HostFeed) => id !== OWN && isOver && !listed.has(id);
    const gone = [...this.#feeds.values()].filter(isGone);
    for (const { id } of gone.slice(0, -this.#question.limits.maxHosts)) this.#feeds.delete(id);
    for (const id of this.#unanswered) {
      if (id !== "" && id !== MORE && !listed.has(id) && !this.#feeds.has(id)) this.#unanswered.delete(id);
    }
  }

  /** The question for a host whose records are known up to a time. */
  #queryFrom(timeMs: number | undefined): URLSearchParams {
    const query = new URLSearchParams(this.#question.query);
    query.delete("limit");
    if (timeMs !== undefined) query.set("since", new Date(timeMs).toISOString());
    return query;
  }

  /** Whoever gives no record must not keep those of others. */
  #cutLate(): void {
    const { recordMs } = this.#question.limits;
    for (const feed of this.#feeds.values()) {
      const { waitedForSince: since = Infinity, isLive, id } = feed;
      if (id === OWN || isLive || performance.now() - since < recordMs) continue;
      feed.end(`it gave no record within ${recordMs / 1_000} s`);
    }
  }

  async #pause(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}

/** No id is like that. */
const OWN = "own";
/** Stands for all hosts that are not named. */
const ALL = "*";
/** Of hosts that are too many, it was said. */
const MORE = "more";
const NOTE_CHARS: number = RECORD_LIMITS.baseBytes;

async function* ownItems(own: AsyncIterable<Item>): AsyncGenerator<HostItem> {
  for await (const item of own) {
    yield "missed" in item || "live" in item ? item : { record: item, chars: sizeOfRecord(item) };
  }
}

/** The newest records, once there are no more, and what else is said at once. */
async function* newest(
  items: AsyncIterable<FleetItem>,
  limit: number,
  maxChars: number,
): AsyncGenerator<FleetItem> {
  const held: Extract<FleetItem, { record: unknown }>[] = [];
  let [from, chars] = [0, 0];
  for await (const item of items) {
    if (!("record" in item)) {
      yield item;
      continue;
    }
    held.push(item);
    chars += sizeOfRecord(item.record);
    for (let first; held.length - from > limit || chars > maxChars; from++) {
      if (!(first = held[from])) break;
      chars -= sizeOfRecord(first.record);
    }
    if (from > limit) held.splice(0, from), from = 0;
  }
  yield* held.slice(from);
}
