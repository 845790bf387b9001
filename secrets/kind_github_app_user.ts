/**
 * `github-app-user`: a user's token of a GitHub App, for `api.github.com` and git.
 *
 * Taken is what `oauth github-app-user` prints, or `{access_token}` alone for an app whose tokens do not end. A renewal
 * uses up the refresh token and ends the old access token.
 *
 * @module
 */
import { Fields } from "./fields.ts";
import { type GithubForm, githubForm, githubInjection, githubLogin } from "./github.ts";
import { compact, type OAuthKind, renewedLogin, type StoredLogin, storedToken } from "./oauth_kind.ts";
import { FORM_HEADERS, formBody, readTokenAnswer } from "./token_answer.ts";

const HINT = "run `slicer-proxy oauth github-app-user --client-id ID` on the host and give what it prints, " +
  'or {"access_token": "ghu_...", "refresh_token": "ghr_...", "client_id": "..."}';

/** A user's authorization of a GitHub App. */
export interface GithubUserLogin extends StoredLogin {
  readonly client_id?: string;
  readonly github_url: string;
}

export const GITHUB_APP_USER: OAuthKind<GithubUserLogin> = {
  rotates: true,

  parse(text, nowMs) {
    const login = Fields.parse("GitHub App user login", HINT, text);
    const access = login.needToken("access_token");
    const refresh = login.token("refresh_token");
    const github = new URL(login.url("github_url") ?? "https://github.com").origin;
    const obtainedAt = login.time(nowMs, "obtained_at");
    const life = login.number("expires_in");
    return compact({
      access_token: access,
      refresh_token: refresh,
      client_id: refresh === undefined ? login.text("client_id") : login.needText("client_id"),
      client_secret: login.text("client_secret"),
      expires_at: login.time(nowMs, "expires_at") ??
        (life === undefined || life <= 0 ? undefined : (obtainedAt ?? nowMs) + life * 1_000),
      obtained_at: obtainedAt,
      github_url: github,
      token_endpoint: login.url("token_endpoint") ?? `${github}/login/oauth/access_token`,
    });
  },

  stored: storedToken,
  isRenewable: ({ refresh_token }) => refresh_token !== undefined,

  async renew(login, { call, now }) {
    const response = await call({
      method: "POST",
      url: login.token_endpoint,
      headers: FORM_HEADERS,
      body: formBody({
        grant_type: "refresh_token",
        refresh_token: login.refresh_token,
        client_id: login.client_id,
        client_secret: login.client_secret, // not needed when the login was a device flow
      }),
    });
    return renewedLogin(login, readTokenAnswer(response, now()), now());
  },

  formOf: (_login, request): GithubForm => githubForm(request),
  inject: (_login, token, form) => githubInjection(token, form),

  endpoints: ({ token_endpoint, github_url }) => [
    { url: token_endpoint, scope: new URL(token_endpoint).origin === github_url ? "path" : "host" },
    ...githubLogin(github_url),
  ],

  identity: ({ client_id, github_url, token_endpoint }) => [client_id, github_url, token_endpoint],
};
