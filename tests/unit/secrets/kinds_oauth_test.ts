/** What each kind of login takes, refuses, and puts on a request. No provider is asked here. */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { ProxyError } from "../../../core/errors.ts";
import { oauthKind, parseSecretValue } from "../../../secrets/kinds.ts";
import type { Login, OAuthKind } from "../../../secrets/oauth_kind.ts";
import { jwt } from "./support.ts";

const NOW = Date.UTC(2026, 10, 1);
const IN_AN_HOUR = NOW + 3_600_000;
const ACCOUNT = {
  "https://api.openai.com/auth": { chatgpt_account_id: "acc-1", chatgpt_account_is_fedramp: true },
};
const CODEX_ACCESS = jwt({ exp: IN_AN_HOUR / 1_000 });
const XAI_ACCESS = jwt({ exp: IN_AN_HOUR / 1_000, sub: "u1", principal_type: "Team", principal_id: "t1" });

function keyPem(type: "pkcs1" | "pkcs8", bits = 2_048): string {
  return generateKeyPairSync("rsa", { modulusLength: bits }).privateKey.export({ type, format: "pem" })
    .toString();
}
const PKCS1 = keyPem("pkcs1");

function kindOf(type: string): OAuthKind {
  const kind = oauthKind(type);
  if (!kind) throw new Error(`there is no ${type}`);
  return kind;
}

function parsed(type: string, value: unknown): Login & Record<string, unknown> {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return JSON.parse(parseSecretValue(type, text, NOW).value);
}

interface Good {
  readonly name: string;
  readonly type: string;
  readonly value: unknown;
  /** Fields of the login, and what they must be. */
  readonly is: Readonly<Record<string, unknown>>;
}

const CLAUDE_FILE = {
  claudeAiOauth: {
    accessToken: "sk-ant-oat01-planted",
    refreshToken: "sk-ant-ort01-planted",
    expiresAt: IN_AN_HOUR,
    scopes: ["user:inference"],
    subscriptionType: "max",
    rateLimitTier: "x",
  },
  organizationUuid: "org-1",
  mcpOAuth: { other: { accessToken: "planted" } },
};
const CODEX_FILE = {
  auth_mode: "chatgpt",
  OPENAI_API_KEY: null,
  tokens: { id_token: jwt(ACCOUNT), access_token: CODEX_ACCESS, refresh_token: "rt", account_id: "acc-1" },
  last_refresh: "2026-10-31T23:00:00.123456789Z",
};
const OPENCODE_FILE = {
  anthropic: { type: "oauth", refresh: "r", access: "a", expires: 1 },
  "github-copilot": { type: "oauth", refresh: "gho_planted", access: "gho_planted", expires: 0 },
};
const GROK_FILE = {
  "https://auth.x.ai::client-9": {
    key: XAI_ACCESS,
    auth_mode: "oidc",
    create_time: "2026-10-31T23:00:00Z",
    user_id: "u1",
    refresh_token: "rt",
    expires_at: "2026-11-01T01:00:00.123456789Z",
    oidc_client_id: "client-9",
  },
};
const SLICER_XAI = {
  type: "oauth-xai",
  access_token: XAI_ACCESS,
  refresh_token: "rt",
  id_token: "x",
  token_type: "Bearer",
  token_endpoint: "https://auth.x.ai/oauth2/token",
  obtained_at: "2026-10-31T23:00:00Z",
};
const CREDS = { token_endpoint: "https://auth.test/token", client_id: "id", client_secret: "planted" };

const REFRESH = { ...CREDS, refresh_token: "planted-refresh" };
const ISSUER = { token_endpoint: CREDS.token_endpoint, issuer: "me", private_key: PKCS1 };
const GOOGLE = {
  type: "service_account",
  project_id: "p",
  private_key_id: "k1",
  private_key: keyPem("pkcs8"),
  client_email: "robot@p.iam.gserviceaccount.com",
  client_id: "1234",
  token_uri: "https://oauth2.googleapis.com/token",
};

