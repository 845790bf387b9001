/**
 * Where the audit logs of a fleet's hosts are read: each host says in the store how the others reach its API, with a proof
 * that only a host can make. What is in the database without one is shown to people as a reason, and never dialled.
 *
 * Not here: the proof (`log_proof.ts`), and asking (`api/`).
 *
 * @module
 */
import { messageOf } from "../../core/errors.ts";
import { FLEET_LOG_LIMITS } from "../../core/limits.ts";
import type { LineLog } from "../../core/log.ts";
import type { PostgresDatabase } from "../postgres/database.ts";
import type { Answer } from "../postgres/link.ts";
import type { StoreKeys } from "../seal.ts";
import { nameOf } from "./host_list.ts";
import type { OwnHost } from "./hosts.ts";
import { isProof, type LogHostId, logToken, type LogWay, proveWay } from "./log_proof.ts";

/** A host, as one that has or has no log to be asked for. */
export interface LogHost {
  readonly id: string;
  /** Its name; with the beginning of its id behind it where two hosts have that name. */
  readonly label: string;
  readonly isOwn: boolean;
  /** How its log is asked for. `token` is a secret. */
  readonly way?: LogWay & { readonly token: string };
  /** Why there is no way, in words. */
  readonly whyNot?: string;
}

/** The hosts, by name. */
export interface LogHosts {
  readonly hosts: readonly LogHost[];
  /** When they were read, epoch milliseconds, should the store not answer now; undefined when they are as they are now. */
  readonly asOf?: number;
  /** There are more. */
  readonly isCut: boolean;
  /** Of `hosts`, those that say a way which was not read, as no more are asked: they have neither `way` nor `whyNot`. */
  readonly unread?: number;
}

/** See each field. */
export interface LogWaysOptions {
  readonly own: OwnHost;
  /** Those in force. */
  readonly keys: () => StoreKeys;
  readonly fleet: string;
  /** Throws ProxyError `store.away`. */
  readonly db: () => PostgresDatabase;
  readonly now: () => number;
  readonly log: LineLog;
}

/** As many as are listed at once, so that it is said how many are not asked. */
const MAX_LISTED = 1_000;
/** A chain of the largest RSA certificates has half of that. */
const MAX_CA_BYTES = 32_768;
const MAX_ORIGIN_CHARS = 300;
/** CAs that are read, 3 MiB: of as many hosts as are asked, and this one. Until then no proof has been looked at. */
const MAX_CAS: number = FLEET_LOG_LIMITS.maxHosts + 1;

/** See the module. */
export class LogWays {
  readonly #options: LogWaysOptions;
  /** How this host's own log is asked for; undefined when it is not. */
  own: () => LogWay | undefined = () => undefined;
  #said: string | undefined;
  #failure = "";
  #last: LogHosts & { readonly readAt: number } | undefined;

  constructor(options: LogWaysOptions) {
    this.#options = options;
  }

  /** The token that this host's own log is read with. */
  token(): string {
    return logToken(this.#options.keys(), { fleet: this.#options.fleet, id: this.#options.own.id });
  }

  /** The store may not know any more what was said. */
  forget(): void {
    this.#said = undefined;
  }

  /** Tells the store how this host's log is asked for, where it has not been told. Never rejects: the policy is more. */
  async say(): Promise<void> {
    const { own: { id, instance, name }, fleet, keys, log } = this.#options;
    const way = this.own();
    const proof = way ? proveWay(keys(), { fleet, id, instance, name }, way) : "";
    if (proof === this.#said) return;
    try {
      await this.#write(way, proof);
      this.#said = proof;
      this.#failure = "";
    } catch (error) {
      const failure = messageOf(error);
      if (failure !== this.#failure) {
        log.warn(`other hosts are not told how to read this one's log: ${failure}`);
      }
      this.#failure = failure;
    }
  }

  async #write(way: LogWay | undefined, proof: string): Promise<void> {
    const { own: { id, instance }, fleet, db } = this.#options;
    if (!way) {
      await db().link.query("DELETE FROM slicer_proxy.log_ways WHERE fleet = $1 AND id = $2", [fleet, id]);
    } else {
      await db().link.query(
        `INSERT INTO slicer_proxy.log_ways (fleet, id, instance, origin, ca, proof) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (fleet, id) DO UPDATE SET instance = $3, origin = $4, ca = $5, proof = $6`,
        [fleet, id, instance, way.origin, way.caPem, proof],
      );
    }
  }

  /** All hosts; as they were last known while the store is away. @throws ProxyError `store.away` when none ever were */
  async list(): Promise<LogHosts> {
    try {
      const found = await this.#read();
      this.#last = { ...found, readAt: this.#options.now() };
      return found;
    } catch (error) {
      if (!this.#last) throw error;
      const { readAt: asOf, ...last } = this.#last;
      return { ...last, asOf };
    }
  }

  async #read(): Promise<LogHosts> {
    const found = await this.#options.db().link.query(
      `SELECT id::text, name, instance::text, has_way, is_current, origin, proof, ways > ${MAX_CAS} AS is_unread,
         CASE WHEN ways <= ${MAX_CAS} AND octet_length(ca) <= ${MAX_CA_BYTES} THEN ca ELSE '' END AS ca
       FROM (
         SELECT h.id, h.name, h.instance, h.since, w.proof IS NOT NULL AS has_way,
           w.instance = h.instance AS is_current, left(w.origin, ${MAX_ORIGIN_CHARS}) AS origin,
           left(w.proof, 64) AS proof, w.ca,
           count(*) FILTER (WHERE w.instance = h.instance) OVER (ORDER BY h.name, h.since, h.id) AS ways
         FROM slicer_proxy.hosts h LEFT JOIN slicer_proxy.log_ways w ON w.fleet = h.fleet AND w.id = h.id
         WHERE h.fleet = $1 ORDER BY h.name, h.since, h.id LIMIT ${MAX_LISTED + 1}
       ) AS listed ORDER BY name, since, id`,
      [this.#options.fleet],
    );
    const rows = found.slice(0, MAX_LISTED);
    const names = rows.map(nameOf);
    const isTwice = (name: string) => names.indexOf(name) !== names.lastIndexOf(name);
    const hosts = rows.map((row) => this.#hostOf(row, isTwice(nameOf(row))));
    const unread = hosts.filter(({ isOwn, way, whyNot }) => !isOwn && !way && whyNot === undefined).length;
    return { hosts, isCut: found.length > MAX_LISTED, unread };
  }

  #hostOf(row: Answer, isTwice: boolean): LogHost {
    const { own, fleet, keys } = this.#options;
    const id = String(row.id);
    const name = nameOf(row);
    // No name has a slash.
    const host = { id, label: isTwice ? `${name}/${id.slice(0, 8)}` : name, isOwn: id === own.id };
    if (host.isOwn) return host;
    if (row.has_way !== true || row.is_current !== true) return { ...host, whyNot: NO_WAY };
    if (row.is_unread === true) return host;
    const way = { origin: String(row.origin), caPem: String(row.ca) };
    const who: LogHostId = { fleet, id, instance: String(row.instance), name: String(row.name) };
    if (!isProof(String(row.proof), keys(), who, way)) return { ...host, whyNot: NO_PROOF };
    return { ...host, way: { ...way, token: logToken(keys(), { fleet, id }) } };
  }
}

const NO_WAY = "its API is not open to other hosts (up --api-bind)";
const NO_PROOF = "where the store says that its API is was not written by a host with this host's seal key";
