/** Credentials that threads are lent: what goes upstream is always the present one, and renewals are asked for once. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { isProxyError } from "../../core/errors.ts";
import { parseRule } from "../../policy/rule.ts";
import {
  readRequest,
  type SeenRequest,
  startEchoUpstream,
  startRawUpstream,
} from "../support/echo_upstream.ts";
import { FakeProvider, header } from "../support/fake_provider.ts";
import { answer } from "../support/login_stage.ts";
import type { RawPeer } from "../support/raw_peer.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { startWorkersStage } from "../support/start_workers.ts";
import { closeAll, MANY, openTunnels } from "../support/worker_peers.ts";
import { Rig } from "../unit/secrets/support.ts";

/** All responses, as status and body. */
function ask(tunnels: readonly RawPeer[], port: number): Promise<[number, string][]> {
  return Promise.all(tunnels.map(async (tunnel): Promise<[number, string]> => {
    await tunnel.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\nAccept: text/plain\r\n\r\n`);
    const { status, body } = await tunnel.readResponse();
    return [status, body];
  }));
}

async function setUp(port: number) {
  const rig = await Rig.start({ isStarted: false });
  const stage = await startWorkersStage({ rig }).catch(async (error) => {
    await rig[Symbol.asyncDispose]();
    throw error;
  });
  return {
    rig,
    stage,
    allow: (secret: string) =>
      rig.state.addRule("one", parseRule({ host: "localhost", ports: [port], secret })),
    [Symbol.asyncDispose]: async () => {
      await stage[Symbol.asyncDispose]();
      await rig[Symbol.asyncDispose]();
    },
  };
}

Deno.test("workers: a secret that is replaced or deleted goes upstream from none of them any more", async () => {
  await using upstream = await startEchoUpstream({ names: ["localhost"] });
  await using at = await setUp(upstream.port);
  const { rig, stage } = at;
  const secret = { name: "key", host: "localhost", type: "bearer", cleartext: false };
  await rig.state.putSecret({ ...secret, value: "value-0" }, { force: false });
  await at.allow("key");
  const tunnels = await openTunnels(stage, upstream);
  for (let round = 0; round < 8; round++) {
    // One round of requests is under way when the secret is replaced, and the next begins right after.
    const during = ask(tunnels, upstream.port);
    if (round % 2 === 1) await new Promise((resolve) => setTimeout(resolve, round));
    await rig.state.putSecret({ ...secret, value: `value-${round + 1}` }, { force: true });
    await during;
    const after = await ask(tunnels, upstream.port);
    assertEquals(new Set(after.map(([status]) => status)), new Set([200]));
    const sent = upstream.seen.slice(-MANY).map((request) => header(request, "authorization"));
    assertEquals(new Set(sent), new Set([`Bearer value-${round + 1}`]));
  }
  await rig.state.deleteSecret("key");
  const seen = upstream.seen.length;
  const denied = await ask(tunnels, upstream.port);
  assertEquals(new Set(denied.map(([status]) => status)), new Set([403]));
  assertEquals(upstream.seen.length, seen);
  closeAll(tunnels);
});

Deno.test("workers: a login that is refused in all of them is renewed once, and each request sent again", async () => {
  await using provider = await FakeProvider.start();
  const seen: SeenRequest[] = [];
  await using upstream = await startRawUpstream(async (peer) => {
    for (let request; (request = await readRequest(peer));) {
      seen.push(request);
      const isRight = header(request, "authorization") === `Bearer ${provider.accessToken}`;
      for (const piece of isRight ? answer(200, "welcome") : answer(401, "who?")) await peer.send(piece);
    }
  }, { names: ["localhost"] });
  await using at = await setUp(upstream.port);
  const { rig, stage } = at;
  await rig.adopt("oauth-xai", {
    access_token: provider.accessToken,
    refresh_token: provider.refreshToken,
    token_endpoint: provider.tokenEndpoint,
    expires_at: rig.clock.now() + 3_600_000,
  }, { host: "localhost" });
  await at.allow("login");
  const tunnels = await openTunnels(stage, upstream);
  assertEquals(new Set((await ask(tunnels, upstream.port)).map(([status]) => status)), new Set([200]));
  provider.accessToken = "taken back";
  const answers = await ask(tunnels, upstream.port);
  assertEquals(answers, answers.map(() => [200, "welcome"]));
  assertEquals(provider.refreshes, 1);
  // Once more: no renewal is forced again so soon, and the refusal is the client's.
  provider.accessToken = "taken back again";
  const refused = await ask(tunnels, upstream.port);
  assertEquals(new Set(refused.map(([status]) => status)), new Set([401]));
  assertEquals(provider.refreshes, 1);
  closeAll(tunnels);
});

Deno.test("workers: why a credential cannot be had reaches the client in the main thread's words", async () => {
  await using provider = await FakeProvider.start();
  await using upstream = await startEchoUpstream({ names: ["localhost"] });
  await using at = await setUp(upstream.port);
  const { rig, stage } = at;
  await rig.adopt("oauth-client-creds", {
    token_endpoint: provider.tokenEndpoint,
    client_id: "id:1",
    client_secret: "a wrong one",
  }, { host: "localhost" });
  await at.allow("login");
  const here = await rig.credential().then(() => undefined, (error) => error);
  assert(isProxyError(here, "credential.unavailable"));
  const tunnels = await openTunnels(stage, upstream, 6);
  for (const [status, body] of await ask(tunnels, upstream.port)) {
    assertEquals(status, 502);
    assertMatch(body, /refuses it/);
    assert(!body.includes("a wrong one"));
  }
  assertEquals(upstream.seen, []);
  closeAll(tunnels);
});

Deno.test("workers: a revocation ends upgrades, tunnels and idle upstream connections in all of them", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    for (let request; (request = await readRequest(peer));) {
      if (header(request, "upgrade") === "") await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      else {
        await peer.send(
          "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        await peer.readAll();
        return;
      }
    }
  }, { names: ["localhost"] });
  await using at = await setUp(upstream.port);
  const { rig, stage } = at;
  await rig.state.putSecret(
    { name: "key", host: "localhost", type: "bearer", cleartext: false, value: "v" },
    {
      force: false,
    },
  );
  await at.allow("key");
  const tunnels = await openTunnels(stage, upstream, 2 * MANY);
  const idle = tunnels.slice(MANY);
  const upgraded = tunnels.slice(0, MANY);
  for (const tunnel of upgraded) {
    await tunnel.send(
      `GET / HTTP/1.1\r\nHost: localhost:${upstream.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    );
    assertMatch(await tunnel.readHead(), /^HTTP\/1\.1 101 /);
  }
  assertEquals(new Set((await ask(idle, upstream.port)).map(([status]) => status)), new Set([200]));
  await waitUntil("all are idle", () => stage.workers.counters().idleUpstreams === MANY);
  await rig.state.revokeHost("one", "localhost");
  await soon("the end of all", Promise.all(tunnels.map((tunnel) => tunnel.isClosed())));
  assertEquals(stage.workers.counters().idleUpstreams, 0);
  await waitUntil("nothing is counted any more", () => stage.workers.counters().connections === 0);
  assertEquals(stage.workers.counters().openTunnels, 0);
  closeAll(tunnels);
});