const GOOD: readonly Good[] = [
  {
    name: "Claude Code's file",
    type: "oauth-claude",
    value: CLAUDE_FILE,
    is: {
      access_token: "sk-ant-oat01-planted",
      refresh_token: "sk-ant-ort01-planted",
      expires_at: IN_AN_HOUR,
      scopes: ["user:inference"],
      organization: "org-1",
      token_endpoint: "https://platform.claude.com/v1/oauth/token",
    },
  },
  {
    name: "Claude, minimal",
    type: "oauth-claude",
    value: { accessToken: "a", refreshToken: "r" },
    is: { access_token: "a", refresh_token: "r", expires_at: undefined, scopes: [] },
  },
  {
    name: "Claude, expiresAt 0 is unknown",
    type: "oauth-claude",
    value: { accessToken: "a", refreshToken: "r", expiresAt: 0 },
    is: { expires_at: undefined },
  },
  {
    name: "Claude, the largest number of seconds is no time",
    type: "oauth-claude",
    value: { accessToken: "a", refreshToken: "r", expiresAt: 100_000_000_000 },
    is: { expires_at: undefined },
  },
  {
    name: "Claude, seconds",
    type: "oauth-claude",
    value: { accessToken: "a", refreshToken: "r", expiresAt: IN_AN_HOUR / 1_000 },
    is: { expires_at: IN_AN_HOUR },
  },
  {
    name: "claude setup-token",
    type: "oauth-claude",
    value: "sk-ant-oat01-planted",
    is: { access_token: "sk-ant-oat01-planted", refresh_token: undefined },
  },
  {
    name: "Codex's file",
    type: "oauth-codex",
    value: CODEX_FILE,
    is: {
      access_token: CODEX_ACCESS,
      refresh_token: "rt",
      account_id: "acc-1",
      fedramp: true,
      expires_at: IN_AN_HOUR,
    },
  },
  {
    name: "Codex, account from the id token",
    type: "oauth-codex",
    value: { tokens: { ...CODEX_FILE.tokens, account_id: undefined } },
    is: { account_id: "acc-1" },
  },
  {
    name: "Codex, account from the access token",
    type: "oauth-codex",
    value: { access_token: jwt(ACCOUNT), refresh_token: "rt" },
    is: { account_id: "acc-1" },
  },
  {
    name: "Codex, minimal",
    type: "oauth-codex",
    value: { access_token: "opaque", refresh_token: "rt", account_id: "acc-2" },
    is: { account_id: "acc-2", expires_at: undefined, fedramp: undefined },
  },
  {
    name: "Codex, an API key beside the tokens",
    type: "oauth-codex",
    value: { OPENAI_API_KEY: "sk-x", tokens: CODEX_FILE.tokens },
    is: { refresh_token: "rt" },
  },
  {
    name: "Codex, a token that does not end: eight days from the last renewal",
    type: "oauth-codex",
    value: { ...CODEX_FILE, tokens: { ...CODEX_FILE.tokens, access_token: "opaque" } },
    is: { expires_at: Date.UTC(2026, 9, 31, 23, 0, 0, 123) + 8 * 86_400_000 },
  },
  {
    name: "opencode's file",
    type: "oauth-github-copilot",
    value: OPENCODE_FILE,
    is: {
      access_token: "gho_planted",
      token_endpoint: "https://api.github.com/copilot_internal/v2/token",
      github_url: "https://github.com",
    },
  },
  {
    name: "opencode's file of before, enterprise",
    type: "oauth-github-copilot",
    value: {
      "github-copilot-enterprise": {
        type: "oauth",
        refresh: "ghu_planted",
        access: "tid=1;exp=2",
        expires: 5,
        enterpriseUrl: "acme.ghe.com",
      },
    },
    is: {
      access_token: "ghu_planted",
      token_endpoint: "https://api.acme.ghe.com/copilot_internal/v2/token",
      github_url: "https://acme.ghe.com",
    },
  },
  {
    name: "Copilot, one record with nothing in refresh",
    type: "oauth-github-copilot",
    value: { type: "oauth", refresh: "", access: "gho_planted" },
    is: { access_token: "gho_planted" },
  },
  {
    name: "Copilot, minimal",
    type: "oauth-github-copilot",
    value: { access_token: "ghu_planted" },
    is: { access_token: "ghu_planted" },
  },
  {
    name: "what oauth xai prints",
    type: "oauth-xai",
    value: SLICER_XAI,
    is: {
      access_token: XAI_ACCESS,
      refresh_token: "rt",
      expires_at: IN_AN_HOUR,
      subject: "u1",
      principal_type: "Team",
      principal_id: "t1",
      client_id: "b1a00492-073a-47ea-816f-4c329264a828",
      id_token: undefined,
    },
  },
  {
    name: "xAI, minimal, with a life",
    type: "oauth-xai",
    value: { access_token: "a", refresh_token: "r", expires_in: 7_200, obtained_at: NOW / 1_000 - 3_600 },
    is: { expires_at: IN_AN_HOUR, obtained_at: NOW - 3_600_000 },
  },
  {
    name: "the Grok CLI's file",
    type: "oauth-xai",
    value: GROK_FILE,
    is: { access_token: XAI_ACCESS, client_id: "client-9", expires_at: IN_AN_HOUR + 123, subject: "u1" },
  },
  {
    name: "GitHub App user, what the command prints",
    type: "github-app-user",
    value: {
      access_token: "ghu_x",
      refresh_token: "ghr_x",
      client_id: "Iv1.x",
      expires_in: 3_600,
      obtained_at: NOW,
    },
    is: {
      expires_at: IN_AN_HOUR,
      token_endpoint: "https://github.com/login/oauth/access_token",
      client_id: "Iv1.x",
    },
  },
  {
    name: "GitHub App user, a token alone",
    type: "github-app-user",
    value: { access_token: "ghu_x" },
    is: { refresh_token: undefined, expires_at: undefined },
  },
  {
    name: "GitHub App user, GitHub Enterprise Server",
    type: "github-app-user",
    value: { access_token: "a", refresh_token: "r", client_id: "c", github_url: "https://ghe.acme.test/" },
    is: { token_endpoint: "https://ghe.acme.test/login/oauth/access_token" },
  },
  {
    name: "client credentials",
    type: "oauth-client-creds",
    value: { ...CREDS, scope: "a b" },
    is: { ...CREDS, scope: "a b", token_endpoint_auth_method: "auto" },
  },
  {
    name: "a refresh token alone",
    type: "oauth-refresh",
    value: { ...REFRESH, scope: "a b" },
    is: { ...REFRESH, scope: "a b", access_token: undefined, token_endpoint_auth_method: "auto" },
  },
  {
    name: "gcloud's login of a person, a public client",
    type: "oauth-refresh",
    value: { type: "authorized_user", client_id: "id", refresh_token: "r", token_uri: CREDS.token_endpoint },
    is: { token_endpoint: CREDS.token_endpoint, client_secret: undefined },
  },
  {
    name: "a refresh token with a JWT",
    type: "oauth-refresh",
    value: { ...REFRESH, access_token: CODEX_ACCESS },
    is: { access_token: CODEX_ACCESS, expires_at: IN_AN_HOUR },
  },
  {
    name: "an issuer of JWTs, in short names",
    type: "oauth-jwt-bearer",
    value: { ...ISSUER, issuer: undefined, iss: "me", sub: "you", kid: "k1", scope: ["a", "b"] },
    is: { issuer: "me", subject: "you", key_id: "k1", scope: "a b" },
  },
  {
    name: "Google's key file",
    type: "google-service-account",
    value: GOOGLE,
    is: {
      issuer: GOOGLE.client_email,
      key_id: "k1",
      token_endpoint: GOOGLE.token_uri,
      scope: "https://www.googleapis.com/auth/cloud-platform",
    },
  },
  {
    name: "Google's key file with scopes and an audience",
    type: "google-service-account",
    value: { ...GOOGLE, scopes: ["a", "b"], audience: "https://x.test" },
    is: { scope: "a b", audience: "https://x.test" },
  },
  {
    name: "GitHub App, JSON and PKCS#1",
    type: "github-app",
    value: { app_id: 12, private_key: PKCS1 },
    is: { app_id: "12", api_endpoint: "https://api.github.com", installation_id: undefined },
  },
  {
    name: "GitHub App, YAML and PKCS#8",
    type: "github-app",
    value:
      `# my app\nclient_id: Iv23x\ninstallation_id: 77\napi_endpoint: https://ghe.test/api/v3/\nprivate_key: |\n${
        keyPem("pkcs8").replace(/^/gm, "  ")
      }`,
    is: { app_id: "Iv23x", api_endpoint: "https://ghe.test/api/v3", installation_id: "77" },
  },
];

