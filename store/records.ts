/**
 * What the store holds, as its callers see it. Tokens and secret values are in none of these.
 *
 * @module
 */

/** A client. `version` changes when the token does, and when a deleted name is made anew. */
export interface ClientRecord {
  readonly name: string;
  readonly version: string;
  /** Epoch milliseconds, as are all times here. */
  readonly createdAt: number;
}

/** A client at the only moments when its token is known: creation and rotation. */
export interface NewClient extends ClientRecord {
  readonly token: string;
}

/** A secret without its value. */
export interface SecretRecord {
  readonly name: string;
  /** A host or `*.suffix`, canonical. */
  readonly host: string;
  readonly type: string;
  /** Changes with every replacement. */
  readonly version: string;
  readonly cleartext: boolean;
  readonly createdAt: number;
  readonly updatedAt?: number;
  readonly adoptedAt?: number;
  readonly refreshedAt?: number;
  /** The file that the value was adopted from, when it is to be watched. */
  readonly sourceFile?: string;
  /** Why the credential cannot be used, in words without credentials. */
  readonly error?: string;
}

/** What a secret is made from. `value` is checked by `secrets/` before it gets here. */
export interface SecretInput {
  readonly name: string;
  readonly host: string;
  readonly type: string;
  readonly value: string;
  readonly cleartext: boolean;
  readonly sourceFile?: string;
}
