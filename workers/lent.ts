/**
 * Credentials that the main thread has given to workers: a worker that comes back with one, because an upstream has refused
 * it, names it by number. Only the object itself tells where it came from.
 *
 * @module
 */
import type { Credential } from "../secrets/credential.ts";
import type { LentCredential } from "./messages.ts";

/** Credentials that workers may still come back with. */
const MAX_LENT = 256;

/** The register. What was not lent for the longest is forgotten first. */
export class Lent {
  readonly #byRef = new Map<number, Credential>();
  readonly #refs = new WeakMap<Credential, number>();
  #next = 1;

  /** A credential with its number, the same each time. */
  lend(credential: Credential | undefined): LentCredential | undefined {
    if (!credential) return undefined;
    if (credential.generation === undefined && !credential.isFollowed) return { credential, ref: 0 }; // nothing to renew
    const ref = this.#refs.get(credential) ?? this.#next++;
    this.#refs.set(credential, ref);
    this.#byRef.delete(ref); // so that it becomes the latest
    this.#byRef.set(ref, credential);
    const [oldest] = this.#byRef.keys();
    if (this.#byRef.size > MAX_LENT && oldest !== undefined) this.#byRef.delete(oldest);
    return { credential, ref };
  }

  /** The credential of a number, unless it is forgotten. */
  of(ref: number): Credential | undefined {
    return this.#byRef.get(ref);
  }
}
