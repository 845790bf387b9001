/**
 * One host of a fleet: the policy is in a store that all hosts share, and in force here as it is there.
 *
 * A change is made under the fleet's lock, on a view that has every change before it; so its checks are right whoever else makes
 * changes. Changes of others come by their sequence, in order and each once. While the store is away the host goes on with what
 * it has for its grace, and takes no change; then nothing is in force. A host that comes back tells the store that it lives
 * *before* it asks for what it missed: whoever makes a change meanwhile either waits for it, or is seen by it.
 *
 * Not here: SQL (`../postgres/`), and what a change of rows means (`remote_change.ts`).
 *
 * @module
 */
import { callAt, type Clock } from "../../core/clock.ts";
import { isProxyError, messageOf, ProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import type { Engine, Mutation, Row, SharedEngine } from "../engine.ts";
import { type LoadedState, loadState } from "../load.ts";
import type { Position, PostgresDatabase, StoredChange, Turn } from "../postgres/database.ts";
import type { StoreKeys } from "../seal.ts";
import { USED_PREFIX } from "../used_budgets.ts";
import { CLIENT_PREFIX } from "../clients.ts";
import { removeMode } from "../modes.ts";
import type { Writer } from "../writer.ts";
import { CopyKeeper, rowsOf } from "./copy_keeper.ts";
import { type HostFigures, NO_FIGURES } from "./host_figures.ts";
import { type FleetHost, listHosts } from "./host_list.ts";
import { Hosts, type OwnHost } from "./hosts.ts";
import type { LocalCopy } from "./local_copy.ts";
import { bringTo } from "./reload.ts";
import { readChange } from "./remote_change.ts";
import { type FleetReport, type FleetStatus, RosterReader } from "./roster.ts";
import { checkRows, nextPlace, sourceOf } from "./rows.ts";
import { noteSpread } from "./spread_note.ts";
import { Uplink, type UplinkOptions } from "./uplink.ts";

/** What a host is told and has. */
export interface FleetParts extends UplinkOptions {
  readonly own: OwnHost;
  readonly keys: StoreKeys;
  readonly clock: Clock;
  readonly copy: LocalCopy;
  readonly log: LineLog;
  /** Is let go of at the end. */
  readonly lock: Disposable;
}

/** Where this host's view stands when it begins. */
export interface FleetStart {
  readonly position: Position;
  /** Until when that policy counts without a word from the store, epoch milliseconds. */
  readonly heldUntilMs: number;
}

/** How often the sequence is looked at when no notice comes. */
const POLL_MS = 1_000;
/** A call waits for other hosts for so long. */
const SPREAD_MS = 2_000;
/** Between looks at the others while a call waits. */
const SPREAD_LOOK_MS = [2, 5, 10, 20, 40, 80, 100];
/** How often rows that have expired are swept. */
const SWEEP_MS = 60_000;

/** See the module. */
export class Fleet implements Engine, SharedEngine {
  readonly commitBounds = { rows: Infinity, chars: Infinity };
  readonly hosts: Hosts;
  readonly #parts: FleetParts;
  readonly #uplink: Uplink;
  readonly #keeper: CopyKeeper;
  #position: Position = { sequence: -1, changeId: undefined };
  /** Up to which change all is in force in every thread: later than {@linkcode #position} says, which a change takes first. */
  #inForce = -1;
  /** The store knows of this process. */
  #hasEntered = false;
  /** What the store has been told to be in force here. */
  #confirmed: number | undefined;
  #writer: Writer | undefined;
  /** The transaction that this host's change is made in. */
  #turn: Turn | undefined;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;
  #nextBeatAt = 0;
  #nextLookAt = 0;
  #nextSweepAt = 0;
  #nextContactAt = 0;
  #cancelTimer = () => {};
  #mustReload = false;
  /** Says how much this host does: a part of what `fleet` lists. */
  figures: () => HostFigures = () => NO_FIGURES;
  readonly #roster: RosterReader;
  /** The last change that the store is known to have, and when all there was was in force here, by the monotonic clock. */
  #known = 0;
  #inForceAt: number;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#uplink = new Uplink(parts);
    this.hosts = new Hosts(parts.own, () => this.#uplink.watch(), () => parts.clock.monotonic());
    this.#keeper = new CopyKeeper(parts.copy, () => this.#takePolicy(), parts.log);
    const { clock } = parts;
    this.#roster = new RosterReader(async () => await listHosts(this.#uplink.watch(), clock.now()), clock);
    this.#inForceAt = clock.monotonic();
  }

  get shared(): SharedEngine {
    return this;
  }

  get status(): FleetStatus {
    const { fleet, own, clock } = this.#parts;
    return {
      fleet,
      host: own.name,
      hostId: own.id,
      sequence: this.#position.sequence,
      behind: Math.max(0, this.#known - this.#position.sequence),
      behindMs: Math.round(clock.monotonic() - this.#inForceAt),
      awaySince: this.#uplink.awaySince,
      heldUntilMs: this.#writer?.view.heldUntilMs ?? 0,
    };
  }

  /** How this host stands, and who else is there as far as it knows. */
  async report(): Promise<FleetReport> {
    const roster = await this.#roster.get();
    return { ...this.status, roster };
  }

  /** All hosts of the fleet, as the store has them now. @throws ProxyError `store.away` */
  async list(): Promise<readonly FleetHost[]> {
    return (await listHosts(this.#uplink.watch(), this.#parts.clock.now())).hosts;
  }

  /** Enters the fleet and reads its policy. In this order: whoever makes a change from now on waits for this host. */
  async join(): Promise<{ readonly loaded: LoadedState; readonly start: FleetStart }> {
    const { clock, keys, own } = this.#parts;
    await this.#uplink.open();
    const sentAt = clock.now();
    await this.#enter();
    const { rows, position } = await this.#uplink.watch().readAll();
    checkRows(rows);
    const loaded = await loadState(sourceOf(rows), keys, clock.now());
    return { loaded, start: { position, heldUntilMs: sentAt + own.graceMs } };
  }

  /** Begins to follow the store. */
  async begin(writer: Writer, { position, heldUntilMs }: FleetStart): Promise<void> {
    this.#writer = writer;
    this.#position = position;
    this.#inForce = position.sequence;
    await this.#hold(heldUntilMs);
    this.#running = this.#run();
  }

  rows(prefix: Deno.KvKey): AsyncIterable<Row> {
    return this.#ownRows(prefix);
  }

  /** What each host keeps for itself is below its id. */
  async *#ownRows(prefix: Deno.KvKey): AsyncGenerator<Row> {
    const [kind = "", ...rest] = prefix;
    const { id } = this.#parts.own;
    for await (const { key, value } of this.#uplink.watch().rows([kind, id, ...rest])) {
      yield { key: [kind, ...key.slice(2)], value };
    }
  }

  async commit(mutations: readonly Mutation[]): Promise<void> {
    if (mutations.every(({ key }) => key[0] === USED_PREFIX[0])) {
      const { id } = this.#parts.own;
      const own = mutations.map(({ key: [kind = "", ...rest], ...each }) => ({
        ...each,
        key: [kind, id, ...rest],
      }));
      return await this.#uplink.watch().commitQuietly(own);
    }
    if (!this.#turn) throw new TypeError("Cannot change the fleet's policy outside of a turn");
    // Another client of that name has none of its switches.
    const gone = mutations.filter(({ key, value }) => key[0] === CLIENT_PREFIX[0] && value === undefined);
    const modes = gone.map(({ key }) => removeMode(String(key[1])));
    this.#position = await this.#turn.commit([...mutations, ...modes]);
  }

  async sizeBytes(): Promise<number> {
    return await this.#uplink.watch().sizeBytes();
  }

  async exclusive<T>(change: () => Promise<T>): Promise<{ value: T; sequence: number | undefined }> {
    const db = this.#uplink.changes();
    try {
      return await db.inTurn(async (turn) => {
        checkHistory(turn.position, this.#position);
        await this.#bringUp(db, turn.position);
        checkHistory(this.#position, turn.position);
        const before = this.#position;
        this.#turn = turn;
        try {
          const value = await change();
          this.#inForce = this.#position.sequence;
          return { value, sequence: this.#position === before ? undefined : this.#position.sequence };
        } catch (error) {
          if (this.#position !== before) this.#mustReload = true; // committed, and not made in memory
          throw error;
        } finally {
          this.#turn = undefined;
        }
      });
    } catch (error) {
      if (isProxyError(error, "store.away")) this.#uplink.lose(error);
      throw error;
    }
  }

  storeTime(): Promise<number> {
    return this.#uplink.changes().time();
  }

  async spread(sequence: number): Promise<void> {
    try {
      await this.#confirm();
      const endAt = this.#parts.clock.monotonic() + SPREAD_MS;
      for (let i = 0;; i++) {
        const { live, names } = await this.hosts.waitingFor(sequence);
        if (names.length === 0 || this.#parts.clock.monotonic() >= endAt) {
          return noteSpread({ live, waitingFor: names });
        }
        await pause(SPREAD_LOOK_MS[i] ?? 100);
      }
    } catch {
      noteSpread({ live: 0, waitingFor: [], isUnknown: true });
    }
  }

  /** Follows the store no more. To be called before the writer is closed, when nothing is decided here any more. */
  async stop(): Promise<void> {
    this.#isClosed = true;
    this.#uplink.wake();
    // A long answer must not hold up the stop of the process.
    const timer = setTimeout(() => this.#uplink.lose(new Error("this host stops")), this.#parts.timeoutMs);
    await this.#running;
    clearTimeout(timer);
    this.#cancelTimer();
    await this.#keeper[Symbol.asyncDispose]();
  }

  /** Leaves the fleet. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#uplink.isUp) {
      try {
        // Nobody will wait for this host: it must not come back with a policy of its own.
        await this.#parts.copy.forget();
        await this.hosts.sayGoodbye();
      } catch (error) {
        this.#parts.log.warn(`the fleet was not told that this host stops: ${messageOf(error)}`);
      }
    }
    await this.#uplink[Symbol.asyncDispose]();
    this.#parts.lock[Symbol.dispose]();
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      try {
        if (!this.#uplink.isUp) {
          await this.#uplink.open();
          await this.#checkPast(this.#uplink.watch());
          this.#nextBeatAt = 0;
        }
        await this.#tick();
        this.#uplink.settle();
      } catch (error) {
        this.#uplink.lose(error);
      }
      if (!this.#isClosed) await this.#uplink.rest(POLL_MS);
    }
  }

  async #tick(): Promise<void> {
    const { clock, own, log } = this.#parts;
    const isBeatDue = clock.monotonic() >= this.#nextBeatAt;
    const sentAt = clock.now(); // before it is sent: nobody may count on us for longer than we go on
    if (isBeatDue) await this.#beat();
    await this.#catchUp();
    if (!isBeatDue) return;
    this.#nextBeatAt = clock.monotonic() + beatMsOf(own.graceMs);
    const wasLost = this.#view.isLost(clock.now());
    await this.#hold(sentAt + own.graceMs);
    if (wasLost) log.info("the store answers: the policy is in force again");
    await this.#lookAfter(sentAt);
  }

  async #beat(): Promise<void> {
    if (!this.#hasEntered) return await this.#enter(); // started from the local copy
    if (await this.hosts.beat(this.figures())) return;
    if (!await this.hosts.isTaken()) return await this.#enter(); // silent for so long that it was forgotten
    await this.#hold(0); // nobody waits for us any more
    throw new ProxyError(
      "store.refused",
      "Cannot go on: another process uses a copy of this state folder in the fleet",
      {
        hint: "give each host a state folder of its own, and stop one of the two",
      },
    );
  }

  async #enter(): Promise<void> {
    this.#confirmed = undefined;
    await this.hosts.sayHello();
    this.#hasEntered = true;
  }

  async #lookAfter(sentAt: number): Promise<void> {
    const now = this.#parts.clock.monotonic();
    const { graceMs } = this.#parts.own;
    if (now >= this.#nextContactAt) {
      this.#nextContactAt = now + graceMs / 10;
      await this.#keeper.contact(sentAt, graceMs);
    }
    if (now >= this.#nextLookAt) {
      this.#nextLookAt = now + Math.min(graceMs / 4, 15_000);
      await this.hosts.look();
    }
    if (now >= this.#nextSweepAt) {
      this.#nextSweepAt = now + SWEEP_MS * (0.5 + Math.random());
      await this.#uplink.watch().sweep();
    }
  }

  /** A store that was away may come back as another one, which lacks changes that are in force here. */
  async #checkPast(db: PostgresDatabase): Promise<void> {
    const { sequence, changeId } = this.#position;
    const found = await db.changeIdAt(sequence);
    if (found === undefined && sequence > 0) this.#mustReload = true; // too long ago to be known
    else if (found !== changeId) throw lostChanges();
  }

  /** Makes what others have changed. */
  async #catchUp(): Promise<void> {
    const before = this.#position;
    const askedAt = this.#parts.clock.monotonic();
    const db = this.#uplink.watch();
    const position = await db.position();
    this.#known = position.sequence;
    checkHistory(position, before);
    if (position.sequence > this.#position.sequence || this.#mustReload) {
      await this.#writerOf().inTurn(() => this.#bringUp(db, position));
    }
    await this.#confirm();
    this.#inForceAt = askedAt;
  }

  /** Brings the view to a change or a later one. In turn. */
  async #bringUp(db: PostgresDatabase, to: Position): Promise<void> {
    while (this.#position.sequence < to.sequence || this.#mustReload) {
      if (!this.#mustReload) await this.#checkPast(db); // a call may be here before the look after the dial
      const changes = this.#mustReload ? [] : await db.changesAfter(this.#position.sequence);
      if (changes[0]?.sequence === this.#position.sequence + 1) {
        for (const each of changes) await this.#make(each);
      } else await this.#reload(db);
    }
  }

  async #make(change: StoredChange): Promise<void> {
    this.#mustReload = true; // should it not be readable: perhaps what it did has gone by the next look
    const apply = await readChange(change.mutations, this.#parts.keys.sealing, this.#view);
    this.#mustReload = false;
    this.#position = { sequence: change.sequence, changeId: change.changeId };
    await this.#writerOf().adopt(apply, nextPlace(change.mutations));
    this.#inForce = change.sequence;
  }

  /** Reads everything: too many changes were missed, or one cannot be read. */
  async #reload(db: PostgresDatabase): Promise<void> {
    const { clock, keys } = this.#parts;
    const { rows, position } = await db.readAll();
    checkRows(rows);
    const { view, nextSequence } = await loadState(sourceOf(rows), keys, clock.now());
    this.#mustReload = false;
    this.#position = position;
    await this.#writerOf().adopt(() => bringTo(this.#view, view, clock.now()), nextSequence);
    this.#inForce = position.sequence;
  }

  /** Says what is in force here: in memory, in all threads, and after a restart. */
  async #confirm(): Promise<void> {
    const sequence = this.#inForce;
    if (sequence === this.#confirmed) return;
    await this.#keeper.drop();
    await this.hosts.sayApplied(sequence);
    this.#confirmed = sequence;
  }

  async #hold(untilMs: number): Promise<void> {
    this.#cancelTimer();
    await this.#writerOf().hold(untilMs);
    if (this.#view.isLost(this.#parts.clock.now())) return;
    this.#cancelTimer = callAt(this.#parts.clock, untilMs, () => {
      this.#parts.log.error(
        "the store has been away for longer than --store-grace: everything is denied until it answers",
      );
      void this.#writerOf().hold(0); // threads whose clocks are behind are told
    });
  }

  #takePolicy() {
    return this.#writerOf().inTurn(async () => ({
      position: this.#position,
      rows: await rowsOf(this.#view, this.#parts.keys, this.#parts.clock.now()),
    }));
  }

  get #view() {
    return this.#writerOf().view;
  }

  #writerOf(): Writer {
    if (!this.#writer) throw new TypeError("Cannot follow the store before it has begun");
    return this.#writer;
  }
}

/** @throws ProxyError `store.refused` when the store is not where it has been */
function checkHistory(now: Position, before: Position): void {
  if (now.sequence > before.sequence) return;
  if (now.sequence === before.sequence && now.changeId === before.changeId) return;
  throw lostChanges();
}

function lostChanges(): ProxyError {
  return new ProxyError(
    "store.refused",
    "Cannot go on: the store lacks changes that are in force on this host",
    {
      hint:
        "bring the server back that has them; or restart this host to take the policy that the store has now",
    },
  );
}

/** Twenty in a grace, so that a few may be lost. */
function beatMsOf(graceMs: number): number {
  return Math.max(100, Math.min(graceMs / 20, 5_000));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
