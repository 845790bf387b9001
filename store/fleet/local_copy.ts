/**
 * The policy of a fleet in the state folder, sealed, for a start while the store is away.
 *
 *     fleet-host      the id of this state folder in the fleet
 *     fleet-copy      all rows, and the change up to which they are
 *     fleet-contact   when the store last knew that this host lives
 *
 * What this host has said to have in force must never be undone by a restart: so the copy goes before it says so, and comes
 * back when it is right again. A host without a copy does not start until the store answers.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { messageOf, ProxyError } from "../../core/errors.ts";
import type { Row } from "../engine.ts";
import type { Position } from "../postgres/database.ts";
import { decodeBatch } from "../postgres/row_batch.ts";
import { seal, type StoreKeys, unseal } from "../seal.ts";
import { makeProof, openProof } from "../seal_proof.ts";

/** What a copy holds. */
export interface CopiedPolicy extends Position {
  readonly rows: readonly Row[];
  /** With the key that digests tokens, which is not always the one that the seal key gives. */
  readonly keys: StoreKeys;
  /** Until when it counts without a word from the store, epoch milliseconds. */
  readonly heldUntilMs: number;
}

/** See the module. */
export class LocalCopy {
  readonly #dir: string;
  readonly #fleet: string;
  readonly #seal: { readonly keys: StoreKeys };
  /** Until it is known otherwise, there may be one of an earlier process. */
  #mayBeThere = true;

  /** @param seal the keys in force, which may become others */
  constructor(dir: string, fleet: string, seal: { readonly keys: StoreKeys }) {
    this.#dir = dir;
    this.#fleet = fleet;
    this.#seal = seal;
  }

  /**
   * @param rows as a batch (`encodeBatch`)
   * @param keys with which the secrets in them are sealed, and all of it is then
   * @throws what the disk says
   */
  async save(
    { sequence, changeId }: Position,
    { rows, keys }: { readonly rows: string; readonly keys: StoreKeys },
  ): Promise<void> {
    this.#mayBeThere = true;
    const proof = Buffer.from(await makeProof(keys, { carriesToken: true })).toString("base64");
    await this.#write("fleet-copy", { sequence, changeId, proof, rows }, keys);
  }

  /** The grace counts that the fleet was told then: a longer one at the next start is not known to it. @throws what the disk says */
  async saveContact(atMs: number, graceMs: number): Promise<void> {
    await this.#write("fleet-contact", { atMs, graceMs }, this.#seal.keys);
  }

  /** Removes the copy, for good, before it is out of date. @throws what the disk says: then it is still there */
  async drop(): Promise<void> {
    if (!this.#mayBeThere) return;
    await removeIfThere(join(this.#dir, "fleet-copy"));
    await syncFolder(this.#dir);
    this.#mayBeThere = false;
  }

  /** Makes the copy useless: this host has left the fleet. @throws what the disk says */
  async forget(): Promise<void> {
    await removeIfThere(join(this.#dir, "fleet-contact"));
    await syncFolder(this.#dir);
  }

  async #write(
    name: string,
    fields: Readonly<Record<string, unknown>>,
    { sealing }: StoreKeys,
  ): Promise<void> {
    const plain = new TextEncoder().encode(JSON.stringify(fields));
    const sealed = await seal(sealing, bindingOf(this.#fleet, name), plain);
    const path = join(this.#dir, name);
    const temporary = `${path}.new`;
    await removeIfThere(temporary);
    {
      using file = await Deno.open(temporary, { createNew: true, write: true, mode: 0o600 });
      for (let at = 0; at < sealed.length;) at += await file.write(sealed.subarray(at));
      await file.syncData();
    }
    await Deno.rename(temporary, path);
  }
}

/** Where a copy is, and of which fleet. */
export interface CopyPlace {
  readonly dir: string;
  readonly fleet: string;
}

/**
 * The copy, when it may still be used.
 *
 * @param candidates the keys of this host, of which any may be the one in force, and the one that the copy is sealed with
 * @throws ProxyError `store.away` when there is none, it is too old, or it was sealed with another key or for another fleet
 */
export async function loadCopy(
  place: CopyPlace,
  candidates: readonly StoreKeys[],
  { nowMs, graceMs }: { readonly nowMs: number; readonly graceMs: number },
): Promise<CopiedPolicy> {
  const copy = await readSealed(place, "fleet-copy", candidates);
  const contact = await readSealed(place, "fleet-contact", candidates);
  if (!copy || !contact) {
    throw noStart("the store does not answer, and there is no copy of the policy in the state folder");
  }
  const contactAt = Number(contact.atMs);
  const heldUntilMs = contactAt + Math.min(graceMs, Number(contact.graceMs));
  if (nowMs < contactAt) {
    throw noStart("the store does not answer, and the clock is behind the copy's last contact");
  }
  if (nowMs >= heldUntilMs) {
    throw noStart(
      "the store does not answer, and the copy in the state folder is older than --store-grace",
    );
  }
  const rows = decodeBatch(String(copy.rows), 0).flatMap(({ key, value }): Row[] =>
    value ? [{ key, value }] : []
  );
  const proof = new Uint8Array(Buffer.from(String(copy.proof), "base64"));
  const proven = await Promise.all(candidates.map((keys) => openProof(keys, proof)));
  const keys = proven.find((found) => found !== undefined);
  if (!keys) throw noStart("the store does not answer, and the copy is damaged");
  const changeId = typeof copy.changeId === "string" ? copy.changeId : undefined;
  return { sequence: Number(copy.sequence), changeId, rows, keys, heldUntilMs };
}

async function readSealed(
  { dir, fleet }: CopyPlace,
  name: string,
  candidates: readonly StoreKeys[],
): Promise<Readonly<Record<string, unknown>> | undefined> {
  let sealed: Uint8Array<ArrayBuffer>;
  try {
    sealed = await Deno.readFile(join(dir, name));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw noStart(`the store does not answer, and the copy cannot be read: ${messageOf(error)}`);
  }
  for (const { sealing } of candidates) {
    const plain = await unseal(sealing, bindingOf(fleet, name), sealed);
    if (plain) return JSON.parse(new TextDecoder().decode(plain));
  }
  throw noStart("the store does not answer, and the copy was sealed with another key or for another fleet");
}

function bindingOf(fleet: string, name: string): readonly string[] {
  return ["fleet", fleet, name];
}

/** The id of a state folder, made at its first use. @throws what the disk says */
export async function hostIdOf(dir: string): Promise<string> {
  const path = join(dir, "fleet-host");
  const found = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  if (/^[0-9a-f-]{36}\n$/.test(found)) return found.trim();
  const id = crypto.randomUUID();
  await Deno.writeTextFile(path, `${id}\n`, { mode: 0o600 });
  return id;
}

function noStart(state: string): ProxyError {
  return new ProxyError("store.away", `Cannot start without the store: ${state}`, {
    hint: "start it again when the store answers",
  });
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  using folder = await Deno.open(path);
  await folder.sync();
}
