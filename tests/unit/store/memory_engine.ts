/**
 * A database in memory and a writer on it: what the state does to a database can be seen, and it fails when a test says so.
 *
 * Not here: whether a database keeps its promises (`engine_contract.ts`).
 *
 * @module
 */
import type { Clock } from "../../../core/clock.ts";
import type { Engine, Mutation, NewSeal, Row, SharedEngine } from "../../../store/engine.ts";
import { deriveKeys, type StoreKeys } from "../../../store/seal.ts";
import { PolicyView } from "../../../store/view.ts";
import { Writer } from "../../../store/writer.ts";
import { HandClock } from "./support.ts";

/** Rows by key. As the file of one host does, it holds nothing of a commit that fails. */
export class MemoryEngine implements Engine {
  readonly commitBounds = { rows: 1_000, chars: 524_288 };
  /** All that were asked for, those that failed among them. */
  readonly commits: (readonly Mutation[])[] = [];
  readonly resealed: NewSeal[] = [];
  /** Whether the commit of that number, from 1, fails. */
  isFull: (commit: number) => boolean = () => false;
  closed = 0;
  readonly #rows = new Map<string, Row>();

  readonly shared?: SharedEngine;

  constructor(shared?: SharedEngine) {
    if (shared) this.shared = shared;
  }

  commit(mutations: readonly Mutation[]): Promise<void> {
    this.commits.push(mutations);
    if (this.isFull(this.commits.length)) return Promise.reject(new Error("disk is full"));
    for (const { key, value } of mutations) {
      if (value === undefined) this.#rows.delete(JSON.stringify(key));
      else this.#rows.set(JSON.stringify(key), { key, value });
    }
    return Promise.resolve();
  }

  async reseal(seal: NewSeal, rows: readonly Mutation[]): Promise<void> {
    await this.commit(rows);
    this.resealed.push(seal);
  }

  async *rows(prefix: Deno.KvKey): AsyncIterable<Row> {
    await Promise.resolve();
    for (const row of this.#rows.values()) if (row.key[0] === prefix[0]) yield row;
  }

  /** The keys of all rows, each as one text. */
  get keys(): string[] {
    return [...this.#rows.values()].map(({ key }) => key.join(" ")).sort();
  }

  sizeBytes(): Promise<number> {
    return Promise.resolve(this.#rows.size);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }
}

/** Of a seal key of which every byte is `fill`. */
export function keysOf(fill: number): Promise<StoreKeys> {
  return deriveKeys(new Uint8Array(32).fill(fill));
}

/** A writer on an empty database. */
export async function makeWriter(
  { db = new MemoryEngine(), clock = new HandClock() }: { readonly db?: Engine; readonly clock?: Clock } = {},
): Promise<Writer> {
  return new Writer({ db, keys: await keysOf(1), view: new PolicyView(), clock, nextSequence: 0 });
}

/** A database that other hosts change too, of which this one is alone and at `nowMs` of the database's clock. */
export class SharedMemory implements SharedEngine {
  nowMs = 2_000_000_000_000;
  /** Sequences of changes that were waited for. */
  readonly spreads: number[] = [];
  /** Resolves when the others have a change. */
  onSpread: Promise<void> = Promise.resolve();
  #sequence = 0;

  /** Call it in a change that commits. */
  takeSequence(): void {
    this.#sequence++;
  }

  async exclusive<T>(
    change: () => Promise<T>,
  ): Promise<{ readonly value: T; readonly sequence: number | undefined }> {
    const before = this.#sequence;
    const value = await change();
    return { value, sequence: this.#sequence > before ? this.#sequence : undefined };
  }

  storeTime(): Promise<number> {
    return Promise.resolve(this.nowMs);
  }

  async spread(sequence: number): Promise<void> {
    this.spreads.push(sequence);
    await this.onSpread;
  }
}
