/**
 * The one error type of the program and its closed set of codes. Codes are permanent: they are documented, and
 * tests and callers match them, never the message. A denial is not an error; it is a `Decision` value.
 *
 * Not here: HTTP statuses. `proxy/error_response.ts` maps codes for the data plane and `api/errors.ts` for REST.
 *
 * @module
 */

/** Every code that a {@linkcode ProxyError} may carry. */
export type ErrorCode =
  /** A value from a person or a program is not acceptable; the message says which and what would be. */
  | "input.invalid"
  /** The name, token or rule exists already. */
  | "input.conflict"
  /** The named thing does not exist. */
  | "input.not-found"
  /** A command line that cannot be understood (exit code 2). */
  | "cli.usage"
  /** The API cannot be reached, or refused the call. */
  | "api.unreachable"
  | "api.refused"
  /** State folder, database, seal key, certificate authority. */
  | "state.locked"
  | "state.unreadable"
  | "state.damaged"
  | "state.newer"
  | "state.write-failed"
  /** The store of a fleet: it does not answer, or lets nobody in; it has lost changes, or holds what this version cannot read. */
  | "store.away"
  | "store.refused"
  | "seal.key-missing"
  | "seal.key-invalid"
  | "seal.key-wrong"
  | "seal.row-damaged"
  | "ca.invalid"
  | "ca.expired"
  | "ca.write-failed"
  /** An address or port cannot be listened on. */
  | "listen.failed"
  /** What a client sent cannot be read safely (RFC 9112). */
  | "client.malformed"
  | "client.head-too-large"
  | "client.timeout"
  | "client.closed"
  | "client.unsupported"
  /** Who is it? */
  | "auth.missing"
  | "auth.invalid"
  /** The upstream cannot be reached or cannot be trusted. */
  | "upstream.dns"
  | "upstream.address-denied"
  | "upstream.refused"
  | "upstream.unreachable"
  | "upstream.timeout"
  | "upstream.tls"
  | "upstream.malformed"
  | "upstream.closed"
  | "upstream.echo"
  /** A credential is needed and cannot be had. */
  | "credential.unavailable"
  /** Policy refuses on the way: names that disagree, an admission that is gone, a credential that must not leave, a client that is suspended, a policy that cannot be known, a person who was asked. */
  | "policy.mismatch"
  | "policy.revoked"
  | "policy.placeholder"
  | "policy.signature"
  | "policy.suspended"
  | "policy.store-lost"
  | "policy.asked"
  /** A limit of `core/limits.ts` refuses new work. */
  | "limit.reached"
  | "audit.write-failed"
  /** The helper inside a VM cannot do what it has to; the message says which part. */
  | "agent.failed"
  | "internal";

/** What else an error may carry. */
export interface ErrorDetails {
  /** What was caught. Its text is not shown to callers. */
  readonly cause?: unknown;
  /** What to do, in one line. */
  readonly hint?: string;
  /** The audit reason, where it is finer than the code (`tls-expired`, `address-denied`). */
  readonly reason?: string;
  /** When the same may be asked again, where that is known. */
  readonly retryAfterSeconds?: number;
}

/** An expected failure. `message` is "Cannot <verb> <thing>: <state>" and never holds a credential. */
export class ProxyError extends Error {
  /** Tells it from other errors where the class cannot. */
  override readonly name = "ProxyError";
  /** What failed; permanent, and what tests assert. */
  readonly code: ErrorCode;
  /** What to do, in one line. */
  readonly hint: string | undefined;
  /** The audit reason, where it is finer than the code. */
  readonly reason: string | undefined;
  /** When the same may be asked again. */
  readonly retryAfterSeconds: number | undefined;

  /** An error to be thrown. */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.reason = details.reason;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True for a {@linkcode ProxyError}, with one of `codes` when any are given. */
export function isProxyError(error: unknown, ...codes: readonly ErrorCode[]): error is ProxyError {
  return error instanceof ProxyError && (codes.length === 0 || codes.includes(error.code));
}
