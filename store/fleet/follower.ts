/**
 * A host's view follows the sequence of its fleet's changes: those of others in order and each once, or everything read anew
 * where that cannot be. What a failure left half made is read anew too.
 *
 * Not here: SQL (`../postgres/`), what a change of rows means (`remote_change.ts`), and when to look (`fleet.ts`).
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import { loadState } from "../load.ts";
import type { Position, PostgresDatabase, SealStanding, StoredChange } from "../postgres/database.ts";
import type { NewSeal } from "../engine.ts";
import type { Writer } from "../writer.ts";
import { bringTo } from "./reload.ts";
import { readChange } from "./remote_change.ts";
import { checkRows, nextPlace, sourceOf, switchedKey } from "./rows.ts";
import type { SealKeys } from "./seal_keys.ts";

/** How far a host is behind its fleet. */
export interface Progress {
  /** The last change that it has. */
  readonly sequence: number;
  /** Changes that the store is known to have beyond it. */
  readonly behind: number;
  /** Since all that the store had was last known to be in force here, milliseconds. */
  readonly behindMs: number;
}

/** See the module. */
export class Follower {
  readonly #seal: SealKeys;
  readonly #clock: Clock;
  #writer: Writer | undefined;
  #position: Position = { sequence: -1, changeId: undefined };
  /** Up to which change all is in force in every thread: later than {@linkcode #position} says, which an own change takes first. */
  #inForce = this.#position;
  /** Something of the view may be missing. */
  #mustReload = false;
  /** The last change that the store is known to have, and when all there was was in force here, by the monotonic clock. */
  #known = 0;
  #inForceAt: number;

  constructor(seal: SealKeys, clock: Clock) {
    this.#seal = seal;
    this.#clock = clock;
    this.#inForceAt = clock.monotonic();
  }

  /** The view that follows, and where it stands. */
  begin(writer: Writer, position: Position): void {
    this.#writer = writer;
    this.#position = position;
    this.#inForce = position;
  }

  get position(): Position {
    return this.#position;
  }

  /** Up to which change all is in force here, in every thread. */
  get inForce(): Position {
    return this.#inForce;
  }

  get progress(): Progress {
    return {
      sequence: this.#position.sequence,
      behind: Math.max(0, this.#known - this.#position.sequence),
      behindMs: Math.round(this.#clock.monotonic() - this.#inForceAt),
    };
  }

  /**
   * A store that was away may come back as another one, which lacks changes that are in force here.
   *
   * @throws ProxyError `store.refused`
   */
  async checkPast(db: PostgresDatabase): Promise<void> {
    const { sequence, changeId } = this.#position;
    const found = await db.changeIdAt(sequence);
    if (found === changeId) return;
    if (found !== undefined) throw lostChanges();
    checkHistory(await db.position(), this.#position); // it may have yet to come there
    this.#mustReload = true; // too long ago to be known
  }

  /**
   * Makes what others have changed, and has `confirm` say so.
   *
   * @returns how the store stood with the seal key
   * @throws ProxyError `store.*`, `state.*`, `seal.*`
   */
  async catchUp(db: PostgresDatabase, confirm: () => Promise<void>): Promise<SealStanding> {
    const before = this.#position;
    const askedAt = this.#clock.monotonic();
    const position = await db.position();
    this.#known = position.sequence;
    checkHistory(position, before);
    if (position.sequence > this.#position.sequence || this.#mustReload) {
      await this.#writerOf().inTurn(() => this.#bringUp(db, position));
    }
    await confirm();
    this.#inForceAt = askedAt;
    return position.seal;
  }

  /** Brings the view to exactly this change, which is the last there is. In turn. @throws ProxyError `store.*`, `state.*` */
  async reach(db: PostgresDatabase, last: Position): Promise<void> {
    checkHistory(last, this.#position);
    await this.#bringUp(db, last);
    checkHistory(this.#position, last);
  }

  /**
   * Runs a change of this host, which moves the position by {@linkcode moveTo} when it is committed.
   *
   * @returns what it returned, and its sequence, if it committed one
   */
  async makeOwn<T>(
    change: () => Promise<T>,
  ): Promise<{ readonly value: T; readonly sequence: number | undefined }> {
    const before = this.#position;
    try {
      const value = await change();
      const after = this.#position;
      this.#inForce = after;
      return { value, sequence: after === before ? undefined : after.sequence };
    } catch (error) {
      if (this.#position !== before) this.#mustReload = true; // committed, and not made in memory
      this.#position = before;
      throw error;
    }
  }

  /** A change of this host is committed, and not in its view yet. */
  moveTo(position: Position): void {
    this.#position = position;
  }

  /** Brings the view to a change or a later one. In turn. */
  async #bringUp(db: PostgresDatabase, to: Position): Promise<void> {
    while (this.#position.sequence < to.sequence || this.#mustReload) {
      if (!this.#mustReload) await this.checkPast(db); // a call may be here before the look after the dial
      const changes = this.#mustReload ? [] : await db.changesAfter(this.#position.sequence);
      if (changes[0]?.sequence === this.#position.sequence + 1) {
        for (const each of changes) {
          if (each.sequence > this.#position.sequence) await this.#make(db, each);
        }
      } else await this.#reload(db);
    }
  }

  async #make(db: PostgresDatabase, { mutations, ...position }: StoredChange): Promise<void> {
    this.#mustReload = true; // until it is made: should it fail, perhaps what it did has gone by the next look
    const keyId = switchedKey(mutations);
    if (keyId !== undefined) {
      const seal = await db.seal();
      if (seal.sealKeyId !== keyId) return await this.#reload(db); // there is yet another one by now
      await this.#takeKey(seal);
    }
    const apply = await readChange(mutations, this.#seal.keys.sealing, this.#writerOf().view);
    await this.#writerOf().adopt(apply, nextPlace(mutations));
    this.#arrive(position);
  }

  /** Reads everything: too many changes were missed, or one cannot be read or made. */
  async #reload(db: PostgresDatabase): Promise<void> {
    this.#mustReload = true;
    const { rows, position, seal } = await db.readAll();
    checkRows(rows);
    const writer = this.#writerOf();
    await this.#takeKey(seal);
    const { view, nextSequence } = await loadState(sourceOf(rows), this.#seal.keys, this.#clock.now());
    await writer.adopt(() => bringTo(writer.view, view, this.#clock.now()), nextSequence);
    this.#arrive(position);
  }

  /** From here on another key may be in force. @throws ProxyError `seal.key-wrong` when this host does not have it */
  async #takeKey(seal: NewSeal): Promise<void> {
    const keys = await this.#seal.proven(seal);
    this.#seal.take(keys);
    this.#writerOf().takeKeys(keys);
  }

  /** All up to this change is in force. */
  #arrive(position: Position): void {
    this.#mustReload = false;
    this.#position = position;
    this.#inForce = position;
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