Deno.test("every documented form of a login is taken, and what is stored reads back as itself", async (t) => {
  for (const { name, type, value, is } of GOOD) {
    await t.step(name, () => {
      const login = parsed(type, value);
      for (const [field, expected] of Object.entries(is)) assertEquals(login[field], expected, field);
      assertEquals(parsed(type, login), login);
    });
  }
});

Deno.test({
  name: "reading a login needs no permission: a library that reads the environment would fail in the binary",
  permissions: "none",
  fn: () => {
    for (const { type, value } of GOOD) parsed(type, value);
  },
});

Deno.test("a login may name its own token endpoint, over https only", async (t) => {
  const types: readonly (readonly [string, Record<string, unknown>])[] = [
    ["oauth-claude", { accessToken: "a", refreshToken: "r" }],
    ["oauth-codex", { access_token: "a", refresh_token: "r", account_id: "x" }],
    ["oauth-github-copilot", { access_token: "ghu_x" }],
    ["oauth-xai", { access_token: "a", refresh_token: "r" }],
    ["github-app-user", { access_token: "a", refresh_token: "r", client_id: "c" }],
    ["oauth-client-creds", CREDS],
    ["oauth-refresh", REFRESH],
    ["oauth-jwt-bearer", ISSUER],
  ];
  for (const [type, value] of types) {
    await t.step(type, () => {
      const url = "https://login.test:8443/token";
      assertEquals(parsed(type, { ...value, token_endpoint: url }).token_endpoint, url);
      const bad = [
        "http://login.test/",
        "login.test",
        "https://u:p@login.test/",
        "https://login.test/#x",
        "file:///x",
      ];
      for (const token_endpoint of bad) {
        const error = assertThrows(() => parsed(type, { ...value, token_endpoint }), ProxyError);
        assertStringIncludes(error.message, "token_endpoint is no https URL");
      }
    });
  }
});

