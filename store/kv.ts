/**
 * The state file as a Deno KV database: opening, schema version, reading rows, atomic commits. Every error of KV and
 * SQLite leaves here as a ProxyError with a code.
 *
 * Not here: files, modes and the lock (`folder.ts`), and the meaning of rows (`clients.ts`, `secrets.ts`, `rules.ts`).
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import type { Engine, Mutation, Row, SealedEngine } from "./engine.ts";
import { StateFolder } from "./folder.ts";
import { MAX_COMMIT_CHARS, MAX_COMMIT_ROWS } from "./limits.ts";
import { RowReader } from "./row.ts";
import { decodeRow, encodeRow } from "./row_codec.ts";

/** The layout of the rows. A change that an older program would misread adds one. */
export const SCHEMA_VERSION = 1;

const META_KEY: Deno.KvKey = ["meta"];

/** An open, locked state database. One per folder and machine at a time. */
export class Database implements Engine, SealedEngine, Disposable {
  readonly commitBounds = { rows: MAX_COMMIT_ROWS, chars: MAX_COMMIT_CHARS };
  /** What {@linkcode initialise} stored: proof of the seal key. Undefined while the database is new. */
  readonly sealCheck: Uint8Array<ArrayBuffer> | undefined;
  readonly #folder: StateFolder;
  readonly #kv: Deno.Kv;

  private constructor(folder: StateFolder, kv: Deno.Kv, sealCheck: Uint8Array<ArrayBuffer> | undefined) {
    this.#folder = folder;
    this.#kv = kv;
    this.sealCheck = sealCheck;
  }

  /**
   * Opens the database of a state folder, made when there is none.
   *
   * @throws ProxyError `state.locked`, `state.unreadable`, `state.damaged`, `state.newer`, `state.write-failed`,
   * `input.invalid` for an empty folder name
   */
  static async open(dir: string): Promise<Database> {
    const folder = await StateFolder.open(dir);
    let kv: Deno.Kv | undefined;
    try {
      kv = await Deno.openKv(folder.dbPath);
      const meta = (await kv.get(META_KEY)).value;
      return new Database(folder, kv, readMeta(folder, meta));
    } catch (error) {
      kv?.close();
      folder[Symbol.dispose]();
      throw asStateError(error, "open", folder.dbPath, "state.unreadable");
    }
  }

  /** Completes a new database. `sealCheck` is anything that only the right seal key opens. */
  async initialise(sealCheck: Uint8Array): Promise<void> {
    await this.commit([{ key: META_KEY, value: { schema: SCHEMA_VERSION, sealCheck } }]);
    await this.#folder.markComplete();
  }

  /**
   * All rows below a prefix, in key order.
   *
   * @throws ProxyError `state.damaged` when one cannot be read
   */
  async *rows(prefix: Deno.KvKey): AsyncGenerator<Row> {
    try {
      for await (const { key, value } of this.#kv.list({ prefix }, { batchSize: 500 })) {
        yield { key, value: decodeRow(value) };
      }
    } catch (error) {
      throw asStateError(error, "read", this.#folder.dbPath, "state.damaged");
    }
  }

  /**
   * Applies all mutations or none (at most 1,000). They are on the disk when this returns: KV runs SQLite with
   * synchronous=FULL (measured).
   *
   * @throws ProxyError `state.write-failed`; `state.damaged`
   */
  async commit(mutations: readonly Mutation[]): Promise<void> {
    try {
      await this.#folder.checkFile();
      const atomic = this.#kv.atomic();
      for (const { key, value, expireInMs } of mutations) {
        if (value === undefined) atomic.delete(key);
        else atomic.set(key, encodeRow(value), expireInMs === undefined ? {} : { expireIn: expireInMs });
      }
      const { ok } = await atomic.commit();
      if (!ok) throw new Error("the commit was not taken");
      // Once more, so that a file removed during the commit does not take an acknowledged write with it.
      await this.#folder.checkFile();
    } catch (error) {
      throw asStateError(error, "write", this.#folder.dbPath, "state.write-failed");
    }
  }

  /** Bytes that the database takes on the disk, what SQLite has yet to move from its log included. */
  sizeBytes(): Promise<number> {
    return this.#folder.sizeBytes();
  }

  /** Closes the database and unlocks the folder. */
  [Symbol.dispose](): void {
    this.#kv.close();
    this.#folder[Symbol.dispose]();
  }

  /** The same. */
  [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    return Promise.resolve();
  }
}

function readMeta(folder: StateFolder, meta: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (meta === null) {
    if (folder.isNew) return undefined;
    throw new ProxyError(
      "state.damaged",
      `Cannot open ${folder.dbPath}: it is no state file of slicer-proxy`,
      {
        hint: "restore it from a backup, or give another --state-dir",
      },
    );
  }
  const row = new RowReader("the state file itself", decodeRow(meta));
  const schema = row.number("schema");
  if (schema > SCHEMA_VERSION) {
    throw new ProxyError(
      "state.newer",
      `Cannot open ${folder.dbPath}: a newer slicer-proxy wrote it (layout ${schema}, this one reads ${SCHEMA_VERSION})`,
      { hint: "run that version, or restore a backup from before the update" },
    );
  }
  return row.bytes("sealCheck");
}

/** SQLite's texts, as met on Deno 2.7 and 2.9. KV gives them no codes. */
const DAMAGED = /file is not a database|disk image is malformed/;
const NOT_WRITTEN = /disk is full|disk I\/O error|read-?only database/;

function asStateError(
  error: unknown,
  verb: "open" | "read" | "write",
  path: string,
  otherwise: "state.unreadable" | "state.damaged" | "state.write-failed",
): ProxyError {
  if (error instanceof ProxyError) return error;
  const text = messageOf(error);
  const code = DAMAGED.test(text)
    ? "state.damaged"
    : NOT_WRITTEN.test(text)
    ? "state.write-failed"
    : otherwise;
  const hint = {
    "state.damaged": "restore the state folder from a backup",
    "state.write-failed": "make room on the disk, and make the folder and its files writable for this user",
    "state.unreadable": "check that the folder and its files belong to this user",
  }[code];
  return new ProxyError(code, `Cannot ${verb} ${path}: ${text}`, { cause: error, hint });
}
