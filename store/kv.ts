/**
 * The state file as a Deno KV database: opening, schema version, reading rows, atomic commits. Every error of KV and
 * SQLite leaves here as a ProxyError with a code.
 *
 * Not here: files, modes and the lock (`folder.ts`), and the meaning of rows (`clients.ts`, `secrets.ts`, `rules.ts`).
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import type { Engine, Mutation, NewSeal, Row, SealedEngine } from "./engine.ts";
import { StateFolder } from "./folder.ts";
import { MAX_COMMIT_CHARS, MAX_COMMIT_ROWS } from "./limits.ts";
import { RowReader } from "./row.ts";
import { decodeRow, encodeRow } from "./row_codec.ts";

/** The layout of the rows. A change that an older program would misread adds one. */
export const SCHEMA_VERSION = 2;
/** What a new database has. A rotation of the seal key makes it 2: the key of tokens is in the proof then. */
const FIRST_SCHEMA = 1;

const META_KEY: Deno.KvKey = ["meta"];
/** `["resealed", id, …key]`: what a row will hold when the seal key with this id is in force. */
const RESEALED_PREFIX: Deno.KvKey = ["resealed"];
/** Bytes of the rows that are exchanged in one commit, of which Deno KV takes 819,200, and how many, each with a deletion. */
const RESEAL_BYTES = 400_000;
const RESEAL_ROWS = MAX_COMMIT_ROWS / 2 - 1;

/** An open, locked state database. One per folder and machine at a time. */
export class Database implements Engine, SealedEngine, Disposable {
  readonly commitBounds = { rows: MAX_COMMIT_ROWS, chars: MAX_COMMIT_CHARS };
  /** What {@linkcode initialise} stored: proof of the seal key. Undefined while the database is new. */
  sealCheck: Uint8Array<ArrayBuffer> | undefined;
  sealKeyId: string | undefined;
  readonly #folder: StateFolder;
  readonly #kv: Deno.Kv;
  /** Rows of the seal key in force are not in their places yet: they go there before anything else is written. */
  #hasResealed = false;

  private constructor(folder: StateFolder, kv: Deno.Kv, { sealCheck, sealKeyId }: Partial<NewSeal> = {}) {
    this.#folder = folder;
    this.#kv = kv;
    this.sealCheck = sealCheck;
    this.sealKeyId = sealKeyId;
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
      const db = new Database(folder, kv, readMeta(folder, meta));
      await db.#settleResealed();
      return db;
    } catch (error) {
      kv?.close();
      folder[Symbol.dispose]();
      throw asStateError(error, "open", folder.dbPath, "state.unreadable");
    }
  }

  /** Completes a new database. `sealCheck` is anything that only the right seal key opens. */
  async initialise(sealCheck: Uint8Array, sealKeyId = ""): Promise<void> {
    await this.commit([{ key: META_KEY, value: { schema: FIRST_SCHEMA, sealCheck, sealKeyId } }]);
    await this.#folder.markComplete();
  }

  /**
   * See `Engine.reseal`. The rows are written beside those in force, where they mean nothing; one commit of the proof makes them
   * mean something, and then they are moved to their places. What a crash leaves of that is done by the next {@linkcode open}.
   */
  async reseal({ sealCheck, sealKeyId }: NewSeal, rows: readonly Mutation[]): Promise<void> {
    await this.#settleResealed();
    const staged = rows.map(({ key, value }) => ({
      key: [...RESEALED_PREFIX, sealKeyId, ...key],
      value: value ?? {},
    }));
    for (const batch of batchesOf(staged)) await this.commit(batch);
    await this.commit([{ key: META_KEY, value: { schema: SCHEMA_VERSION, sealCheck, sealKeyId } }]).catch(
      async (error) => {
        const meta = readMeta(this.#folder, (await this.#kv.get(META_KEY)).value);
        if (meta?.sealKeyId !== sealKeyId) throw error; // else the error came after the commit: it is in force
      },
    );
    this.sealCheck = sealCheck;
    this.sealKeyId = sealKeyId;
    this.#hasResealed = true;
    await this.#settleResealed().catch(() => {}); // it has been done; what is left is done before the next write
  }

  /** Moves rows of the seal key in force to their places, and removes those of any other. */
  async #settleResealed(): Promise<void> {
    const staged: { key: Deno.KvKey; value: Readonly<Record<string, unknown>> }[] = [];
    const foreign: Deno.KvKey[] = [];
    for await (const { key, value } of this.rows(RESEALED_PREFIX)) {
      const isOurs = key[1] === this.sealKeyId && typeof value === "object" && value !== null;
      if (isOurs) staged.push({ key, value: Object.fromEntries(Object.entries(value)) });
      else foreign.push(key);
    }
    for (const batch of batchesOf(staged)) {
      await this.#commit(batch.flatMap(({ key, value }) => [{ key: key.slice(2), value }, { key }]));
    }
    for (let at = 0; at < foreign.length; at += RESEAL_ROWS) {
      await this.#commit(foreign.slice(at, at + RESEAL_ROWS).map((key) => ({ key })));
    }
    this.#hasResealed = false;
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
    if (this.#hasResealed) await this.#settleResealed();
    await this.#commit(mutations);
  }

  async #commit(mutations: readonly Mutation[]): Promise<void> {
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

/** As few commits as can exchange the rows. */
function batchesOf<T extends { readonly value: Readonly<Record<string, unknown>> }>(
  rows: readonly T[],
): T[][] {
  const batches: T[][] = [];
  let bytes = Infinity;
  for (const row of rows) {
    const own = encodeRow(row.value).length;
    const last = batches.at(-1);
    bytes += own;
    if (last && last.length < RESEAL_ROWS && bytes <= RESEAL_BYTES) last.push(row);
    else {
      batches.push([row]);
      bytes = own;
    }
  }
  return batches;
}

function readMeta(folder: StateFolder, meta: unknown): Partial<NewSeal> | undefined {
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
  const sealKeyId = row.optionalString("sealKeyId");
  return { sealCheck: row.bytes("sealCheck"), ...(sealKeyId ? { sealKeyId } : {}) };
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
