/**
 * What a provider refuses, in our words. A provider's own text is never shown, and neither are the library's causes: they
 * may repeat codes and tokens that were sent or received.
 *
 * @module
 */
import * as oauth from "oauth4webapi";
import { isProxyError, ProxyError } from "../../core/errors.ts";

/** State and hint by error code: RFC 6749 §4.1.2.1 and §5.2, RFC 8628 §3.5, and GitHub's own. */
const WORDS: Readonly<Record<string, readonly [state: string, hint: string]>> = {
  access_denied: ["it was refused in the browser", "run the command again and confirm it there"],
  expired_token: ["the code has expired", "run the command again"],
  token_expired: ["the code has expired", "run the command again"],
  incorrect_device_code: ["the provider does not know the code any more", "run the command again"],
  invalid_grant: [
    "the code is used up, expired, or of another login",
    "run the command again, and paste only what the browser shows for it",
  ],
  incorrect_client_credentials: ["the provider does not know this client id", "look at the app's settings"],
  invalid_client: ["the provider does not know this client id", "look at the app's settings"],
  unauthorized_client: [
    "the provider does not allow this login to this client id",
    "look at the app's settings",
  ],
  device_flow_disabled: [
    "the app has no device flow",
    "switch on “Enable Device Flow” in the app's settings",
  ],
};

/**
 * Whatever a step of a login threw, as an error for people.
 *
 * @param what where the login goes, such as `xAI`
 * @returns the error itself when it is a ProxyError, else `credential.unavailable`; anything that is neither the
 * library's nor ours is thrown on: it is a defect
 */
export function loginError(what: string, error: unknown): ProxyError {
  if (isProxyError(error)) return error;
  const fail = (state: string, hint?: string) =>
    new ProxyError(
      "credential.unavailable",
      `Cannot log in to ${what}: ${state}`,
      hint === undefined ? {} : { hint },
    );
  const code = errorCodeOf(error);
  if (code !== undefined) {
    const words = WORDS[code];
    if (words !== undefined) return fail(...words);
    return fail(
      /^[a-z_]{1,40}$/.test(code) ? `the provider answered ${code}` : "the provider answered with an error",
    );
  }
  // The library's messages are fixed texts that name a field or a claim; what was in it is in their causes.
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError) {
    return fail(`the provider's answer cannot be used: ${error.message}`);
  }
  throw error;
}

/** The `error` of a refused request, or undefined when `error` is something else. */
export function errorCodeOf(error: unknown): string | undefined {
  return error instanceof oauth.ResponseBodyError || error instanceof oauth.AuthorizationResponseError
    ? error.error
    : undefined;
}
