/**
 * The tables of all fleets in one database, and their version. The schema `slicer_proxy` belongs to the proxy's role; it makes and
 * changes the tables in it, one program at a time.
 *
 *     layout    version: what the tables are like; oldest: the oldest layout that a program may know and still use them
 *     fleets    a fleet: the proof of its seal key, and of the one that is to follow it; the sequence of its last change
 *     rows      what is in force; keys and values as `row_batch.ts` writes them, secrets in them sealed
 *     changes   the last changes of rows, by sequence
 *     hosts     who is there, up to which change it has everything in force, and which key that is to follow
 *     log_ways  where a host's audit log is read by the others, with its proof (`../fleet/log_ways.ts`)
 *     resealed  what is sealed, under the key that is to follow: it means nothing until that does
 *
 * A program meets newer tables: `oldest` decides. A newer program that only adds leaves it, and both run side by side; one after
 * whose change an older program would do wrong raises it, and every older one denies from its next look on.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import type { Link } from "./link.ts";

/** The layout that this program makes. */
export const LAYOUT = 3;

/** Any number that nobody else locks by. */
const LOCK = 7_305_431_209;

const STEPS: readonly (readonly string[])[] = [[
  `CREATE TABLE slicer_proxy.layout (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one), version int NOT NULL, oldest int NOT NULL)`,
  "INSERT INTO slicer_proxy.layout (version, oldest) VALUES (1, 1)",
  `CREATE TABLE slicer_proxy.fleets (
    name text PRIMARY KEY, since timestamptz NOT NULL DEFAULT now(),
    seal_check bytea NOT NULL, seal_key_id text NOT NULL,
    sequence bigint NOT NULL DEFAULT 0, last_change uuid)`,
  `CREATE TABLE slicer_proxy.rows (
    fleet text NOT NULL REFERENCES slicer_proxy.fleets (name) ON DELETE CASCADE,
    key bytea NOT NULL, value bytea NOT NULL, expires_at timestamptz, PRIMARY KEY (fleet, key))`,
  "CREATE INDEX rows_expiry ON slicer_proxy.rows (expires_at) WHERE expires_at IS NOT NULL",
  `CREATE TABLE slicer_proxy.changes (
    fleet text NOT NULL REFERENCES slicer_proxy.fleets (name) ON DELETE CASCADE,
    sequence bigint NOT NULL, id uuid NOT NULL, host text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(), mutations text NOT NULL, PRIMARY KEY (fleet, sequence))`,
  `CREATE TABLE slicer_proxy.hosts (
    fleet text NOT NULL REFERENCES slicer_proxy.fleets (name) ON DELETE CASCADE,
    id uuid NOT NULL, name text NOT NULL, instance uuid NOT NULL, version text NOT NULL,
    grace_ms float8 NOT NULL, since timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(), beats bigint NOT NULL DEFAULT 0,
    applied bigint NOT NULL DEFAULT -1, is_dead boolean NOT NULL DEFAULT false,
    figures jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (fleet, id))`,
], [
  `CREATE TABLE slicer_proxy.log_ways (
    fleet text NOT NULL, id uuid NOT NULL, instance uuid NOT NULL,
    origin text NOT NULL, ca text NOT NULL, proof text NOT NULL, PRIMARY KEY (fleet, id),
    FOREIGN KEY (fleet, id) REFERENCES slicer_proxy.hosts (fleet, id) ON DELETE CASCADE)`,
  "UPDATE slicer_proxy.layout SET version = 2", // an older program knows nothing of it, and does no harm
], [
  `ALTER TABLE slicer_proxy.fleets ADD COLUMN IF NOT EXISTS next_seal_check bytea,
    ADD COLUMN IF NOT EXISTS next_seal_key_id text, ADD COLUMN IF NOT EXISTS former_seal_key_id text,
    ADD COLUMN IF NOT EXISTS switched_at bigint`,
  "ALTER TABLE slicer_proxy.hosts ADD COLUMN IF NOT EXISTS next_key text NOT NULL DEFAULT ''",
  `CREATE TABLE IF NOT EXISTS slicer_proxy.resealed (
    fleet text NOT NULL REFERENCES slicer_proxy.fleets (name) ON DELETE CASCADE,
    key bytea NOT NULL, key_id text NOT NULL, former bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (fleet, key))`,
  "UPDATE slicer_proxy.layout SET version = 3", // one that knows nothing of it never has the next key, and is waited for
]];

/**
 * Makes the tables, or brings older ones up.
 *
 * @throws ProxyError `state.newer`; `store.refused` when there is no schema of ours; what the server says
 */
export async function prepareSchema(link: Link): Promise<void> {
  const [found] = await link.query(
    "SELECT to_regnamespace('slicer_proxy') IS NOT NULL AS there, to_regclass('slicer_proxy.layout') IS NOT NULL AS made",
  );
  if (found?.there !== true) {
    throw new ProxyError("store.refused", "Cannot use the store: its database has no schema slicer_proxy", {
      hint: "docs/FLEET.md has the SQL that makes it, for whoever administers the database",
    });
  }
  if (found.made === true && await layoutOf(link) >= LAYOUT) return;
  await link.query("BEGIN");
  try {
    await link.query("SELECT pg_advisory_xact_lock($1::bigint)", [String(LOCK)]);
    const [now] = await link.query("SELECT to_regclass('slicer_proxy.layout') IS NOT NULL AS made");
    const from = now?.made === true ? await layoutOf(link) : 0;
    for (const step of STEPS.slice(from)) for (const statement of step) await link.query(statement);
    await link.query("COMMIT");
  } catch (error) {
    await link.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

async function layoutOf(link: Link): Promise<number> {
  const [layout] = await link.query("SELECT version, oldest FROM slicer_proxy.layout");
  checkLayout(Number(layout?.oldest));
  return Number(layout?.version);
}

/** @throws ProxyError `state.newer` when this program is too old for tables that need the layout `oldest` */
export function checkLayout(oldest: number): void {
  if (oldest <= LAYOUT) return;
  throw new ProxyError(
    "state.newer",
    `Cannot use the store: a newer slicer-proxy changed it (it needs layout ${oldest}, this one knows ${LAYOUT})`,
    { hint: "run that version on this host too" },
  );
}
