/**
 * Another seal key for a fleet, in its database. What is sealed is sealed anew beside those in force, where they mean nothing, a batch
 * in each transaction; the last of these puts all of them in their places, with the proof of their key. So at each moment one key
 * opens everything, and until that moment it is the key from before.
 *
 * Not here: which hosts have which key, and when the next step is made (`../fleet/key_rotation.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import { CLIENT_PREFIX } from "../clients.ts";
import type { NewSeal } from "../engine.ts";
import { MODE_PREFIX } from "../modes.ts";
import { encodeRow } from "../row_codec.ts";
import { RULE_PREFIX } from "../rules.ts";
import { resealRow, SEALED_PREFIXES } from "../sealed_rows.ts";
import type { StoreKeys } from "../seal.ts";
import { SUSPENSION_PREFIX } from "../suspensions.ts";
import { USED_PREFIX } from "../used_budgets.ts";
import { base64, CHANNEL, type PostgresDatabase, type Turn } from "./database.ts";
import type { Answer } from "./link.ts";
import { decodeStored, encodeBatch } from "./row_batch.ts";
import { encodeKey, endOfPrefix } from "./row_key.ts";

/** The kind of row with which a change says that another key is in force. Programs that know no rotation make nothing of it. */
export const SEAL_KIND = "seal";

/** Kinds of rows with nothing sealed in them. */
const OPEN_PREFIXES = [CLIENT_PREFIX, RULE_PREFIX, MODE_PREFIX, SUSPENSION_PREFIX, USED_PREFIX];

/** How many rows are sealed anew while the fleet's lock is held, and bytes of them: it takes milliseconds. */
const BATCH_ROWS = 100;
const BATCH_BYTES = 1_048_576;

/** All rows that may be sealed, 48 MiB of them, changed their places in 1.3 s where it was measured. */
const EXCHANGE_MS = 30_000;

/** What a batch came to: there are more, the new key is in force, or it was not the time for it. */
export type BatchOutcome = "more" | "switched" | "not-now";

/** A host that may act on the policy and does not have the next key `$2`. It says so for one process of itself. */
const LACKS_KEY = "h.fleet = $1 AND NOT h.is_dead AND h.next_key <> $2 || ':' || h.instance";

/** The rows with something sealed in them; no parameter, since each prefix is our own. */
const IS_SEALED = `r.fleet = $1 AND (${
  SEALED_PREFIXES.map((prefix) => {
    const [from, to] = [encodeKey(prefix), endOfPrefix(prefix)].map((bytes) => hexOf(bytes));
    return `r.key >= '\\x${from}'::bytea AND r.key < '\\x${to}'::bytea`;
  }).join(" OR ")
})`;

/**
 * Says that a key is to follow the one in force.
 *
 * @param formerId of the key in force
 * @returns false when that is not in force any more, or another key is to follow it
 */
export async function announceKey(
  db: PostgresDatabase,
  { sealCheck, sealKeyId }: NewSeal,
  formerId: string,
): Promise<boolean> {
  const found = await db.query(
    `UPDATE slicer_proxy.fleets SET next_seal_check = decode($2, 'base64'), next_seal_key_id = $3
     WHERE name = $1 AND seal_key_id = $4 AND next_seal_key_id IS NULL AND switched_at IS NULL RETURNING 1`,
    [db.fleet, base64(sealCheck), sealKeyId, formerId],
  );
  if (found.length > 0) await db.query("SELECT pg_notify($1, $2)", [CHANNEL, db.fleet]);
  return found.length > 0;
}

/** The proof of the key that is to follow; undefined when there is none. */
export async function readNextSeal(db: PostgresDatabase): Promise<NewSeal | undefined> {
  const [found] = await db.query(
    "SELECT next_seal_check, next_seal_key_id FROM slicer_proxy.fleets WHERE name = $1",
    [db.fleet],
  );
  if (!(found?.next_seal_check instanceof Uint8Array)) return undefined;
  return { sealCheck: new Uint8Array(found.next_seal_check), sealKeyId: String(found.next_seal_key_id) };
}

/**
 * Gives the next key up, under the fleet's lock: of a batch that ends meanwhile a deletion in the same statement would see nothing,
 * and what is sealed with that key would stay.
 *
 * @returns false when there is none
 */
