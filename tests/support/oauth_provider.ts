/**
 * An identity provider over real TLS: it checks what a careful one checks (PKCE, redirect address, single use) and keeps
 * what it was asked. Answers can be replaced by path.
 */
import { upstreamAuthority } from "./test_authority.ts";

/** What one request was. */
export interface ProviderCall {
  readonly method: string;
  readonly path: string;
  readonly form: Readonly<Record<string, string>>;
  readonly userAgent: string;
  /** `performance.now()` at its arrival. */
  readonly at: number;
}

/** Replaces the answer of one path; undefined leaves the provider's own. */
export type Answer = (call: ProviderCall, url: URL) => Response | undefined | Promise<Response | undefined>;

export interface OAuthProvider extends AsyncDisposable {
  /** `https://127.0.0.1:PORT` */
  readonly issuer: string;
  readonly caPem: string;
  /** For `fetch`, as the browser would. */
  readonly browser: Deno.HttpClient;
  readonly calls: ProviderCall[];
  /** Every credential handed out or taken, to search output for. */
  readonly secrets: Set<string>;
  /** The codes that may be traded, each with what it was asked with. */
  readonly codes: Map<string, URLSearchParams>;
}

export const ACCESS_TOKEN = "xai-access-token-0123456789";
export const REFRESH_TOKEN = "xai-refresh-token-0123456789";
export const DEVICE_CODE = "device-code-of-forty-characters-01234567";

/** Starts one on a free port. */
export async function startOAuthProvider(
  options: {
    /** By path, `/oauth2/token`. */
    answers?: Readonly<Record<string, Answer>>;
    /** Changes the claims of ID tokens; undefined for no ID token. */
    claims?: (claims: Record<string, unknown>) => Record<string, unknown> | undefined;
    /** Fields of the device authorization, over the defaults. */
    device?: Readonly<Record<string, unknown>>;
  } = {},
): Promise<OAuthProvider> {
  const authority = await upstreamAuthority();
  const { certPem, keyPem } = await authority.issue(["127.0.0.1"]);
  const calls: ProviderCall[] = [];
  const codes = new Map<string, URLSearchParams>();
  const secrets = new Set([ACCESS_TOKEN, REFRESH_TOKEN, DEVICE_CODE]);

  const handle = async (request: Request): Promise<Response> => {
    const url = new URL(request.url);
    const call: ProviderCall = {
      method: request.method,
      path: url.pathname,
      form: Object.fromEntries(new URLSearchParams(await request.text())),
      userAgent: request.headers.get("user-agent") ?? "",
      at: performance.now(),
    };
    calls.push(call);
    const replaced = await options.answers?.[url.pathname]?.(call, url);
    if (replaced) return replaced;
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        return json(200, {
          issuer: url.origin,
          authorization_endpoint: `${url.origin}/oauth2/authorize`,
          token_endpoint: `${url.origin}/oauth2/token`,
          device_authorization_endpoint: `${url.origin}/oauth2/device/code`,
          id_token_signing_alg_values_supported: ["ES256"],
        });
      case "/oauth2/authorize": {
        const code = `code-${crypto.randomUUID()}`;
        codes.set(code, url.searchParams);
        secrets.add(code);
        const back = new URL(url.searchParams.get("redirect_uri") ?? "");
        back.search = String(new URLSearchParams({ code, state: url.searchParams.get("state") ?? "" }));
        return new Response(null, { status: 302, headers: { location: back.href } });
      }
      case "/oauth2/device/code":
      case "/login/device/code":
        return json(200, {
          device_code: DEVICE_CODE,
          user_code: "WDJB-MJHT",
          verification_uri: `${url.origin}/device`,
          expires_in: 900,
          interval: 1,
          ...options.device,
        });
      case "/oauth2/token":
        return await trade(call.form, url.origin);
      case "/login/oauth/access_token":
        return json(200, {
          access_token: ACCESS_TOKEN,
          expires_in: 28_800,
          refresh_token: REFRESH_TOKEN,
          refresh_token_expires_in: 15_811_200,
          scope: "",
          token_type: "bearer",
        });
      default:
        return json(404, { error: "Not Found" });
    }
  };

  const trade = async (form: Readonly<Record<string, string>>, issuer: string): Promise<Response> => {
    const tokens = {
      access_token: ACCESS_TOKEN,
      refresh_token: REFRESH_TOKEN,
      token_type: "Bearer",
      expires_in: 21_600,
    };
    if (form.grant_type === "urn:ietf:params:oauth:grant-type:device_code") return json(200, tokens);
    const asked = codes.get(form.code ?? "");
    codes.delete(form.code ?? "");
    secrets.add(form.code_verifier ?? "no-verifier");
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(form.code_verifier));
    const isRight = asked?.get("code_challenge") === base64Url(new Uint8Array(digest)) &&
      asked.get("code_challenge_method") === "S256" && asked.get("redirect_uri") === form.redirect_uri &&
      asked.get("client_id") === form.client_id;
    if (!isRight) return json(400, { error: "invalid_grant", error_description: `bad code ${form.code}` });
    const nowS = Math.floor(Date.now() / 1_000);
    const usual = {
      iss: issuer,
      sub: "user-1",
      aud: form.client_id,
      iat: nowS,
      exp: nowS + 3_600,
      nonce: asked.get("nonce"),
    };
    const claims = options.claims ? options.claims(usual) : usual;
    if (!claims) return json(200, tokens);
    const part = (value: unknown) => base64Url(new TextEncoder().encode(JSON.stringify(value)));
    const idToken = `${part({ alg: "ES256" })}.${part(claims)}.${base64Url(new Uint8Array(64))}`;
    secrets.add(idToken);
    return json(200, { ...tokens, id_token: idToken });
  };

  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen: () => {} },
    handle,
  );
  const browser = Deno.createHttpClient({ caCerts: [authority.caPem] });
  return {
    issuer: `https://127.0.0.1:${server.addr.port}`,
    caPem: authority.caPem,
    browser,
    calls,
    codes,
    secrets,
    async [Symbol.asyncDispose]() {
      browser.close();
      await server.shutdown();
    },
  };
}

/** A JSON answer. */
export function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}

function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
