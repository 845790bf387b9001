/**
 * A credential as the data plane uses it.
 *
 * @module
 */

/** A header that a credential consists of, in the case in which it is sent. */
export type CredentialHeader = readonly [name: string, value: string];

/** What a secret becomes on a request. `headers` are live credential values: never log them. */
export interface Credential {
  /** The secret's name. */
  readonly secret: string;
  /** Changes with every replacement of the secret. */
  readonly version: string;
  /** A host or `*.suffix`: the credential leaves for no other. */
  readonly host: string;
  /** May be sent without TLS. */
  readonly cleartext: boolean;
  readonly headers: readonly CredentialHeader[];
}
