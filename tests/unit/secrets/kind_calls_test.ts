/** What each kind of login asks its provider, what it makes of the answer, and which places it closes: all by value. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { authMethodOf } from "../../../secrets/client_auth.ts";
import { Fields } from "../../../secrets/fields.ts";
import { CLAUDE } from "../../../secrets/kind_claude.ts";
import { CLIENT_CREDS } from "../../../secrets/kind_client_creds.ts";
import { CODEX } from "../../../secrets/kind_codex.ts";
import { COPILOT } from "../../../secrets/kind_copilot.ts";
import { GITHUB_APP_USER } from "../../../secrets/kind_github_app_user.ts";
import { GOOGLE_SERVICE_ACCOUNT, JWT_BEARER } from "../../../secrets/kind_jwt_bearer.ts";
import { REFRESH } from "../../../secrets/kind_refresh.ts";
import { XAI } from "../../../secrets/kind_xai.ts";
import type { Login, OAuthKind, TokenEndpoint } from "../../../secrets/oauth_kind.ts";
import type { ProviderRequest } from "../../../secrets/provider_call.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import { type ScriptedAnswer, scriptedContext } from "./scripted_call.ts";
import { jwt } from "./support.ts";

const NOW = Date.UTC(2026, 0, 2);
const HOUR = 3_600_000;
const FORM = { "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json" };
const JSON_TYPE = { "Content-Type": "application/json", "Accept": "application/json" };
const PEM = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey
  .export({ type: "pkcs8", format: "pem" }).toString();
const SERVER = { token_endpoint: "https://idp.test/token", client_id: "c" };
const REFRESHED = { access_token: "new", refresh_token: "r2", expires_in: 60 };

/** What is asked with a login of this value, and what comes of these answers. */
async function renew(
  kind: OAuthKind,
  value: unknown,
  { slot = "", answers = [{ body: REFRESHED }] }: {
    readonly slot?: string;
    readonly answers?: readonly ScriptedAnswer[];
  } = {},
) {
  const login = kind.parse(JSON.stringify(value), NOW);
  const context = scriptedContext(NOW, ...answers);
  const renewed = await kind.renew(login, context, slot);
  return { login, renewed, asked: context.asked };
}

interface Rotation {
  readonly kind: OAuthKind;
  readonly value: Readonly<Record<string, unknown>>;
  readonly asked: ProviderRequest;
  readonly login: Readonly<Record<string, unknown>>;
}

