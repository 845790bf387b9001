/**
 * One fleet in a PostgreSQL database: its rows, its changes in order, and who has them. A change is one transaction under the
 * lock of the fleet's row, so that all changes of all hosts are one after the other.
 *
 * Not here: the connection (`link.ts`), and what a host does with changes of others (`../fleet/`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import type { Engine, Mutation, NewSeal, Row, SealedEngine } from "../engine.ts";
import { type Answer, Link, type LinkOptions, storeError } from "./link.ts";
import { decodeBatch, decodeStored, encodeBatch } from "./row_batch.ts";
import { encodeKey, endOfPrefix } from "./row_key.ts";
import { checkLayout, prepareSchema } from "./schema.ts";

/** The channel on which every change is announced, with its fleet. */
export const CHANNEL = "slicer_proxy";

/** Which fleet, and how its database is reached. */
export interface DatabaseOptions extends LinkOptions {
  readonly fleet: string;
  /** Epoch milliseconds of this host. */
  readonly now: () => number;
  /** Who makes changes. */
  readonly host: string;
}

/** Where a fleet stands: its last change. */
export interface Position {
  readonly sequence: number;
  /** Random for each change: another one at the same place is another history. */
  readonly changeId: string | undefined;
}

/** Where a fleet stands with its seal key. */
export interface SealStanding {
  /** Of the key in force. */
  readonly keyId: string;
  /** Of the key that is to follow it, once all hosts have that. */
  readonly nextKeyId: string | undefined;
  /** Of the key before the one in force. */
  readonly formerKeyId: string | undefined;
  /** The change with which the key in force came, while a host may still act on what was before it. */
  readonly switchedAt: number | undefined;
}

/** A change as it is kept. */
export interface StoredChange extends Position {
  readonly mutations: readonly Mutation[];
}

/** A transaction that has the fleet's lock. */
export interface Turn {
  readonly position: Position;
  /** Writes the rows and the change, and commits. At most once. */
  commit(mutations: readonly Mutation[]): Promise<Position>;
  /** Commits what was asked for by {@linkcode PostgresDatabase.query} in it, in the place of {@linkcode commit}. */
  end(): Promise<void>;
}

/** Differences below this are noise of the measurement, and of clocks that are kept right. */
const CLOCK_STEP_MS = 1_000;
/** A busy host may take as long between two questions of one change. */
const SHORTEST_IDLE_MS = 500;
/** How many changes are kept for hosts that missed some. Older ones make a host read everything. */
const KEPT_CHANGES = 10_000;
/** How many bytes of them are kept: twice the rows of a fleet that is full, after which reading everything is less. */
const KEPT_BYTES = 67_108_864;
/** Their bytes are counted at every so many changes, and at each that is large; what is kept is above the bound by no more. */
const COUNTED_CHANGES = 64;
const COUNTED_BYTES = 1_048_576;
/** All rows of a large fleet, over a slow network. */
const LONG_ANSWER_MS = 60_000;
const UNIQUE_VIOLATION = "23505";
/** Changes that are read at once, and the bytes after which there are fewer: one that applies a large policy has tens of MB. */
const CHANGES_AT_ONCE = 200;
const BYTES_AT_ONCE = 8_388_608;

/** An open database. */
export class PostgresDatabase implements Engine, SealedEngine {
  readonly commitBounds = { rows: Infinity, chars: Infinity };
  readonly fleet: string;
  readonly link: Link;
  /** How far the database's clock is ahead of this host's, in whole seconds. */
  readonly aheadMs: number;
  /** Which run of which server this is: another one has another. */
  readonly serverRun: string;
  sealCheck: Uint8Array<ArrayBuffer> | undefined;
  sealKeyId: string | undefined;
  readonly #options: DatabaseOptions;

  private constructor(link: Link, { aheadMs, run }: ServerFacts, options: DatabaseOptions) {
    this.link = link;
    this.aheadMs = aheadMs;
    this.serverRun = run;
    this.fleet = options.fleet;
    this.#options = options;
  }

  /**
   * Connects, makes the tables when there are none, and finds the fleet.
   *
   * @throws ProxyError `store.away`, `store.refused`, `state.newer`
   */
  static async open(options: DatabaseOptions): Promise<PostgresDatabase> {
    const link = await Link.open(options);
    try {
      // A host that is stopped in the middle of a change must not hold the fleet's lock for as long: the others get it while
      // they still wait for it.
      const longestIdleMs = Math.max(SHORTEST_IDLE_MS, Math.ceil(options.timeoutMs / 2));
      await link.query(`SET idle_in_transaction_session_timeout = ${longestIdleMs}`);
      await link.query(`SET statement_timeout = ${LONG_ANSWER_MS}`);
      await prepareSchema(link);
      const db = new PostgresDatabase(link, await factsOf(link, options.now), options);
      await db.#find();
      return db;
    } catch (error) {
      link.destroy();
      throw storeError(error, options);
    }
  }

