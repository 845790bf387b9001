/** What upstreams see of each type of secret: every header, in order. And where a credential never goes. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { readRequest, type SeenRequest, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { FakeProvider } from "../support/fake_provider.ts";
import { basic, dialRaw, openTlsTunnel, openTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { jwt, Rig } from "../unit/secrets/support.ts";

interface Row {
  readonly name: string;
  readonly type: string;
  readonly value: (provider: FakeProvider) => unknown;
  /** Default: `/v1/x`. */
  readonly path?: string;
  /** The client's header lines after Host. */
  readonly sent: readonly string[];
  /** The upstream's, after Host. */
  readonly seen: (provider: FakeProvider) => readonly string[];
  /** Requests to the provider. */
  readonly asked?: readonly string[];
}

const APP_KEYS = generateKeyPairSync("rsa", {
  modulusLength: 2_048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs1", format: "pem" },
});

/** What clients send that believe they have a credential of their own. */
const DUMMIES = [
  "X-A: 1",
  "authorization: Bearer dummy",
  "x-api-key: dummy",
  "Api-Key: dummy",
  "X-Goog-Api-Key: dummy",
  "PRIVATE-TOKEN: dummy",
  "x-b: 2",
  "X-B: 3",
];
/** The same with the credential in place of theirs. */
const withCredential = (...lines: readonly string[]) => ["X-A: 1", ...lines, "x-b: 2", "X-B: 3"];
const login = ({ accessToken, refreshToken, tokenEndpoint }: FakeProvider) => ({
  access_token: accessToken,
  refresh_token: refreshToken,
  token_endpoint: tokenEndpoint,
  expires_at: "2026-11-01T12:00:00Z",
});
const codex = (provider: FakeProvider) => ({ ...login(provider), account_id: "acct-1" });
const claude = (provider: FakeProvider) => ({
  claudeAiOauth: {
    accessToken: provider.accessToken,
    refreshToken: provider.refreshToken,
    expiresAt: Date.UTC(2026, 10, 1, 12),
    scopes: ["user:inference"],
    token_endpoint: provider.tokenEndpoint,
  },
});
const app = ({ origin }: FakeProvider) => ({
  app_id: 12,
  private_key: APP_KEYS.privateKey,
  api_endpoint: origin,
});
const bearer = ({ accessToken }: FakeProvider) => `Authorization: Bearer ${accessToken}`;
const gitBasic = (token: string) => `Authorization: Basic ${btoa(`x-access-token:${token}`)}`;
const MINTING = [
  "GET /repos/acme/widgets/installation HTTP/1.1",
  "POST /app/installations/77/access_tokens HTTP/1.1",
];

