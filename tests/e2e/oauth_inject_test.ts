/** What upstreams see of logins whose token is fetched or needs more than a bearer. */
import { assertEquals } from "@std/assert";
import { readRequest, type SeenRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { FakeProvider } from "../support/fake_provider.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { Rig } from "../unit/secrets/support.ts";

interface Row {
  readonly name: string;
  readonly type: string;
  readonly value: (provider: FakeProvider) => unknown;
  /** The client's header lines after Host. */
  readonly sent: readonly string[];
  /** The upstream's, after Host. */
  readonly seen: (provider: FakeProvider) => readonly string[];
  /** Requests to the provider. */
  readonly asked: readonly string[];
}

const ROWS: readonly Row[] = [
  {
    name: "Codex, on a WebSocket upgrade: the account, in place of the guest's",
    type: "oauth-codex",
    value: ({ accessToken, refreshToken, tokenEndpoint }) => ({
      access_token: accessToken,
      refresh_token: refreshToken,
      account_id: "acct-1",
      expires_at: "2026-11-01T12:00:00Z",
      token_endpoint: tokenEndpoint,
    }),
    sent: [
      "chatgpt-account-id: dummy",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "originator: codex_cli_rs",
    ],
    seen: ({ accessToken }) => [
      `Authorization: Bearer ${accessToken}`,
      "ChatGPT-Account-ID: acct-1",
      "originator: codex_cli_rs",
      "Connection: Upgrade",
      "Upgrade: websocket",
    ],
    asked: [],
  },
  {
    name: "client credentials: fetched at the first use",
    type: "oauth-client-creds",
    value: ({ tokenEndpoint }) => ({
      token_endpoint: tokenEndpoint,
      client_id: "id:1",
      client_secret: "planted secret+%",
    }),
    sent: ["X-A: 1", "authorization: Basic dummy", "X-B: 2"],
    seen: ({ accessToken }) => ["X-A: 1", `Authorization: Bearer ${accessToken}`, "X-B: 2"],
    asked: ["POST /oauth/token HTTP/1.1"],
  },
];

Deno.test("logins reach the upstream in their provider's form", async (t) => {
  for (const { name, type, value, sent, seen, asked } of ROWS) {
    await t.step(name, async () => {
      const requests: SeenRequest[] = [];
      await using provider = await FakeProvider.start();
      await using rig = await Rig.start({ isStarted: false });
      await using upstream = await startRawUpstream(async (peer) => {
        const request = await readRequest(peer);
        if (!request) return;
        requests.push(request);
        const isUpgrade = request.headers.includes("Upgrade: websocket");
        await peer.send(
          isUpgrade
            ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        );
      }, { names: ["api.test"] });
      await rig.adopt(type, value(provider), { host: "api.test" });
      await using proxy = await startTestProxy({ credentials: rig.credentials });
      proxy.policy.allow("one", { host: "api.test", ports: [upstream.port], secret: "login" });
      const target = `api.test:${upstream.port}`;
      using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
      await peer.send(
        `GET / HTTP/1.1\r\nHost: ${target}\r\n${sent.map((line) => `${line}\r\n`).join("")}\r\n`,
      );
      await peer.readHead();
      assertEquals(requests[0]?.headers, [`Host: ${target}`, ...seen(provider)]);
      assertEquals(provider.seen.map(({ requestLine }) => requestLine), asked);
    });
  }
});