const ROTATIONS: Readonly<Record<string, Rotation>> = {
  claude: {
    kind: CLAUDE as OAuthKind,
    value: { accessToken: "a", refreshToken: "r", scopes: ["x", "y"], clientId: "c1", organizationUuid: "o" },
    asked: {
      method: "POST",
      url: "https://platform.claude.com/v1/oauth/token",
      headers: JSON_TYPE,
      body: '{"grant_type":"refresh_token","refresh_token":"r","client_id":"c1","scope":"x y"}',
    },
    login: {
      scopes: ["x", "y"],
      client_id: "c1",
      organization: "o",
      token_endpoint: "https://platform.claude.com/v1/oauth/token",
    },
  },
  "claude without scopes": {
    kind: CLAUDE as OAuthKind,
    value: { claudeAiOauth: { access_token: "a", refresh_token: "r", client_id: "c2" }, organization: "o" },
    asked: {
      method: "POST",
      url: "https://platform.claude.com/v1/oauth/token",
      headers: JSON_TYPE,
      body: '{"grant_type":"refresh_token","refresh_token":"r","client_id":"c2"}',
    },
    login: {
      scopes: [],
      client_id: "c2",
      organization: "o",
      token_endpoint: "https://platform.claude.com/v1/oauth/token",
    },
  },
  codex: {
    kind: CODEX as OAuthKind,
    value: { access_token: "a", refresh_token: "r", account_id: "acc" },
    asked: {
      method: "POST",
      url: "https://auth.openai.com/oauth/token",
      headers: JSON_TYPE,
      body: '{"client_id":"app_EMoamEEZ73f0CkXaXp7hrann","grant_type":"refresh_token","refresh_token":"r"}',
    },
    login: {
      account_id: "acc",
      client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
      token_endpoint: "https://auth.openai.com/oauth/token",
    },
  },
  xai: {
    kind: XAI as OAuthKind,
    value: {
      ...{ access_token: "a", refresh_token: "r", client_id: "c" },
      ...{ principal_type: "Team", principal_id: "t 1", subject: "u" },
    },
    asked: {
      method: "POST",
      url: "https://auth.x.ai/oauth2/token",
      headers: FORM,
      body: "grant_type=refresh_token&refresh_token=r&client_id=c&principal_type=Team&principal_id=t+1",
    },
    login: {
      client_id: "c",
      principal_type: "Team",
      principal_id: "t 1",
      subject: "u",
      token_endpoint: "https://auth.x.ai/oauth2/token",
    },
  },
  "github-app-user": {
    kind: GITHUB_APP_USER as OAuthKind,
    value: { access_token: "a", refresh_token: "r", client_id: "c", client_secret: "s" },
    asked: {
      method: "POST",
      url: "https://github.com/login/oauth/access_token",
      headers: FORM,
      body: "grant_type=refresh_token&refresh_token=r&client_id=c&client_secret=s",
    },
    login: {
      client_id: "c",
      client_secret: "s",
      github_url: "https://github.com",
      token_endpoint: "https://github.com/login/oauth/access_token",
    },
  },
  refresh: {
    kind: REFRESH as OAuthKind,
    value: { ...SERVER, refresh_token: "r", scope: "x y" },
    asked: {
      method: "POST",
      url: "https://idp.test/token",
      headers: FORM,
      body: "grant_type=refresh_token&refresh_token=r&scope=x+y&client_id=c",
    },
    login: { ...SERVER, scope: "x y", token_endpoint_auth_method: "auto" },
  },
};

Deno.test("renew() of each kind that rotates: what is asked, and the login that comes of it", async (t) => {
  for (const [name, { kind, value, asked, login }] of Object.entries(ROTATIONS)) {
    await t.step(name, async () => {
      assertEquals(kind.rotates, true);
      const made = await renew(kind, value);
      assertEquals(made.asked, [asked]);
      assertEquals<unknown>(made.renewed, {
        token: { token: "new", expiresAtMs: NOW + 60_000, obtainedAtMs: NOW },
        login: {
          ...login,
          access_token: "new",
          refresh_token: "r2",
          expires_at: NOW + 60_000,
          obtained_at: NOW,
        },
      });
      assertEquals(kind.isRenewable(made.login), true);
      assertEquals(kind.parse(JSON.stringify(made.renewed.login), NOW), made.renewed.login);
    });
  }
});

Deno.test("renew() keeps a refresh token that the answer leaves out or spoils, and reads a life from a JWT", async () => {
  const access = jwt({ exp: (NOW + HOUR) / 1_000 });
  for (const refresh_token of [undefined, "", "two words"]) {
    const answers = [{ body: { access_token: access, refresh_token } }];
    const { renewed } = await renew(CLAUDE as OAuthKind, {
      accessToken: "a",
      refreshToken: "r",
      expiresAt: NOW,
    }, {
      answers,
    });
    assertEquals([renewed.login?.refresh_token, renewed.token.expiresAtMs], ["r", NOW + HOUR]);
  }
  const { renewed } = await renew(CLAUDE as OAuthKind, {
    accessToken: "a",
    refreshToken: "r",
    expiresAt: NOW,
  }, {
    answers: [{ body: { access_token: "opaque" } }],
  });
  assertEquals(renewed.token, { token: "opaque", obtainedAtMs: NOW });
});