const ROWS: readonly Row[] = [
  {
    name: "bearer",
    type: "bearer",
    value: () => "KEY",
    sent: DUMMIES,
    seen: () => withCredential("Authorization: Bearer KEY"),
  },
  {
    name: "basic",
    type: "basic",
    value: () => "user:päss",
    sent: DUMMIES,
    seen: () => withCredential("Authorization: Basic dXNlcjpww6Rzcw=="),
  },
  {
    name: "header",
    type: "header",
    value: () => "X-Api-Key: KEY",
    sent: DUMMIES,
    seen: () => withCredential("X-Api-Key: KEY"),
  },
  {
    name: "Claude: its list of betas is the client's and one more, its version the client's",
    type: "oauth-claude",
    value: claude,
    sent: ["anthropic-beta: tools-1, files-2", "Anthropic-Version: 2024-01-01", ...DUMMIES],
    seen: (provider) => [
      "anthropic-beta: tools-1, files-2,oauth-2025-04-20",
      "Anthropic-Version: 2024-01-01",
      ...withCredential(bearer(provider)),
    ],
  },
  {
    name: "Claude: both are added where they are missing",
    type: "oauth-claude",
    value: claude,
    sent: DUMMIES,
    seen: (provider) => [
      ...withCredential(bearer(provider)),
      "anthropic-beta: oauth-2025-04-20",
      "anthropic-version: 2023-06-01",
    ],
  },
  {
    name: "Claude: the member is there already",
    type: "oauth-claude",
    value: claude,
    sent: ["Anthropic-Beta: a,oauth-2025-04-20", "anthropic-beta: b", "anthropic-version: 2023-06-01"],
    seen: (provider) => [
      "Anthropic-Beta: a,oauth-2025-04-20",
      "anthropic-beta: b",
      "anthropic-version: 2023-06-01",
      bearer(provider),
    ],
  },
  {
    name: "claude setup-token",
    type: "oauth-claude",
    value: () => "sk-ant-oat01-planted",
    sent: ["x-api-key: dummy"],
    seen: () => [
      "Authorization: Bearer sk-ant-oat01-planted",
      "anthropic-beta: oauth-2025-04-20",
      "anthropic-version: 2023-06-01",
    ],
  },
  {
    name: "Codex: with the account, in place of the client's",
    type: "oauth-codex",
    value: codex,
    sent: ["chatgpt-account-id: dummy", ...DUMMIES],
    seen: (provider) => [
      bearer(provider),
      "ChatGPT-Account-ID: acct-1",
      ...withCredential(),
    ],
  },
  {
    name: "Codex: also on a WebSocket upgrade",
    type: "oauth-codex",
    value: codex,
    sent: [
      "chatgpt-account-id: dummy",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "originator: codex_cli_rs",
    ],
    seen: (provider) => [
      bearer(provider),
      "ChatGPT-Account-ID: acct-1",
      "originator: codex_cli_rs",
      "Connection: Upgrade",
      "Upgrade: websocket",
    ],
  },
  {
    name: "Codex: an account of FedRAMP",
    type: "oauth-codex",
    value: (provider) => ({
      tokens: {
        ...login(provider),
        id_token: jwt({
          "https://api.openai.com/auth": {
            chatgpt_account_id: "acct-2",
            chatgpt_account_is_fedramp: true,
          },
        }),
      },
    }),
    sent: DUMMIES,
    seen: (provider) =>
      withCredential(bearer(provider), "ChatGPT-Account-ID: acct-2", "X-OpenAI-Fedramp: true"),
  },
  {
    name: "Copilot: gho_ as it is",
    type: "oauth-github-copilot",
    value: () => ({ "github-copilot": { type: "oauth", refresh: "gho_planted", access: "gho_planted" } }),
    sent: DUMMIES,
    seen: () => withCredential("Authorization: Bearer gho_planted"),
  },
  {
    name: "Copilot: ghu_ exchanged, with what a session token needs",
    type: "oauth-github-copilot",
    value: ({ origin }) => ({
      access_token: "ghu_planted",
      token_endpoint: `${origin}/copilot_internal/v2/token`,
    }),
    sent: ["editor-version: mine/1", ...DUMMIES],
    seen: ({ accessToken }) => [
      "editor-version: mine/1",
      ...withCredential(`Authorization: Bearer tid=${accessToken};exp=1`),
      "Copilot-Integration-Id: vscode-chat",
      "Editor-Plugin-Version: copilot-chat/0.31.0",
      "x-github-api-version: 2025-04-01",
    ],
    asked: ["GET /copilot_internal/v2/token HTTP/1.1"],
  },
  {
    name: "xAI",
    type: "oauth-xai",
    value: login,
    sent: DUMMIES,
    seen: (provider) => withCredential(bearer(provider)),
  },
  {
    name: "client credentials: fetched at the first use",
    type: "oauth-client-creds",
    value: ({ tokenEndpoint }) => ({
      token_endpoint: tokenEndpoint,
      client_id: "id:1",
      client_secret: "planted secret+%",
    }),
    sent: DUMMIES,
    seen: (provider) => withCredential(bearer(provider)),
    asked: ["POST /oauth/token HTTP/1.1"],
  },
  {
    name: "a refresh token of any server",
    type: "oauth-refresh",
    value: ({ refreshToken, tokenEndpoint }) => ({
      token_endpoint: tokenEndpoint,
      client_id: "id:1",
      refresh_token: refreshToken,
    }),
    sent: DUMMIES,
    seen: (provider) => withCredential(bearer(provider)),
    asked: ["POST /oauth/token HTTP/1.1"],
  },
  {
    name: "a signed assertion",
    type: "oauth-jwt-bearer",
    value: ({ tokenEndpoint }) => ({
      token_endpoint: tokenEndpoint,
      issuer: "me",
      private_key: APP_KEYS.privateKey,
    }),
    sent: DUMMIES,
    seen: (provider) => withCredential(bearer(provider)),
    asked: ["POST /oauth/token HTTP/1.1"],
  },
  {
    name: "Google, to a service of one's own",
    type: "google-service-account",
    value: ({ tokenEndpoint }) => ({
      type: "service_account",
      client_email: "robot@p.test",
      private_key: APP_KEYS.privateKey,
      token_uri: tokenEndpoint,
    }),
    sent: DUMMIES,
    seen: ({ issued }) => withCredential(`Authorization: Bearer ${issued.at(-1)}`),
    asked: ["POST /oauth/token HTTP/1.1"],
  },
  {
    name: "GitHub App user, to the API",
    type: "github-app-user",
    value: (provider) => ({ ...login(provider), client_id: "Iv1.x" }),
    sent: DUMMIES,
    seen: (provider) => withCredential(bearer(provider)),
  },
  {
    name: "GitHub App user, to git",
    type: "github-app-user",
    value: (provider) => ({ ...login(provider), client_id: "Iv1.x" }),
    path: "/acme/widgets.git/info/refs?service=git-upload-pack",
    sent: DUMMIES,
    seen: ({ accessToken }) => withCredential(gitBasic(accessToken)),
  },
  {
    name: "GitHub App, to git",
    type: "github-app",
    value: app,
    path: "/acme/widgets.git/git-receive-pack",
    sent: DUMMIES,
    seen: ({ accessToken }) => withCredential(gitBasic(`ghs_${accessToken}`)),
    asked: MINTING,
  },
  {
    name: "GitHub App, to the API of GitHub Enterprise",
    type: "github-app",
    value: app,
    path: "/api/v3/repos/acme/widgets/issues",
    sent: DUMMIES,
    seen: ({ accessToken }) => withCredential(`Authorization: Bearer ghs_${accessToken}`),
    asked: MINTING,
  },
];

