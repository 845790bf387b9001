/** What each kind asks of its provider, over real TLS. */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { ProxyError } from "../../../core/errors.ts";
import { FakeProvider, header } from "../../support/fake_provider.ts";
import { jwt, Rig } from "./support.ts";

const CREDS = { client_id: "id:1", client_secret: "planted secret+%" };

function formOf(body: string | undefined): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(body));
}

Deno.test("Codex: JSON without scope, tokens that are left out go on, reuse is final", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start();
  const value = {
    access_token: jwt({ exp: rig.clock.now() / 1_000 - 1 }),
    refresh_token: provider.refreshToken,
    account_id: "acc-1",
    token_endpoint: provider.tokenEndpoint,
  };
  const renewed = jwt({ exp: rig.clock.now() / 1_000 + 3_600 });
  provider.moods.push({ status: 200, body: { access_token: renewed, id_token: "x.y.z" } });
  await rig.adopt("oauth-codex", value, { host: "chatgpt.com" });
  const credential = await rig.credential();
  assertEquals(credential.headers, [["Authorization", `Bearer ${renewed}`], ["ChatGPT-Account-ID", "acc-1"]]);
  assertEquals(JSON.parse(provider.seen[0]?.body ?? ""), {
    client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
    grant_type: "refresh_token",
    refresh_token: provider.refreshToken,
  });
  assertEquals(
    header(provider.seen[0] ?? { requestLine: "", headers: [], body: "" }, "user-agent"),
    "slicer-proxy",
  );
  // The life comes from the JWT; the old refresh token is used again.
  rig.clock.advance(3_500_000);
  await rig.until(() => rig.credentials.outcomes().renewed === 2, "a second renewal");
  assertEquals(
    JSON.parse(provider.seen[1]?.body ?? "").refresh_token,
    JSON.parse(provider.seen[0]?.body ?? "").refresh_token,
  );
  provider.moods.push({ status: 401, body: { error: { code: "refresh_token_reused", message: "planted" } } });
  assertEquals(await rig.credentials.rejected(await rig.credential(), { status: 401 }), undefined);
  const error = await assertRejects(() => rig.bearer(), ProxyError);
  assertStringIncludes(error.message, "refresh_token_reused");
  assert(!error.message.includes("planted"));
});

Deno.test("xAI: a form with the team's principal, and the old refresh token when none comes back", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start();
  await rig.adopt("oauth-xai", {
    access_token: jwt({ exp: 1, principal_type: "Team", principal_id: "t1", sub: "u1" }),
    refresh_token: provider.refreshToken,
    token_endpoint: provider.tokenEndpoint,
  });
  const old = provider.refreshToken;
  assertEquals(await rig.bearer(), provider.accessToken);
  assertEquals(formOf(provider.seen[0]?.body), {
    grant_type: "refresh_token",
    refresh_token: old ?? "",
    client_id: "b1a00492-073a-47ea-816f-4c329264a828",
    principal_type: "Team",
    principal_id: "t1",
  });
});

Deno.test("GitHub App user: an error in a 200 is final", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start();
  provider.moods.push({ status: 200, body: { error: "bad_refresh_token", error_description: "planted" } });
  await rig.adopt("github-app-user", {
    access_token: "ghu_x",
    refresh_token: "ghr_x",
    client_id: "Iv1.x",
    expires_at: 1,
    token_endpoint: provider.tokenEndpoint,
  }, { host: "api.github.com" });
  const error = await assertRejects(() => rig.bearer(), ProxyError);
  assertStringIncludes(error.message, "bad_refresh_token");
  assertEquals(formOf(provider.seen[0]?.body), {
    grant_type: "refresh_token",
    refresh_token: "ghr_x",
    client_id: "Iv1.x",
  });
});

