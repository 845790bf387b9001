/** Renewals that fail, take long, or end after everything has changed; and the places where logins are renewed. */
import { assert, assertEquals, assertMatch, assertNotMatch, assertStringIncludes } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { get, HOUR, type LoginStage, setUpLogin } from "../support/login_stage.ts";
import { basic, dialRaw, openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { askSocks5 } from "../support/socks_client.ts";
import { soon } from "../support/sockets.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { Rig } from "../unit/secrets/support.ts";

/** What the proxy answers in its own name when it has no credential. */
async function assertUnavailable(peer: RawPeer, { target }: LoginStage, words: RegExp): Promise<void> {
  await peer.send(get(target));
  const { status, head, body } = await soon("an answer", peer.readResponse());
  assertEquals(status, 502, body);
  assertStringIncludes(head, "X-Slicer-Proxy-Reason: secret-unavailable\r\n");
  assertMatch(body, words);
  assertNotMatch(head + body, /planted/);
}

Deno.test("a renewal that is refused for good is a 502 that says so, and is not tried again until there is a new login", async () => {
  await using stage = await setUpLogin({ leftMs: 600_000 });
  const { provider, rig, upstream, proxy } = stage;
  provider.rotateElsewhere(); // what was adopted is used up
  rig.clock.advance(HOUR);
  using peer = await stage.open();
  const words =
    /Cannot use secret login: the login must be renewed on the host: the token endpoint refused it \(invalid_grant\)/;
  for (let i = 0; i < 20; i++) {
    await assertUnavailable(peer, stage, words);
    rig.clock.advance(HOUR);
  }
  assertEquals([provider.refreshes, upstream.seen.length], [1, 0]);
  assertMatch(rig.state.getSecret("login")?.error ?? "", /must be renewed on the host/);
  assertNotMatch(proxy.lines.join("\n") + rig.log.join("\n"), /planted/);
  assertMatch(proxy.lines[0] ?? "", /^allow .* reason=secret-unavailable /);

  provider.rotateElsewhere(); // somebody logs in
  await rig.adopt("oauth-claude", stage.login(), { host: "api.test", force: true });
  await peer.send(get(stage.target));
  assertEquals((await peer.readResponse()).status, 200);
  assertEquals([provider.refreshes, rig.state.getSecret("login")?.error], [1, undefined]);
});

Deno.test("a provider in trouble is asked later and later, and not before it wants to be", async (t) => {
  const rows = [
    {
      name: "429 with Retry-After",
      mood: { status: 429, headers: { "Retry-After": "120" }, body: {} },
      s: 120,
    },
    { name: "429", mood: { status: 429, body: { error: "planted" } }, s: 1 },
    { name: "500", mood: { status: 500, body: "planted" }, s: 1 },
    { name: "a connection that ends", mood: "cut" as const, s: 1 },
  ];
  for (const { name, mood, s } of rows) {
    await t.step(name, async () => {
      await using stage = await setUpLogin({ leftMs: 600_000 });
      const { provider, rig } = stage;
      rig.clock.advance(HOUR);
      provider.moods.push(mood);
      using peer = await stage.open();
      const words = /its token cannot be renewed now: .*\n.*allowed this request/;
      await assertUnavailable(peer, stage, words);
      rig.clock.advance(s * 1_000 - 1);
      await assertUnavailable(peer, stage, words);
      assertEquals([provider.refreshes, stage.upstream.seen.length], [1, 0]);
      rig.clock.advance(1);
      await peer.send(get(stage.target));
      assertEquals((await peer.readResponse()).status, 200);
      assertEquals(provider.refreshes, 2);
      assertNotMatch(rig.log.join("\n"), /planted/);
    });
  }
});

Deno.test("a provider that does not answer holds nobody up while the token lives", async () => {
  await using stage = await setUpLogin({ leftMs: HOUR });
  const { provider, rig } = stage;
  const old = provider.accessToken;
  using peer = await stage.open();
  const ask = async () => {
    await peer.send(get(stage.target));
    assertEquals((await soon("an answer", peer.readResponse())).status, 200);
  };
  await ask();
  provider.moods.push("stuck");
  rig.clock.advance(HOUR - 60_000); // a renewal is due in the last five minutes
  await rig.until(() => provider.refreshes === 1, "a renewal");
  for (let i = 0; i < 3; i++) await ask();
  assertEquals([provider.refreshes, provider.accessToken], [1, old]);
  provider.release();
  await rig.until(() => rig.credentials.outcomes().failed === 1, "its end");
});

Deno.test("a client that leaves during a renewal costs no login, and nothing goes upstream for it", async (t) => {
  for (const isReplay of [false, true]) {
    await t.step(
      isReplay ? "after the upstream has refused the token" : "before anything was sent",
      async () => {
        await using stage = await startRenewal(isReplay);
        const { provider, rig, upstream, proxy } = stage;
        stage.peer[Symbol.dispose]();
        await new Promise((resolve) => setTimeout(resolve, 50)); // so that the proxy has seen it
        provider.release();
        await rig.until(() => rig.credentials.outcomes().renewed === 1, "the renewal");
        await proxy.waitLine(/^allow .* reason=client-closed /);
        assertEquals(upstream.seen.length, isReplay ? 1 : 0);
        using peer = await stage.open();
        await peer.send(get(stage.target));
        assertEquals((await peer.readResponse()).status, 200);
        assertEquals(provider.refreshes, 1);
      },
    );
  }
});

/** What an operator does meanwhile. */
const CHANGES: Readonly<Record<string, (stage: LoginStage) => void | Promise<unknown>>> = {
  "the rule is revoked": ({ proxy, rule }) => proxy.policy.revoke(rule),
  "the client is deleted": ({ proxy }) => proxy.policy.removeClient("one"),
  "the secret is deleted": ({ rig }) => rig.state.deleteSecret("login"),
  "the secret is replaced": ({ rig }) =>
    rig.adopt("oauth-claude", { accessToken: "planted-new", refreshToken: "planted-r" }, {
      host: "api.test",
      force: true,
    }),
};

Deno.test("what ends while a token is fetched: nothing more goes upstream, and the renewal changes nothing", async (t) => {
  for (const [name, change] of Object.entries(CHANGES)) {
    for (const isReplay of [false, true]) {
      await t.step(`${name}, ${isReplay ? "after a 401" : "at first"}`, async () => {
        await using stage = await startRenewal(isReplay);
        const { provider, rig, upstream, proxy } = stage;
        await change(stage);
        provider.release();
        const text = await soon("the end", stage.peer.readAll().catch(() => ""));
        assertNotMatch(text, /^HTTP\/1\.1 (200|401)|planted/);
        await proxy.waitLine(/ reason=revoked$/);
        await rig.until(() => provider.moods.length === 0, "the provider's answer");
        await rig.credentials[Symbol.asyncDispose](); // waits for what is under way
        assertEquals(upstream.seen.length, isReplay ? 1 : 0);
        const stored = rig.state.secretValue("login");
        if (name === "the secret is deleted") assertEquals(stored, undefined);
        else if (name === "the secret is replaced") {
          assertStringIncludes(stored?.value ?? "", "planted-new");
          assertEquals(stored?.record.refreshedAt, undefined);
        } else assertStringIncludes(stored?.value ?? "", provider.refreshToken ?? "nothing");
      });
    }
  }
});

/** A request that waits for a renewal, which waits for `release`. */
async function startRenewal(isReplay: boolean): Promise<LoginStage & { readonly peer: RawPeer }> {
  const stage = await setUpLogin({ leftMs: isReplay ? 2 * HOUR : 600_000 });
  if (isReplay) stage.provider.accessToken = "another one";
  else stage.rig.clock.advance(HOUR);
  stage.provider.moods.push("slow");
  const peer = await stage.open();
  await peer.send(`${get(stage.target, "Connection: close\r\n")}`);
  await stage.rig.until(() => stage.provider.refreshes === 1, "a renewal");
  return {
    ...stage,
    peer,
    [Symbol.asyncDispose]: async () => {
      peer[Symbol.dispose]();
      await stage[Symbol.asyncDispose]();
    },
  };
}

Deno.test("hosts where logins are renewed are closed to clients, whatever their rules and however they come", async (t) => {
  await using stage = await setUpLogin();
  const { provider, proxy } = stage;
  proxy.policy.allow("one", { host: "auth.test", ports: [provider.port + 1], passthrough: true });
  const ports = [provider.port, 443, provider.port + 1];
  await t.step("CONNECT", async () => {
    using peer = await dialRaw(proxy.httpPort);
    for (
      const target of [
        ...ports.map((port) => `auth.test:${port}`),
        "AUTH.test.:443",
        "platform.claude.com:443",
      ]
    ) {
      await peer.send(
        `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
      );
      const { status, head } = await peer.readResponse();
      assertEquals([target, status], [target, 403]);
      assertStringIncludes(head, "X-Slicer-Proxy-Reason: token-endpoint\r\n");
    }
  });
  await t.step("absolute form", async () => {
    using peer = await dialRaw(proxy.httpPort);
    const host = `auth.test:${provider.port}`;
    await peer.send(
      `POST http://${host}/x HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${
        basic(TOKEN)
      }\r\nContent-Length: 0\r\n\r\n`,
    );
    const { status, head } = await peer.readResponse();
    assertEquals(status, 403);
    assertStringIncludes(head, "X-Slicer-Proxy-Reason: token-endpoint\r\n");
  });
  for (
    const [name, options] of [["SOCKS5 with a token", { token: TOKEN }], ["SOCKS5 without", {}]] as const
  ) {
    await t.step(name, async () => {
      const { code, peer } = await askSocks5(
        proxy.httpPort,
        { host: "auth.test", port: provider.port + 1 },
        options,
      );
      peer[Symbol.dispose]();
      assertEquals(code, 2); // not allowed by ruleset
    });
  }
  assertEquals(provider.seen.length, 0);
});

Deno.test("on hosts that are used for real only the places of renewals are closed, in every reading", async () => {
  await using upstream = await startEchoUpstream({ names: ["api.test"] });
  await using rig = await Rig.start({ isStarted: false });
  const origin = `https://api.test:${upstream.port}`;
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  await rig.adopt("github-app", {
    app_id: 1,
    api_endpoint: origin,
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  }, { name: "app", host: "git.test" });
  await rig.adopt("oauth-github-copilot", {
    access_token: "ghu_planted",
    token_endpoint: `${origin}/copilot_internal/v2/token`,
  }, { name: "copilot", host: "copilot.test" });
  await rig.adopt("oauth-claude", { accessToken: "planted-a", refreshToken: "planted-b" }, {
    name: "claude",
    host: "api.anthropic.com",
  });
  await using proxy = await startTestProxy({ credentials: rig.credentials });
  proxy.policy.allow("one", { host: "*", ports: [upstream.port] });
  using peer = await openTlsTunnel(proxy.httpPort, `api.test:${upstream.port}`, TOKEN, proxy.caPem);
  const rows: readonly (readonly [path: string, isOpen: boolean])[] = [
    ["/user", true],
    ["/copilot_internal/v2/tokens", true],
    ["/copilot_internal/v2/token", false],
    ["/copilot_internal/v2/token?x=1", false],
    ["/copilot_internal/v2/token/", false],
    ["/Copilot_Internal/v2/TOKEN", false],
    ["/copilot_internal//v2/token", false],
    ["/copilot_internal/v2/%74oken", false],
    ["/a/../copilot_internal/v2/token", false],
    ["/app", true],
    ["/app/installations", false],
    ["/app/installations/77/access_tokens", false],
  ];
  for (const [path, isOpen] of rows) {
    await peer.send(`GET ${path} HTTP/1.1\r\nHost: api.test:${upstream.port}\r\n\r\n`);
    const { status, head } = await peer.readResponse();
    assertEquals([path, status], [path, isOpen ? 200 : 403]);
    if (!isOpen) assertStringIncludes(head, "X-Slicer-Proxy-Reason: token-endpoint\r\n");
  }
  assertEquals(upstream.seen.length, rows.filter(([, isOpen]) => isOpen).length);
  for (const path of ["/v1/oauth/token", "/v1/oauth/anything"]) {
    assert(rig.credentials.isTokenEndpoint({ host: "api.anthropic.com", path }), path);
  }
  assert(!rig.credentials.isTokenEndpoint({ host: "api.anthropic.com", path: "/v1/messages" }));
});
