/**
 * What a store holds of a fleet, in numbers.
 *
 * @module
 */
import { CA_PREFIX, type CaRecord, readCaRecord } from "../cas.ts";
import { CLIENT_PREFIX } from "../clients.ts";
import type { PostgresDatabase } from "../postgres/database.ts";
import { RULE_PREFIX } from "../rules.ts";
import { SECRET_PREFIX } from "../secrets.ts";
import { type FleetHost, listHosts } from "./host_list.ts";
import { readRotation, type Rotation } from "./key_rotation.ts";

/** See the module. */
export interface StoreSummary {
  readonly sequence: number;
  readonly clients: number;
  /** Those among them that have expired and not been swept included. */
  readonly rules: number;
  readonly secrets: number;
  readonly cas: readonly CaRecord[];
  /** Of all fleets in the database. */
  readonly bytes: number;
  readonly hosts: readonly FleetHost[];
  /** How far another seal key is. */
  readonly rotation: Rotation | undefined;
}

/** @throws ProxyError `store.away` */
export async function readSummary(db: PostgresDatabase, nowMs: number): Promise<StoreSummary> {
  await db.position(); // a newer program may have changed the tables
  const { sequence, hosts } = await listHosts(db, nowMs);
  return {
    sequence,
    clients: await db.count(CLIENT_PREFIX),
    rules: await db.count(RULE_PREFIX),
    secrets: await db.count(SECRET_PREFIX),
    cas: (await Array.fromAsync(db.rows(CA_PREFIX))).map(readCaRecord),
    bytes: await db.sizeBytes(),
    hosts,
    rotation: await readRotation(db),
  };
}