Deno.test("Copilot: gho_ goes as it is, ghu_ is exchanged, renewed, and gone for good with its GitHub login", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start();
  const token_endpoint = `${provider.origin}/copilot_internal/v2/token`;
  await rig.adopt("oauth-github-copilot", { access_token: "gho_x", token_endpoint }, { name: "direct" });
  const direct = await rig.credential({}, "direct");
  assertEquals([direct.headers, provider.seen.length], [[["Authorization", "Bearer gho_x"]], 0]);
  assertEquals(await rig.credentials.rejected(direct, { status: 401 }), undefined);

  await rig.adopt("oauth-github-copilot", { access_token: "ghu_x", token_endpoint });
  assertEquals(provider.seen.length, 0); // at first use
  assertEquals(await rig.bearer(), `tid=${provider.accessToken};exp=1`);
  assertEquals(provider.seen[0]?.requestLine, "GET /copilot_internal/v2/token HTTP/1.1");
  // `refresh_in` counts, not the provider's clock.
  rig.clock.advance(1_500_000 - 300_000 - 1);
  await rig.bearer();
  assertEquals(provider.seen.length, 1);
  rig.clock.advance(1);
  await rig.until(() => rig.credentials.outcomes().renewed === 2, "the exchange");
  // Nobody uses the second token, so nobody renews it.
  assertEquals(rig.clock.due, []);
  rig.clock.advance(3_600_000);
  assertEquals(provider.seen.length, 2);
  provider.moods.push({ status: 401, body: { message: "Bad credentials planted" } });
  const error = await assertRejects(() => rig.bearer(), ProxyError);
  assertStringIncludes(error.message, "the provider refuses it");
  assertStringIncludes(rig.state.getSecret("login")?.error ?? "", "the provider refuses it");
  await assertRejects(() => rig.bearer(), ProxyError); // not asked again so soon
  assertEquals(provider.seen.length, 3);
  rig.clock.advance(300_000);
  assertEquals(await rig.bearer(), `tid=${provider.accessToken};exp=1`);
  assertEquals(rig.state.getSecret("login")?.error, undefined);
});

Deno.test("client credentials: encoded Basic, the body where Basic is refused, each life as the server says it", async (t) => {
  const rows: readonly {
    readonly name: string;
    readonly expiresIn: number | string | null;
    readonly atMs: number;
  }[] = [
    { name: "a number", expiresIn: 600, atMs: 480_000 },
    { name: "digits", expiresIn: "600", atMs: 480_000 },
    { name: "none: until it is refused", expiresIn: null, atMs: Infinity },
    { name: "nonsense", expiresIn: -5, atMs: Infinity },
  ];
  for (const { name, expiresIn, atMs } of rows) {
    await t.step(name, async () => {
      await using provider = await FakeProvider.start({ expiresIn });
      await using rig = await Rig.start();
      await rig.adopt("oauth-client-creds", {
        ...CREDS,
        scope: "a b",
        token_endpoint: provider.tokenEndpoint,
      });
      assertEquals(provider.seen.length, 0);
      const credential = await rig.credential();
      assertEquals(credential.headers, [["Authorization", `Bearer ${provider.accessToken}`]]);
      assertEquals(formOf(provider.seen[0]?.body), { grant_type: "client_credentials", scope: "a b" });
      await rig.credential();
      const due = rig.clock.due.map((at) => at - rig.clock.now());
      assertEquals(due, atMs === Infinity ? [] : [atMs]);
      const next = await rig.credentials.rejected(credential, { status: 401 });
      assertEquals(next?.headers, [["Authorization", `Bearer ${provider.accessToken}`]]);
      assertEquals(provider.seen.length, 2);
    });
  }
  await t.step("the body, tried once and remembered", async () => {
    await using provider = await FakeProvider.start();
    await using rig = await Rig.start();
    await rig.adopt("oauth-client-creds", { ...CREDS, token_endpoint: provider.tokenEndpoint });
    provider.moods.push({ status: 401, body: { error: "invalid_client" } });
    const credential = await rig.credential();
    assertEquals(formOf(provider.seen[1]?.body), { grant_type: "client_credentials", ...CREDS });
    assertEquals(header(provider.seen[1] ?? { requestLine: "", headers: [], body: "" }, "authorization"), "");
    await rig.credentials.rejected(credential, { status: 401 });
    assertEquals(provider.seen.length, 3);
    assertEquals(formOf(provider.seen[2]?.body).client_id, "id:1");
  });
});

const KEYS = generateKeyPairSync("rsa", { modulusLength: 2_048 });
const PRIVATE = KEYS.privateKey.export({ type: "pkcs1", format: "pem" }).toString();
const PUBLIC = KEYS.publicKey.export({ type: "spki", format: "pem" }).toString();

