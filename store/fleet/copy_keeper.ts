/**
 * Keeps the local copy of the policy right: it goes before this host says to have a newer policy in force, and is written anew
 * when nothing has changed for a moment.
 *
 * Not here: the files (`local_copy.ts`).
 *
 * @module
 */
import { messageOf } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import { writeClient } from "../clients.ts";
import type { Mutation } from "../engine.ts";
import type { Position } from "../postgres/database.ts";
import { writeMode } from "../modes.ts";
import { encodeBatch, joinBatches } from "../postgres/row_batch.ts";
import { writeRule } from "../rules.ts";
import type { StoreKeys } from "../seal.ts";
import { sealedRows } from "../sealed_rows.ts";
import { writeSuspension } from "../suspensions.ts";
import type { PolicyView } from "../view.ts";
import type { LocalCopy } from "./local_copy.ts";

/** Many changes come at once: each would write everything. */
const QUIET_MS = 1_000;
/** Some milliseconds of work: a host whose threads are one decides nothing meanwhile. */
const ROWS_AT_ONCE = 250;

/** The policy at one moment. */
export interface TakenPolicy {
  readonly position: Position;
  readonly rows: readonly Mutation[];
  /** With which what is sealed in them is sealed. */
  readonly keys: StoreKeys;
}

/** See the module. */
export class CopyKeeper implements AsyncDisposable {
  readonly #copy: LocalCopy;
  readonly #log: LineLog;
  readonly #take: () => Promise<TakenPolicy>;
  /** One after the other: a copy that is being written must not come back after it has been dropped. */
  #work: Promise<void> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Of what is in force; grows at the moment when a copy of before becomes wrong. */
  #generation = 0;
  #isClosed = false;

  constructor(copy: LocalCopy, take: () => Promise<TakenPolicy>, log: LineLog) {
    this.#copy = copy;
    this.#take = take;
    this.#log = log;
  }

  /** Resolves when no copy is left that a newer policy makes wrong. Rejects when it cannot be removed. */
  async drop(): Promise<void> {
    this.#generation++;
    const dropped = this.#work.then(() => this.#copy.drop());
    this.#work = dropped.catch(() => {});
    await dropped;
    this.saveSoon();
  }

  /** Writes the copy when nothing has dropped it for a moment. */
  saveSoon(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#save(), QUIET_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Writes down when the store last knew of this host. */
  async contact(atMs: number, graceMs: number): Promise<void> {
    this.#work = this.#work.then(() => this.#copy.saveContact(atMs, graceMs)).catch((error) =>
      this.#failed(error)
    );
    await this.#work;
  }

  async #save(): Promise<void> {
    this.#timer = undefined;
    const generation = this.#generation;
    try {
      const { position, rows, keys } = await this.#take();
      const batch = await encodeSlowly(rows, () => this.#generation === generation);
      // Looked at when its turn has come: what was taken before a drop must not be written after it.
      const saved = this.#work.then(() =>
        this.#generation === generation ? this.#copy.save(position, { rows: batch, keys }) : undefined
      );
      this.#work = saved.catch(() => {});
      await saved;
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#log.warn(
      `the local copy of the policy cannot be written, so this host will not start while the store is away: ${
        messageOf(error)
      }`,
    );
  }

  /** Writes what is still to be written. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      await this.#save();
    }
    await this.#work;
  }
}

/** As one batch, with room for everything else every few milliseconds; cut short when nobody wants it any more. */
async function encodeSlowly(rows: readonly Mutation[], isWanted: () => boolean): Promise<string> {
  const batches: string[] = [];
  for (let at = 0; at < rows.length && isWanted(); at += ROWS_AT_ONCE) {
    batches.push(encodeBatch(rows.slice(at, at + ROWS_AT_ONCE), 0));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return joinBatches(batches);
}

/** Everything in a view as rows. */
export async function rowsOf(view: PolicyView, { sealing }: StoreKeys, nowMs: number): Promise<Mutation[]> {
  const clients = view.storedClients();
  const rules = clients.flatMap(({ record: { name } }) => view.storedRules(name));
  const since = view.suspensions().find(({ client }) => client === undefined)?.since;
  return [
    ...clients.map(writeClient),
    ...rules.map((stored) => writeRule(stored, 0)),
    ...await sealedRows(view, sealing),
    ...(since === undefined ? [] : [writeSuspension(since)]),
    ...view.modeSwitches(nowMs).map((made) => writeMode(made, nowMs)),
  ];
}