export function cancelKey(db: PostgresDatabase): Promise<boolean> {
  return db.inTurn(async (turn) => {
    const found = await db.query(
      `UPDATE slicer_proxy.fleets SET next_seal_check = NULL, next_seal_key_id = NULL
       WHERE name = $1 AND next_seal_key_id IS NOT NULL RETURNING 1`,
      [db.fleet],
    );
    await db.query("DELETE FROM slicer_proxy.resealed WHERE fleet = $1", [db.fleet]);
    await turn.end();
    return found.length > 0;
  });
}

/** Says which key a process of a host has on its disk beside the one in force; none when empty. */
export async function sayNextKey(
  db: PostgresDatabase,
  { id, instance }: { readonly id: string; readonly instance: string },
  keyId: string,
): Promise<void> {
  await db.query(
    `UPDATE slicer_proxy.hosts SET next_key = $4 || ':' || instance WHERE fleet = $1 AND id = $2 AND instance = $3`,
    [db.fleet, id, instance, keyId],
  );
}

/** The rows of `hosts` that may act on the policy and lack the next key. */
export function hostsWithout(db: PostgresDatabase, keyId: string): Promise<Answer[]> {
  return db.query(`SELECT h.name FROM slicer_proxy.hosts h WHERE ${LACKS_KEY} ORDER BY h.name`, [
    db.fleet,
    keyId,
  ]);
}

/** Those that have a change still to make. */
export function hostsBefore(db: PostgresDatabase, sequence: number): Promise<Answer[]> {
  return db.query(
    "SELECT name FROM slicer_proxy.hosts WHERE fleet = $1 AND NOT is_dead AND applied < $2 ORDER BY name",
    [db.fleet, String(sequence)],
  );
}

/** How many sealed rows there are, and how many of them are sealed with that key too. */
export async function countResealed(
  db: PostgresDatabase,
  keyId: string,
): Promise<{ readonly rows: number; readonly resealed: number }> {
  const [found] = await db.query(
    `SELECT (SELECT count(*) FROM slicer_proxy.rows r WHERE ${IS_SEALED})::float8 AS rows,
       (SELECT count(*) FROM slicer_proxy.resealed WHERE fleet = $1 AND key_id = $2)::float8 AS resealed`,
    [db.fleet, keyId],
  );
  return { rows: Number(found?.rows), resealed: Number(found?.resealed) };
}

/**
 * Seals the next batch anew, under the fleet's lock, and with the last one puts the new key in force, if all hosts have it.
 *
 * @throws ProxyError `store.away`, `seal.row-damaged`; nothing has changed then
 */
export function resealBatch(
  db: PostgresDatabase,
  { from, to, host }: { readonly from: StoreKeys; readonly to: StoreKeys; readonly host: string },
): Promise<BatchOutcome> {
  return db.inTurn(async (turn) => {
    const { seal } = await db.position();
    if (seal.keyId !== from.id || seal.nextKeyId !== to.id) return "not-now";
    const left = await nextRows(db, to.id);
    const batch = left.slice(0, BATCH_ROWS);
    await stage(db, batch, { from, to });
    const isLast = batch.length === left.length && left.every(({ is_within: isWithin }) => isWithin === true);
    if (isLast && (await hostsWithout(db, to.id)).length > 0) return "not-now";
    if (isLast) await checkKinds(db);
    if (isLast) await putInForce(db, turn, { keyId: to.id, host });
    await turn.end();
    return isLast ? "switched" : "more";
  });
}

/** What a newer program has put there may be sealed, too. @throws ProxyError `state.newer` */
async function checkKinds(db: PostgresDatabase): Promise<void> {
  const found = await db.query(
    `SELECT DISTINCT substring(key FROM 1 FOR position('\\x00'::bytea IN key)) AS kind FROM slicer_proxy.rows
     WHERE fleet = $1`,
    [db.fleet],
  );
  const known = new Set([...OPEN_PREFIXES, ...SEALED_PREFIXES].map((prefix) => hexOf(encodeKey(prefix))));
  if (found.every(({ kind }) => kind instanceof Uint8Array && known.has(hexOf(kind)))) return;
  throw new ProxyError(
    "state.newer",
    "Cannot seal everything with another key: a newer slicer-proxy keeps what this one does not know",
    { hint: "run that version on this host too" },
  );
}

