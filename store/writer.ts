/**
 * The one way in which the state changes: one change after the other, each on the disk before memory knows it, then
 * listeners are told. Expiry is such a change too, and is made here, by the clock.
 *
 * Not here: what a change is and whether it may be made (`change_*.ts`).
 *
 * @module
 */
import { callAt, type Clock } from "../core/clock.ts";
import { Histogram, type HistogramData } from "../core/histogram.ts";
import type { CommitBounds, Engine, Mutation, NewSeal, Row } from "./engine.ts";
import { SWEEP_BATCH } from "./limits.ts";
import { removeRule } from "./rules.ts";
import type { StoreKeys } from "./seal.ts";
import type { PolicyView, ViewChange } from "./view.ts";

/** Makes steps in all copies of a view. */
export type CopyTo = (steps: readonly ViewChange[]) => Promise<void>;

/** What a {@linkcode Writer} works on. */
export interface WriterParts {
  readonly db: Engine;
  readonly keys: StoreKeys;
  readonly view: PolicyView;
  /** Must never step back: an expired rule must not come back. */
  readonly clock: Clock;
  readonly nextSequence: number;
}

/** Owns the database of an open state. */
export class Writer implements AsyncDisposable {
  readonly view: PolicyView;
  readonly clock: Clock;
  #keys: StoreKeys;
  readonly #db: Engine;
  readonly #listeners = new Set<() => void>();
  #nextSequence: number;
  /** Ends when the last write that was asked for has ended; never rejects. */
  #lastWrite: Promise<void> = Promise.resolve();
  #cancelTimer = () => {};
  /** No rule expires before this, so that a write need not look at all of them. */
  #nextExpiryMs = Infinity;
  readonly #writeDuration = new Histogram();
  #writeFailures = 0;
  /** Rows that are still on the disk and grant nothing: of expired rules, and what {@linkcode sweepLater} was given. */
  #meaninglessRows: Mutation[] = [];
  #isClosed = false;
  /** Steps that the copies do not know yet. */
  #steps: ViewChange[] = [];
  #copyTo: CopyTo | undefined;

  constructor({ db, keys, view, clock, nextSequence }: WriterParts) {
    this.#db = db;
    this.#keys = keys;
    this.view = view;
    this.clock = clock;
    this.#nextSequence = nextSequence;
    this.armTimer();
  }

  /** Those in force. */
  get keys(): StoreKeys {
    return this.#keys;
  }

