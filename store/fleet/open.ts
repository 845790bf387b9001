/**
 * A host joins its fleet: the folder is locked, the seal key proven, and the policy read from the store, or from the local copy
 * while the store is away.
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { isProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import { parseName } from "../../core/names.ts";
import { lockStateFolder } from "../folder.ts";
import { type LoadedState, loadState, openKeys } from "../load.ts";
import type { StoreAddress } from "../postgres/address.ts";
import { type DatabaseOptions, PostgresDatabase } from "../postgres/database.ts";
import type { StoreKeys } from "../seal.ts";
import { Writer } from "../writer.ts";
import { Fleet, type FleetStart } from "./fleet.ts";
import { type CopyPlace, hostIdOf, loadCopy, LocalCopy } from "./local_copy.ts";
import { checkRows, sourceOf } from "./rows.ts";
import { copyKeys, provenByFiles, SealKeys } from "./seal_keys.ts";

/** Which fleet, and how a host is a part of it. */
export interface FleetOptions {
  readonly address: StoreAddress;
  /** Read at each dial, so that it may change; empty where the server wants none. */
  readonly password: () => Promise<string>;
  /** PEM; the system's roots when undefined. */
  readonly caPem: string | undefined;
  readonly fleet: string;
  readonly hostName: string;
  /** How long the policy counts while the store is away, in milliseconds. */
  readonly graceMs: number;
  /** Of this program. */
  readonly version: string;
  readonly log: LineLog;
}

/** What a state is made of. */
export interface OpenFleet {
  readonly writer: Writer;
  readonly fleet: Fleet;
}

/** A policy, and from where it is followed. */
interface Copied {
  readonly loaded: LoadedState;
  readonly start: FleetStart;
}

/** A question to the store ends after this, or a quarter of the grace: a paused server must not use it up. */
const LONGEST_QUESTION_MS = 5_000;
const SHORTEST_QUESTION_MS = 500;

/**
 * Joins the fleet.
 *
 * @throws ProxyError `store.away` when neither the store nor a copy can be had, `store.refused`, `state.*`, `seal.*`,
 * `input.invalid`
 */
export async function openFleet(
  { dir, sealKeyFile, clock }: { readonly dir: string; readonly sealKeyFile: string; readonly clock: Clock },
  options: FleetOptions,
): Promise<OpenFleet> {
  parseName("fleet", options.fleet);
  parseName("host", options.hostName);
  const lock = await lockStateFolder(dir);
  try {
    const own = {
      id: await hostIdOf(dir),
      instance: crypto.randomUUID(),
      name: options.hostName,
      version: options.version,
      graceMs: options.graceMs,
    };
    const database: Omit<DatabaseOptions, "onNotice"> = {
      ...options,
      timeoutMs: Math.max(SHORTEST_QUESTION_MS, Math.min(options.graceMs / 4, LONGEST_QUESTION_MS)),
      name: `slicer-proxy ${options.hostName}`,
      host: options.hostName,
      now: () => clock.now(),
    };
    const found = await proveKeys(database, sealKeyFile, options.log) ??
      await fromCopy({ dir, fleet: options.fleet }, sealKeyFile, {
        nowMs: clock.now(),
        graceMs: options.graceMs,
      });
    const seal = new SealKeys(sealKeyFile, found.keys, options.log);
    const copy = new LocalCopy(dir, options.fleet, seal);
    const fleet = new Fleet({ ...database, own, seal, clock, copy, log: options.log, lock });
    try {
      const { loaded, start } = found.copied ?? await fleet.join();
      const writer = new Writer({ db: fleet, keys: seal.keys, clock, ...loaded });
      await fleet.begin(writer, start);
      return { writer, fleet };
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

/** The keys of the fleet, proven by its store; undefined while that is away. */
async function proveKeys(
  options: DatabaseOptions,
  sealKeyFile: string,
  log: LineLog,
): Promise<{ readonly keys: StoreKeys; readonly copied?: undefined } | undefined> {
  try {
    await using db = await PostgresDatabase.open(options);
    if (db.sealCheck === undefined) {
      await openKeys(db, sealKeyFile);
      log.info(`made the fleet ${options.fleet} in the store`);
    }
    // Where another host was faster, the fleet has that host's key.
    return { keys: await provenByFiles(sealKeyFile, db) };
  } catch (error) {
    if (!isProxyError(error, "store.away")) throw error;
    log.error(`the store is away: ${error.message}`);
    return undefined;
  }
}

async function fromCopy(
  place: CopyPlace,
  sealKeyFile: string,
  grace: { readonly nowMs: number; readonly graceMs: number },
): Promise<{ readonly keys: StoreKeys; readonly copied: Copied }> {
  const { rows, sequence, changeId, keys, heldUntilMs } = await loadCopy(
    place,
    await copyKeys(sealKeyFile),
    grace,
  );
  checkRows(rows);
  const loaded = await loadState(sourceOf(rows), keys, grace.nowMs);
  return { keys, copied: { loaded, start: { position: { sequence, changeId }, heldUntilMs } } };
}
