/**
 * `oauth-refresh`: a person's or program's refresh token at any authorization server (RFC 6749 §6). Whether the server uses
 * up refresh tokens is not known, so each renewal is done as if it did.
 *
 * @module
 */
import { askAsClient, authMethodOf, type OAuthClient } from "./client_auth.ts";
import { Fields, jwtExpiry } from "./fields.ts";
import { bearer, compact, type Login, makeToken, type OAuthKind, renewedLogin } from "./oauth_kind.ts";
import { readTokenAnswer } from "./token_answer.ts";

const HINT =
  'give {"token_endpoint": "https://...", "client_id": "...", "client_secret": "...", "refresh_token": "...", "scope": "..."}';

/** A login at an authorization server. The access token may be missing until the first renewal. */
export interface RefreshLogin extends Login, OAuthClient {
  readonly client_secret?: string;
  readonly refresh_token: string;
  readonly scope?: string;
  readonly expires_at?: number;
  readonly obtained_at?: number;
}

export const REFRESH: OAuthKind<RefreshLogin> = {
  rotates: true,

  parse(text, nowMs) {
    const fields = Fields.parse("login", HINT, text);
    const access = fields.token("access_token");
    return compact({
      token_endpoint: fields.url("token_endpoint", "token_uri") ?? fields.refuse("it has no token_endpoint"),
      client_id: fields.needText("client_id"),
      client_secret: fields.text("client_secret"),
      refresh_token: fields.needToken("refresh_token"),
      scope: fields.words("scope").join(" ") || undefined,
      access_token: access,
      expires_at: fields.time(nowMs, "expires_at") ??
        (access === undefined ? undefined : jwtExpiry(access, nowMs)),
      obtained_at: fields.time(nowMs, "obtained_at"),
      token_endpoint_auth_method: authMethodOf(fields),
    });
  },

  stored: ({ access_token, expires_at, obtained_at }) =>
    access_token === undefined ? undefined : makeToken(access_token, expires_at, obtained_at),
  isRenewable: () => true,

  async renew(login, context) {
    const { refresh_token, scope } = login;
    const form = { grant_type: "refresh_token", refresh_token, scope };
    const { response, method } = await askAsClient(login, form, context);
    const answer = readTokenAnswer(response, context.now());
    return renewedLogin({ ...login, token_endpoint_auth_method: method }, answer, context.now());
  },

  inject: (_login, token) => ({ headers: [bearer(token)] }),
  endpoints: ({ token_endpoint }) => [{ url: token_endpoint, scope: "host" }],
  identity: ({ client_id, token_endpoint }) => [client_id, token_endpoint],
};
