import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { TokenEndpointResponse } from "oauth4webapi";
import { type BrowserLogin, logInByBrowser } from "../../../../cli/oauth/browser.ts";
import { openProviderHttp } from "../../../../cli/oauth/http.ts";
import { ProxyError } from "../../../../core/errors.ts";
import {
  ACCESS_TOKEN,
  json,
  type OAuthProvider,
  startOAuthProvider,
} from "../../../support/oauth_provider.ts";
import { type FakeIo, fakeIo } from "../terminal/fake_io.ts";

/** Runs the flow while `browse` plays the browser with the address that is shown. */
async function logIn(
  provider: OAuthProvider,
  browse: (address: string) => Promise<void>,
  more: Partial<BrowserLogin> = {},
): Promise<{ tokens: Promise<TokenEndpointResponse>; io: FakeIo }> {
  const io = fakeIo();
  const { signal } = new AbortController();
  using http = openProviderHttp({ caCerts: [provider.caPem], signal });
  const tokens = logInByBrowser({
    what: "Example",
    server: {
      issuer: provider.issuer,
      authorization_endpoint: `${provider.issuer}/oauth2/authorize?fixed=1`,
      token_endpoint: `${provider.issuer}/oauth2/token`,
      id_token_signing_alg_values_supported: ["ES256"],
    },
    clientId: "id",
    scope: "openid",
    parameters: {},
    port: 0,
    allowedOrigin: "https://accounts.example",
    io,
    ...more,
  }, { http, signal, wait: () => Promise.resolve() });
  let address: string | undefined;
  while (address === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    address = /^ {4}(https:\S+)$/m.exec(io.stderr())?.[1];
  }
  await Promise.all([browse(address), tokens.catch(() => {})]);
  return { tokens, io };
}

/** Follows the redirects to the callback. */
function consentAt(provider: OAuthProvider): (address: string) => Promise<void> {
  return async (address) => {
    await (await fetch(address, { client: provider.browser })).text();
  };
}

Deno.test("logInByBrowser() checks the ID token when there is one", async (t) => {
  const rows: readonly [
    name: string,
    claims: (claims: Record<string, unknown>) => Record<string, unknown> | undefined,
    failure: string | undefined,
  ][] = [
    ["none", () => undefined, undefined],
    ["ours", (claims) => claims, undefined],
    ["another nonce", (claims) => ({ ...claims, nonce: "x" }), '"nonce"'],
    ["no nonce", ({ nonce: _, ...claims }) => claims, '"nonce"'],
    ["for another client", (claims) => ({ ...claims, aud: "x" }), '"aud"'],
    ["of another issuer", (claims) => ({ ...claims, iss: "https://evil.example" }), '"iss"'],
    ["expired", (claims) => ({ ...claims, exp: 1 }), '"exp"'],
  ];
  for (const [name, claims, failure] of rows) {
    await t.step(name, async () => {
      await using provider = await startOAuthProvider({ claims });
      const { tokens, io } = await logIn(provider, consentAt(provider));
      if (failure === undefined) return assertEquals((await tokens).access_token, ACCESS_TOKEN);
      const error = await assertRejects(() => tokens, ProxyError, failure);
      const said = `${Deno.inspect(error)}${io.stderr()}`;
      for (const secret of provider.secrets) assert(!said.includes(secret), said);
    });
  }
});

Deno.test("logInByBrowser() refuses tokens that it cannot use", async (t) => {
  const rows: readonly [name: string, body: unknown][] = [
    ["no access token", { token_type: "bearer", refresh_token: "secret" }],
    ["another kind of token", { access_token: "secret", token_type: "mac" }],
    ["no object", ["secret"]],
  ];
  for (const [name, body] of rows) {
    await t.step(name, async () => {
      await using provider = await startOAuthProvider({
        answers: { "/oauth2/token": () => json(200, body) },
      });
      const { tokens } = await logIn(provider, consentAt(provider));
      const words = "Cannot log in to Example: the provider's answer cannot be used";
      const error = await assertRejects(() => tokens, ProxyError, words);
      assert(!Deno.inspect(error).includes("secret"), Deno.inspect(error));
    });
  }
});

Deno.test("logInByBrowser() gives up when nobody answers, and frees the port", async () => {
  await using provider = await startOAuthProvider();
  let address = "";
  const keep = (shown: string) => Promise.resolve(void (address = shown));
  const { tokens, io } = await logIn(provider, keep, { timeoutMs: 100 });
  const error = await assertRejects(
    () => tokens,
    ProxyError,
    "Cannot log in to Example: no answer came in time",
  );
  assertEquals(error.code, "credential.unavailable");
  const redirect = new URL(new URL(address).searchParams.get("redirect_uri") ?? "");
  Deno.listen({ hostname: "127.0.0.1", port: Number(redirect.port) }).close();
  // Standard input ended at once, which is no answer and no failure.
  assertStringIncludes(io.stderr(), `Waiting for the browser at ${redirect.href}`);
  assertEquals(new URL(address).searchParams.get("fixed"), "1");
});

Deno.test("logInByBrowser() takes no answer of another issuer", async () => {
  await using provider = await startOAuthProvider();
  const { tokens } = await logIn(provider, async (address) => {
    const { redirect_uri, state = "" } = Object.fromEntries(new URL(address).searchParams);
    const query = new URLSearchParams({ code: "abc", state, iss: "https://evil.example" });
    await (await fetch(`${redirect_uri}?${query}`)).text();
  });
  await assertRejects(() => tokens, ProxyError, '"iss"');
  assertEquals(provider.calls, []);
});
