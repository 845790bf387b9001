/**
 * Calls to the providers of credentials, as this folder needs them. `proxy/egress/provider_call.ts` makes them, over verified
 * TLS and under the same address checks as every upstream; only `cli/up/cmd_up.ts` knows that.
 *
 * @module
 */

/** One request. */
export interface ProviderRequest {
  readonly method: "GET" | "POST";
  /** An https URL. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Asked right before the request is written, with nothing awaited in between: false, and nothing of it is sent. */
  readonly maySend?: () => boolean;
}

/** An answer, whatever its status. Redirects are answers: nothing follows them with a credential. */
export interface ProviderResponse {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Sends one request and reads the whole answer, of bounded size.
 *
 * @param signal gives up
 * @throws ProxyError `upstream.*`, `limit.reached`; the signal's reason
 */
export type ProviderCall = (request: ProviderRequest, signal: AbortSignal) => Promise<ProviderResponse>;
