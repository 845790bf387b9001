/**
 * `oauth-xai`: the login of a Grok subscription, for `api.x.ai`.
 *
 * Taken are what `oauth xai` prints, `{access_token, refresh_token}`, and the Grok CLI's `auth.json`. Refresh tokens are
 * used up by one renewal, and using one twice is reported to revoke the login.
 *
 * @module
 */
import { Fields, jwtClaims, jwtExpiry } from "./fields.ts";
import {
  bearer,
  compact,
  type OAuthKind,
  renewedLogin,
  type StoredLogin,
  storedToken,
} from "./oauth_kind.ts";
import { FORM_HEADERS, formBody, readTokenAnswer } from "./token_answer.ts";

const TOKEN_ENDPOINT = "https://auth.x.ai/oauth2/token";
/** The Grok CLI's own, which is public. */
const CLIENT_ID = "b1a00492-073a-47ea-816f-4c329264a828";
const HINT = "run `slicer-proxy oauth xai` on the host and give what it prints, " +
  'or {"access_token": "...", "refresh_token": "..."}';
/** The key of a login in the Grok CLI's file; the client id follows. */
const GROK_KEY = "https://auth.x.ai::";

/** A login at xAI. */
export interface XaiLogin extends StoredLogin {
  readonly client_id: string;
  /** Of a team's login; the renewal must name them. */
  readonly principal_type?: string;
  readonly principal_id?: string;
  readonly subject?: string;
}

export const XAI: OAuthKind<XaiLogin> = {
  rotates: true,

  parse(text, nowMs) {
    const root = Fields.parse("xAI login", HINT, text);
    const grokKey = root.names().find((name) => name.startsWith(GROK_KEY));
    if (grokKey === undefined && root.has("xai::api_key")) {
      root.refuse("it is an API key", "store the key itself with --type bearer --host api.x.ai");
    }
    const login = (grokKey === undefined ? undefined : root.child(grokKey)) ?? root;
    const access = login.needToken("access_token", ...(grokKey === undefined ? [] : ["key"]));
    const claims = jwtClaims(access);
    const obtainedAt = login.time(nowMs, "obtained_at", "create_time");
    const life = login.number("expires_in");
    const byLife = life === undefined || obtainedAt === undefined ? undefined : obtainedAt + life * 1_000;
    return compact({
      access_token: access,
      refresh_token: login.needToken("refresh_token"),
      expires_at: login.time(nowMs, "expires_at") ?? jwtExpiry(access, nowMs) ?? byLife,
      obtained_at: obtainedAt,
      client_id: login.text("client_id", "oidc_client_id") ?? grokKey?.slice(GROK_KEY.length) ?? CLIENT_ID,
      principal_type: login.text("principal_type") ?? claims?.text("principal_type"),
      principal_id: login.text("principal_id") ?? claims?.text("principal_id"),
      subject: login.text("subject", "user_id") ?? claims?.text("sub"),
      token_endpoint: login.url("token_endpoint") ?? root.url("token_endpoint") ?? TOKEN_ENDPOINT,
    });
  },

  stored: storedToken,
  isRenewable: () => true,

  async renew(login, { call, now }) {
    const response = await call({
      method: "POST",
      url: login.token_endpoint,
      headers: FORM_HEADERS,
      body: formBody({
        grant_type: "refresh_token",
        refresh_token: login.refresh_token,
        client_id: login.client_id,
        principal_type: login.principal_type,
        principal_id: login.principal_id,
      }),
    });
    return renewedLogin(login, readTokenAnswer(response, now()), now());
  },

  inject: (_login, token) => ({ headers: [bearer(token)] }),

  endpoints: ({ token_endpoint }) => [
    { url: token_endpoint, scope: "host" },
    { url: TOKEN_ENDPOINT, scope: "host" },
    { url: "https://accounts.x.ai/", scope: "host" },
  ],

  identity: ({ subject, principal_id, client_id, token_endpoint }) => [
    subject,
    principal_id,
    client_id,
    token_endpoint,
  ],

  /** xAI answers 403 to an access token that has ended; its other 403s are about plans, and a renewal would not help. */
  isRefused: ({ status, bodyStart }) =>
    status === 401 || (status === 403 && bodyStart?.includes("unauthenticated:bad-credentials") === true),
};
