/** Logins on the way of a request: injected as the provider wants it, renewed when the upstream refuses them, never shown. */
import { assert, assertEquals, assertNotMatch, assertStringIncludes } from "@std/assert";
import { readRequest, type SeenRequest, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { FakeProvider, header } from "../support/fake_provider.ts";
import { basic, dialRaw, openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { Rig } from "../unit/secrets/support.ts";

const HOUR = 3_600_000;

interface Stage extends AsyncDisposable {
  readonly provider: FakeProvider;
  readonly rig: Rig;
  readonly upstream: Upstream & { readonly seen: SeenRequest[] };
  readonly proxy: TestProxy;
  readonly target: string;
  open(): Promise<RawPeer>;
}

/** A provider, an upstream that takes only the provider's present token, and the proxy with an adopted login. */
async function setUp(
  { type = "oauth-claude", refusal = () => ({ status: 401, body: "who are you?" }), leftMs = HOUR }: {
    readonly type?: "oauth-claude" | "oauth-xai";
    readonly refusal?: () => { readonly status: number; readonly body: string };
    readonly leftMs?: number;
  } = {},
): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  const provider = stack.use(await FakeProvider.start());
  const rig = stack.use(await Rig.start({ isStarted: false }));
  const seen: SeenRequest[] = [];
  const upstream = stack.use(
    await startRawUpstream(async (peer) => {
      for (;;) {
        const request = await readRequest(peer);
        if (!request) return;
        seen.push(request);
        const isRight = header(request, "authorization") === `Bearer ${provider.accessToken}`;
        const { status, body } = isRight ? { status: 200, body: "welcome" } : refusal();
        await peer.send(`HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      }
    }, { names: ["api.test"] }),
  );
  const times = { access_token: provider.accessToken, refresh_token: provider.refreshToken };
  const login = type === "oauth-claude"
    ? {
      claudeAiOauth: {
        accessToken: provider.accessToken,
        refreshToken: provider.refreshToken,
        expiresAt: rig.clock.now() + leftMs,
        scopes: ["user:inference"],
        token_endpoint: provider.tokenEndpoint,
      },
    }
    : { ...times, token_endpoint: provider.tokenEndpoint, expires_at: rig.clock.now() + leftMs };
  await rig.adopt(type, login, { host: "api.test" });
  const proxy = stack.use(await startTestProxy({ credentials: rig.credentials }));
  proxy.policy.allow("one", { host: "api.test", ports: [upstream.port], secret: "login" });
  proxy.policy.allow("one", { host: "*", ports: [443, provider.port] });
  const target = `api.test:${upstream.port}`;
  const moved = stack.move();
  return {
    provider,
    rig,
    upstream: Object.defineProperty(upstream, "seen", { value: seen }),
    proxy,
    target,
    open: () => openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

function get(target: string, more = ""): string {
  return `GET /v1/messages HTTP/1.1\r\nHost: ${target}\r\n${more}\r\n`;
}

Deno.test("a login is injected as its provider wants it, and the client's own credentials go", async () => {
  await using stage = await setUp();
  using peer = await stage.open();
  await peer.send(
    get(
      stage.target,
      "anthropic-beta: tools-1\r\nx-api-key: dummy\r\nAuthorization: Bearer dummy\r\nX-Other: 1\r\n",
    ),
  );
  assertEquals((await peer.readResponse()).status, 200);
  assertEquals(stage.upstream.seen[0]?.headers, [
    `Host: ${stage.target}`,
    "anthropic-beta: tools-1,oauth-2025-04-20",
    `Authorization: Bearer ${stage.provider.accessToken}`,
    "X-Other: 1",
    "anthropic-version: 2023-06-01",
  ]);
  assertEquals(stage.provider.refreshes, 0);
});

Deno.test("a token that the upstream refuses is renewed once, and the request sent again; the client sees one answer", async (t) => {
  const bodies = [
    { name: "no body", method: "GET", framing: "", body: "" },
    { name: "a length", method: "POST", framing: "Content-Length: 5\r\n", body: "hello" },
    {
      name: "chunks",
      method: "POST",
      framing: "Transfer-Encoding: chunked\r\n",
      body: "3\r\nabc\r\n0\r\n\r\n",
    },
  ];
  for (const { name, method, framing, body } of bodies) {
    await t.step(name, async () => {
      await using stage = await setUp();
      stage.provider.accessToken = "another one"; // as if the provider had taken it back
      using peer = await stage.open();
      await peer.send(`${method} / HTTP/1.1\r\nHost: ${stage.target}\r\n${framing}\r\n${body}`);
      assertEquals(await peer.readResponse().then(({ status, body }) => [status, body]), [200, "welcome"]);
      assertEquals(stage.provider.refreshes, 1);
      assertEquals(stage.upstream.seen.map(({ body }) => body), [body, body]);
      await stage.proxy.waitLine(/^allow .* status=200 secret=login /);
      await peer.send(get(stage.target));
      assertEquals((await peer.readResponse()).status, 200);
      assertEquals([stage.provider.refreshes, stage.upstream.seen.length], [1, 3]);
    });
  }
});

Deno.test("a body that is too large to keep: the refusal is the client's, and the next request works", async () => {
  await using stage = await setUp();
  stage.provider.accessToken = "another one";
  using peer = await stage.open();
  const size = 1_048_577;
  await peer.send(
    `POST / HTTP/1.1\r\nHost: ${stage.target}\r\nContent-Length: ${size}\r\n\r\n${"x".repeat(size)}`,
  );
  assertEquals((await peer.readResponse()).status, 401);
  await peer.send(get(stage.target));
  assertEquals((await peer.readResponse()).status, 200);
  assertEquals(stage.provider.refreshes, 1);
});

Deno.test("an upstream that refuses the new token too is heard, and forces no second renewal", async () => {
  await using stage = await setUp({ refusal: () => ({ status: 401, body: "no" }) });
  using peer = await stage.open();
  Object.defineProperty(stage.provider, "accessToken", { get: () => "never right", set: () => {} });
  for (let i = 0; i < 5; i++) {
    await peer.send(get(stage.target));
    assertEquals((await peer.readResponse()).status, 401);
  }
  assertEquals(stage.provider.refreshes, 1);
});

Deno.test("xAI refuses tokens with 403: only its own error renews", async (t) => {
  const rows = [
    {
      name: "bad credentials",
      body: '{"code":"unauthenticated:bad-credentials"}',
      status: 200,
      refreshes: 1,
    },
    { name: "no entitlement", body: '{"code":"permission-denied"}', status: 403, refreshes: 0 },
  ];
  for (const { name, body, status, refreshes } of rows) {
    await t.step(name, async () => {
      await using stage = await setUp({ type: "oauth-xai", refusal: () => ({ status: 403, body }) });
      stage.provider.accessToken = "another one";
      using peer = await stage.open();
      await peer.send(get(stage.target));
      const answer = await peer.readResponse();
      assertEquals([answer.status, stage.provider.refreshes], [status, refreshes]);
      if (status === 403) assertEquals(answer.body, body);
    });
  }
});

Deno.test("a hundred requests on an expired token make one renewal", async () => {
  await using stage = await setUp({ leftMs: 600_000 });
  stage.rig.clock.advance(HOUR);
  const peers = await Promise.all(Array.from({ length: 100 }, () => stage.open()));
  const statuses = await Promise.all(peers.map(async (peer) => {
    await peer.send(get(stage.target));
    return (await peer.readResponse()).status;
  }));
  for (const peer of peers) peer[Symbol.dispose]();
  assertEquals(statuses.filter((status) => status !== 200), []);
  assertEquals(stage.provider.refreshes, 1);
});

Deno.test("a renewal that is refused for good is a 502 that says so, without a token in it, and is not tried again", async () => {
  await using stage = await setUp({ leftMs: 600_000 });
  stage.provider.rotateElsewhere();
  stage.rig.clock.advance(HOUR);
  using peer = await stage.open();
  for (let i = 0; i < 3; i++) {
    await peer.send(get(stage.target));
    const { status, head, body } = await peer.readResponse();
    assertEquals(status, 502);
    assertStringIncludes(head, "X-Slicer-Proxy-Reason: secret-unavailable\r\n");
    assertNotMatch(body, /planted/);
  }
  assertEquals([stage.provider.refreshes, stage.upstream.seen.length], [1, 0]);
  assert(stage.rig.state.getSecret("login")?.error !== undefined);
  assertNotMatch(stage.proxy.lines.join("\n") + stage.rig.log.join("\n"), /planted/);
});

Deno.test("a rule that is revoked while the token is fetched: nothing goes upstream", async () => {
  await using stage = await setUp({ leftMs: 600_000 });
  stage.rig.clock.advance(HOUR);
  stage.provider.moods.push("slow");
  using peer = await stage.open();
  await peer.send(get(stage.target));
  await stage.rig.until(() => stage.provider.refreshes === 1, "a renewal");
  for (
    const rule of stage.proxy.policy.rulesOf(stage.proxy.policy.clients()[0] ?? { name: "", version: "" })
  ) {
    stage.proxy.policy.revoke(rule);
  }
  stage.provider.release();
  await peer.readAll().catch(() => {});
  await stage.rig.until(() => stage.rig.credentials.outcomes().renewed === 1, "its end");
  assertEquals(stage.upstream.seen.length, 0);
});

Deno.test("where logins are renewed no client gets, whatever its rules", async () => {
  await using stage = await setUp();
  using peer = await dialRaw(stage.proxy.httpPort);
  for (const target of [`auth.test:${stage.provider.port}`, "auth.test:443"]) {
    await peer.send(
      `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
    );
    const { status, head } = await peer.readResponse();
    assertEquals(status, 403);
    assertStringIncludes(head, "X-Slicer-Proxy-Reason: token-endpoint\r\n");
  }
  assertEquals(stage.provider.seen.length, 0);
});
