/**
 * From the state file to memory at start: the seal key is found or made and proven, every row is read and every
 * secret unsealed, and rows that must not come back are removed from the disk.
 *
 * Not here: changes while the program runs (`state.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { CA_PREFIX, readCa } from "./cas.ts";
import { CLIENT_PREFIX, readClient } from "./clients.ts";
import type { Engine, Mutation, RowSource, SealedEngine } from "./engine.ts";
import { SWEEP_BATCH } from "./limits.ts";
import { MODE_PREFIX, readMode } from "./modes.ts";
import { readRule, RULE_PREFIX, ruleOwner } from "./rules.ts";
import { deriveKeys, type StoreKeys } from "./seal.ts";
import { installNextKey, loadSealKey, readNextKey } from "./seal_key.ts";
import { makeProof, openProof } from "./seal_proof.ts";
import { readSecret, SECRET_PREFIX } from "./secrets.ts";
import { readSuspension, SUSPENSION_PREFIX } from "./suspensions.ts";
import { isUnexpired, PolicyView } from "./view.ts";

/**
 * The keys of a store. A new database gets a new seal key, unless the file exists already; one that was in use before
 * never does, because nothing in it could be read with it.
 *
 * @throws ProxyError `seal.key-missing`, `seal.key-invalid`, `seal.key-wrong`, `state.write-failed`
 */
export async function openKeys(db: SealedEngine, sealKeyFile: string): Promise<StoreKeys> {
  if (sealKeyFile === "") {
    throw new ProxyError("input.invalid", "Cannot use an empty name as the seal key file");
  }
  const keys = await deriveKeys(await loadSealKey(sealKeyFile, db.sealCheck === undefined));
  if (db.sealCheck === undefined) {
    await db.initialise(await makeProof(keys), keys.id);
    return keys;
  }
  const proven = await openProof(keys, db.sealCheck) ?? await takeNextKey(db.sealCheck, sealKeyFile);
  return proven ?? await checkSeal(db, keys, ` ${sealKeyFile}`);
}

/** Where a rotation was cut off between the database and the file, the next key is the right one: it takes its place now. */
async function takeNextKey(
  proof: Uint8Array<ArrayBuffer>,
  sealKeyFile: string,
): Promise<StoreKeys | undefined> {
  const next = await readNextKey(sealKeyFile);
  const proven = next && await openProof(await deriveKeys(next), proof);
  if (proven) await installNextKey(sealKeyFile);
  return proven;
}

/**
 * The keys of a database from those that a seal key gives: those with which it was sealed.
 *
 * @param file the seal key's, for the message
 * @throws ProxyError `seal.key-wrong`
 */
export async function checkSeal(
  { sealCheck, sealKeyId }: Pick<SealedEngine, "sealCheck" | "sealKeyId">,
  keys: StoreKeys,
  file = "",
): Promise<StoreKeys> {
  const proven = sealCheck && await openProof(keys, sealCheck);
  if (proven) return proven;
  const ids = sealKeyId ? ` (its key is ${sealKeyId}, and this one ${keys.id})` : "";
  throw new ProxyError(
    "seal.key-wrong",
    `Cannot unseal the state: the seal key${file} is not the one that it was sealed with${ids}`,
    { hint: "put the right key back, or name its place with --seal-key-file" },
  );
}

/** What a database held. */
export interface LoadedState {
  readonly view: PolicyView;
  /** Higher than the sequence of every rule. */
  readonly nextSequence: number;
  /** Removes what grants nothing: expired rules, and what is left of deleted clients. */
  readonly leftovers: readonly Mutation[];
}

/**
 * Reads everything.
 *
 * @throws ProxyError `state.damaged`, `state.newer`, `seal.row-damaged`
 */
export async function loadState(source: RowSource, keys: StoreKeys, nowMs: number): Promise<LoadedState> {
  const view = new PolicyView();
  const names = new Map<string, string>();
  for await (const row of source.rows(CLIENT_PREFIX)) {
    const client = readClient(row);
    view.setClient(client);
    names.set(client.id, client.record.name);
  }
  const leftovers: Mutation[] = [];
  let nextSequence = 0;
  for await (const row of source.rows(RULE_PREFIX)) {
    const name = names.get(ruleOwner(row));
    const stored = name === undefined ? undefined : readRule(row, name);
    if (stored) nextSequence = Math.max(nextSequence, Math.floor(stored.sequence) + 1);
    if (stored && isUnexpired(stored.rule, nowMs)) view.addRule(stored);
    else leftovers.push({ key: row.key });
  }
  for await (const row of source.rows(SECRET_PREFIX)) view.setSecret(await readSecret(keys.sealing, row));
  for await (const row of source.rows(CA_PREFIX)) view.setCa(await readCa(keys.sealing, row));
  for await (const row of source.rows(SUSPENSION_PREFIX)) view.suspendAll(readSuspension(row));
  for await (const row of source.rows(MODE_PREFIX)) {
    const made = readMode(row);
    if (made.client === undefined || view.client(made.client)) view.switchMode(made);
  }
  return { view, nextSequence, leftovers };
}

/**
 * Takes leftovers off the disk: a clock that steps back before the next start must not find them.
 *
 * @throws ProxyError `state.write-failed`
 */
export async function sweepLeftovers(db: Engine, { leftovers }: LoadedState): Promise<void> {
  for (let at = 0; at < leftovers.length; at += SWEEP_BATCH) {
    await db.commit(leftovers.slice(at, at + SWEEP_BATCH));
  }
}
