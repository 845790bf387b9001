/**
 * `oauth-client-creds`: the client credentials grant (RFC 6749 §4.4), for any API. The token is fetched at first use and
 * stays in memory.
 *
 * @module
 */
import { askAsClient, authMethodOf, type OAuthClient } from "./client_auth.ts";
import { Fields } from "./fields.ts";
import { bearer, compact, type Login, makeToken, type OAuthKind } from "./oauth_kind.ts";
import { readTokenAnswer } from "./token_answer.ts";

const HINT =
  'give {"token_endpoint": "https://...", "client_id": "...", "client_secret": "...", "scope": "..."}';

/** A client at an authorization server. */
export interface ClientCredentials extends Login, OAuthClient {
  readonly client_secret: string;
  readonly scope?: string;
  /** Asked for by Auth0 and by older versions of Azure. */
  readonly audience?: string;
  readonly resource?: string;
}

/** Servers that refused Basic and took the body, so that it is tried only once. The keys go with their logins. */
const takesBody = new WeakSet<ClientCredentials>();

export const CLIENT_CREDS: OAuthKind<ClientCredentials> = {
  rotates: false,

  parse(text) {
    const fields = Fields.parse("client credentials value", HINT, text);
    return compact({
      token_endpoint: fields.url("token_endpoint") ?? fields.refuse("it has no token_endpoint"),
      client_id: fields.needText("client_id"),
      client_secret: fields.needText("client_secret"),
      scope: fields.text("scope"),
      audience: fields.text("audience"),
      resource: fields.text("resource"),
      token_endpoint_auth_method: authMethodOf(fields),
    });
  },

  stored: () => undefined,
  isRenewable: () => true,

  async renew(client, context) {
    const { scope, audience, resource } = client;
    const known = takesBody.has(client)
      ? { ...client, token_endpoint_auth_method: "client_secret_post" as const }
      : client;
    const form = { grant_type: "client_credentials", scope, audience, resource };
    const { response, method } = await askAsClient(known, form, context);
    if (method === "client_secret_post") takesBody.add(client);
    const { accessToken, expiresInMs } = readTokenAnswer(response, context.now());
    const { now } = context;
    return {
      token: makeToken(accessToken, expiresInMs === undefined ? undefined : now() + expiresInMs, now()),
    };
  },

  inject: (_client, token) => ({ headers: [bearer(token)] }),
  endpoints: ({ token_endpoint }) => [{ url: token_endpoint, scope: "host" }],
  identity: ({ client_id, token_endpoint }) => [client_id, token_endpoint],
};
