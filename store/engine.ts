/**
 * What the state needs of a database: rows by key, read below a prefix and changed all at once. Two keep it: a file of one
 * host (`kv.ts`), and a server that many hosts share (`postgres/`). One suite of tests holds for both.
 *
 * Not here: what rows mean (`clients.ts`, `secrets.ts`, `rules.ts`).
 *
 * @module
 */

/** One change of a commit: a row to write, or one to remove when `value` is undefined. */
export interface Mutation {
  /** Strings and numbers, of which the first says what the row is. */
  readonly key: Deno.KvKey;
  readonly value?: Readonly<Record<string, unknown>>;
  /** When the database may drop the row by itself, in milliseconds from now; it may do so a minute late. */
  readonly expireInMs?: number;
}

/** A row as it was read. */
export interface Row {
  readonly key: Deno.KvKey;
  /** A record of {@linkcode Mutation.value}; anything else is damage. */
  readonly value: unknown;
}

/** How much one commit takes. */
export interface CommitBounds {
  readonly rows: number;
  /** Characters of the rows as JSON, without their keys. */
  readonly chars: number;
}

/** A source of rows. */
export interface RowSource {
  /**
   * All rows below a prefix, in key order: strings by their UTF-8 bytes, numbers by their size.
   *
   * @throws ProxyError `state.damaged` when one cannot be read
   */
  rows(prefix: Deno.KvKey): AsyncIterable<Row>;
}

/** An open database. Disposing it closes it. */
export interface Engine extends RowSource, AsyncDisposable {
  readonly commitBounds: CommitBounds;
  /** What a {@linkcode Writer} has to do because other hosts change the rows too; absent where this host is the only one. */
  readonly shared?: SharedEngine;

  /**
   * Applies all mutations or none; of several of one key the last counts. They are durable when this returns.
   *
   * @throws ProxyError `state.write-failed`, `state.damaged`
   */
  commit(mutations: readonly Mutation[]): Promise<void>;

  /**
   * Puts the proof of another seal key in the place of the one before, and these rows in theirs: all or nothing, however many
   * they are. Absent where that is not possible.
   *
   * @throws ProxyError `state.write-failed`, `state.damaged`; nothing has changed then
   */
  reseal?(seal: NewSeal, rows: readonly Mutation[]): Promise<void>;

  /** Bytes that the database takes on its disk. */
  sizeBytes(): Promise<number>;
}

/** The proof of the seal key that a database keeps. */
export interface SealedEngine {
  /** What {@linkcode initialise} stored. Undefined while the database is new. */
  readonly sealCheck: Uint8Array<ArrayBuffer> | undefined;
  /** The id of that key, for messages; undefined where a program that knew of none wrote it. */
  readonly sealKeyId: string | undefined;
  /** Completes a new database. `sealCheck` is anything that only the right seal key opens. */
  initialise(sealCheck: Uint8Array, sealKeyId?: string): Promise<void>;
  /** The same with rows, all at once; absent where a database is complete only when it is initialised. */
  fill?(sealCheck: Uint8Array, sealKeyId: string, mutations: readonly Mutation[]): Promise<void>;
}

/** The proof of another seal key. */
export interface NewSeal {
  readonly sealCheck: Uint8Array<ArrayBuffer>;
  readonly sealKeyId: string;
}

/** A database that other hosts change too. */
export interface SharedEngine {
  /**
   * Runs a change while no other host makes one, after everything that others have changed is in this host's view.
   *
   * @returns what it returned, and the sequence of the change that it committed, if any
   * @throws ProxyError `store.away`, at once; what `change` throws, and nothing has changed then
   */
  exclusive<T>(
    change: () => Promise<T>,
  ): Promise<{ readonly value: T; readonly sequence: number | undefined }>;
  /** Epoch milliseconds by the database's clock. Within a change. @throws ProxyError `store.away` */
  storeTime(): Promise<number>;
  /** Resolves when every live host has that change in force, or has had time for it. Never rejects. */
  spread(sequence: number): Promise<void>;
}
