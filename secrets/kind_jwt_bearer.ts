/**
 * The JWT bearer grant (RFC 7523 §2.1): an assertion that a private key signs becomes an access token, which stays in
 * memory. `oauth-jwt-bearer` for any server, `google-service-account` for Google's, from the key file as it is downloaded.
 *
 * Google gives ID tokens too, which its own hosts do not take and what runs on Cloud Run wants: requests to hosts outside
 * `googleapis.com` get one for their host, or for `audience`.
 *
 * @module
 */
import { Fields, jwtExpiry } from "./fields.ts";
import { bearer, compact, type Login, makeToken, type OAuthKind, type RenewalContext } from "./oauth_kind.ts";
import { currentKey, type KeyPlace, keyPlaceOf, resolveKeyFile, signJwt } from "./signing_key.ts";
import { FORM_HEADERS, formBody, readTokenAnswer } from "./token_answer.ts";

const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const JWT_HINT =
  'give {"token_endpoint": "https://...", "issuer": "...", "private_key": "...", "scope": "..."}';
const GOOGLE_HINT = "give the key file that Google made for the service account, as JSON";
const GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform";

/** An issuer of assertions. */
export interface JwtIssuer extends Login, KeyPlace {
  readonly token_endpoint: string;
  readonly issuer: string;
  readonly subject?: string;
  /** Whom the assertion is for; the token endpoint unless given. For Google: whom ID tokens are for. */
  readonly audience?: string;
  readonly scope?: string;
  readonly key_id?: string;
  readonly client_id?: string;
  readonly client_secret?: string;
}

/** What both kinds share. */
const ISSUER = {
  rotates: false,
  stored: () => undefined,
  isRenewable: () => true,
  inject: (_issuer: JwtIssuer, token: string) => ({ headers: [bearer(token)] }),
  identity: ({ issuer, subject, token_endpoint }: JwtIssuer) => [issuer, subject, token_endpoint],
} as const;

export const JWT_BEARER: OAuthKind<JwtIssuer> = {
  ...ISSUER,

  parse(text) {
    const fields = Fields.parse("JWT bearer value", JWT_HINT, text);
    return compact({
      token_endpoint: fields.url("token_endpoint") ?? fields.refuse("it has no token_endpoint"),
      issuer: fields.needText("issuer", "iss"),
      subject: fields.text("subject", "sub"),
      audience: fields.text("audience", "aud"),
      scope: scopeOf(fields),
      key_id: fields.text("key_id", "kid", "private_key_id"),
      client_id: fields.text("client_id"),
      client_secret: fields.text("client_secret"),
      ...keyPlaceOf(fields),
    });
  },

  async resolveFiles(text, folder) {
    const fields = Fields.parse("JWT bearer value", JWT_HINT, text);
    const file = await resolveKeyFile(fields, folder);
    return file ? JSON.stringify({ ...JSON.parse(text), ...file }) : text;
  },

  async renew(issuer, context) {
    const { token_endpoint, scope, audience = token_endpoint, client_id, client_secret } = issuer;
    const assertion = await assertionOf(issuer, { aud: audience, scope }, context.now());
    const more = { scope, client_id, client_secret };
    const response = await exchange(issuer, context, { assertion, ...more });
    const { accessToken, expiresInMs } = readTokenAnswer(response, context.now());
    const expiresAt = expiresInMs === undefined
      ? jwtExpiry(accessToken, context.now())
      : context.now() + expiresInMs;
    return { token: makeToken(accessToken, expiresAt, context.now()) };
  },

  endpoints: ({ token_endpoint }) => [{ url: token_endpoint, scope: "host" }],
};

export const GOOGLE_SERVICE_ACCOUNT: OAuthKind<JwtIssuer> = {
  ...ISSUER,

  parse(text) {
    const fields = Fields.parse("Google service account key", GOOGLE_HINT, text);
    const type = fields.text("type");
    if (type === "authorized_user") {
      fields.refuse("it is a person's login", "store it with --type oauth-refresh, and its token_endpoint");
    }
    if (type !== undefined && type !== "service_account") fields.refuse("its type is not service_account");
    return compact({
      token_endpoint: fields.url("token_endpoint", "token_uri") ?? "https://oauth2.googleapis.com/token",
      issuer: fields.needText("client_email", "issuer"),
      subject: fields.text("subject"),
      audience: fields.text("audience"),
      scope: scopeOf(fields) ?? GOOGLE_SCOPE,
      key_id: fields.text("private_key_id", "key_id"),
      ...keyPlaceOf(fields),
    });
  },

  slotOf: ({ audience }, { host }) => isGoogleApi(host) ? "" : audience ?? `https://${host}`,

  async renew(issuer, context, audience) {
    const { token_endpoint: aud, scope } = issuer;
    const now = context.now();
    if (audience === "") {
      const response = await exchange(issuer, context, {
        assertion: await assertionOf(issuer, { aud, scope }, now),
      });
      const { accessToken, expiresInMs } = readTokenAnswer(response, now);
      return {
        token: makeToken(accessToken, expiresInMs === undefined ? undefined : now + expiresInMs, now),
      };
    }
    const assertion = await assertionOf(issuer, { aud, target_audience: audience }, now);
    const { accessToken } = readTokenAnswer(await exchange(issuer, context, { assertion }), now, "id_token");
    return { token: makeToken(accessToken, jwtExpiry(accessToken, now), now) };
  },

  /** Where one of the account's tokens buys others, which a client could carry away, or signs assertions like ours. */
  endpoints: ({ token_endpoint }) => [
    { url: token_endpoint, scope: "host" },
    { url: "https://oauth2.googleapis.com/token", scope: "path" },
    { url: "https://www.googleapis.com/oauth2/v4/token", scope: "path" },
    { url: "https://accounts.google.com/o/oauth2/token", scope: "path" },
    { url: "https://sts.googleapis.com/*", scope: "path" },
    { url: "https://iamcredentials.googleapis.com/*", scope: "path" },
  ],
};

function isGoogleApi(host: string): boolean {
  return host === "googleapis.com" || host.endsWith(".googleapis.com");
}

/** `scope` or `scopes`, a list or words. */
function scopeOf(fields: Fields): string | undefined {
  const words = [...fields.words("scope"), ...fields.words("scopes")];
  return words.length === 0 ? undefined : words.join(" ");
}

/** Issued a minute ago for clocks that are behind, valid for nine: Google takes an hour at most, others less. */
async function assertionOf(
  issuer: JwtIssuer,
  claims: Readonly<Record<string, string | undefined>>,
  nowMs: number,
): Promise<string> {
  const seconds = Math.floor(nowMs / 1_000);
  const { issuer: iss, subject: sub, key_id: keyId } = issuer;
  return await signJwt(await currentKey(issuer), {
    keyId,
    claims: { iss, sub, ...claims, iat: seconds - 60, exp: seconds + 540, jti: crypto.randomUUID() },
  });
}

async function exchange(
  { token_endpoint }: JwtIssuer,
  { call }: RenewalContext,
  form: Readonly<Record<string, string | undefined>>,
) {
  return await call({
    method: "POST",
    url: token_endpoint,
    headers: FORM_HEADERS,
    body: formBody({ grant_type: GRANT, ...form }),
  });
}