Deno.test("GitHub App: one token for each repository, found, minted, narrowed and kept", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  await rig.adopt("github-app", { app_id: 12, private_key: PRIVATE, api_endpoint: provider.origin }, {
    host: "github.com",
  });
  const git = { host: "github.com", path: "/Acme/Widgets.git/info/refs" };
  const first = await rig.credential(git);
  assertEquals(first.headers, [[
    "Authorization",
    `Basic ${btoa(`x-access-token:ghs_${provider.accessToken}`)}`,
  ]]);
  assertEquals(provider.seen.map(({ requestLine }) => requestLine), [
    "GET /repos/acme/widgets/installation HTTP/1.1",
    "POST /app/installations/77/access_tokens HTTP/1.1",
  ]);
  assertEquals(JSON.parse(provider.seen[1]?.body ?? ""), { repositories: ["widgets"] });
  const claims = JSON.parse(
    atob(
      header(provider.seen[0] ?? { requestLine: "", headers: [], body: "" }, "authorization").split(".")[1] ??
        "",
    ),
  );
  const seconds = rig.clock.now() / 1_000;
  assertEquals(claims, { iat: seconds - 60, exp: seconds + 540, iss: 12 });
  assert(await rig.credential({ ...git, path: "/acme/widgets/git-upload-pack", method: "POST" }) === first);
  assertEquals(provider.seen.length, 2);
  const error = await assertRejects(
    () => rig.credential({ ...git, path: "/other/repo/info/refs" }),
    ProxyError,
  );
  assertStringIncludes(error.message, "the app is not installed for other/repo");
  assertEquals(provider.seen.length, 3);
  await assertRejects(() => rig.credential({ ...git, path: "/other/repo/info/refs" }), ProxyError);
  assertEquals(provider.seen.length, 3); // remembered
  await assertRejects(() => rig.credential({ ...git, path: "/login" }), ProxyError, "names no repository");
  assertEquals(rig.state.getSecret("login")?.error, undefined);
  rig.clock.advance(3_600_000 - 5_000);
  const second = await rig.credential(git);
  assert(second.generation !== first.generation);
});

Deno.test("GitHub App: a client cannot make the proxy look up repositories without end", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  await rig.adopt("github-app", { app_id: 12, private_key: PRIVATE, api_endpoint: provider.origin }, {
    host: "github.com",
  });
  const ask = (i: number, client = "one") =>
    rig.credential({ client, host: "github.com", path: `/x/r${i}/info/refs` }).catch((error) => error);
  const errors: ProxyError[] = [];
  for (let i = 0; i < 70; i++) errors.push(await ask(i));
  assertEquals(provider.seen.length, 60);
  assertStringIncludes(errors[69]?.message ?? "", "too many repositories");
  await ask(99, "two"); // another client's new repository is looked up
  assertEquals(provider.seen.length, 61);
  rig.clock.advance(60_000);
  await ask(100);
  assertEquals(provider.seen.length, 62);
});

Deno.test("GitHub App: of too many repositories the one unused for longest is forgotten, whoever asked for it", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  await rig.adopt("github-app", { app_id: 12, private_key: PRIVATE, api_endpoint: provider.origin }, {
    host: "github.com",
  });
  const ask = (i: number) =>
    rig.credential({ client: `vm-${i % 8}`, host: "github.com", path: `/x/r${i}/info/refs` }).catch(() => {});
  /** How often the provider is asked for these. */
  const callsFor = async (...repositories: readonly number[]) => {
    const before = provider.seen.length;
    for (const i of repositories) await ask(i);
    return provider.seen.length - before;
  };
  const most = 256;
  const eachOnce = await callsFor(...Array.from({ length: most }, (_, i) => i));
  assert(eachOnce >= most);
  assertEquals(await callsFor(0, 2), 0); // remembered, and used: now 1 is the oldest, and 3 the next
  assert(await callsFor(most) > 0);
  assert(await callsFor(most + 1) > 0);
  assertEquals(await callsFor(0, 2, 4, most, most + 1), 0);
  assert(await callsFor(1) > 0);
  assert(await callsFor(3) > 0);
});

Deno.test("GitHub App: with an installation_id nothing is looked up; without, one installation is enough for the API", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  const app = { app_id: "12", private_key: PRIVATE, api_endpoint: provider.origin };
  await rig.adopt("github-app", { ...app, installation_id: 77 }, { host: "*.github.com" });
  const credential = await rig.credential({ host: "api.github.com", path: "/graphql" });
  assertEquals(credential.headers, [["Authorization", `Bearer ghs_${provider.accessToken}`]]);
  assertEquals(provider.seen.map(({ requestLine, body }) => [requestLine, body]), [
    ["POST /app/installations/77/access_tokens HTTP/1.1", ""],
  ]);
  await rig.adopt("github-app", app, { name: "other", host: "*.github.com" });
  await rig.credential({ host: "api.github.com", path: "/graphql" }, "other");
  assertEquals(provider.seen[1]?.requestLine, "GET /app/installations?per_page=2 HTTP/1.1");
});

