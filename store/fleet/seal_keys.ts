/**
 * The seal keys that a host of a fleet has: the one in force, and in a file beside it the one that is to follow.
 *
 *     mk          the key in force
 *     mk.next     the one that is to follow: the operator brings it to each host
 *     mk.former   the one before, until every host has the change of the key in force
 *     mk.ID       the one before for backups, on the host on which the rotation was begun
 *
 * A key never travels through the store, where whoever has the key from before could read it.
 *
 * Not here: when the next key comes into force (`key_rotation.ts`).
 *
 * @module
 */
import { isProxyError, messageOf, ProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import type { NewSeal, SealedEngine } from "../engine.ts";
import { deriveKeys, type StoreKeys } from "../seal.ts";
import * as files from "../seal_key.ts";
import { openProof } from "../seal_proof.ts";

/** See the module. */
export class SealKeys {
  /** The file of the key in force. */
  readonly file: string;
  readonly #log: LineLog;
  #keys: StoreKeys;
  /** Of the key whose file needs nothing more. */
  #settledId: string | undefined;

  /** @param keys in force, from that file or from the one beside it */
  constructor(file: string, keys: StoreKeys, log: LineLog) {
    this.file = file;
    this.#keys = keys;
    this.#log = log;
  }

  /** Those in force. */
  get keys(): StoreKeys {
    return this.#keys;
  }

  /** The file of the key that is to follow. */
  get nextFile(): string {
    return files.nextKeyPath(this.file);
  }

  /** From now on these are in force. */
  take(keys: StoreKeys): void {
    this.#keys = keys;
  }

  /** The keys with this proof. @throws ProxyError `seal.key-wrong` when this host has none such, `seal.key-invalid` */
  async proven(seal: Pick<SealedEngine, "sealCheck" | "sealKeyId">): Promise<StoreKeys> {
    const own = seal.sealCheck && await openProof(this.#keys, seal.sealCheck);
    return own ?? await provenByFiles(this.file, seal);
  }

  /** The key that is to follow, when it is the one of this proof, and durable. */
  async readNext({ sealCheck }: NewSeal): Promise<StoreKeys | undefined> {
    const next = await files.readNextKey(this.file);
    const keys = next && await openProof(await deriveKeys(next), sealCheck);
    if (keys) await files.syncKey(this.nextFile);
    return keys;
  }

  /** The id of the key in a file. @throws ProxyError `seal.key-missing`, `seal.key-invalid` */
  async idOf(file: string): Promise<string> {
    return (await deriveKeys(await files.loadSealKey(file, false))).id;
  }

  /**
   * A key that is to follow, made or brought, in its file. The key in force is kept for backups. To be called after
   * {@linkcode settle}, and within `withKeyLock` until the key is announced.
   *
   * @throws ProxyError `seal.*`, `state.write-failed`, `input.conflict` for the key in force
   */
  async makeNext(brought: string | undefined): Promise<StoreKeys> {
    const id = await this.idOf(this.file);
    if (id !== this.#keys.id) throw wrongKey(this.file, { wanted: this.#keys.id, found: id });
    if (brought !== undefined && await this.idOf(brought) === id) {
      throw new ProxyError("input.conflict", `Cannot take the seal key ${brought}: it is the one in force`, {
        hint: "openssl rand -hex 32 makes another",
      });
    }
    await files.keepKey(this.file, id);
    const made = brought === undefined
      ? await files.makeNextKey(this.file)
      : await files.bringNextKey(this.file, brought);
    // Tokens are known to nobody, so the key of their digests lives on.
    return { ...await deriveKeys(made), token: this.#keys.token };
  }

  /** Has the key in force in its own file. @throws ProxyError `state.write-failed`, `seal.*` */
  async settle(): Promise<void> {
    if (this.#settledId === this.#keys.id) return;
    const { id } = this.#keys;
    await files.withKeyLock(this.file, async () => {
      if (await this.idOf(this.file) === id) return;
      const next = await files.readNextKey(this.file);
      if (!next || (await deriveKeys(next)).id !== id) {
        throw new ProxyError(
          "seal.key-missing",
          `Cannot find the seal key in force, ${id}, in ${this.file}`,
          {
            hint: `copy it there from another host`,
          },
        );
      }
      await files.installNextKey(this.file, files.formerKeyPath(this.file));
    });
    this.#settledId = id;
  }

  /** The same when nobody waits for it; what fails is said once, and done at the next start. */
  async trySettle(): Promise<void> {
    try {
      await this.settle();
    } catch (error) {
      this.#settledId = this.#keys.id;
      this.#log.warn(
        `the seal key in force cannot be put in its place, so put it there: ${messageOf(error)}`,
      );
    }
  }

  /** Removes the key from before, when the one in force is in its place: nothing in the fleet is sealed with it any more. */
  async forgetFormer(): Promise<void> {
    try {
      await files.withKeyLock(this.file, async () => {
        if (await this.idOf(this.file) === this.#keys.id) await files.removeFormerKey(this.file);
      });
    } catch (error) {
      this.#log.warn(
        `the seal key from before cannot be removed from ${files.formerKeyPath(this.file)}: ${
          messageOf(error)
        }`,
      );
    }
  }
}

/**
 * The keys with the proof of a fleet, from the files of a host: the one in its place, or the one that is to follow.
 *
 * @throws ProxyError `seal.key-wrong` when neither is it, `seal.key-missing`, `seal.key-invalid`
 */
export async function provenByFiles(
  file: string,
  { sealCheck, sealKeyId }: Pick<SealedEngine, "sealCheck" | "sealKeyId">,
): Promise<StoreKeys> {
  const own = await deriveKeys(await files.loadSealKey(file, false));
  for (const keys of [own, ...await keysOf(() => files.readNextKey(file))]) {
    const found = sealCheck && await openProof(keys, sealCheck);
    if (found) return found;
  }
  throw wrongKey(file, { wanted: sealKeyId, found: own.id });
}

/** All keys with which the local copy of a host may be sealed. @throws ProxyError `seal.key-missing`, `seal.key-invalid` */
export async function copyKeys(file: string): Promise<StoreKeys[]> {
  return [
    await deriveKeys(await files.loadSealKey(file, false)),
    ...await keysOf(() => files.readNextKey(file)),
    ...await keysOf(() => files.readFormerKey(file)),
  ];
}

/** A file that is half copied must not keep a host with the right key from starting. */
async function keysOf(read: () => Promise<Uint8Array<ArrayBuffer> | undefined>): Promise<StoreKeys[]> {
  try {
    const key = await read();
    return key ? [await deriveKeys(key)] : [];
  } catch (error) {
    if (isProxyError(error, "seal.key-invalid")) return [];
    throw error;
  }
}

function wrongKey(
  file: string,
  { wanted, found }: { readonly wanted: string | undefined; readonly found: string },
): ProxyError {
  return new ProxyError(
    "seal.key-wrong",
    `Cannot unseal the fleet's policy: the seal key ${file} is not the one that it is sealed with (its key is ${wanted}, and this one ${found})`,
    { hint: `copy the fleet's key from another host to ${files.nextKeyPath(file)}, with mode 600` },
  );
}
