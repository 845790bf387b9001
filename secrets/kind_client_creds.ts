/**
 * `oauth-client-creds`: the client credentials grant (RFC 6749 §4.4), for any API. The token is fetched at first use and
 * stays in memory.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Fields } from "./fields.ts";
import { bearer, compact, type Login, makeToken, type OAuthKind } from "./oauth_kind.ts";
import type { ProviderRequest } from "./provider_call.ts";
import { FORM_HEADERS, formBody, jsonFields, readTokenAnswer } from "./token_answer.ts";

const HINT =
  'give {"token_endpoint": "https://...", "client_id": "...", "client_secret": "...", "scope": "..."}';

/** How the client proves who it is (RFC 6749 §2.3.1). `auto` tries Basic, and the body once Basic is refused. */
const AUTH_METHODS = ["auto", "client_secret_basic", "client_secret_post"] as const;
type AuthMethod = typeof AUTH_METHODS[number];

/** A client at an authorization server. */
export interface ClientCredentials extends Login {
  readonly token_endpoint: string;
  readonly client_id: string;
  readonly client_secret: string;
  readonly scope?: string;
  /** Asked for by Auth0 and by older versions of Azure. */
  readonly audience?: string;
  readonly resource?: string;
  readonly token_endpoint_auth_method: AuthMethod;
}

/** Servers that refused Basic and took the body, so that it is tried only once. The keys go with their logins. */
const takesBody = new WeakSet<ClientCredentials>();

export const CLIENT_CREDS: OAuthKind<ClientCredentials> = {
  rotates: false,

  parse(text) {
    const fields = Fields.parse("client credentials value", HINT, text);
    const method = fields.text("token_endpoint_auth_method") ?? "auto";
    return compact({
      token_endpoint: fields.url("token_endpoint") ?? fields.refuse("it has no token_endpoint"),
      client_id: fields.needText("client_id"),
      client_secret: fields.needText("client_secret"),
      scope: fields.text("scope"),
      audience: fields.text("audience"),
      resource: fields.text("resource"),
      token_endpoint_auth_method: AUTH_METHODS.find((each) => each === method) ??
        fields.refuse(`its token_endpoint_auth_method is none of ${AUTH_METHODS.join(", ")}`),
    });
  },

  stored: () => undefined,
  isRenewable: () => true,

  async renew(client, { call, now }) {
    const method = client.token_endpoint_auth_method;
    const inBody = method === "client_secret_post" || takesBody.has(client);
    let response = await call(tokenRequest(client, inBody));
    // RFC 6749 §5.2: a server that does not take Basic answers invalid_client, with 400 or 401.
    const isRefused = (response.status === 400 || response.status === 401) &&
      jsonFields(response.body).error === "invalid_client";
    if (method === "auto" && !inBody && isRefused) {
      const second = await call(tokenRequest(client, true));
      if (second.status === 200) takesBody.add(client);
      response = second;
    }
    const { accessToken, expiresInMs } = readTokenAnswer(response, now());
    return {
      token: makeToken(accessToken, expiresInMs === undefined ? undefined : now() + expiresInMs, now()),
    };
  },

  inject: (_client, token) => ({ headers: [bearer(token)] }),
  endpoints: ({ token_endpoint }) => [{ url: token_endpoint, scope: "host" }],
  identity: ({ client_id, token_endpoint }) => [client_id, token_endpoint],
};

function tokenRequest(client: ClientCredentials, inBody: boolean): ProviderRequest {
  const { token_endpoint, client_id, client_secret, scope, audience, resource } = client;
  // §2.3.1: both are form-encoded before they are joined, so that a colon in the id does not move the border.
  const pair = `${formEncode(client_id)}:${formEncode(client_secret)}`;
  return {
    method: "POST",
    url: token_endpoint,
    headers: inBody
      ? FORM_HEADERS
      : { ...FORM_HEADERS, "Authorization": `Basic ${Buffer.from(pair, "utf8").toString("base64")}` },
    body: formBody({
      grant_type: "client_credentials",
      scope,
      audience,
      resource,
      ...(inBody ? { client_id, client_secret } : {}),
    }),
  };
}

function formEncode(text: string): string {
  return new URLSearchParams({ v: text }).toString().slice(2);
}