Deno.test("anything else is refused, with the field that is missing and without what is there", async (t) => {
  const without = (value: Record<string, unknown>, field: string) => {
    const copy = { ...value };
    delete copy[field];
    return copy;
  };
  const claude = CLAUDE_FILE.claudeAiOauth;
  const rows: readonly (readonly [name: string, type: string, value: unknown, words: string])[] = [
    ["no JSON", "oauth-claude", "planted", "no JSON object"],
    ["a list", "oauth-claude", ["planted"], "no JSON object"],
    ["no accessToken", "oauth-claude", { claudeAiOauth: without(claude, "accessToken") }, "no accessToken"],
    [
      "no refreshToken",
      "oauth-claude",
      { claudeAiOauth: without(claude, "refreshToken") },
      "no refreshToken",
    ],
    ["empty accessToken", "oauth-claude", { ...claude, accessToken: "" }, "no accessToken"],
    ["null refreshToken", "oauth-claude", { ...claude, refreshToken: null }, "no refreshToken"],
    ["a number for a token", "oauth-claude", { ...claude, accessToken: 5 }, "accessToken is no text"],
    ["line break in a token", "oauth-claude", { ...claude, accessToken: "planted\r\nX: y" }, "accessToken"],
    ["no time", "oauth-claude", { ...claude, expiresAt: "soon-planted" }, "expiresAt is no time"],
    ["another file", "oauth-claude", CODEX_FILE, "no accessToken"],
    ["no tokens", "oauth-codex", without(CODEX_FILE, "tokens"), "no tokens"],
    [
      "no access_token",
      "oauth-codex",
      { tokens: without(CODEX_FILE.tokens, "access_token") },
      "no access_token",
    ],
    [
      "no refresh_token",
      "oauth-codex",
      { tokens: without(CODEX_FILE.tokens, "refresh_token") },
      "no refresh_token",
    ],
    ["no account", "oauth-codex", { access_token: "a", refresh_token: "r" }, "no account_id"],
    ["an API key", "oauth-codex", { OPENAI_API_KEY: "sk-planted" }, "API key"],
    ["API key mode", "oauth-codex", { ...CODEX_FILE, auth_mode: "apikey" }, "API key"],
    [
      "another tool's record",
      "oauth-github-copilot",
      { "github-copilot": { type: "api", key: "planted" } },
      "api",
    ],
    ["no refresh", "oauth-github-copilot", { "github-copilot": { type: "oauth" } }, "no refresh"],
    ["nothing", "oauth-github-copilot", {}, "no access_token"],
    ["another token", "oauth-github-copilot", { access_token: "ghp_planted" }, "gho_ or ghu_"],
    [
      "enterpriseUrl with a path",
      "oauth-github-copilot",
      { access_token: "ghu_x", enterpriseUrl: "x.test/planted" },
      "enterpriseUrl",
    ],
    ["no access_token", "oauth-xai", without(SLICER_XAI, "access_token"), "no access_token"],
    ["no refresh_token", "oauth-xai", without(SLICER_XAI, "refresh_token"), "no refresh_token"],
    ["an API key", "oauth-xai", { "xai::api_key": { key: "planted" } }, "API key"],
    ["no access_token", "github-app-user", { refresh_token: "planted", client_id: "c" }, "no access_token"],
    ["no client_id", "github-app-user", { access_token: "a", refresh_token: "planted" }, "no client_id"],
    ["no token_endpoint", "oauth-client-creds", without(CREDS, "token_endpoint"), "no token_endpoint"],
    ["no client_id", "oauth-client-creds", without(CREDS, "client_id"), "no client_id"],
    ["no client_secret", "oauth-client-creds", without(CREDS, "client_secret"), "no client_secret"],
    ["another method", "oauth-client-creds", { ...CREDS, token_endpoint_auth_method: "tls" }, "auth_method"],
    ["no token_endpoint", "oauth-refresh", without(REFRESH, "token_endpoint"), "no token_endpoint"],
    ["no client_id", "oauth-refresh", without(REFRESH, "client_id"), "no client_id"],
    ["no refresh_token", "oauth-refresh", without(REFRESH, "refresh_token"), "no refresh_token"],
    ["a line break", "oauth-refresh", { ...REFRESH, refresh_token: "planted\n" }, "its refresh_token"],
    ["no token_endpoint", "oauth-jwt-bearer", without(ISSUER, "token_endpoint"), "no token_endpoint"],
    ["no issuer", "oauth-jwt-bearer", without(ISSUER, "issuer"), "no issuer"],
    ["no key", "oauth-jwt-bearer", without(ISSUER, "private_key"), "no private_key"],
    ["no PEM", "oauth-jwt-bearer", { ...ISSUER, private_key: "planted" }, "no PEM"],
    ["no client_email", "google-service-account", without(GOOGLE, "client_email"), "no client_email"],
    ["no key", "google-service-account", without(GOOGLE, "private_key"), "no private_key"],
    ["a person's login", "google-service-account", { ...GOOGLE, type: "authorized_user" }, "person's login"],
    [
      "another type",
      "google-service-account",
      { ...GOOGLE, type: "planted" },
      "its type is not service_account",
    ],
    ["no app_id", "github-app", { private_key: PKCS1 }, "no app_id"],
    ["no key", "github-app", { app_id: 1 }, "no private_key_file and no private_key"],
    ["no PEM", "github-app", { app_id: 1, private_key: "planted" }, "no PEM"],
    ["a short key", "github-app", { app_id: 1, private_key: keyPem("pkcs1", 1_024) }, "2048"],
    [
      "a word for an installation",
      "github-app",
      { app_id: 1, private_key: PKCS1, installation_id: "x" },
      "number",
    ],
    ["no YAML", "github-app", "a: [planted", "neither YAML nor JSON"],
    ["a YAML word", "github-app", "planted", "neither YAML nor JSON"],
  ];
  for (const [name, type, value, words] of rows) {
    await t.step(`${type}: ${name}`, () => {
      const error = assertThrows(() => parsed(type, value), ProxyError);
      assertEquals(error.code, "input.invalid");
      assertStringIncludes(error.message, words);
      const all = `${error.message} ${error.hint} ${error.cause}`;
      assert(!all.includes("planted") && !all.includes(PKCS1.slice(40, 80)), "the error holds the value");
      assert(error.hint, "no hint");
    });
  }
});

