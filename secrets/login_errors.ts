/**
 * What the failure of a renewal says, to clients and to the operator, and whether the provider can have seen the request.
 *
 * Not here: what a provider's answer means (`token_answer.ts`).
 *
 * @module
 */
import { isProxyError, ProxyError } from "../core/errors.ts";
import { RenewalFailure } from "./token_answer.ts";

/** The error for a request that needs the token of `secret`. */
export function unavailable(secret: string, failure: unknown): ProxyError {
  const isFinal = failure instanceof RenewalFailure && failure.isFinal;
  return new ProxyError(
    "credential.unavailable",
    `Cannot use secret ${secret}: ${isFinal ? "" : "its token cannot be renewed now: "}${wordsOf(failure)}`,
    {
      cause: failure,
      hint: isFinal
        ? "log in again on the host and store the login with slicer-proxy secret create --force"
        : "it is tried again by itself; slicer-proxy secret list says more",
    },
  );
}

/** True after errors of which the provider has certainly not seen the request. */
export function wasNeverSent(error: unknown): boolean {
  return isProxyError(
    error,
    "upstream.dns",
    "upstream.address-denied",
    "upstream.refused",
    "upstream.unreachable",
    "upstream.tls",
    "limit.reached",
  );
}

/** What an error may say to the operator. */
export function forOperator(error: unknown): string {
  return (error instanceof RenewalFailure ? error.atHome : undefined) ?? wordsOf(error);
}

/** What an error may say in public. */
export function wordsOf(error: unknown): string {
  return error instanceof RenewalFailure || isProxyError(error) ? error.message : "unexpected failure";
}