Deno.test("Codex: what an answer leaves out goes on, but only of one that is good", async (t) => {
  const value = { access_token: "a", refresh_token: "r", account_id: "acc" };
  await t.step("a refresh token alone", async () => {
    const { renewed } = await renew(CODEX as OAuthKind, value, {
      answers: [{ body: { refresh_token: "r2" } }],
    });
    assertEquals([renewed.token.token, renewed.login?.refresh_token], ["a", "r2"]);
  });
  const bad: readonly ScriptedAnswer[] = [
    { status: 201, body: { refresh_token: "r2" } },
    { body: "null" },
    { body: "5" },
    { body: "{" },
    { body: { access_token: "" } },
  ];
  for (const answer of bad) {
    await t.step(JSON.stringify(answer), async () => {
      const failure = await assertRejects(
        () => renew(CODEX as OAuthKind, value, { answers: [answer] }),
        RenewalFailure,
      );
      assertEquals(failure.message, "the token endpoint's answer holds no access token");
    });
  }
});

Deno.test("Codex: whose a login is, and what makes a file one of API keys", async (t) => {
  const claim = { "https://api.openai.com/auth": { chatgpt_account_id: "in-claim" } };
  const tokens = { access_token: "a", refresh_token: "r" };
  const rows: readonly (readonly [name: string, value: Record<string, unknown>, account: string])[] = [
    ["its field first", { ...tokens, account_id: "own", id_token: jwt(claim) }, "own"],
    ["the id token before the access token", {
      ...tokens,
      id_token: jwt({ chatgpt_account_id: "flat" }),
      access_token: jwt(claim),
    }, "flat"],
    ["the access token", { ...tokens, id_token: jwt({}), access_token: jwt(claim) }, "in-claim"],
    ["with a mode", { auth_mode: "chatgpt", tokens: { ...tokens, account_id: "x" } }, "x"],
    ["a mode beside a key", {
      auth_mode: "chatgpt",
      OPENAI_API_KEY: "k",
      tokens: { ...tokens, account_id: "x" },
    }, "x"],
    ["a file without tokens, but with one", {
      last_refresh: "2026-01-01T00:00:00Z",
      ...tokens,
      account_id: "x",
    }, "x"],
  ];
  for (const [name, value, account] of rows) {
    await t.step(name, () => assertEquals(CODEX.parse(JSON.stringify(value), NOW).account_id, account));
  }
  const refused: readonly (readonly [value: Record<string, unknown>, words: string])[] = [
    [{ OPENAI_API_KEY: "k" }, "it is an API key"],
    [{ auth_mode: "ApiKey", tokens }, "it is an API key"],
    [{ auth_mode: "x-api", tokens }, "it has no account_id, and its tokens name no account"],
    ...["auth_mode", "OPENAI_API_KEY", "last_refresh"].map((name) =>
      [{ [name]: "" }, "it has no tokens"] as const
    ),
    [{ tokens: null }, "it has no tokens"],
    [{}, "it has no access_token"],
  ];
  for (const [value, words] of refused) {
    await t.step(JSON.stringify(value), async () => {
      const error = await assertRejects(async () => await CODEX.parse(JSON.stringify(value), NOW));
      assert(error instanceof Error && error.message.endsWith(words), String(error));
    });
  }
  await t.step("FedRAMP, from each place that says so, and its header", () => {
    const auth = { "https://api.openai.com/auth": { chatgpt_account_is_fedramp: true } };
    const full = { ...tokens, account_id: "x" };
    const is = (value: unknown) => CODEX.parse(JSON.stringify(value), NOW);
    assertEquals([
      is({ ...full, fedramp: true }).fedramp,
      is({ ...full, id_token: jwt(auth) }).fedramp,
      is({ ...full, fedramp: "true", id_token: jwt({}) }).fedramp,
      is(full).fedramp,
    ], [true, true, undefined, undefined]);
    assertEquals(CODEX.inject(is(full), "T", "").headers, [
      ["Authorization", "Bearer T"],
      ["ChatGPT-Account-ID", "x"],
    ]);
  });
  await t.step("when it ends: the token says it, then the file, then eight days", () => {
    const at = (value: unknown) => CODEX.parse(JSON.stringify(value), NOW).expires_at;
    const base = { ...tokens, account_id: "x", last_refresh: NOW };
    assertEquals([
      at({ ...base, expires_at: NOW + 5, access_token: jwt({ exp: NOW / 1_000 + 60 }) }),
      at({ ...base, expires_at: NOW + 5 }),
      at(base),
      at({ ...base, last_refresh: undefined }),
    ], [NOW + 60_000, NOW + 5, NOW + 8 * 24 * HOUR, undefined]);
    const { obtained_at } = CODEX.parse(
      JSON.stringify({ ...base, last_refresh: null, obtained_at: NOW - 1 }),
      NOW,
    );
    assertEquals(obtained_at, NOW - 1);
  });
});