Deno.test("inject() sends what each provider asks for, and nothing else", async (t) => {
  const basic = `Basic ${btoa("x-access-token:T")}`;
  const rows: readonly (readonly [type: string, value: unknown, form: string, injection: unknown])[] = [
    ["oauth-claude", CLAUDE_FILE, "", {
      headers: [["Authorization", "Bearer T"]],
      merge: [["anthropic-beta", "oauth-2025-04-20"]],
      defaults: [["anthropic-version", "2023-06-01"]],
    }],
    ["oauth-codex", CODEX_FILE, "", {
      headers: [["Authorization", "Bearer T"], ["ChatGPT-Account-ID", "acc-1"], ["X-OpenAI-Fedramp", "true"]],
    }],
    ["oauth-xai", SLICER_XAI, "", { headers: [["Authorization", "Bearer T"]] }],
    ["oauth-client-creds", CREDS, "", { headers: [["Authorization", "Bearer T"]] }],
    ["github-app-user", { access_token: "a" }, "api", { headers: [["Authorization", "Bearer T"]] }],
    ["github-app-user", { access_token: "a" }, "git", { headers: [["Authorization", basic]] }],
    ["github-app", { app_id: 1, private_key: PKCS1 }, "git", { headers: [["Authorization", basic]] }],
  ];
  for (const [type, value, form, injection] of rows) {
    await t.step(`${type} ${form}`, () => {
      const kind = kindOf(type);
      const login = kind.parse(typeof value === "string" ? value : JSON.stringify(value), NOW);
      assertEquals(kind.inject(login, "T", form), injection as ReturnType<typeof kind.inject>);
    });
  }
  await t.step("oauth-github-copilot", () => {
    const kind = kindOf("oauth-github-copilot");
    const login = kind.parse(JSON.stringify({ access_token: "ghu_x" }), NOW);
    assertEquals(kind.inject(login, "gho_x", ""), { headers: [["Authorization", "Bearer gho_x"]] });
    const { headers, defaults } = kind.inject(login, "tid=1;exp=2:mac", "");
    assertEquals(headers, [["Authorization", "Bearer tid=1;exp=2:mac"]]);
    assertEquals(defaults?.map(([name]) => name), [
      "Copilot-Integration-Id",
      "Editor-Version",
      "Editor-Plugin-Version",
      "x-github-api-version",
    ]);
  });
});

