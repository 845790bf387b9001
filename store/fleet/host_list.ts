/**
 * The hosts of a fleet, as its store has them, for people to look at.
 *
 * What a host wrote about itself is text of the database: what is no name is none, versions are cut, and figures are read as untrusted. Whoever shows
 * them escapes them.
 *
 * Not here: whom a change waits for (`hosts.ts`).
 *
 * @module
 */
import { isName } from "../../core/names.ts";
import type { PostgresDatabase } from "../postgres/database.ts";
import type { Answer } from "../postgres/link.ts";
import { type HostFigures, readFigures } from "./host_figures.ts";

/**
 * How a host is: `live`; `late`, when it is silent or lacks a change for longer than it should; `denies`, when it has been silent
 * for so long that it denies everything, and nobody waits for it.
 */
export type HostState = "live" | "late" | "denies";

/** A host of the fleet. */
export interface FleetHost {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  /** Since when its process runs, and when it was last seen: epoch milliseconds of this host's clock. */
  readonly since: number;
  readonly lastSeen: number;
  readonly state: HostState;
  /** The sequence of the change up to which all of the policy is in force there; -1 before it has said so. */
  readonly applied: number;
  /** Changes that it lacks, and for how long it has lacked the first of them; 0 when that is kept no more. */
  readonly behind: number;
  readonly behindMs: number;
  readonly figures: HostFigures;
}

/** The hosts, by name, and where the fleet is. */
export interface HostList {
  /** The sequence of the last change. */
  readonly sequence: number;
  readonly hosts: readonly FleetHost[];
  /** There are more. */
  readonly isCut: boolean;
}

/** What is listed of a fleet: ten times what one is measured for, some MB. */
export const MAX_HOSTS = 10_000;
/** A host tells that it lives twenty times in its grace, or every five seconds: four times missed is late. */
const MISSED_BEATS = 4;
const MAX_BEAT_MS = 5_000;
/** Of the time after which a call no longer waits, twice. */
const LATE_MS = 4_000;
/** Ten years. */
const LONGEST_MS = 3.2e11;

/** Reads them. @throws ProxyError `store.away`, by whoever has the connection */
export async function listHosts(db: PostgresDatabase, nowMs: number): Promise<HostList> {
  const found = await db.link.query(
    `SELECT f.sequence::float8 AS sequence, h.id::text, h.name, left(h.version, 64) AS version,
       h.applied::float8 AS applied, h.is_dead, h.grace_ms,
       CASE WHEN pg_column_size(h.figures) < 2048 THEN h.figures::text ELSE '{}' END AS figures,
       (extract(epoch FROM now()) - extract(epoch FROM h.since))::float8 * 1000 AS age_ms,
       (extract(epoch FROM now()) - extract(epoch FROM h.last_seen))::float8 * 1000 AS silent_ms,
       (extract(epoch FROM now()) - extract(epoch FROM c.at))::float8 * 1000 AS behind_ms
     FROM slicer_proxy.fleets f LEFT JOIN slicer_proxy.hosts h ON h.fleet = f.name
       LEFT JOIN slicer_proxy.changes c ON c.fleet = h.fleet AND c.sequence = least(h.applied, f.sequence) + 1
     WHERE f.name = $1 ORDER BY h.name, h.since LIMIT ${MAX_HOSTS + 1}`,
    [db.fleet],
  );
  const sequence = Number(found[0]?.sequence ?? 0);
  const hosts = found.filter(({ id }) => id !== null).slice(0, MAX_HOSTS).map((row) =>
    hostOf(row, { sequence, nowMs })
  );
  return { sequence, hosts, isCut: found.length > MAX_HOSTS };
}

function hostOf(
  row: Answer,
  { sequence, nowMs }: { readonly sequence: number; readonly nowMs: number },
): FleetHost {
  const applied = Math.min(Number(row.applied), Number.MAX_SAFE_INTEGER);
  const silentMs = spanOf(row.silent_ms);
  const behind = Math.max(0, sequence - Math.max(0, applied));
  const behindMs = behind > 0 ? spanOf(row.behind_ms ?? 0) : 0;
  return {
    id: String(row.id),
    name: nameOf(row),
    version: String(row.version),
    since: Math.round(nowMs - spanOf(row.age_ms)),
    lastSeen: Math.round(nowMs - silentMs),
    state: stateOf({
      isDead: row.is_dead === true,
      silentMs,
      graceMs: Number(row.grace_ms),
      // The change that it lacks may be kept no more: then it is late for certain.
      behindMs: behind > 0 && row.behind_ms === null ? Infinity : behindMs,
    }),
    applied,
    behind,
    behindMs,
    figures: readFigures(JSON.parse(String(row.figures))),
  };
}

/** Whoever can write to the database writes no header and no terminal by it. */
export function nameOf({ name }: Answer): string {
  return typeof name === "string" && isName(name) ? name : "?";
}

/** Whole milliseconds back, to a time that may be `infinity` in the database. */
function spanOf(ms: unknown): number {
  return Math.round(Math.max(0, Math.min(Number(ms), LONGEST_MS)));
}

function stateOf({ isDead, silentMs, graceMs, behindMs }: {
  readonly isDead: boolean;
  readonly silentMs: number;
  readonly graceMs: number;
  readonly behindMs: number;
}): HostState {
  if (isDead) return "denies";
  const silence = Math.max(LATE_MS, MISSED_BEATS * Math.min(graceMs / 20, MAX_BEAT_MS));
  return silentMs > silence || behindMs > LATE_MS ? "late" : "live";
}