  async #find(): Promise<void> {
    const [found] = await this.link.query(
      "SELECT seal_check, seal_key_id FROM slicer_proxy.fleets WHERE name = $1",
      [this.fleet],
    );
    if (!found) return;
    ({ sealCheck: this.sealCheck, sealKeyId: this.sealKeyId } = sealOf(found));
  }

  /** Makes the fleet. Where another host was faster, {@linkcode sealCheck} is that host's then. */
  async initialise(sealCheck: Uint8Array, sealKeyId: string): Promise<void> {
    await this.#ask(
      `INSERT INTO slicer_proxy.fleets (name, seal_check, seal_key_id) VALUES ($1, decode($2, 'base64'), $3)
       ON CONFLICT DO NOTHING`,
      [this.fleet, base64(sealCheck), sealKeyId],
    );
    await this.#find();
  }

  /** Makes the fleet with rows, all or nothing. @throws ProxyError `input.conflict` when there is such a fleet */
  async fill(sealCheck: Uint8Array, sealKeyId: string, mutations: readonly Mutation[]): Promise<void> {
    try {
      await this.link.query(
        `WITH made AS (INSERT INTO slicer_proxy.fleets (name, seal_check, seal_key_id)
           VALUES ($1, decode($3, 'base64'), $4)),
         ${BATCH_ROWS} SELECT 1`,
        [this.fleet, encodeBatch(mutations, this.aheadMs), base64(sealCheck), sealKeyId],
      );
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === UNIQUE_VIOLATION)) {
        throw storeError(error, this.#options);
      }
      throw new ProxyError("input.conflict", `Cannot make the fleet ${this.fleet}: there is one already`);
    }
    await this.#find();
  }

  async *rows(prefix: Deno.KvKey): AsyncGenerator<Row> {
    const found = await this.#ask(
      `SELECT ${ROW_COLUMNS} FROM slicer_proxy.rows AS r WHERE fleet = $1
       AND key >= decode($2, 'base64') AND key < decode($3, 'base64') ORDER BY r.key`,
      [this.fleet, base64(encodeKey(prefix)), base64(endOfPrefix(prefix))],
    );
    for (const { key, value } of found) yield decodeStored(key, value, this.aheadMs);
  }

  /** How many rows are below a prefix. */
  async count(prefix: Deno.KvKey): Promise<number> {
    const [found] = await this.#ask(
      `SELECT count(*)::float8 AS rows FROM slicer_proxy.rows WHERE fleet = $1
       AND key >= decode($2, 'base64') AND key < decode($3, 'base64')`,
      [this.fleet, base64(encodeKey(prefix)), base64(endOfPrefix(prefix))],
    );
    return Number(found?.rows);
  }

  /** All rows in key order, the last change that is in them, and the key that seals them. One statement sees one moment. */
  async readAll(): Promise<
    { readonly rows: readonly Row[]; readonly position: Position; readonly seal: NewSeal }
  > {
    const rows: Row[] = [];
    let first: Answer | undefined;
    const take = (found: readonly Answer[]) => {
      first ??= found[0];
      for (const { key, value } of found) if (key !== null) rows.push(decodeStored(key, value, this.aheadMs));
    };
    try {
      await this.link.queryInParts(
        `SELECT f.sequence::float8 AS sequence, f.last_change, f.seal_check, f.seal_key_id, ${ROW_COLUMNS}
         FROM slicer_proxy.fleets f LEFT JOIN slicer_proxy.rows r ON r.fleet = f.name WHERE f.name = $1 ORDER BY r.key`,
        [this.fleet],
        { take, timeoutMs: LONG_ANSWER_MS },
      );
    } catch (error) {
      throw storeError(error, this.#options);
    }
    return { position: positionOf(first), rows, seal: sealOf(first) };
  }

  /** The last change, and how it stands with the seal key. */
  async position(): Promise<Position & { readonly seal: SealStanding }> {
    const [found] = await this.#ask(
      `SELECT sequence::float8 AS sequence, last_change, oldest, seal_key_id, next_seal_key_id, former_seal_key_id,
         switched_at::float8 AS switched_at
       FROM slicer_proxy.fleets, slicer_proxy.layout WHERE name = $1`,
      [this.fleet],
    );
    if (found) checkLayout(Number(found.oldest)); // a newer program may have come since
    return { ...positionOf(found), seal: sealStandingOf(found) };
  }

  /** The proof of the seal key in force, as it is now. */
  async seal(): Promise<NewSeal> {
    const [found] = await this.#ask(
      "SELECT seal_check, seal_key_id FROM slicer_proxy.fleets WHERE name = $1",
      [this.fleet],
    );
    return sealOf(found);
  }

  /** The id of a change; undefined when it is not kept any more. */
  async changeIdAt(sequence: number): Promise<string | undefined> {
    const [found] = await this.#ask(
      "SELECT id FROM slicer_proxy.changes WHERE fleet = $1 AND sequence = $2",
      [
        this.fleet,
        String(sequence),
      ],
    );
    return typeof found?.id === "string" ? found.id : undefined;
  }

  /** The next changes after one, oldest first; the first of them is a later one when those between are kept no more. */
  async changesAfter(sequence: number): Promise<StoredChange[]> {
    const found = await this.#ask(
      `SELECT sequence::float8 AS sequence, id AS last_change, mutations FROM (
         SELECT *, sum(octet_length(mutations)) OVER (ORDER BY sequence) - octet_length(mutations) AS bytes_before
         FROM (SELECT * FROM slicer_proxy.changes WHERE fleet = $1 AND sequence > $2
           ORDER BY sequence LIMIT ${CHANGES_AT_ONCE}) AS next) AS each
       WHERE bytes_before < ${BYTES_AT_ONCE} ORDER BY sequence`,
      [this.fleet, String(sequence)],
    );
    return found.map((row) => ({
      ...positionOf(row),
      mutations: decodeBatch(String(row.mutations), this.aheadMs),
    }));
  }

  /** Runs `change` under the fleet's lock. Rolls back what it has not committed. */
  async inTurn<T>(change: (turn: Turn) => Promise<T>): Promise<T> {
    let isOver = false;
    await this.#ask("BEGIN");
    try {
      const [found] = await this.#ask(
        `SELECT sequence::float8 AS sequence, last_change FROM slicer_proxy.fleets WHERE name = $1 FOR UPDATE`,
        [this.fleet],
      );
      const position = positionOf(found);
      return await change({
        position,
        commit: async (mutations) => {
          if (isOver) throw new TypeError("Cannot commit twice in one turn");
          const made = await this.#writeChange(mutations, position);
          isOver = true;
          await this.#commitTurn();
          return made;
        },
        end: async () => {
          if (isOver) throw new TypeError("Cannot commit twice in one turn");
          isOver = true;
          await this.#commitTurn();
        },
      });
    } finally {
      if (!isOver) await this.link.query("ROLLBACK").catch(() => this.link.destroy());
    }
  }

  async #writeChange(mutations: readonly Mutation[], { sequence }: Position): Promise<Position> {
    const changeId = crypto.randomUUID();
    const batch = encodeBatch(mutations, this.aheadMs);
    const next = sequence + 1;
    await this.#ask(
      `WITH ${BATCH_ROWS},
       told AS (INSERT INTO slicer_proxy.changes (fleet, sequence, id, host, mutations)
         VALUES ($1, $3, $4, $5, $2)),
       old AS (DELETE FROM slicer_proxy.changes WHERE fleet = $1 AND sequence <= $3::bigint - ${KEPT_CHANGES})
       UPDATE slicer_proxy.fleets SET sequence = $3, last_change = $4 WHERE name = $1`,
      [this.fleet, batch, String(next), changeId, this.#options.host],
    );
    if (next % COUNTED_CHANGES === 0 || batch.length >= COUNTED_BYTES) await this.#dropBytes(next);
    await this.#ask("SELECT pg_notify($1, $2)", [CHANNEL, this.fleet]);
    return { sequence: next, changeId };
  }

  async #commitTurn(): Promise<void> {
    try {
      await this.link.query("COMMIT");
    } catch (cause) {
      const refusal = storeError(cause, this.#options, "nothing was changed");
      if (refusal.code === "store.refused") throw refusal; // an answer: it was rolled back
      this.link.destroy(); // memory follows the sequence, which says what became of it
      throw new ProxyError(
        "store.away",
        "Cannot say whether the change was made: the store stopped answering",
        {
          cause,
          hint: "look whether it is there before you make it again",
        },
      );
    }
  }

  /** Removes the oldest changes, of which more bytes are kept than are of use. The newest stays, however large it is. */
  async #dropBytes(newest: number): Promise<void> {
    await this.#ask(
      `DELETE FROM slicer_proxy.changes WHERE fleet = $1 AND sequence < $2 AND sequence <= (
         SELECT max(sequence) FROM (
           SELECT sequence, sum(octet_length(mutations)) OVER (ORDER BY sequence DESC) AS bytes
           FROM slicer_proxy.changes WHERE fleet = $1) AS kept
         WHERE bytes > ${KEPT_BYTES})`,
      [this.fleet, String(newest)],
    );
  }

  /** As a change of this host. */
  async commit(mutations: readonly Mutation[]): Promise<void> {
    await this.inTurn(({ commit }) => commit(mutations));
  }

  /** Writes rows that are no part of the policy: nobody is told. */
  async commitQuietly(mutations: readonly Mutation[]): Promise<void> {
    await this.#ask(`WITH ${BATCH_ROWS} SELECT 1`, [this.fleet, encodeBatch(mutations, this.aheadMs)]);
  }

  /** Epoch milliseconds by the clock of the server, not of this host. */
  async time(): Promise<number> {
    const [found] = await this.#ask("SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now_ms");
    return Math.floor(Number(found?.now_ms));
  }

  /** Removes the rows whose time is over by the database's clock. */
  async sweep(): Promise<void> {
    await this.#ask("DELETE FROM slicer_proxy.rows WHERE fleet = $1 AND expires_at < now()", [this.fleet]);
  }

  async sizeBytes(): Promise<number> {
    const [found] = await this.#ask(
      `SELECT (pg_total_relation_size('slicer_proxy.rows') + pg_total_relation_size('slicer_proxy.changes'))::float8 AS bytes`,
    );
    return Number(found?.bytes);
  }

  /** Asks what is about more than rows. @throws ProxyError `store.away` */
  query(
    text: string,
    parameters: readonly (string | number | null)[] = [],
    timeoutMs?: number,
  ): Promise<Answer[]> {
    return this.#ask(text, parameters, timeoutMs);
  }

  async #ask(
    text: string,
    parameters: readonly (string | number | null)[] = [],
    timeoutMs?: number,
  ): Promise<Answer[]> {
    try {
      return await this.link.query(text, parameters, timeoutMs);
    } catch (error) {
      throw storeError(error, this.#options, "nothing was changed");
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.link[Symbol.asyncDispose]();
  }
}

/** As base64: the driver takes ten times as long with bytes. */
const ROW_COLUMNS = "encode(r.key, 'base64') AS key, encode(r.value, 'base64') AS value";

/** Puts and removes the rows of the batch `$2` in the fleet `$1`. */
const BATCH_ROWS = `batch AS (
    SELECT decode(k, 'base64') AS key, decode(v, 'base64') AS value, e
    FROM json_to_recordset($2::text::json) AS each (k text, v text, e float8)),
  gone AS (DELETE FROM slicer_proxy.rows AS r USING batch WHERE r.fleet = $1 AND r.key = batch.key AND batch.value IS NULL),
  put AS (INSERT INTO slicer_proxy.rows (fleet, key, value, expires_at)
    SELECT $1, key, value, now() + e * interval '1 millisecond' FROM batch WHERE value IS NOT NULL
    ON CONFLICT (fleet, key) DO UPDATE SET value = EXCLUDED.value, expires_at = EXCLUDED.expires_at)`;

/** What is to be known of a server. */
interface ServerFacts {
  readonly aheadMs: number;
  readonly run: string;
}

async function factsOf(link: Link, now: () => number): Promise<ServerFacts> {
  const before = now();
  const [found] = await link.query(
    `SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now_ms,
       (pg_postmaster_start_time() AT TIME ZONE 'UTC')::text AS run`,
  );
  const aheadMs = Number(found?.now_ms) - (before + now()) / 2;
  // Never -0.
  return { aheadMs: Math.round(aheadMs / CLOCK_STEP_MS) * CLOCK_STEP_MS + 0, run: String(found?.run) };
}

function positionOf(row: Answer | undefined): Position {
  if (!row) {
    throw new ProxyError("store.refused", "Cannot use the store: the fleet is gone from it", {
      hint: "restore the database from a backup, or start the hosts anew to make the fleet again",
    });
  }
  const changeId = typeof row.last_change === "string" ? row.last_change : undefined;
  return { sequence: Number(row.sequence), changeId };
}

function sealOf(row: Answer | undefined): NewSeal {
  if (!(row?.seal_check instanceof Uint8Array)) throw damagedStore();
  return { sealCheck: new Uint8Array(row.seal_check), sealKeyId: String(row.seal_key_id) };
}

function sealStandingOf(row: Answer | undefined): SealStanding {
  const text = (value: unknown) => typeof value === "string" ? value : undefined;
  return {
    keyId: String(row?.seal_key_id),
    nextKeyId: text(row?.next_seal_key_id),
    formerKeyId: text(row?.former_seal_key_id),
    switchedAt: typeof row?.switched_at === "number" ? row.switched_at : undefined,
  };
}

/** Bytes as a parameter of a question takes them. */
export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function damagedStore(): ProxyError {
  return new ProxyError("state.damaged", "Cannot read the fleet's row of the store", {
    hint: "restore the database from a backup",
  });
}