Deno.test("git gets Basic and the API gets Bearer, by host and path", async (t) => {
  const kind = kindOf("github-app");
  const login = kind.parse(JSON.stringify({ app_id: 1, private_key: PKCS1 }), NOW);
  const rows: readonly (readonly [host: string, path: string, form: string, slot: string])[] = [
    ["github.com", "/Acme/Widgets.git/info/refs", "git", "repo/acme/widgets"],
    ["github.com", "/acme/widgets/git-upload-pack", "git", "repo/acme/widgets"],
    ["github.com", "/acme/widgets.git/info/lfs/objects/batch", "git", "repo/acme/widgets"],
    ["github.com", "/", "git", "none"],
    ["github.com", "/acme", "git", "none"],
    ["github.com", "/%61cme/widgets.git/info/refs", "git", "none"],
    ["github.com", "/acme/..", "git", "none"],
    ["api.github.com", "/repos/acme/widgets/pulls", "api", "repo/acme/widgets"],
    ["api.github.com", "/orgs/acme/repos", "api", "orgs/acme"],
    ["api.github.com", "/users/jo", "api", "users/jo"],
    ["api.github.com", "/graphql", "api", "app"],
    ["ghe.test", "/api/v3/repos/acme/widgets", "api", "repo/acme/widgets"],
    ["ghe.test", "/acme/widgets.git/git-receive-pack", "git", "repo/acme/widgets"],
  ];
  for (const [host, path, form, slot] of rows) {
    await t.step(host + path, () => {
      const request = { host, method: "GET", path };
      assertEquals([kind.formOf?.(login, request), kind.slotOf?.(login, request)], [form, slot]);
    });
  }
});

Deno.test("xAI's 403 about credentials is a refused token, its others are not", () => {
  const { isRefused } = kindOf("oauth-xai");
  const bad =
    '{"code":"unauthenticated:bad-credentials","error":"The OAuth2 access token could not be validated."}';
  assertEquals([
    isRefused?.({ status: 401 }),
    isRefused?.({ status: 403, bodyStart: bad }),
    isRefused?.({ status: 403, bodyStart: '{"code":"permission-denied"}' }),
    isRefused?.({ status: 403 }),
    isRefused?.({ status: 200, bodyStart: bad }),
  ], [true, true, false, false, false]);
});
