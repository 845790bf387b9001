/**
 * From stored secrets to the credentials that the data plane injects.
 *
 * Not here: the rule that a credential may be sent under, and the checks of host and TLS at every injection (`policy/`,
 * `proxy/`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { SecretRecord } from "../store/records.ts";
import type { Credential } from "./credential.ts";
import { credentialHeaders } from "./kinds.ts";

/** Where secrets come from. `record` must be another object whenever the secret was changed. */
export interface SecretSource {
  secretValue(name: string): { readonly record: SecretRecord; readonly value: string } | undefined;
}

/** Prepares each secret once per version, so that a request costs two look-ups. */
export class Credentials {
  readonly #source: SecretSource;
  /** Keyed weakly by the record: what is replaced or deleted is forgotten, its headers included. */
  readonly #prepared = new WeakMap<SecretRecord, Credential>();

  constructor(source: SecretSource) {
    this.#source = source;
  }

  /**
   * The credential of a secret as it stands now, or undefined when there is no such secret.
   *
   * @throws ProxyError `credential.unavailable` when this program cannot use what is stored
   */
  credential(name: string): Credential | undefined {
    const stored = this.#source.secretValue(name);
    if (!stored) return undefined;
    const known = this.#prepared.get(stored.record);
    if (known) return known;
    const { type, version, host, cleartext } = stored.record;
    const credential = {
      secret: name,
      version,
      host,
      cleartext,
      headers: headersOf(name, type, stored.value),
    };
    this.#prepared.set(stored.record, credential);
    return credential;
  }
}

function headersOf(name: string, type: string, value: string): Credential["headers"] {
  try {
    return credentialHeaders(type, value);
  } catch (cause) {
    throw new ProxyError(
      "credential.unavailable",
      `Cannot use secret ${name}: its stored value is no ${type}`,
      {
        cause,
        hint: "create it again with --force",
      },
    );
  }
}
