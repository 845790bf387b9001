/**
 * The hosts of a fleet, and which of them may still act on an old policy.
 *
 * A host tells the store that it lives, and goes on for its grace from the moment *before* it last did. So whoever has seen
 * nothing new of it for its grace and a margin, by a clock of its own, knows that it denies: no clock of another machine, and
 * not the database's, has a say. Such a host is marked, until it tells again that it lives.
 *
 * Not here: when this host tells (`fleet.ts`), and the hosts as people look at them (`host_list.ts`).
 *
 * @module
 */
import type { Position, PostgresDatabase } from "../postgres/database.ts";
import type { Answer } from "../postgres/link.ts";
import type { HostFigures } from "./host_figures.ts";
import { MAX_HOSTS, nameOf } from "./host_list.ts";

/** How late a host's threads may be with denying. */
const MARGIN_MS = 5_000;
/** By how much its clock may run slower than ours: one that is being corrected does by 500 ppm, by 1,000 at most (adjtimex(2)). */
const SLOWEST_CLOCK = 1.002;
/** A host that certainly denies and has been silent for so long is forgotten; until then `fleet` lists it. */
const FORGOTTEN_AFTER = "1 hour";
/**
 * How many hosts each one watches: those that come next by their ids, the first after the last. All hosts together read this many
 * rows of each, however many there are. Ids are random, so those that fail together are no neighbours; of more neighbours that
 * fail, the next are watched when the first are marked.
 */
const WATCHED = 8;
/** Of hosts that lack a change, those that are read while there are more: it is waited for anyway. */
const NAMED = 100;

/** This host, as the store has it. */
export interface OwnHost {
  /** Of the state folder. */
  readonly id: string;
  /** Of this process. */
  readonly instance: string;
  readonly name: string;
  readonly version: string;
  readonly graceMs: number;
}

/** The hosts that a change is waited for. */
export interface Waiting {
  readonly live: number;
  /** Names of those among them that do not have it yet; not all of them where only a few were asked for. */
  readonly names: readonly string[];
}

interface Seen {
  readonly beats: number;
  readonly atMs: number;
}

/** What this host knows of the others. */
export class Hosts {
  readonly #db: () => PostgresDatabase;
  readonly #own: OwnHost;
  readonly #monotonic: () => number;
  /** By host and process, of those that were looked at lately: when its last beat was first seen here. */
  #seen = new Map<string, Seen>();
  /** The connection on which they were seen. */
  #seenOn: PostgresDatabase | undefined;

  /** @param db the open database; throws ProxyError `store.away` without one */
  constructor(own: OwnHost, db: () => PostgresDatabase, monotonic: () => number) {
    this.#own = own;
    this.#db = db;
    this.#monotonic = monotonic;
  }

  /** Enters this process. What an earlier one with the same state folder left has ended: the folder is locked. */
  async sayHello(): Promise<void> {
    const { id, name, instance, version, graceMs } = this.#own;
    await this.#db().link.query(
      `INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms)
       VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (fleet, id) DO UPDATE SET name = $3, instance = $4, version = $5, grace_ms = $6, since = now(),
         last_seen = now(), beats = hosts.beats + 1, applied = -1, is_dead = false`,
      [this.#db().fleet, id, name, instance, version, String(graceMs)],
    );
  }

  /** Says that this process lives. @returns false when another one has taken its place */
  async beat(figures: HostFigures): Promise<boolean> {
    const { id, instance } = this.#own;
    const found = await this.#db().link.query(
      `UPDATE slicer_proxy.hosts SET last_seen = now(), beats = beats + 1, is_dead = false, figures = $4::text::jsonb
       WHERE fleet = $1 AND id = $2 AND instance = $3 RETURNING 1`,
      [this.#db().fleet, id, instance, JSON.stringify(figures)],
    );
    return found.length > 0;
  }