  /**
   * Has these rows, which are sealed with other keys, and the proof of those take the places of the ones before. Call it within
   * {@linkcode write} only.
   *
   * @throws ProxyError `state.write-failed`; nothing has changed then
   */
  async reseal(keys: StoreKeys, seal: NewSeal, rows: readonly Mutation[]): Promise<void> {
    if (!this.#db.reseal) throw new TypeError("Cannot replace the seal key of a fleet by one of its hosts");
    await this.#db.reseal(seal, rows);
    this.#keys = keys;
  }

  /** Has what is written from now on sealed with these, with which all hosts seal. Call it in turn. */
  takeKeys(keys: StoreKeys): void {
    this.#keys = keys;
  }

  /** Epoch milliseconds by the clock that all hosts share: the database's. Within a change. @throws ProxyError `store.away` */
  async storeTime(): Promise<number> {
    return await this.#db.shared?.storeTime() ?? this.clock.now();
  }

  /** The place of the next rule: later than that of every rule before. */
  takeSequence(): number {
    return this.#nextSequence++;
  }

  /** Runs `change` when all earlier ones have ended. A TypeError refuses it after the writer was disposed. */
  write<T>(change: () => Promise<T>): Promise<T> {
    const { shared } = this.#db;
    if (!shared) return this.inTurn(change);
    const made = this.inTurn(() => shared.exclusive(change));
    // Not in turn: the next change need not wait for hosts that are slow with this one.
    return made.then(async ({ value, sequence }) => {
      if (sequence !== undefined) await shared.spread(sequence);
      return value;
    });
  }

  /** Runs what is no change of the policy between changes. A TypeError refuses it as {@linkcode write}. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(new TypeError("Cannot write: the state is closed"));
    const result = this.#lastWrite.then(() => {
      this.#dropExpired();
      return work();
    });
    this.#lastWrite = result.then(() => {}, () => {}).then(() => this.#sweep());
    return result;
  }

  /**
   * Makes in memory and in all copies what another host has committed, and tells the listeners. Call it in turn.
   *
   * @param nextSequence later than the places of all rules in it
   */
  async adopt(apply: () => void, nextSequence: number): Promise<void> {
    apply();
    this.#nextSequence = Math.max(this.#nextSequence, nextSequence);
    this.armTimer();
    this.#notify();
    await this.#copy();
  }

  /** Has the policy count until then, in all copies too, and ends what it no longer covers. At any time. */
  async hold(untilMs: number): Promise<void> {
    const wasLost = this.view.isLost(() => this.clock.now());
    this.view.holdUntil(untilMs);
    if (wasLost || this.view.isLost(() => this.clock.now())) this.#notify();
    await this.#copy();
  }

  /**
   * Commits `mutations`, then changes memory by `apply`, then tells the listeners. Call it within
   * {@linkcode write} only.
   *
   * @throws ProxyError `state.write-failed` or `state.damaged`; memory is as before then
   */
  async commit(mutations: readonly Mutation[], apply: () => void): Promise<void> {
    if (mutations.length > 0) await this.commitRows(mutations);
    apply();
    this.#notify();
    await this.#copy();
  }

  /**
   * Has every change from now on made in copies of the view too. A change is done when it is done there.
   *
   * @param copyTo makes steps in all copies; must not reject
   */
  keepCopies(copyTo: CopyTo): void {
    this.#copyTo = copyTo;
    this.view.onStep = (step) => this.#steps.push(step);
  }

  /**
   * Puts rows on the disk, in several commits, that mean nothing before a later {@linkcode commit}.
   *
   * @throws ProxyError `state.write-failed`; what is on the disk by then is taken off again
   */
  async commitAhead(batches: readonly (readonly Mutation[])[]): Promise<void> {
    try {
      for (const batch of batches) await this.commitRows(batch);
    } catch (error) {
      this.sweepLater(batches.flat());
      throw error;
    }
  }

  /** Takes rows that mean nothing off the disk, after the write that is under way. */
  sweepLater(rows: readonly Mutation[]): void {
    this.#meaninglessRows.push(...rows.map(({ key }) => ({ key })));
  }

  /** How writing goes: commits, those that failed among them. */
  figures(): { readonly writeDuration: HistogramData; readonly writeFailures: number } {
    return { writeDuration: this.#writeDuration.data(), writeFailures: this.#writeFailures };
  }

  /** True where other hosts change the same rows. */
  get isShared(): boolean {
    return this.#db.shared !== undefined;
  }

  /** How much one commit takes. */
  get commitBounds(): CommitBounds {
    return this.#db.commitBounds;
  }

  /** All rows below a prefix. @throws ProxyError `state.damaged` */
  rows(prefix: Deno.KvKey): AsyncIterable<Row> {
    return this.#db.rows(prefix);
  }

  /** Bytes on the disk. */
  sizeBytes(): Promise<number> {
    return this.#db.sizeBytes();
  }

  /** Has rules removed when they expire. Call it after adding one that does. */
  armTimer(): void {
    this.#cancelTimer();
    this.#nextExpiryMs = this.view.nextExpiryMs() ?? Infinity;
    if (this.#isClosed || this.#nextExpiryMs === Infinity) return;
    this.#cancelTimer = callAt(this.clock, this.#nextExpiryMs, () => {
      this.#dropExpired();
      this.#lastWrite = this.#lastWrite.then(() => this.#sweep());
    });
  }

  /** Calls `listener`, which must not throw, after every change and expiry. Returns a function that stops it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Finishes the writes that were asked for, and closes the database. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelTimer();
    await this.#lastWrite;
    await this.#db[Symbol.asyncDispose]();
  }

  /** Puts rows on the disk that are no part of the view. Within {@linkcode write}. @throws ProxyError `state.write-failed` */
  async commitRows(mutations: readonly Mutation[]): Promise<void> {
    const startedAt = this.clock.monotonic();
    try {
      await this.#db.commit(mutations);
      this.#keep(mutations);
    } catch (error) {
      this.#writeFailures++;
      throw error;
    } finally {
      this.#writeDuration.observe(this.clock.monotonic() - startedAt);
    }
  }

  /** A rule may be put where one was that has expired, and whose row is still to be swept: the row is the new one's now. */
  #keep(mutations: readonly Mutation[]): void {
    if (this.#meaninglessRows.length === 0) return; // a change of 100,000 rules need not look at each
    const written = new Set(
      mutations.filter(({ value }) => value !== undefined).map(({ key }) => JSON.stringify(key)),
    );
    if (written.size === 0) return;
    this.#meaninglessRows = this.#meaninglessRows.filter(({ key }) => !written.has(JSON.stringify(key)));
  }

  #dropExpired(): void {
    const now = this.clock.now();
    if (now < this.#nextExpiryMs) return;
    const expired = this.view.takeExpired(now);
    this.#meaninglessRows.push(...expired.map(removeRule));
    this.armTimer();
    if (expired.length === 0) return;
    this.#notify();
    void this.#copy();
  }

  async #copy(): Promise<void> {
    const steps = this.#steps;
    this.#steps = [];
    if (steps.length > 0) await this.#copyTo?.(steps);
  }

  /** Takes them off the disk. What fails is tried again after the next write, and at the next start. */
  async #sweep(): Promise<void> {
    if (this.#db.shared) this.#meaninglessRows = []; // it sweeps by its own clock: another host may have used a place again
    while (this.#meaninglessRows.length > 0) {
      const batch = this.#meaninglessRows.slice(0, SWEEP_BATCH);
      try {
        await this.commitRows(batch);
      } catch {
        return; // nothing is granted by these rows, and the next change meets the same disk and reports it
      }
      this.#meaninglessRows.splice(0, batch.length);
    }
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}
