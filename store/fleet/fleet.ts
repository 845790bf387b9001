/**
 * One host of a fleet: the policy is in a store that all hosts share, and in force here as it is there.
 *
 * A change is made under the fleet's lock, on a view that has every change before it; so its checks are right whoever else makes
 * changes. Changes of others come by their sequence, in order and each once. While the store is away the host goes on with what
 * it has for its grace, and takes no change; then nothing is in force. A host that comes back tells the store that it lives
 * *before* it asks for what it missed: whoever makes a change meanwhile either waits for it, or is seen by it.
 *
 * Not here: SQL (`../postgres/`), how a view follows the changes (`follower.ts`), and for how long it counts (`pulse.ts`).
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { isProxyError, messageOf } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import type { Engine, Mutation, Row, SharedEngine } from "../engine.ts";
import { type LoadedState, loadState } from "../load.ts";
import type { Position, Turn } from "../postgres/database.ts";
import { USED_PREFIX } from "../used_budgets.ts";
import { CLIENT_PREFIX } from "../clients.ts";
import { removeMode } from "../modes.ts";
import type { Writer } from "../writer.ts";
import { CopyKeeper, rowsOf } from "./copy_keeper.ts";
import { Follower } from "./follower.ts";
import type { HostFigures } from "./host_figures.ts";
import { type FleetHost, listHosts } from "./host_list.ts";
import { Hosts, type OwnHost } from "./hosts.ts";
import type { LocalCopy } from "./local_copy.ts";
import { LogWays } from "./log_ways.ts";
import { Pulse } from "./pulse.ts";
import { type FleetReport, type FleetStatus, RosterReader } from "./roster.ts";
import { KeyRotation, readRotation, type Rotation } from "./key_rotation.ts";
import { checkRows, sourceOf } from "./rows.ts";
import { noteSpread } from "./spread_note.ts";
import { Uplink, type UplinkOptions } from "./uplink.ts";

/** What a host is told and has. */
export interface FleetParts extends UplinkOptions {
  readonly own: OwnHost;
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

/** See the module. */
export class Fleet implements Engine, SharedEngine {
  readonly commitBounds = { rows: Infinity, chars: Infinity };
  readonly hosts: Hosts;
  /** Where the audit logs of the hosts are read. */
  readonly logWays: LogWays;
  readonly #parts: FleetParts;
  readonly #uplink: Uplink;
  readonly #keeper: CopyKeeper;
  /** What the store has been told to be in force here. */
  #confirmed: Position | undefined;
  #writer: Writer | undefined;
  /** The transaction that this host's change is made in. */
  #turn: Turn | undefined;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;
  readonly #follower: Follower;
  readonly #pulse: Pulse;
  readonly #rotation: KeyRotation;
  readonly #roster: RosterReader;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#uplink = new Uplink(parts);
    this.hosts = new Hosts(parts.own, () => this.#uplink.watch(), () => parts.clock.monotonic());
    this.logWays = new LogWays({
      own: parts.own,
      keys: () => parts.seal.keys,
      fleet: parts.fleet,
      db: () => this.#uplink.watch(),
      now: () => parts.clock.now(),
      log: parts.log,
    });
    this.#keeper = new CopyKeeper(parts.copy, () => this.#takePolicy(), parts.log);
    const { clock } = parts;
    this.#roster = new RosterReader(async () => await listHosts(this.#uplink.watch(), clock.now()), clock);
    this.#follower = new Follower(parts.seal, clock);
    this.#rotation = new KeyRotation({
      ...{ own: parts.own, seal: parts.seal, log: parts.log, hosts: this.hosts },
      watch: () => this.#uplink.watch(),
      changes: () => this.#uplink.changes(),
      inTurn: (work) => this.#writerOf().inTurn(work),
      wake: () => this.#uplink.wake(),
      renewContact: () => this.#pulse.renewContact(),
    });
    this.#pulse = new Pulse({
      own: parts.own,
      hosts: this.hosts,
      keeper: this.#keeper,
      clock,
      log: parts.log,
      db: () => this.#uplink.watch(),
      onEnter: () => {
        this.#confirmed = undefined;
        this.logWays.forget();
        this.#rotation.forget();
      },
    });
  }

  /** Says how much this host does: a part of what `fleet` lists. */
  set figures(figures: () => HostFigures) {
    this.#pulse.figures = figures;
  }

  get shared(): SharedEngine {
    return this;
  }

  get status(): FleetStatus {
    const { fleet, own } = this.#parts;
    return {
      fleet,
      host: own.name,
      hostId: own.id,
      ...this.#follower.progress,
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
    const { clock, seal, own } = this.#parts;
    await this.#uplink.open();
    const sentAt = clock.now();
    await this.#pulse.enter();
    const { rows, position, seal: read } = await this.#uplink.watch().readAll();
    checkRows(rows);
    seal.take(await seal.proven(read)); // another key may have come since the start
    const loaded = await loadState(sourceOf(rows), seal.keys, clock.now());
    return { loaded, start: { position, heldUntilMs: sentAt + own.graceMs } };
  }

  /** Begins to follow the store. */
  async begin(writer: Writer, { position, heldUntilMs }: FleetStart): Promise<void> {
    this.#writer = writer;
    this.#follower.begin(writer, position);
    await this.#pulse.begin(writer, heldUntilMs);
    this.#running = this.#run();
  }

  /** The id of the seal key in force, its file, and the one of the key that is to follow it. */
  get sealKey(): { readonly id: string; readonly file: string; readonly nextFile: string } {
    const { keys: { id }, file, nextFile } = this.#parts.seal;
    return { id, file, nextFile };
  }

  /** How far another seal key is; undefined when none is to come. @throws ProxyError `store.away` */
  rotation(): Promise<Rotation | undefined> {
    return readRotation(this.#uplink.watch());
  }

  /** See {@linkcode KeyRotation.begin}. */
  beginRotation(brought: string | undefined): Promise<void> {
    return this.#writerOf().inTurn(() => this.#rotation.begin(brought));
  }

  /** See {@linkcode KeyRotation.cancel}. */
  cancelRotation(): Promise<void> {
    return this.#rotation.cancel();
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
    this.#follower.moveTo(await this.#turn.commit([...mutations, ...modes]));
  }

  async sizeBytes(): Promise<number> {
    return await this.#uplink.watch().sizeBytes();
  }

  async exclusive<T>(change: () => Promise<T>): Promise<{ value: T; sequence: number | undefined }> {
    const db = this.#uplink.changes();
    try {
      return await db.inTurn(async (turn) => {
        await this.#follower.reach(db, turn.position);
        this.#turn = turn;
        try {
          return await this.#follower.makeOwn(change);
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
        const isLast = this.#parts.clock.monotonic() >= endAt;
        const { live, names } = await this.hosts.waitingFor(sequence, isLast);
        if (names.length === 0 || isLast) {
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
    this.#pulse.stop();
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
          await this.#follower.checkPast(this.#uplink.watch());
          this.#pulse.hurry();
          // A server that was killed may have lost it.
          if (this.#confirmed !== undefined) await this.hosts.sayApplied(this.#confirmed);
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
    const beaten = await this.#pulse.beat();
    const standing = await this.#follower.catchUp(this.#uplink.watch(), () => this.#confirm());
    await beaten();
    await this.logWays.say();
    await this.#rotation.step(standing);
  }

  /** Says what is in force here: in memory, in all threads, and after a restart. */
  async #confirm(): Promise<void> {
    const { inForce } = this.#follower;
    if (inForce.sequence === this.#confirmed?.sequence) return;
    await this.#keeper.drop();
    await this.hosts.sayApplied(inForce);
    this.#confirmed = inForce;
  }

  #takePolicy() {
    return this.#writerOf().inTurn(async () => ({
      position: this.#follower.position,
      rows: await rowsOf(this.#writerOf().view, this.#parts.seal.keys, this.#parts.clock.now()),
      keys: this.#parts.seal.keys,
    }));
  }

  #writerOf(): Writer {
    if (!this.#writer) throw new TypeError("Cannot follow the store before it has begun");
    return this.#writer;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