Deno.test("xAI: a life counts from when the token was obtained, and the fields come before the token's claims", () => {
  const parse = (value: unknown) => XAI.parse(JSON.stringify(value), NOW);
  const base = { refresh_token: "r", access_token: "a" };
  const claims = jwt({ exp: NOW / 1_000 + 60, sub: "s", principal_type: "T", principal_id: "i" });
  const at = (value: Record<string, unknown>) => parse({ ...base, ...value }).expires_at;
  assertEquals([
    at({ expires_at: NOW + 7, access_token: claims, expires_in: 5, obtained_at: NOW }),
    at({ access_token: claims, expires_in: 5, obtained_at: NOW }),
    at({ expires_in: 5, obtained_at: NOW }),
    at({ expires_in: 5, create_time: "2026-01-02T00:00:00Z" }),
    at({ expires_in: 5 }),
    at({ obtained_at: NOW }),
  ], [NOW + 7, NOW + 60_000, NOW + 5_000, NOW + 5_000, undefined, undefined]);
  const own = parse({ ...base, access_token: claims, subject: "S", principal_type: "P", principal_id: "I" });
  assertEquals([own.subject, own.principal_type, own.principal_id], ["S", "P", "I"]);
  const said = parse({ ...base, access_token: claims });
  assertEquals([said.subject, said.principal_type, said.principal_id], ["s", "T", "i"]);
  const grok = { key: "k", refresh_token: "r", user_id: "u" };
  const file = parse({ "xai::api_key": { key: "x" }, "https://auth.x.ai::c9": grok });
  assertEquals([file.access_token, file.client_id, file.subject], ["k", "c9", "u"]);
  assertEquals(parse({ "https://auth.x.ai::c9": { ...grok, oidc_client_id: "o" } }).client_id, "o");
});

Deno.test("GitHub App user: a life counts from when the token was obtained, or from now", () => {
  const at = (value: Record<string, unknown>) =>
    GITHUB_APP_USER.parse(JSON.stringify({ access_token: "a", ...value }), NOW).expires_at;
  assertEquals([
    at({ expires_in: 5, expires_at: NOW + 7 }),
    at({ expires_in: 5, obtained_at: NOW - 1_000 }),
    at({ expires_in: 5 }),
    at({ expires_in: 1 }),
    at({ expires_in: 0 }),
    at({ expires_in: -5 }),
    at({}),
  ], [NOW + 7, NOW + 4_000, NOW + 5_000, NOW + 1_000, undefined, undefined, undefined]);
  const alone = GITHUB_APP_USER.parse(JSON.stringify({ access_token: "a", client_id: "c" }), NOW);
  assertEquals([GITHUB_APP_USER.isRenewable(alone), alone.client_id], [false, "c"]);
});

