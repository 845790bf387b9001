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
import type { PostgresDatabase } from "../postgres/database.ts";
import type { Answer } from "../postgres/link.ts";
import type { HostFigures } from "./host_figures.ts";
import { nameOf } from "./host_list.ts";

/** What a host's clock may run slower than ours within a grace, and its threads be late with denying. */
const MARGIN_MS = 5_000;
/** A host that certainly denies and has been silent for so long is forgotten; until then `fleet` lists it. */
const FORGOTTEN_AFTER = "1 hour";

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
  /** Names of those that do not have it yet. */
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
  /** By host and process: when its last beat was first seen here. */
  #seen = new Map<string, Seen>();

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

  /** Says up to which change all is in force here. */
  async sayApplied(sequence: number): Promise<void> {
    const { id, instance } = this.#own;
    await this.#db().link.query(
      "UPDATE slicer_proxy.hosts SET applied = $4 WHERE fleet = $1 AND id = $2 AND instance = $3 AND applied < $4",
      [this.#db().fleet, id, instance, String(sequence)],
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

  /** Who has yet to make a change, of the hosts that may still act on the policy before it. */
  async waitingFor(sequence: number): Promise<Waiting> {
    const found = await this.#db().link.query(
      `SELECT id::text, name, instance::text, grace_ms, beats::float8 AS beats, applied >= $2 AS has_it
       FROM slicer_proxy.hosts WHERE fleet = $1 AND NOT is_dead ORDER BY name`,
      [this.#db().fleet, String(sequence)],
    );
    const live = await this.#markDead(found);
    return {
      live: live.length,
      names: live.filter(({ has_it: hasIt }) => hasIt !== true).map(nameOf),
    };
  }

  /** Looks who lives, so that a silence is as long as it is seen from here. To be called now and then. */
  async look(): Promise<void> {
    await this.waitingFor(0);
    await this.#db().link.query(
      `DELETE FROM slicer_proxy.hosts WHERE fleet = $1 AND is_dead AND last_seen < now() - interval '${FORGOTTEN_AFTER}'`,
      [this.#db().fleet],
    );
  }

  /** Those of them that may live. */
  async #markDead(found: readonly Answer[]): Promise<Answer[]> {
    const now = this.#monotonic();
    const seen = new Map<string, Seen>();
    const live: Answer[] = [];
    for (const row of found) {
      const key = `${row.id} ${row.instance}`;
      const beats = Number(row.beats);
      const before = this.#seen.get(key);
      const last = before?.beats === beats ? before : { beats, atMs: now };
      seen.set(key, last);
      const isOwn = row.instance === this.#own.instance;
      if (isOwn || now - last.atMs < Number(row.grace_ms) + MARGIN_MS || !await this.#mark(row)) {
        live.push(row);
      }
    }
    this.#seen = seen;
    return live;
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
