/**
 * `oauth-github-copilot`: the Copilot login of opencode, for `api.githubcopilot.com` and the hosts of the plans.
 *
 * Taken are opencode's `auth.json`, one record of it, and `{access_token}`. A `gho_` token goes to the API as it is; a
 * `ghu_` token is exchanged for a session token of half an hour, which stays in memory. Neither is used up by that.
 *
 * @module
 */
import { Fields, isToken } from "./fields.ts";
import { githubLogin } from "./github.ts";
import { bearer, compact, type Login, makeToken, type OAuthKind } from "./oauth_kind.ts";
import { errorCode, failureOf, jsonFields, lifeOf, RenewalFailure } from "./token_answer.ts";

const HINT = "give ~/.local/share/opencode/auth.json as opencode wrote it, " +
  'or {"access_token": "gho_... or ghu_..."}';

/** A GitHub login that Copilot accepts. */
export interface CopilotLogin extends Login {
  /** `gho_…` or `ghu_…`. */
  readonly access_token: string;
  /** Where a `ghu_` token is exchanged. */
  readonly token_endpoint: string;
  readonly github_url: string;
}

/** What GitHub wants to know about the editor of whoever uses a session token; a client that says it itself is believed. */
const EDITOR = [
  ["Editor-Version", "vscode/1.104.0"],
  ["Editor-Plugin-Version", "copilot-chat/0.31.0"],
] as const;
const API_VERSION = ["x-github-api-version", "2025-04-01"] as const;

export const COPILOT: OAuthKind<CopilotLogin> = {
  rotates: false,

  parse(text) {
    const root = Fields.parse("Copilot login", HINT, text);
    const record = root.child("github-copilot") ?? root.child("github-copilot-enterprise") ?? root;
    const kind = record.text("type");
    if (kind === "api" || kind === "wellknown") {
      record.refuse(`its type is ${kind}, not oauth`, "log in to GitHub Copilot with opencode first");
    }
    const tokens = ["refresh", "refresh_token", "access", "access_token", "token"].map((name) =>
      record.token(name)
    );
    const found = tokens.filter((token) => token !== undefined);
    const token = found.find((each) => /^gh[ou]_/.test(each));
    if (token === undefined) {
      record.refuse(
        found.length === 0
          ? `it has no ${record === root ? "access_token" : "refresh"}`
          : "neither its refresh nor its access token begins with gho_ or ghu_",
      );
    }
    const domain = record.text("enterpriseUrl")?.replace(/^https:\/\//, "").replace(/\/$/, "") ??
      "github.com";
    const apiUrl = URL.parse(`https://api.${domain}/`);
    if (apiUrl === null || apiUrl.hostname !== `api.${domain}`.toLowerCase()) {
      return record.refuse("its enterpriseUrl is no host name");
    }
    return compact({
      access_token: token,
      github_url: `https://${domain}`,
      enterpriseUrl: domain === "github.com" ? undefined : domain,
      token_endpoint: record.url("token_endpoint") ?? root.url("token_endpoint") ??
        `${apiUrl.origin}/copilot_internal/v2/token`,
    });
  },

  stored: ({ access_token }) => access_token.startsWith("gho_") ? makeToken(access_token) : undefined,
  isRenewable: ({ access_token }) => access_token.startsWith("ghu_"),

  async renew({ access_token, token_endpoint }, { call, now }) {
    const response = await call({
      method: "GET",
      url: token_endpoint,
      headers: {
        "Authorization": `token ${access_token}`,
        "Accept": "application/json",
        ...Object.fromEntries([...EDITOR, API_VERSION]),
      },
    });
    const fields = jsonFields(response.body);
    // 404 is how GitHub refuses tokens of other apps. A 403 may be a limit that passes.
    if (response.status === 404) {
      throw new RenewalFailure(
        "GitHub does not exchange this token for a Copilot session (HTTP status 404)",
        {
          isFinal: true,
        },
      );
    }
    if (response.status !== 200) throw failureOf(response, errorCode(fields), now());
    const { token, refresh_in, expires_at } = fields;
    if (typeof token !== "string" || !isToken(token)) {
      throw new RenewalFailure("the exchange's answer holds no session token", { isAnswered: false });
    }
    // `refresh_in` is a span, so it does not depend on whose clock is right.
    const lifeMs = lifeOf(refresh_in);
    const byClock = typeof expires_at === "number" && expires_at * 1_000 > now()
      ? expires_at * 1_000
      : undefined;
    return { token: makeToken(token, lifeMs === undefined ? byClock : now() + lifeMs, now()) };
  },

  inject: (_login, token) => ({
    headers: [bearer(token)],
    ...(/^gh[ou]_/.test(token)
      ? {}
      : { defaults: [["Copilot-Integration-Id", "vscode-chat"], ...EDITOR, API_VERSION] }),
  }),

  endpoints: ({ token_endpoint, github_url }) => [
    { url: token_endpoint, scope: "path" },
    ...githubLogin(github_url),
  ],

  identity: ({ github_url, token_endpoint }) => [github_url, token_endpoint],
};