Deno.test("the kinds whose tokens stay in memory: what is asked, and the life of what comes", async (t) => {
  for (const kind of [CLIENT_CREDS, JWT_BEARER, GOOGLE_SERVICE_ACCOUNT, COPILOT]) {
    assertEquals(kind.rotates, false);
  }
  const token = { token: "new", expiresAtMs: NOW + 60_000, obtainedAtMs: NOW };
  const access = jwt({ exp: (NOW + HOUR) / 1_000 });
  await t.step("client credentials", async () => {
    const value = { ...SERVER, client_secret: "s", scope: "x", audience: "aud", resource: "res" };
    const { renewed, asked } = await renew(CLIENT_CREDS as OAuthKind, value);
    assertEquals(renewed, { token });
    assertEquals(asked, [{
      method: "POST",
      url: "https://idp.test/token",
      headers: { ...FORM, Authorization: "Basic Yzpz" },
      body: "grant_type=client_credentials&scope=x&audience=aud&resource=res",
    }]);
  });
  await t.step("JWT bearer", async () => {
    const value = {
      ...{ ...SERVER, issuer: "me", subject: "you", scope: "x", client_secret: "s", key_id: "k" },
      private_key: PEM,
    };
    const { renewed, asked } = await renew(JWT_BEARER as OAuthKind, value);
    assertEquals(renewed, { token });
    const { assertion = "", ...form } = Object.fromEntries(new URLSearchParams(asked[0]?.body));
    assertEquals(form, {
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      scope: "x",
      client_id: "c",
      client_secret: "s",
    });
    assertEquals(asked[0]?.headers, FORM);
    const login = JWT_BEARER.parse(JSON.stringify(value), NOW);
    assertEquals([
      JWT_BEARER.stored(login),
      JWT_BEARER.isRenewable(login),
      JWT_BEARER.inject(login, "T", "").headers,
    ], [
      undefined,
      true,
      [["Authorization", "Bearer T"]],
    ]);
    const [head, claims] = assertion.split(".").map((part, i) => i < 2 ? JSON.parse(atob(part)) : undefined);
    assertEquals(head, { alg: "RS256", typ: "JWT", kid: "k" });
    const { jti, ...rest } = claims;
    assertEquals(jti.length, 36);
    assertEquals(rest, {
      iss: "me",
      sub: "you",
      aud: "https://idp.test/token",
      scope: "x",
      iat: NOW / 1_000 - 60,
      exp: NOW / 1_000 + 540,
    });
    const long = await renew(JWT_BEARER as OAuthKind, value, {
      answers: [{ body: { access_token: access } }],
    });
    assertEquals(long.renewed.token.expiresAtMs, NOW + HOUR);
  });
  await t.step("Google, an access token and an ID token", async () => {
    const value = { client_email: "me", private_key: PEM };
    const one = await renew(GOOGLE_SERVICE_ACCOUNT as OAuthKind, value);
    assertEquals(one.renewed, { token });
    assertEquals(one.asked[0]?.url, "https://oauth2.googleapis.com/token");
    const claims = (request: ProviderRequest | undefined) =>
      JSON.parse(atob(new URLSearchParams(request?.body).get("assertion")?.split(".")[1] ?? ""));
    assertEquals(claims(one.asked[0]).scope, "https://www.googleapis.com/auth/cloud-platform");
    const without = await renew(GOOGLE_SERVICE_ACCOUNT as OAuthKind, value, {
      answers: [{ body: { access_token: access } }],
    });
    assertEquals(without.renewed.token.expiresAtMs, undefined);
    const two = await renew(GOOGLE_SERVICE_ACCOUNT as OAuthKind, value, {
      slot: "https://run.test",
      answers: [{ body: { id_token: access, access_token: "other", expires_in: 5 } }],
    });
    assertEquals(two.renewed.token, { token: access, expiresAtMs: NOW + HOUR, obtainedAtMs: NOW });
    const { target_audience, scope } = claims(two.asked[0]);
    assertEquals([target_audience, scope], ["https://run.test", undefined]);
  });
  await t.step("which host gets which of Google's", () => {
    const login = GOOGLE_SERVICE_ACCOUNT.parse(JSON.stringify({ client_email: "me", private_key: PEM }), NOW);
    const slot = (host: string, audience?: string) =>
      GOOGLE_SERVICE_ACCOUNT.slotOf?.({ ...login, ...(audience ? { audience } : {}) }, {
        host,
        method: "GET",
        path: "/",
      });
    assertEquals(["googleapis.com", "storage.googleapis.com"].map((host) => slot(host, "x")), ["", ""]);
    assertEquals(["xgoogleapis.com", "googleapis.com.test"].map((host) => slot(host)), [
      "https://xgoogleapis.com",
      "https://googleapis.com.test",
    ]);
    assertEquals(slot("run.test", "https://aud"), "https://aud");
  });
});

