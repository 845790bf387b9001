/**
 * `oauth-claude`: the login of Claude Code, for `api.anthropic.com`.
 *
 * Taken are `.credentials.json` as Claude Code writes it, `{accessToken, refreshToken}`, and the bare text that
 * `claude setup-token` prints, which lives for long and is never renewed. Refresh tokens are used up by one renewal.
 *
 * @module
 */
import { Fields, isToken } from "./fields.ts";
import {
  bearer,
  compact,
  type OAuthKind,
  renewedLogin,
  type StoredLogin,
  storedToken,
} from "./oauth_kind.ts";
import { JSON_HEADERS, readTokenAnswer } from "./token_answer.ts";

const TOKEN_ENDPOINT = "https://platform.claude.com/v1/oauth/token";
/** Claude Code's own, which is public. */
const CLIENT_ID = "9d1c250a-e61b-44d9-88ed-5944d1962f5e";
const HINT = "give ~/.claude/.credentials.json as Claude Code wrote it, " +
  'or {"accessToken": "...", "refreshToken": "..."}, or what `claude setup-token` printed';

/** A login of Claude Code. */
export interface ClaudeLogin extends StoredLogin {
  readonly client_id: string;
  readonly scopes: readonly string[];
  readonly organization?: string;
}

export const CLAUDE: OAuthKind<ClaudeLogin> = {
  rotates: true,

  parse(text, nowMs) {
    const isSetupToken = text.startsWith("sk-ant-oat") && isToken(text);
    const root = isSetupToken
      ? new Fields("Claude login", HINT, { accessToken: text })
      : Fields.parse("Claude login", HINT, text);
    const login = root.child("claudeAiOauth") ?? root;
    return compact({
      access_token: login.needToken("accessToken", "access_token"),
      refresh_token: isSetupToken || root.flag("long_lived")
        ? undefined
        : login.needToken("refreshToken", "refresh_token"),
      long_lived: isSetupToken || root.flag("long_lived") ? true : undefined,
      // Claude Code has been seen to write 0, and to leave it out after a renewal: used until it is refused then.
      expires_at: login.time(nowMs, "expiresAt", "expires_at"),
      obtained_at: login.time(nowMs, "obtained_at"),
      scopes: login.words("scopes"),
      client_id: login.text("clientId", "client_id") ?? CLIENT_ID,
      organization: root.text("organizationUuid", "organization"),
      token_endpoint: login.url("token_endpoint") ?? root.url("token_endpoint") ?? TOKEN_ENDPOINT,
    });
  },

  stored: storedToken,
  isRenewable: ({ refresh_token }) => refresh_token !== undefined,

  async renew(login, { call, now }) {
    const response = await call({
      method: "POST",
      url: login.token_endpoint,
      headers: JSON_HEADERS, // a form is refused
      body: JSON.stringify({
        grant_type: "refresh_token",
        refresh_token: login.refresh_token,
        client_id: login.client_id, // "Invalid request format" without
        ...(login.scopes.length === 0 ? {} : { scope: login.scopes.join(" ") }), // never a wider one than the login's
      }),
    });
    return renewedLogin(login, readTokenAnswer(response, now()), now());
  },

  inject: (_login, token) => ({
    headers: [bearer(token)],
    // Without it: 401 "OAuth authentication is currently not supported". A client that believes in an API key cannot know.
    merge: [["anthropic-beta", "oauth-2025-04-20"]],
    defaults: [["anthropic-version", "2023-06-01"]],
  }),

  endpoints: ({ token_endpoint }) => [
    { url: token_endpoint, scope: "host" },
    // Where older clients go for the same.
    { url: "https://platform.claude.com/", scope: "host" },
    { url: "https://console.anthropic.com/v1/oauth/*", scope: "path" },
    { url: "https://api.anthropic.com/v1/oauth/*", scope: "path" },
  ],

  identity: ({ organization, client_id, token_endpoint }) => [organization, client_id, token_endpoint],
};
