/** A token that the upstream refuses is renewed, and the request sent once more: what the client and the upstream see of it. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { header } from "../support/fake_provider.ts";
import { answer, get, HOUR, setUpLogin } from "../support/login_stage.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { readRequest, type SeenRequest, startRawUpstream } from "../support/echo_upstream.ts";

/** As if the provider had taken the adopted access token back. */
const REVOKED = "another one";
/** The largest body that is kept to be sent again. */
const KEPT_BYTES = 1_048_576;

Deno.test("a token that the upstream refuses is renewed once, and the request sent again; the client sees one answer", async (t) => {
  const large = "x".repeat(KEPT_BYTES);
  const rows = [
    { name: "no body", method: "GET", framing: "", body: "" },
    { name: "a length", method: "POST", framing: "Content-Length: 5\r\n", body: "hello" },
    {
      name: "chunks and a trailer",
      method: "POST",
      framing: "Transfer-Encoding: chunked\r\n",
      body: "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    },
    {
      name: "the largest that is kept",
      method: "PUT",
      framing: `Content-Length: ${large.length}\r\n`,
      body: large,
    },
  ];
  for (const { name, method, framing, body } of rows) {
    await t.step(name, async () => {
      await using stage = await setUpLogin();
      stage.provider.accessToken = REVOKED;
      using peer = await stage.open();
      const fields = `Host: ${stage.target}\r\nx-a: 1\r\n${framing}X-B: 2\r\n`;
      await peer.send(`${method} /v1?q=1 HTTP/1.1\r\n${fields}\r\n${body}`);
      assertEquals(await peer.readResponse().then(({ status, body }) => [status, body]), [200, "welcome"]);
      assertEquals(stage.provider.refreshes, 1);
      assertEquals(stage.upstream.seen.map(({ requestLine }) => requestLine), [
        `${method} /v1?q=1 HTTP/1.1`,
        `${method} /v1?q=1 HTTP/1.1`,
      ]);
      const [first, second] = stage.upstream.seen;
      assert(first?.body === body && second?.body === body, "the body is not the client's");
      const others = (request: SeenRequest) =>
        request.headers.filter((line) => !/^authorization:/i.test(line));
      assertEquals(others(first), others(second));
      assertEquals(header(second, "authorization"), `Bearer ${stage.provider.accessToken}`);
      await stage.proxy.waitLine(/^allow .* status=200 secret=login sent=\d+ received=7 /);
      await peer.send(get(stage.target));
      assertEquals((await peer.readResponse()).status, 200);
      assertEquals([stage.provider.refreshes, stage.upstream.seen.length], [1, 3]);
      await stage.proxy.audit.written();
      assertEquals(stage.proxy.lines.filter((line) => line.startsWith("allow ")).length, 2);
    });
  }
});

Deno.test("a WebSocket upgrade that is refused for its token is sent again", async () => {
  await using stage = await setUpLogin({ type: "oauth-codex" });
  stage.provider.accessToken = REVOKED;
  using peer = await stage.open();
  const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
  await peer.send(get(stage.target, upgrade));
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 101 /);
  assertEquals(await peer.readBytes(5), "hello");
  assertEquals([stage.provider.refreshes, stage.upstream.seen.length], [1, 2]);
});

Deno.test("what cannot be sent again: the refusal is the client's, and the next request works", async (t) => {
  const rows = [
    {
      name: "a body too large to keep",
      isHasty: false,
      length: KEPT_BYTES + 1,
      body: "x".repeat(KEPT_BYTES + 1),
    },
    { name: "an upload that is not finished", isHasty: true, length: 100, body: "half" },
    { name: "an upload that waits for 100 Continue", isHasty: true, length: 100, body: "" },
  ];
  for (const { name, isHasty, length, body } of rows) {
    await t.step(name, async () => {
      await using stage = await setUpLogin({ isHasty });
      stage.provider.accessToken = REVOKED;
      {
        using peer = await stage.open();
        const fields = `Host: ${stage.target}\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n`;
        await peer.send(`POST / HTTP/1.1\r\n${fields}\r\n${body}`);
        const { status, body: text } = await peer.readResponse();
        assertEquals([status, text], [401, "who are you?"]);
      }
      assertEquals([stage.provider.refreshes, stage.upstream.seen.length], [1, 1]);
      using peer = await stage.open();
      await peer.send(get(stage.target));
      assertEquals((await peer.readResponse()).status, 200);
      assertEquals(stage.provider.refreshes, 1);
    });
  }
});

