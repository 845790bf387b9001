/** Assertions that buy tokens (RFC 7523), and refresh tokens of any server, over real TLS. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { ProxyError } from "../../../core/errors.ts";
import type { SeenRequest } from "../../support/echo_upstream.ts";
import { FakeProvider, header } from "../../support/fake_provider.ts";
import { Rig } from "./support.ts";

const KEYS = generateKeyPairSync("rsa", { modulusLength: 2_048 });
const PRIVATE = KEYS.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const PUBLIC = KEYS.publicKey.export({ type: "spki", format: "pem" }).toString();
const CREDS = { client_id: "id:1", client_secret: "planted secret+%" };

const googleKey = ({ tokenEndpoint }: FakeProvider) => ({
  type: "service_account",
  private_key_id: "k1",
  private_key: PRIVATE,
  client_email: "robot@p.iam.gserviceaccount.com",
  token_uri: tokenEndpoint,
});

function formOf(request: SeenRequest | undefined): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(request?.body));
}

function partOf(jwt: string | undefined, at: 0 | 1): Record<string, unknown> {
  return JSON.parse(atob((jwt?.split(".")[at] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
}

Deno.test("Google: its APIs get an access token for the scopes, bought with a signed assertion", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  await rig.adopt("google-service-account", { ...googleKey(provider), scopes: ["s1", "s2"] }, {
    host: "*.googleapis.com",
  });
  assertEquals(provider.seen.length, 0);
  const first = await rig.credential({ host: "storage.googleapis.com" });
  assertEquals(first.headers, [["Authorization", `Bearer ${provider.accessToken}`]]);
  assertEquals(first.material, [provider.accessToken]);
  const { assertion, grant_type } = formOf(provider.seen[0]);
  assertEquals(grant_type, "urn:ietf:params:oauth:grant-type:jwt-bearer");
  assertEquals(partOf(assertion, 0), { alg: "RS256", typ: "JWT", kid: "k1" });
  const { jti, ...claims } = partOf(assertion, 1);
  assertEquals(typeof jti, "string");
  const seconds = rig.clock.now() / 1_000;
  assertEquals(claims, {
    iss: "robot@p.iam.gserviceaccount.com",
    aud: provider.tokenEndpoint,
    scope: "s1 s2",
    iat: seconds - 60,
    exp: seconds + 540,
  });
  assert(await rig.credential({ host: "pubsub.googleapis.com" }) === first);
  assertEquals(provider.seen.length, 1);
  rig.clock.advance(3_600_000 - 5_000);
  assert((await rig.credential({ host: "storage.googleapis.com" })).generation !== first.generation);
});

Deno.test("Google: other hosts get an ID token, each for itself or all for the audience", async (t) => {
  for (const audience of [undefined, "https://all.example.com"]) {
    await t.step(audience ?? "each for itself", async () => {
      await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
      await using rig = await Rig.start();
      await rig.adopt("google-service-account", { ...googleKey(provider), audience }, {
        host: "*.a.run.app",
      });
      const one = await rig.bearer({ host: "one.a.run.app" });
      const two = await rig.bearer({ host: "two.a.run.app" });
      assertEquals([one, two].map((token) => partOf(token, 1).aud), [
        audience ?? "https://one.a.run.app",
        audience ?? "https://two.a.run.app",
      ]);
      assertEquals(provider.seen.length, audience === undefined ? 2 : 1);
      assertEquals(partOf(formOf(provider.seen[0]).assertion, 1).scope, undefined);
      rig.clock.advance(3_600_000);
      assert(await rig.bearer({ host: "one.a.run.app" }) !== one);
    });
  }
});

Deno.test("Google: a key that was deleted and a clock that is wrong are told apart", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  await rig.adopt("google-service-account", googleKey(provider), { host: "storage.googleapis.com" });
  const invalid = { error: "invalid_grant", error_description: "planted" };
  const ask = async (aheadMs: number) => {
    const date = new Date(rig.clock.now() - aheadMs).toUTCString();
    provider.moods.push({ status: 400, headers: { Date: date }, body: invalid });
    const error = await assertRejects(() => rig.bearer(), ProxyError);
    rig.clock.advance(301_000);
    return error.message;
  };
  assertStringIncludes(
    await ask(59_000),
    "the provider refuses it: the token endpoint refused it (invalid_grant)",
  );
  assert(!(await ask(59_000)).includes("clock"));
  assertStringIncludes(await ask(400_000), "the clock of this machine is 400 s ahead of the provider's");
  assertStringIncludes(await ask(-400_000), "the clock of this machine is 400 s behind the provider's");
});

Deno.test("Google: where a token buys other tokens no client gets, on hosts of the secret too", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  await rig.adopt("google-service-account", googleKey(provider), { host: "*.googleapis.com" });
  const rows: readonly (readonly [host: string, path: string, isClosed: boolean])[] = [
    ["oauth2.googleapis.com", "/token", true],
    ["oauth2.googleapis.com", "/tokeninfo", false],
    ["sts.googleapis.com", "/v1/token", true],
    ["iamcredentials.googleapis.com", "/v1/projects/-/serviceAccounts/x:signJwt", true],
    ["iamcredentials.googleapis.com", "//v1/projects/-/serviceAccounts/x:generateAccessToken", true],
    ["storage.googleapis.com", "/storage/v1/b/x", false],
    ["auth.test", "/anything", true],
  ];
  for (const [host, path, isClosed] of rows) {
    assertEquals(rig.credentials.isTokenEndpoint({ host, path }), isClosed, host + path);
  }
});

Deno.test("JWT bearer: subject, audience and client go as they are configured, and the key may stay in its file", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  const dir = await Deno.realPath(await Deno.makeTempDir());
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  await Deno.writeTextFile(`${dir}/key.pem`, PRIVATE, { mode: 0o600 });
  const value = {
    ...{ issuer: "me", subject: "you", audience: "https://idp.test", scope: "s1", client_id: "c1" },
    ...{ token_endpoint: provider.tokenEndpoint, private_key_file: `${dir}/key.pem` },
  };
  await rig.adopt("oauth-jwt-bearer", value);
  assert(!rig.state.secretValue("login")?.value.includes("PRIVATE KEY"));
  assertEquals(await rig.bearer(), provider.accessToken);
  const { assertion, grant_type: _grant, ...form } = formOf(provider.seen[0]);
  assertEquals(form, { scope: "s1", client_id: "c1" });
  const { iss, sub, aud, scope } = partOf(assertion, 1);
  assertEquals([iss, sub, aud, scope], ["me", "you", "https://idp.test", "s1"]);
  await Deno.chmod(`${dir}/key.pem`, 0o622);
  rig.clock.advance(3_600_000);
  const error = await assertRejects(() => rig.bearer(), ProxyError);
  assertStringIncludes(error.message, "its private key file cannot be used");
  assertStringIncludes(rig.state.getSecret("login")?.error ?? "", "others can write to it");
});

Deno.test("a refresh token of any server: fetched at first use, rotated, on the disk before it is used", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start();
  const old = provider.refreshToken;
  await rig.adopt("oauth-refresh", {
    ...CREDS,
    scope: "a b",
    refresh_token: old,
    token_endpoint: provider.tokenEndpoint,
  });
  assertEquals(provider.seen.length, 0);
  assertEquals(await rig.bearer(), provider.accessToken);
  assertEquals(formOf(provider.seen[0]), {
    grant_type: "refresh_token",
    refresh_token: old ?? "",
    scope: "a b",
  });
  assertStringIncludes(
    header(provider.seen[0] ?? { requestLine: "", headers: [], body: "" }, "authorization"),
    "Basic",
  );
  assertEquals(JSON.parse(rig.state.secretValue("login")?.value ?? "").refresh_token, provider.refreshToken);
  rig.clock.advance(3_400_000);
  await rig.until(() => rig.credentials.outcomes().renewed === 2, "a second renewal");
  assertEquals(await rig.bearer(), provider.accessToken);
});

Deno.test("a refresh token of any server: the body once Basic was refused, and from then on", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start();
  provider.moods.push({ status: 401, body: { error: "invalid_client" } });
  await rig.adopt("oauth-refresh", {
    ...CREDS,
    refresh_token: provider.refreshToken,
    token_endpoint: provider.tokenEndpoint,
  });
  const first = await rig.credential();
  assertEquals(provider.seen.length, 2);
  assertEquals(formOf(provider.seen[1]).client_secret, CREDS.client_secret);
  await rig.credentials.rejected(first, { status: 401 });
  assertEquals(provider.seen.length, 3);
  assertEquals(formOf(provider.seen[2]).client_secret, CREDS.client_secret);
});