/** Answers 200 or 101, and keeps what it saw. */
async function startUpstream(names: readonly string[]): Promise<Upstream> {
  const seen: SeenRequest[] = [];
  const upstream = await startRawUpstream(async (peer) => {
    for (;;) {
      const request = await readRequest(peer);
      if (!request) return;
      seen.push(request);
      const isUpgrade = request.headers.includes("Upgrade: websocket");
      await peer.send(
        isUpgrade
          ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
          : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      );
    }
  }, { names });
  return Object.defineProperty(upstream, "seen", { value: seen });
}

Deno.test("each type of secret reaches the upstream in its provider's form, and all else as it was sent", async (t) => {
  for (const { name, type, value, path = "/v1/x", sent, seen, asked = [] } of ROWS) {
    await t.step(name, async () => {
      await using provider = await FakeProvider.start({ appPublicKeyPem: APP_KEYS.publicKey });
      await using rig = await Rig.start({ isStarted: false });
      await using upstream = await startUpstream(["git.test"]);
      await rig.adopt(type, value(provider), { host: "git.test" });
      await using proxy = await startTestProxy({ credentials: rig.credentials });
      proxy.policy.allow("one", { host: "git.test", ports: [upstream.port], secret: "login" });
      const target = `git.test:${upstream.port}`;
      using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
      const head = [`GET ${path} HTTP/1.1`, `Host: ${target}`, ...sent];
      await peer.send(`${head.join("\r\n")}\r\n\r\n`);
      await peer.readHead();
      assertEquals(upstream.seen[0]?.headers, [`Host: ${target}`, ...seen(provider)]);
      assertEquals(provider.seen.map(({ requestLine }) => requestLine), asked);
    });
  }
});

Deno.test("a login is not sent in clear, and not fetched for it either", async (t) => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start({ isStarted: false });
  await using upstream = await startUpstream([]);
  const creds = {
    token_endpoint: provider.tokenEndpoint,
    client_id: "id:1",
    client_secret: "planted secret+%",
  };
  await rig.adopt("oauth-client-creds", creds, { host: "up.test" });
  await using proxy = await startTestProxy({ credentials: rig.credentials, cleartextSecrets: "never" });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "login" });
  const target = `up.test:${upstream.port}`;
  const rows = {
    "absolute form": async () => {
      const peer = await dialRaw(proxy.httpPort);
      await peer.send(
        `GET http://${target}/ HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
      );
      return peer;
    },
    "in a tunnel": async () => {
      const peer = await openTunnel(proxy.httpPort, target, TOKEN);
      await peer.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      return peer;
    },
  };
  for (const [name, ask] of Object.entries(rows)) {
    await t.step(name, async () => {
      using peer = await ask();
      const { status, head } = await peer.readResponse();
      assertEquals(status, 403);
      assertStringIncludes(head, "X-Slicer-Proxy-Reason: cleartext-secret\r\n");
    });
  }
  assertEquals([upstream.connections, provider.seen.length], [0, 0]);
});

Deno.test("a login goes to its own host alone, whatever a rule says", async (t) => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start({ isStarted: false });
  await using upstream = await startUpstream(["api.test", "other.test", "below.api.test"]);
  await rig.adopt("oauth-xai", login(provider), { host: "api.test" });
  await using proxy = await startTestProxy({ credentials: rig.credentials });
  const ports = [upstream.port];
  const rows = [
    { name: "another host", rule: "other.test", host: "other.test", reason: "secret-host" },
    { name: "a host below", rule: "below.api.test", host: "below.api.test", reason: "secret-host" },
    { name: "its own host under a wider rule", rule: "*.test", host: "api.test", reason: "secret-host" },
    { name: "any host", rule: "*", host: "other.test", reason: "secret-host" },
    { name: "its own tunnel, another Host", rule: "api.test", host: "api.test", inner: "other.test" },
  ];
  for (const { name, rule: pattern, host, reason = "host-mismatch", inner = host } of rows) {
    await t.step(name, async () => {
      const rule = proxy.policy.allow("one", { host: pattern, ports, secret: "login" });
      using peer = await openTlsTunnel(proxy.httpPort, `${host}:${upstream.port}`, TOKEN, proxy.caPem);
      await peer.send(`GET / HTTP/1.1\r\nHost: ${inner}:${upstream.port}\r\n\r\n`);
      const { status, head } = await peer.readResponse();
      assertEquals(status, 403);
      assertStringIncludes(head, `X-Slicer-Proxy-Reason: ${reason}\r\n`);
      proxy.policy.revoke(rule);
    });
  }
  assertEquals(upstream.seen, []);
});
