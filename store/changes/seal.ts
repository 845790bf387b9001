/**
 * Another seal key in the place of the one in force: all that is sealed is sealed anew, while the proxy runs.
 *
 * At each moment one key opens everything. A new key is on the disk before anything is sealed with it, under the name that a
 * start looks at when the key in its own place does not fit:
 *
 *     mk            the key in force
 *     mk.next       the next one, until everything is sealed with it; then it becomes mk
 *     mk.previous   the one before, for backups
 *
 * A key that the operator brings stays where it is.
 *
 * Not here: how rows are exchanged all at once (`Engine.reseal`), and the files themselves (`store/seal_key.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { deriveKeys, type StoreKeys } from "../seal.ts";
import { makeProof } from "../seal_proof.ts";
import {
  installNextKey,
  loadSealKey,
  makeNextKey,
  previousKeyPath,
  readNextKey,
  syncKey,
} from "../seal_key.ts";
import { sealedRows } from "../sealed_rows.ts";
import type { Writer } from "../writer.ts";

/** What was done. */
export interface RotatedSealKey {
  /** Of the key in force now, and of the one before. */
  readonly id: string;
  readonly formerId: string;
  /** Secrets that were sealed anew. */
  readonly secrets: number;
  readonly keyFile: string;
  /** Where the key from before is, when it was moved there. */
  readonly formerKeyFile?: string;
}

/** A rotation before may have ended without its last step: the next key is the one in force, and on the disk nowhere else. */
async function installLeftKey(ownFile: string, { id }: StoreKeys): Promise<void> {
  const next = await readNextKey(ownFile);
  if (next && (await deriveKeys(next)).id === id) await installNextKey(ownFile);
}

/**
 * See `State.rotateSealKey`.
 *
 * @param ownFile where the seal key in force was read
 * @param brought a file with the key to take; one is made when undefined
 */
export async function rotateSealKey(
  writer: Writer,
  ownFile: string,
  brought: string | undefined,
): Promise<RotatedSealKey> {
  const former = writer.keys;
  const isMade = brought === undefined;
  if (isMade) await installLeftKey(ownFile, former);
  const made = await deriveKeys(isMade ? await makeNextKey(ownFile) : await loadSealKey(brought, false));
  if (made.id === former.id) {
    throw new ProxyError("input.conflict", `Cannot take the seal key ${brought}: it is the one in force`, {
      hint: "openssl rand -hex 32 makes another",
    });
  }
  if (!isMade) await syncKey(brought); // whoever wrote it has perhaps not waited for the disk
  const keys = { ...made, token: former.token };
  const rows = await sealedRows(writer.view, keys.sealing);
  await writer.reseal(
    keys,
    { sealCheck: await makeProof(keys, { carriesToken: true }), sealKeyId: keys.id },
    rows,
  );
  if (isMade) await installNextKey(ownFile);
  return {
    id: keys.id,
    formerId: former.id,
    secrets: writer.view.secretCount,
    keyFile: brought ?? ownFile,
    ...(isMade ? { formerKeyFile: previousKeyPath(ownFile) } : {}),
  };
}