  /** True when another process has this host's place. */
  async isTaken(): Promise<boolean> {
    const found = await this.#db().link.query(
      "SELECT 1 FROM slicer_proxy.hosts WHERE fleet = $1 AND id = $2",
      [
        this.#db().fleet,
        this.#own.id,
      ],
    );
    return found.length > 0;
  }

  /**
   * Says up to which change all is in force here. That it is written can wait for no disk and no standby: a server that loses it
   * knows of an older change, and hosts say it again when they find the server anew. A server that has lost the change does not
   * take it: another one will be at that place, which this host has not.
   */
  async sayApplied({ sequence, changeId }: Position): Promise<void> {
    const { id, instance } = this.#own;
    await this.#db().link.query(
      `WITH soon AS (SELECT set_config('synchronous_commit', 'off', true))
       UPDATE slicer_proxy.hosts SET applied = $4 FROM soon
       WHERE fleet = $1 AND id = $2 AND instance = $3 AND applied < $4
         AND ($4 = 0 OR EXISTS (SELECT 1 FROM slicer_proxy.changes AS c WHERE c.fleet = $1 AND c.sequence = $4 AND c.id = $5))`,
      [this.#db().fleet, id, instance, String(sequence), changeId ?? null],
    );
  }

  /** Leaves the fleet: nobody waits for this host any more. It must be deciding nothing by then. */
  async sayGoodbye(): Promise<void> {
    const { id, instance } = this.#own;
    await this.#db().link.query(
      "DELETE FROM slicer_proxy.hosts WHERE fleet = $1 AND id = $2 AND instance = $3",
      [this.#db().fleet, id, instance],
    );
  }

  /**
   * Who has yet to make a change, of the hosts that may still act on the policy before it.
   *
   * @param isLastLook name all of them; else only some while there are many, enough to know that it is waited for
   */
  async waitingFor(sequence: number, isLastLook = true): Promise<Waiting> {
    const most = isLastLook ? MAX_HOSTS : NAMED;
    const found = await this.#db().link.query(
      `SELECT sums.live, late.* FROM
         (SELECT count(*)::float8 AS live FROM slicer_proxy.hosts WHERE fleet = $1 AND NOT is_dead) AS sums
         LEFT JOIN (SELECT ${WATCH_COLUMNS} FROM slicer_proxy.hosts
           WHERE fleet = $1 AND NOT is_dead AND applied < $2 ORDER BY name LIMIT $3) AS late ON true`,
      [this.#db().fleet, String(sequence), String(most)],
    );
    const late = found.filter(({ id }) => id !== null);
    const living = await this.#markDead(late);
    // All that were read have just been marked: there may be others, of whom nothing is known yet.
    if (living.length === 0 && late.length === most) return await this.waitingFor(sequence, isLastLook);
    return {
      live: Number(found[0]?.live) - (late.length - living.length),
      names: living.map(nameOf),
    };
  }

  /** Looks who lives, so that a silence is as long as it is seen from here. To be called now and then. */
  async look(): Promise<void> {
    const { id } = this.#own;
    const watched = await this.#db().link.query(
      `SELECT * FROM (
         (SELECT 0 AS turn, ${WATCH_COLUMNS} FROM slicer_proxy.hosts
           WHERE fleet = $1 AND NOT is_dead AND id > $2 ORDER BY slicer_proxy.hosts.id LIMIT ${WATCHED})
         UNION ALL
         (SELECT 1 AS turn, ${WATCH_COLUMNS} FROM slicer_proxy.hosts
           WHERE fleet = $1 AND NOT is_dead AND id < $2 ORDER BY slicer_proxy.hosts.id LIMIT ${WATCHED})
       ) AS next ORDER BY turn, id LIMIT ${WATCHED}`,
      [this.#db().fleet, id],
    );
    const before = this.#seen;
    this.#seen = new Map(); // who is watched no more is seen anew should he come back
    for (const row of watched) {
      const seen = before.get(keyOf(row));
      if (seen) this.#seen.set(keyOf(row), seen);
    }
    await this.#markDead(watched);
    await this.#forget(watched.length < WATCHED ? id : String(watched.at(-1)?.id));
  }

  /** Forgets who has long denied, of those up to the last that is watched: the others watch the others. */
  async #forget(last: string): Promise<void> {
    const { id } = this.#own;
    const between = id < last ? "id > $2 AND id <= $3" : "(id > $2 OR id <= $3)";
    await this.#db().link.query(
      `DELETE FROM slicer_proxy.hosts
       WHERE fleet = $1 AND ${between} AND is_dead AND last_seen < now() - interval '${FORGOTTEN_AFTER}'`,
      [this.#db().fleet, id, last],
    );
  }

  /** Those of them that may live. */
  async #markDead(found: readonly Answer[]): Promise<Answer[]> {
    const db = this.#db();
    if (db !== this.#seenOn) this.#seen = new Map(); // another server may count beats again that this one has seen
    this.#seenOn = db;
    const now = this.#monotonic();
    const living: Answer[] = [];
    for (const row of found) {
      const beats = Number(row.beats);
      const before = this.#seen.get(keyOf(row));
      const last = before?.beats === beats ? before : { beats, atMs: now };
      this.#seen.set(keyOf(row), last);
      const isOwn = row.instance === this.#own.instance;
      if (
        isOwn || now - last.atMs < Number(row.grace_ms) * SLOWEST_CLOCK + MARGIN_MS || !await this.#mark(row)
      ) {
        living.push(row);
      }
    }
    return living;
  }

  /** @returns false when it has just told that it lives */
  async #mark({ id, instance, beats }: Answer): Promise<boolean> {
    const marked = await this.#db().link.query(
      `UPDATE slicer_proxy.hosts SET is_dead = true
       WHERE fleet = $1 AND id = $2 AND instance = $3 AND beats = $4 RETURNING 1`,
      [this.#db().fleet, String(id), String(instance), String(beats)],
    );
    return marked.length > 0;
  }
}

/** What is read of a host that is watched. */
const WATCH_COLUMNS = "id::text, name, instance::text, grace_ms, beats::float8 AS beats";

function keyOf({ id, instance }: Answer): string {
  return `${id} ${instance}`;
}