Deno.test("JWT issuers: each name that a field goes by, and what is no service account", () => {
  const key = { private_key: PEM, ...SERVER };
  const jwtOf = (value: Record<string, unknown>) =>
    JWT_BEARER.parse(JSON.stringify({ ...key, ...value }), NOW);
  const { private_key: _, ...plain } = jwtOf({ iss: "i", sub: "s", aud: "a", kid: "k", scopes: ["x"] });
  assertEquals(plain, {
    ...SERVER,
    ...{ issuer: "i", subject: "s", audience: "a", key_id: "k", scope: "x" },
  });
  assertEquals(jwtOf({ iss: "i", issuer: "I", private_key_id: "p" }).issuer, "I");
  assertEquals(jwtOf({ iss: "i", private_key_id: "p" }).key_id, "p");
  assertEquals(jwtOf({ iss: "i", scope: "a b", scopes: ["c"] }).scope, "a b c");
  assertEquals(jwtOf({ iss: "i" }).scope, undefined);
  const google = (value: Record<string, unknown>) =>
    GOOGLE_SERVICE_ACCOUNT.parse(JSON.stringify({ private_key: PEM, ...value }), NOW);
  const filed = google({
    client_email: "e",
    token_uri: "https://t.test/",
    private_key_id: "k",
    type: "service_account",
  });
  assertEquals([filed.issuer, filed.token_endpoint, filed.key_id], ["e", "https://t.test/", "k"]);
  const again = google({ ...filed, subject: "s", audience: "a" });
  assertEquals([again.issuer, again.key_id, again.subject, again.audience], ["e", "k", "s", "a"]);
});

Deno.test("a client that Basic is refused for tries the body once, whatever comes of it", async (t) => {
  const value = { ...SERVER, client_secret: "s p" };
  const rows: readonly (readonly [
    name: string,
    method: string | undefined,
    first: ScriptedAnswer,
    /** Whether each request had the secret in its body. */
    inBody: readonly boolean[],
  ])[] = [
    ["invalid_client, 401", undefined, { status: 401, body: { error: "invalid_client" } }, [false, true]],
    ["invalid_client, 400", undefined, { status: 400, body: { error: "invalid_client" } }, [false, true]],
    ["invalid_request, 400", "auto", { status: 400, body: { error: "invalid_request" } }, [false, true]],
    ["another status", undefined, { status: 403, body: { error: "invalid_client" } }, [false]],
    ["another error", undefined, { status: 401, body: { error: "invalid_grant" } }, [false]],
    ["Basic only", "client_secret_basic", { status: 401, body: { error: "invalid_client" } }, [false]],
    ["the body only", "client_secret_post", { status: 401, body: { error: "invalid_client" } }, [true]],
    ["good at once", undefined, { body: REFRESHED }, [false]],
  ];
  for (const [name, method, first, inBody] of rows) {
    await t.step(name, async () => {
      const login = CLIENT_CREDS.parse(JSON.stringify({ ...value, token_endpoint_auth_method: method }), NOW);
      const context = scriptedContext(NOW, first, { body: REFRESHED });
      const isGood = inBody.length === 2 || name === "good at once";
      const made = CLIENT_CREDS.renew(login, context, "");
      if (isGood) assertEquals((await made).token.token, "new");
      else await assertRejects(() => made, RenewalFailure);
      assertEquals(context.asked.map(({ headers }) => headers["Authorization"] === undefined), inBody);
      assertEquals(context.asked.map(({ body }) => body?.includes("client_secret=s+p") === true), inBody);
      const basic = context.asked[0]?.headers["Authorization"] ?? `Basic ${btoa("c:s+p")}`;
      assertEquals(basic, `Basic ${btoa("c:s+p")}`);
      // What was found out is known from then on, and only that.
      const next = scriptedContext(NOW, { body: REFRESHED });
      await CLIENT_CREDS.renew(login, next, "");
      assertEquals(next.asked[0]?.headers["Authorization"] === undefined, inBody.at(-1));
    });
  }
  await t.step("a body that is refused too is no method to remember", async () => {
    const login = REFRESH.parse(JSON.stringify({ ...value, refresh_token: "r" }), NOW);
    const refused = { status: 401, body: { error: "invalid_client" } };
    await assertRejects(
      async () => await REFRESH.renew(login, scriptedContext(NOW, refused, refused), ""),
      RenewalFailure,
    );
    const found = await REFRESH.renew(login, scriptedContext(NOW, refused, { body: REFRESHED }), "");
    assertEquals(found.login?.token_endpoint_auth_method, "client_secret_post");
  });
  await t.step("the methods by name", () => {
    const method = (name: string | undefined) =>
      authMethodOf(new Fields("v", "h", { token_endpoint_auth_method: name }));
    for (const name of ["auto", "client_secret_basic", "client_secret_post"]) {
      assertEquals(method(name), name);
    }
    assertEquals(method(undefined), "auto");
  });
});

