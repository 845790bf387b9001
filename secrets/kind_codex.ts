/**
 * `oauth-codex`: the ChatGPT login of the Codex CLI, for `chatgpt.com`.
 *
 * Taken are `auth.json` as Codex writes it and `{access_token, refresh_token, account_id}`. Refresh tokens are used up by
 * one renewal. API keys in that file are for `api.openai.com` and the `bearer` type.
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
import { JSON_HEADERS, readTokenAnswer } from "./token_answer.ts";

const TOKEN_ENDPOINT = "https://auth.openai.com/oauth/token";
/** The Codex CLI's own, which is public. */
const CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";
const HINT = "give ~/.codex/auth.json as Codex wrote it " +
  '(with cli_auth_credentials_store = "file"), or {"access_token", "refresh_token", "account_id"}';
/** Codex renews a token that does not say when it ends after this long. */
const LIFE_WITHOUT_EXP_MS = 8 * 86_400_000;
/** Where OpenAI's tokens say whose they are. */
const AUTH_CLAIM = "https://api.openai.com/auth";

/** A ChatGPT login. */
export interface CodexLogin extends StoredLogin {
  readonly client_id: string;
  readonly account_id: string;
  /** The account is in OpenAI's FedRAMP environment, which the API must be told. */
  readonly fedramp?: boolean;
}

export const CODEX: OAuthKind<CodexLogin> = {
  rotates: true,

  parse(text, nowMs) {
    const root = Fields.parse("Codex login", HINT, text);
    const mode = root.text("auth_mode");
    const isKey = mode === undefined ? root.has("OPENAI_API_KEY") && !root.has("tokens") : /^api/i.test(mode);
    if (isKey) {
      root.refuse("it is an API key", "store the key itself with --type bearer --host api.openai.com");
    }
    const isFile = ["tokens", "auth_mode", "OPENAI_API_KEY", "last_refresh"].some((name) =>
      root.names().includes(name)
    );
    const login = root.child("tokens") ??
      (isFile && !root.has("access_token") ? root.refuse("it has no tokens") : root);
    const access = login.needToken("access_token");
    const id = login.text("id_token");
    const refreshedAt = root.time(nowMs, "last_refresh");
    const byAge = refreshedAt === undefined ? undefined : refreshedAt + LIFE_WITHOUT_EXP_MS;
    return compact({
      access_token: access,
      refresh_token: login.needToken("refresh_token"),
      account_id: login.token("account_id") ?? accountOf(id) ?? accountOf(access) ??
        login.refuse("it has no account_id, and its tokens name no account"),
      fedramp: root.flag("fedramp") ||
          jwtClaims(id)?.child(AUTH_CLAIM)?.flag("chatgpt_account_is_fedramp") === true
        ? true
        : undefined,
      expires_at: jwtExpiry(access, nowMs) ?? login.time(nowMs, "expires_at") ?? byAge,
      obtained_at: refreshedAt ?? root.time(nowMs, "obtained_at"),
      client_id: login.text("client_id") ?? CLIENT_ID,
      token_endpoint: login.url("token_endpoint") ?? root.url("token_endpoint") ?? TOKEN_ENDPOINT,
    });
  },

  stored: storedToken,
  isRenewable: () => true,

  async renew(login, { call, now }) {
    const response = await call({
      method: "POST",
      url: login.token_endpoint,
      headers: JSON_HEADERS,
      body: JSON.stringify({
        client_id: login.client_id,
        grant_type: "refresh_token",
        refresh_token: login.refresh_token,
      }),
    });
    // Each token in the answer is optional; what is left out goes on.
    const answer = readTokenAnswer(withOldToken(response, login.access_token), now());
    return renewedLogin(login, answer, now());
  },

  inject: ({ account_id, fedramp }, token) => ({
    headers: [
      bearer(token),
      ["ChatGPT-Account-ID", account_id],
      ...(fedramp ? [["X-OpenAI-Fedramp", "true"] as const] : []),
    ],
  }),

  endpoints: ({ token_endpoint }) => [
    { url: token_endpoint, scope: "host" },
    { url: TOKEN_ENDPOINT, scope: "host" },
  ],

  identity: ({ account_id, client_id, token_endpoint }) => [account_id, client_id, token_endpoint],
};

function accountOf(token: string | undefined): string | undefined {
  const claims = jwtClaims(token);
  return claims?.child(AUTH_CLAIM)?.token("chatgpt_account_id") ?? claims?.token("chatgpt_account_id");
}

/** A 200 with nothing but a new refresh token keeps the access token. */
function withOldToken<R extends { readonly status: number; readonly body: string }>(
  response: R,
  accessToken: string,
): R {
  if (response.status !== 200) return response;
  try {
    const fields: unknown = JSON.parse(response.body);
    if (typeof fields !== "object" || fields === null || "access_token" in fields) return response;
    return { ...response, body: JSON.stringify({ ...fields, access_token: accessToken }) };
  } catch {
    return response;
  }
}