Deno.test("GitHub App: only the path of a key file is kept, and it is read at every use", async (t) => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  const dir = await Deno.realPath(await Deno.makeTempDir());
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  const file = `${dir}/key.pem`;
  const write = (pem: string) => Deno.writeTextFile(file, pem, { mode: 0o600 });
  await write(PRIVATE);
  await rig.adopt("github-app", {
    app_id: 12,
    private_key_file: file,
    api_endpoint: provider.origin,
    installation_id: 77,
  }, { host: "github.com" });
  assertEquals(JSON.parse(rig.state.secretValue("login")?.value ?? ""), {
    app_id: "12",
    private_key_file: file,
    private_key_owner: Deno.uid(),
    api_endpoint: provider.origin,
    installation_id: "77",
  });
  const use = () => {
    rig.clock.advance(3_600_000); // the token of before has ended
    return rig.credential({ host: "github.com" });
  };
  await use();
  const rows: readonly (readonly [string, spoil: () => Promise<void>, error: RegExp])[] = [
    ["writable by others", () => Deno.chmod(file, 0o620), /others can write to it; run: chmod go-w FILE$/],
    ["gone", () => Deno.remove(file), /there is no such file$/],
    ["a link", async () => {
      await Deno.writeTextFile(`${dir}/real.pem`, PRIVATE, { mode: 0o600 });
      await Deno.symlink(`${dir}/real.pem`, file);
    }, /it is a link$/],
    ["a folder", () => Deno.mkdir(file), /it is no regular file$/],
    ["no key", () => write("hello"), /its private key is no PEM of PKCS#1 or PKCS#8$/],
  ];
  for (const [name, spoil, words] of rows) {
    await t.step(name, async () => {
      await Deno.remove(file, { recursive: true }).catch(() => {});
      if (name === "writable by others" || name === "gone") await write(PRIVATE);
      await spoil();
      const before = provider.seen.length;
      const error = await assertRejects(use, ProxyError);
      assertEquals(error.code, "credential.unavailable");
      assertStringIncludes(error.message, "its private key file cannot be used");
      assert(!error.message.includes(dir), "the client is told where the file lies");
      assertMatch(rig.state.getSecret("login")?.error ?? "", words);
      assertMatch(rig.log.at(-1) ?? "", words);
      assertEquals(provider.seen.length, before);
      // Repaired, it is used again within a second or so, and the list says nothing any more.
      await Deno.remove(file, { recursive: true }).catch(() => {});
      await write(PRIVATE);
      rig.clock.advance(1_000);
      await rig.credential({ host: "github.com" });
      assertEquals(rig.state.getSecret("login")?.error, undefined);
    });
  }
  await t.step("another key counts at the next use", async () => {
    await write(
      generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey.export({
        type: "pkcs8",
        format: "pem",
      }).toString(),
    );
    await assertRejects(use, ProxyError);
    await write(PRIVATE);
    rig.clock.advance(600_000); // the provider has refused for good
    await rig.credential({ host: "github.com" });
  });
});

Deno.test("GitHub App: a key that was sealed by an earlier version goes on, and a source file takes over with its path", async () => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  const dir = await Deno.realPath(await Deno.makeTempDir());
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  const common = { app_id: "12", api_endpoint: provider.origin, installation_id: "77" };
  await Deno.writeTextFile(`${dir}/key.pem`, PRIVATE, { mode: 0o600 });
  await Deno.writeTextFile(`${dir}/app.yaml`, JSON.stringify({ ...common, private_key_file: "key.pem" }), {
    mode: 0o600,
  });
  await rig.adopt("github-app", { ...common, private_key: PRIVATE }, { host: "github.com" });
  await rig.credential({ host: "github.com" });
  assertEquals(provider.seen.length, 1);
  await rig.adopt("github-app", { ...common, private_key: PRIVATE }, {
    name: "filed",
    host: "github.com",
    sourceFile: `${dir}/app.yaml`,
  });
  await rig.credential({ host: "github.com" }, "filed");
  const { private_key, private_key_file } = JSON.parse(rig.state.secretValue("filed")?.value ?? "");
  assertEquals([private_key, private_key_file], [undefined, `${dir}/key.pem`]);
});

Deno.test("GitHub App: the key file is checked when the secret is created", async (t) => {
  await using provider = await FakeProvider.start({ appPublicKeyPem: PUBLIC });
  await using rig = await Rig.start();
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/key.pem`, PRIVATE, { mode: 0o600 });
    await t.step("beside the source file", async () => {
      const yaml =
        `app_id: 12\nprivate_key_file: key.pem\napi_endpoint: ${provider.origin}\ninstallation_id: 77\n`;
      await rig.adopt("github-app", yaml, { host: "github.com", sourceFile: `${dir}/app.yaml` });
      await rig.credential({ host: "github.com" });
      assertEquals(provider.seen.length, 1);
    });
    await t.step("relative to nothing", async () => {
      const error = await assertRejects(
        () => rig.adopt("github-app", "app_id: 12\nprivate_key_file: key.pem\n", { force: true }),
        ProxyError,
      );
      assertStringIncludes(error.message, "private_key_file is a relative path");
    });
    await t.step("writable by others", async () => {
      await Deno.chmod(`${dir}/key.pem`, 0o666);
      const error = await assertRejects(
        () => rig.adopt("github-app", `app_id: 12\nprivate_key_file: ${dir}/key.pem\n`, { force: true }),
        ProxyError,
      );
      assertStringIncludes(error.message, "others can write to it");
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