Deno.test("oauth-refresh: the access token may be missing, and without a time a JWT says its end", () => {
  const parse = (value: Record<string, unknown>) =>
    REFRESH.parse(JSON.stringify({ ...SERVER, refresh_token: "r", ...value }), NOW);
  const access = jwt({ exp: (NOW + HOUR) / 1_000 });
  assertEquals(REFRESH.stored(parse({})), undefined);
  assertEquals(REFRESH.stored(parse({ access_token: access, obtained_at: NOW })), {
    token: access,
    expiresAtMs: NOW + HOUR,
    obtainedAtMs: NOW,
  });
  assertEquals(parse({ access_token: access, expires_at: NOW + 5 }).expires_at, NOW + 5);
  assertEquals([
    parse({}).scope,
    parse({ token_uri: "https://a.test/", token_endpoint: null }).token_endpoint,
  ], [
    undefined,
    "https://a.test/",
  ]);
});

Deno.test("endpoints() of each kind: every place where a client could use up or make a login", async (t) => {
  const whole = (...urls: readonly string[]) => urls.map((url) => ({ url, scope: "host" }));
  const paths = (...urls: readonly string[]) => urls.map((url) => ({ url, scope: "path" }));
  const at = { token_endpoint: "https://own.test/token", github_url: "https://ghe.test" };
  const rows: Readonly<Record<string, readonly [kind: unknown, endpoints: readonly unknown[]]>> = {
    claude: [CLAUDE, [
      ...whole("https://own.test/token", "https://platform.claude.com/"),
      ...paths("https://console.anthropic.com/v1/oauth/*", "https://api.anthropic.com/v1/oauth/*"),
    ]],
    codex: [CODEX, whole("https://own.test/token", "https://auth.openai.com/oauth/token")],
    xai: [XAI, whole("https://own.test/token", "https://auth.x.ai/oauth2/token", "https://accounts.x.ai/")],
    copilot: [
      COPILOT,
      paths("https://own.test/token", "https://ghe.test/login/*", "https://ghe.test/session/*"),
    ],
    "github-app-user": [GITHUB_APP_USER, [
      ...whole("https://own.test/token"),
      ...paths("https://ghe.test/login/*", "https://ghe.test/session/*"),
    ]],
    "client credentials": [CLIENT_CREDS, whole("https://own.test/token")],
    refresh: [REFRESH, whole("https://own.test/token")],
    "jwt bearer": [JWT_BEARER, whole("https://own.test/token")],
    google: [GOOGLE_SERVICE_ACCOUNT, [
      ...whole("https://own.test/token"),
      ...paths(
        "https://oauth2.googleapis.com/token",
        "https://www.googleapis.com/oauth2/v4/token",
        "https://accounts.google.com/o/oauth2/token",
        "https://sts.googleapis.com/*",
        "https://iamcredentials.googleapis.com/*",
      ),
    ]],
  };
  for (const [name, [kind, endpoints]] of Object.entries(rows)) {
    await t.step(name, () => {
      const found = (kind as OAuthKind).endpoints(at as Login);
      assertEquals(found, endpoints as readonly TokenEndpoint[]);
    });
  }
  await t.step("a GitHub that logs in on its own host keeps the rest of it open", () => {
    const login = {
      access_token: "a",
      github_url: "https://ghe.test",
      token_endpoint: "https://ghe.test/login/x",
    };
    assertEquals(GITHUB_APP_USER.endpoints(login)[0], { url: login.token_endpoint, scope: "path" });
  });
});

