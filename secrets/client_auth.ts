/**
 * How a client proves who it is to a token endpoint (RFC 6749 §2.3.1): with HTTP Basic, in the body, or, as a public client,
 * by its name alone.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Fields } from "./fields.ts";
import type { RenewalContext } from "./oauth_kind.ts";
import type { ProviderResponse } from "./provider_call.ts";
import { FORM_HEADERS, formBody, jsonFields } from "./token_answer.ts";

/** `auto` tries Basic, and the body once Basic is refused. */
const AUTH_METHODS = ["auto", "client_secret_basic", "client_secret_post"] as const;
export type AuthMethod = typeof AUTH_METHODS[number];

/** A client at an authorization server. Without a secret it is a public one. */
export interface OAuthClient {
  readonly token_endpoint: string;
  readonly client_id: string;
  readonly client_secret?: string;
  readonly token_endpoint_auth_method: AuthMethod;
}

/** The method that a value names. @throws ProxyError `input.invalid` */
export function authMethodOf(fields: Fields): AuthMethod {
  const method = fields.text("token_endpoint_auth_method") ?? "auto";
  return AUTH_METHODS.find((each) => each === method) ??
    fields.refuse(`its token_endpoint_auth_method is none of ${AUTH_METHODS.join(", ")}`);
}

/**
 * Asks for a token.
 *
 * @returns the answer, and the method that was used for it
 * @throws ProxyError `upstream.*`
 */
export async function askAsClient(
  client: OAuthClient,
  form: Readonly<Record<string, string | undefined>>,
  { call }: RenewalContext,
): Promise<{ readonly response: ProviderResponse; readonly method: AuthMethod }> {
  const { client_secret, token_endpoint_auth_method: method } = client;
  const inBody = method === "client_secret_post" || client_secret === undefined;
  const response = await call(requestOf(client, form, inBody));
  // §5.2: a server that does not take Basic answers invalid_client, or misses the client_id, with 400 or 401.
  const { error } = jsonFields(response.body);
  const isRefused = (response.status === 400 || response.status === 401) &&
    (error === "invalid_client" || error === "invalid_request");
  if (method !== "auto" || inBody || !isRefused) return { response, method };
  const second = await call(requestOf(client, form, true));
  return { response: second, method: second.status === 200 ? "client_secret_post" : method };
}

function requestOf(
  { token_endpoint, client_id, client_secret }: OAuthClient,
  form: Readonly<Record<string, string | undefined>>,
  inBody: boolean,
) {
  // §2.3.1: both are form-encoded before they are joined, so that a colon in the id does not move the border.
  const pair = `${formEncode(client_id)}:${formEncode(client_secret ?? "")}`;
  return {
    method: "POST",
    url: token_endpoint,
    headers: inBody
      ? FORM_HEADERS
      : { ...FORM_HEADERS, "Authorization": `Basic ${Buffer.from(pair, "utf8").toString("base64")}` },
    body: formBody({ ...form, ...(inBody ? { client_id, client_secret } : {}) }),
  } as const;
}

function formEncode(text: string): string {
  return new URLSearchParams({ v: text }).toString().slice(2);
}
