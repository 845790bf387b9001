/**
 * A credential as the data plane uses it.
 *
 * @module
 */

/** A header that a credential consists of, in the case in which it is sent. */
export type CredentialHeader = readonly [name: string, value: string];

/** Keys that requests to AWS are signed with: live credential values, never to be logged. */
export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary keys. */
  readonly sessionToken?: string;
}

/** What a host is shown in the handshake. `keyPem` is a live credential value: never log it. */
export interface ClientCertificate {
  /** The certificate, and those that signed it. */
  readonly certPem: string;
  readonly keyPem: string;
}

/** What a secret becomes on a request. `headers` are live credential values: never log them. */
export interface Credential {
  /** The secret's name. */
  readonly secret: string;
  /** Changes with every replacement of the secret, and not when its access token is renewed. */
  readonly version: string;
  /** A host or `*.suffix`: the credential leaves for no other. */
  readonly host: string;
  /** May be sent without TLS. */
  readonly cleartext: boolean;
  /** Set, in place of the client's own headers of these names. */
  readonly headers: readonly CredentialHeader[];
  /** Members that a comma-separated list header must have; what the client has in it stays. */
  readonly merge?: readonly CredentialHeader[];
  /** Added unless the client sends the header itself. */
  readonly defaults?: readonly CredentialHeader[];
  /** Set in the query, in the place of the client's own of that name. Not encoded. */
  readonly parameter?: CredentialHeader;
  /** Put into the path where the client has written `{}`, as it stands in a URL. */
  readonly segment?: string;
  /** Shown to the host in the handshake of TLS. */
  readonly clientCertificate?: ClientCertificate;
  /** What of all this is secret, each as itself: an answer that holds one gives it away. */
  readonly material: readonly string[];
  /** Requests are signed with these, last of all, in the place of the client's own signature (`proxy/inject/aws_signing.ts`). */
  readonly aws?: AwsKeys;
  /** It follows a file, which is read again when an upstream answers 401. */
  readonly isFollowed?: boolean;
  /** Names the access token in use, and says nothing about it. Absent when there is nothing to renew. */
  readonly generation?: string;
}

/** What decisions need to know of a secret, without its credential. */
export type SecretInfo = Pick<Credential, "host" | "version" | "cleartext"> & { readonly type: string };