Deno.test("an upstream that refuses the new token too is heard, and forces no second renewal", async () => {
  await using stage = await setUpLogin({
    isClosed: true,
    refusal: answer(401, "no", "WWW-Authenticate: Bearer\r\n"),
  });
  using peer = await stage.open();
  for (let i = 0; i < 5; i++) {
    await peer.send(get(stage.target));
    const { status, head, body } = await peer.readResponse();
    assertEquals([status, body], [401, "no"]);
    assertMatch(head, /\r\nWWW-Authenticate: Bearer\r\n/);
  }
  assertEquals([stage.provider.refreshes, stage.upstream.seen.length], [1, 6]);
});

Deno.test("a client can force one renewal a minute, then one in two: it cannot burn refresh tokens", async () => {
  await using stage = await setUpLogin({ isClosed: true });
  using peer = await stage.open();
  const refreshes: number[] = [];
  for (let second = 0; second <= 180; second += 20) {
    await peer.send(get(stage.target));
    assertEquals((await peer.readResponse()).status, 401);
    refreshes.push(stage.provider.refreshes);
    stage.rig.clock.advance(20_000);
  }
  // At 0, at 60 and at 180 s.
  assertEquals(refreshes, [1, 1, 1, 2, 2, 2, 2, 2, 2, 3]);
});

Deno.test("xAI refuses tokens with 403: only its own error renews, however it is coded and cut", async (t) => {
  const bad =
    '{"code":"unauthenticated:bad-credentials","error":"The OAuth2 access token could not be validated."}';
  const gzip = gzipSync(bad).toString("latin1");
  const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
  const head = "HTTP/1.1 403 X\r\n";
  const rows: readonly (readonly [name: string, refusal: readonly string[], status: number])[] = [
    ["bad credentials", answer(403, bad), 200],
    ["in two pieces", [answer(403, bad)[0]?.slice(0, -80) ?? "", bad.slice(-80)], 200],
    ["the head first", [`${head}Content-Length: ${bad.length}\r\n\r\n`, bad], 200],
    ["gzip", answer(403, gzip, "Content-Encoding: gzip\r\n"), 200],
    [
      "gzip in chunks",
      [`${head}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n`, chunked(gzip)],
      200,
    ],
    ["no entitlement", answer(403, '{"code":"permission-denied"}'), 403],
    ["nothing", answer(403, ""), 403],
    ["its words too late", answer(403, " ".repeat(70_000) + bad), 403],
    ["its words in another status", answer(400, bad), 400],
  ];
  for (const [name, refusal, status] of rows) {
    await t.step(name, async () => {
      await using stage = await setUpLogin({ type: "oauth-xai", refusal });
      stage.provider.accessToken = REVOKED;
      using peer = await stage.open();
      await peer.send(get(stage.target));
      const got = await peer.readResponse();
      assertEquals([got.status, stage.provider.refreshes], [status, status === 200 ? 1 : 0]);
      const sent = refusal.join("");
      const body = sent.slice(sent.indexOf("\r\n\r\n") + 4);
      assertEquals(
        Buffer.from(got.body, "latin1").toString("hex").slice(0, 2_000),
        Buffer.from(
          status === 200 ? "welcome" : body,
          "latin1",
        ).toString("hex").slice(0, 2_000),
      );
    });
  }
});

Deno.test("a hundred requests make one renewal", async (t) => {
  const rows = [
    { name: "on a token that has ended", isRevoked: false, leftMs: 600_000, seen: 100 },
    { name: "on a token that the upstream refuses", isRevoked: true, leftMs: 2 * HOUR, seen: undefined },
  ];
  for (const { name, isRevoked, leftMs, seen } of rows) {
    await t.step(name, async () => {
      await using stage = await setUpLogin({ leftMs });
      if (isRevoked) stage.provider.accessToken = REVOKED;
      else stage.rig.clock.advance(HOUR);
      const peers = await Promise.all(Array.from({ length: 100 }, () => stage.open()));
      const statuses = await Promise.all(peers.map(async (peer) => {
        await peer.send(get(stage.target));
        return (await peer.readResponse()).status;
      }));
      for (const peer of peers) peer[Symbol.dispose]();
      assertEquals(statuses.filter((status) => status !== 200), []);
      assertEquals(stage.provider.refreshes, 1);
      if (seen !== undefined) assertEquals(stage.upstream.seen.length, seen);
    });
  }
});

Deno.test("a credential that cannot be renewed is never sent twice", async () => {
  const seen: SeenRequest[] = [];
  await using upstream = await startRawUpstream(async (peer) => {
    for (;;) {
      const request = await readRequest(peer);
      if (!request) return;
      seen.push(request);
      await peer.send(answer(401, "no").join(""));
    }
  });
  await using proxy = await startTestProxy();
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer KEY"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "key" });
  using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await peer.send(get(`up.test:${upstream.port}`));
  assertEquals((await peer.readResponse()).status, 401);
  assertEquals(seen.length, 1);
});