/** Sealed rows that are not sealed with the next key as they are now: one more than a batch takes, or a row beyond its bytes. */
function nextRows(db: PostgresDatabase, keyId: string): Promise<Answer[]> {
  return db.query(
    `SELECT encode(key, 'base64') AS key, encode(value, 'base64') AS value, encode(sha256(value), 'base64') AS former,
       bytes <= ${BATCH_BYTES} AS is_within FROM (
       SELECT *, sum(octet_length(value)) OVER (ORDER BY key) AS bytes FROM (
         SELECT r.key, r.value FROM slicer_proxy.rows r
           LEFT JOIN slicer_proxy.resealed s ON s.fleet = r.fleet AND s.key = r.key AND s.key_id = $2
             AND s.former = sha256(r.value)
         WHERE ${IS_SEALED} AND s.key IS NULL ORDER BY r.key LIMIT ${BATCH_ROWS + 1}) AS next) AS each
     WHERE bytes - octet_length(value) <= ${BATCH_BYTES} ORDER BY each.key`,
    [db.fleet, keyId],
  );
}

async function stage(
  db: PostgresDatabase,
  batch: readonly Answer[],
  { from, to }: { readonly from: StoreKeys; readonly to: StoreKeys },
): Promise<void> {
  if (batch.length === 0) return;
  const rows = await Promise.all(batch.map(async ({ key: k, value, former: f }) => {
    const row = await resealRow(decodeStored(k, value, 0), { from: from.sealing, to: to.sealing });
    return { k, f, v: base64(encodeRow(row.value)) };
  }));
  await db.query(
    `INSERT INTO slicer_proxy.resealed (fleet, key, key_id, former, value)
     SELECT $1, decode(k, 'base64'), $2, decode(f, 'base64'), decode(v, 'base64')
     FROM json_to_recordset($3::text::json) AS each (k text, f text, v text)
     ON CONFLICT (fleet, key) DO UPDATE SET key_id = EXCLUDED.key_id, former = EXCLUDED.former, value = EXCLUDED.value`,
    [db.fleet, to.id, JSON.stringify(rows)],
  );
}

/** Every sealed row changes with the proof of the key, or none does. No row is another one than was sealed anew: nobody has had the lock since. */
async function putInForce(
  db: PostgresDatabase,
  { position }: Turn,
  { keyId, host }: { readonly keyId: string; readonly host: string },
): Promise<void> {
  const next = position.sequence + 1;
  const [put] = await db.query(
    `WITH put AS (UPDATE slicer_proxy.rows r SET value = s.value FROM slicer_proxy.resealed s
         WHERE ${IS_SEALED} AND s.fleet = r.fleet AND s.key = r.key AND s.key_id = $2 RETURNING 1)
     SELECT (SELECT count(*) FROM put) = (SELECT count(*) FROM slicer_proxy.rows r WHERE ${IS_SEALED}) AS is_whole`,
    [db.fleet, keyId],
    EXCHANGE_MS,
  );
  if (put?.is_whole !== true) throw new TypeError("Cannot take a key with which not all is sealed");
  await db.query(
    `WITH gone AS (DELETE FROM slicer_proxy.resealed WHERE fleet = $1),
     told AS (INSERT INTO slicer_proxy.changes (fleet, sequence, id, host, mutations) VALUES ($1, $2, $3, $4, $5))
     UPDATE slicer_proxy.fleets SET sequence = $2, last_change = $3, switched_at = $2,
       seal_check = next_seal_check, seal_key_id = next_seal_key_id, former_seal_key_id = seal_key_id,
       next_seal_check = NULL, next_seal_key_id = NULL WHERE name = $1`,
    [
      db.fleet,
      String(next),
      crypto.randomUUID(),
      host,
      encodeBatch([{ key: [SEAL_KIND], value: { keyId } }], 0),
    ],
  );
  await db.query("SELECT pg_notify($1, $2)", [CHANNEL, db.fleet]);
}

/**
 * Ends a rotation: all hosts have the change with which the key in force came, so those before it, whose secrets the key from
 * before opens, go. A host that comes back reads everything.
 */
export async function finishSwitch(db: PostgresDatabase, switchedAt: number): Promise<void> {
  await db.query(
    `WITH over AS (UPDATE slicer_proxy.fleets SET switched_at = NULL WHERE name = $1 AND switched_at = $2 RETURNING 1)
     DELETE FROM slicer_proxy.changes WHERE fleet = $1 AND sequence < $2 AND EXISTS (SELECT 1 FROM over)`,
    [db.fleet, String(switchedAt)],
  );
  await db.query("SELECT pg_notify($1, $2)", [CHANNEL, db.fleet]);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