Deno.test("identity() of each kind: whose login it is, by all that a file with another one would differ in", async (t) => {
  const login = {
    ...{ token_endpoint: "https://own.test/token", client_id: "c", github_url: "https://ghe.test" },
    ...{ organization: "org", account_id: "acc", subject: "sub", principal_id: "team", issuer: "iss" },
  };
  const at = login.token_endpoint;
  const rows: readonly (readonly [name: string, kind: unknown, parts: readonly string[]])[] = [
    ["claude", CLAUDE, ["org", "c", at]],
    ["codex", CODEX, ["acc", "c", at]],
    ["xai", XAI, ["sub", "team", "c", at]],
    ["copilot", COPILOT, ["https://ghe.test", at]],
    ["github-app-user", GITHUB_APP_USER, ["c", "https://ghe.test", at]],
    ["client credentials", CLIENT_CREDS, ["c", at]],
    ["refresh", REFRESH, ["c", at]],
    ["jwt bearer", JWT_BEARER, ["iss", "sub", at]],
    ["google", GOOGLE_SERVICE_ACCOUNT, ["iss", "sub", at]],
  ];
  for (const [name, kind, parts] of rows) {
    await t.step(name, () => assertEquals((kind as OAuthKind).identity(login as Login), parts));
  }
});

Deno.test("each kind says whether a renewal uses up its login, and what can be renewed", async (t) => {
  const whole = { access_token: "a", refresh_token: "r" } as Login;
  const alone = { access_token: "a" } as Login;
  const rows: readonly (readonly [string, unknown, rotates: boolean, whole: boolean, alone: boolean])[] = [
    ["claude", CLAUDE, true, true, false],
    ["codex", CODEX, true, true, true],
    ["xai", XAI, true, true, true],
    ["copilot", COPILOT, false, false, false],
    ["github-app-user", GITHUB_APP_USER, true, true, false],
    ["client credentials", CLIENT_CREDS, false, true, true],
    ["refresh", REFRESH, true, true, true],
    ["jwt bearer", JWT_BEARER, false, true, true],
    ["google", GOOGLE_SERVICE_ACCOUNT, false, true, true],
  ];
  for (const [name, of, ...said] of rows) {
    await t.step(name, () => {
      const kind = of as OAuthKind;
      assertEquals([kind.rotates, kind.isRenewable(whole), kind.isRenewable(alone)], said);
    });
  }
});

Deno.test("a token of `claude setup-token` is one again when it is read from the store", () => {
  const login = CLAUDE.parse("sk-ant-oat01-x", 0);
  assertEquals(
    login,
    {
      access_token: "sk-ant-oat01-x",
      ...{ long_lived: true, scopes: [], client_id: "9d1c250a-e61b-44d9-88ed-5944d1962f5e" },
      token_endpoint: "https://platform.claude.com/v1/oauth/token",
    } as unknown as typeof login,
  );
  assertEquals(CLAUDE.parse(JSON.stringify(login), 0), login);
  // A file with a refresh token stays one that is renewed.
  const renewed = CLAUDE.parse('{"accessToken":"a","refreshToken":"r"}', 0);
  assertEquals([renewed.refresh_token, "long_lived" in renewed], ["r", false]);
});
