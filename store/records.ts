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
  /** Since when it is refused everything. */
  readonly suspendedSince?: number;
  /** What it has for an hour or a day, as `policy/budget.ts` writes it. Never empty. */
  readonly budget?: readonly string[];
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
  /** When a login was taken over, from the caller or from its source file. */
  readonly adoptedAt?: number;
  /** When its refresh token was last used. */
  readonly refreshedAt?: number;
  /** Since when a renewal is under way whose outcome is not known. */
  readonly refreshingSince?: number;
  /** Who renews it, in a fleet: random for each renewal; and until when nobody else does, by the store's clock. */
  readonly lease?: string;
  readonly leaseUntil?: number;
  /** The file that the value was adopted from, when it is to be watched. */
  readonly sourceFile?: string;
  /** Who owned that file then. */
  readonly sourceUid?: number;
  /** Why the credential cannot be used, in words without credentials. */
  readonly error?: string;
  /** Variables that stand for it in a VM, beside those that are known for its host and type. */
  readonly env?: readonly string[];
}

/** What a secret is made from. `value` is checked by `secrets/` before it gets here. */
export interface SecretInput {
  readonly name: string;
  readonly host: string;
  readonly type: string;
  readonly value: string;
  readonly cleartext: boolean;
  readonly env?: readonly string[];
  readonly sourceFile?: string;
  readonly sourceUid?: number;
  /** The value is a login that is renewed from now on. */
  readonly isAdopted?: boolean;
  /** True for another secret that must not exist beside this one. Given values, which it must not keep or show. */
  readonly isRival?: (other: { readonly type: string; readonly value: string }) => boolean;
}

/** A change of a secret whose name, host and type stay, and its version unless it is a replacement. */
export interface SecretUpdate {
  /** The version that the change is for. Another one, or none, is left alone. */
  readonly ifVersion: string;
  /** The value that it is for: nobody has renewed the secret since it was read. */
  readonly ifValue?: string;
  /**
   * What this renewal is called. In a fleet a change is refused while the lease of another renewal runs. `forMs` begins one, or
   * prolongs it; any change without ends it.
   */
  readonly lease?: { readonly id: string; readonly forMs?: number };
  /** The value takes the place of the old one, and what was admitted with that ends. */
  readonly isReplacement?: boolean;
  readonly value?: string;
  readonly adoptedAt?: number;
  readonly refreshedAt?: number;
  /** null removes it. */
  readonly refreshingSince?: number | null;
  /** null removes it. */
  readonly error?: string | null;
}
