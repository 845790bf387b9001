/** Listening, accepting within the limits, and who a connection counts for. How it stops: `../../e2e/shutdown_test.ts`. */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { startLog } from "../../../core/log.ts";
import { descriptorLimit } from "../../../core/native.ts";
import { fewConnections, openListener } from "../../../proxy/server.ts";
import { readRequest, startEchoUpstream, startRawUpstream } from "../../support/echo_upstream.ts";
import { basic, dialRaw, type RawPeer } from "../../support/raw_peer.ts";
import { soon, waitUntil } from "../../support/sockets.ts";
import { startTestProxy, TOKEN } from "../../support/start_proxy.ts";

const OTHER = "spi_test_token_of_client_two";
/** Longer than any wait here: what must not decide. */
const NEVER_MS = 3_600_000;

/** Asks for what no rule allows; the connection goes on. */
async function ask(peer: RawPeer, token = TOKEN): Promise<number> {
  await peer.send(
    `GET http://up.test/ HTTP/1.1\r\nHost: up.test\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
  );
  return (await soon("an answer", peer.readResponse())).status;
}

/** A port that nobody uses, as long as nobody takes it. */
function freePort(): number {
  using listener = openListener({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** How many sockets listen on a port of IPv4: Linux alone says so. */
async function listenersAt(port: number): Promise<number> {
  const place = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const sockets = (await Deno.readTextFile("/proc/net/tcp")).split("\n").map((line) =>
    line.trim().split(/ +/)
  );
  return sockets.filter(([, local, , state]) => local?.endsWith(place) && state === "0A").length;
}

function listenError(hostname: string, port: number): ProxyError {
  return assertThrows(() => void openListener({ hostname, port }), ProxyError);
}

Deno.test("openListener() says why it cannot listen, and what to do", async (t) => {
  await t.step("the port is in use", () => {
    using taken = openListener({ hostname: "127.0.0.1", port: 0 });
    const { port } = taken.addr as Deno.NetAddr;
    const { code, message, hint } = listenError("127.0.0.1", port);
    assertEquals([code, message], [
      "listen.failed",
      `Cannot listen on 127.0.0.1:${port}: the port is in use`,
    ]);
    assertStringIncludes(hint ?? "", "--http-port and --https-port");
  });
  for (
    const [hostname, shown, bits] of [["192.0.2.1", "192.0.2.1", 32], [
      "2001:db8::1",
      "[2001:db8::1]",
      128,
    ]] as const
  ) {
    await t.step(`no adapter has ${hostname}`, () => {
      const { code, message, hint } = listenError(hostname, 0);
      assertEquals([code, message, hint], [
        "listen.failed",
        `Cannot listen on ${shown}:0: no network adapter has this address`,
        `add it, for instance: sudo ip address add ${hostname}/${bits} dev lo`,
      ]);
    });
  }
});

Deno.test("openListener() shares a port only with those that want to", () => {
  using one = openListener({ hostname: "127.0.0.1", port: 0, isShared: true });
  const { port } = one.addr as Deno.NetAddr;
  using two = openListener({ hostname: "127.0.0.1", port, isShared: true });
  assertEquals((two.addr as Deno.NetAddr).port, port);
  assertEquals(listenError("127.0.0.1", port).code, "listen.failed");
});

Deno.test("startProxy() keeps no port when it cannot have all", async () => {
  const port = freePort();
  const listen = [{ hostname: "127.0.0.1", port }, { hostname: "192.0.2.1", port: 0 }];
  const error = await startTestProxy({ listen }).catch((error) => error);
  assert(error instanceof ProxyError && error.code === "listen.failed");
  openListener({ hostname: "127.0.0.1", port }).close();
});

Deno.test("listenAnew() opens the listeners once more, and none after a stop", async () => {
  const port = freePort();
  await using proxy = await startTestProxy({ listen: [{ hostname: "127.0.0.1", port, isShared: true }] });
  proxy.server.listenAnew();
  assertEquals(proxy.server.addresses.map((addr) => addr.port), [port]);
  if (Deno.build.os === "linux") assertEquals(await listenersAt(port), 2);
  // The system deals connections out among both.
  for (let at = 0; at < 8; at++) {
    using peer = await dialRaw(port);
    assertEquals(await ask(peer), 403);
  }
  await proxy.server[Symbol.asyncDispose]();
  proxy.server.listenAnew();
  if (Deno.build.os === "linux") assertEquals(await listenersAt(port), 0);
  await proxy.server[Symbol.asyncDispose]();
  assertEquals(await dialRaw(port).then(() => "accepted", () => "refused"), "refused");
});

Deno.test("retireUpstreams() lets no request use a connection that was there before", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy();
  const { port } = upstream;
  proxy.policy.allow("one", { host: "up.test", ports: [port] });
  using peer = await dialRaw(proxy.httpPort);
  const get = async () => {
    await peer.send(
      `GET http://up.test:${port}/ HTTP/1.1\r\nHost: up.test:${port}\r\nProxy-Authorization: ${
        basic(TOKEN)
      }\r\n\r\n`,
    );
    assertEquals((await soon("an answer", peer.readResponse())).status, 200);
    await waitUntil("its connection is kept", () => proxy.server.counters().idleUpstreams === 1);
    return upstream.connections;
  };
  assertEquals([await get(), await get()], [1, 1]);
  proxy.server.retireUpstreams();
  assertEquals([await get(), await get()], [2, 2]);
});

Deno.test("counters() tells what is open and what may be", async () => {
  await using proxy = await startTestProxy({ limits: { maxConnections: 7 } });
  const none = {
    ...{ connections: 0, maxConnections: 7, openGrants: 0 },
    ...{ idleUpstreams: 0, tlsListeners: 0, openTunnels: 0 },
  };
  assertEquals(proxy.server.counters(), none);
  {
    using peer = await dialRaw(proxy.httpPort);
    assertEquals(await ask(peer), 403);
    assertEquals(proxy.server.counters(), { ...none, connections: 1, openGrants: 1 });
  }
  await waitUntil("it is gone", () => proxy.server.counters().connections === 0);
  assertEquals(proxy.server.counters(), none);
});

Deno.test("a connection's records say from where it came, and to which port", async () => {
  await using proxy = await startTestProxy({ listen: [{ hostname: "::", port: 0 }] });
  using peer = await dialRaw(proxy.httpPort); // of IPv4, on a socket of IPv6
  assertEquals(await ask(peer), 403);
  await proxy.waitLine(/^deny client=one /);
  const { port } = peer.conn.localAddr as Deno.NetAddr;
  assertEquals(proxy.records.map(({ origin }) => origin), [
    { src: `127.0.0.1:${port}`, proxyPort: proxy.httpPort },
  ]);
});

Deno.test("when all places are of those who are known, a newcomer is refused at once", async () => {
  await using proxy = await startTestProxy({ limits: { maxConnections: 1, headTimeoutMs: NEVER_MS } });
  using known = await dialRaw(proxy.httpPort);
  assertEquals(await ask(known), 403);
  using late = await dialRaw(proxy.httpPort);
  assertEquals(await soon("the end", late.readAll()), "");
  await proxy.waitLine(/^deny client=- reason=overload$/);
  assertEquals(proxy.records.at(-1)?.origin?.src, `127.0.0.1:${(late.conn.localAddr as Deno.NetAddr).port}`);
  assertEquals(await ask(known), 403);
});

Deno.test("of newcomers the oldest makes room, and one that has said who it is does not", async () => {
  const limits = { maxUnauthenticated: 1, ownUnauthenticated: 1, headTimeoutMs: NEVER_MS };
  await using proxy = await startTestProxy({ limits });
  using known = await dialRaw(proxy.httpPort);
  assertEquals(await ask(known), 403);
  using silent = await dialRaw(proxy.httpPort);
  await waitUntil("it is in", () => proxy.server.counters().connections === 2);
  using next = await dialRaw(proxy.httpPort);
  assertEquals(await soon("the end", silent.readAll()), "");
  await proxy.waitLine(/^deny client=- reason=quota$/);
  assertEquals([await ask(next), await ask(known)], [403, 403]);
  assertEquals(proxy.server.counters().connections, 2);
});

Deno.test("a connection counts for the client that it is of, and for the one before no more", async () => {
  const limits = { maxConnectionsPerClient: 1, minConnectionsPerClient: 1 };
  await using proxy = await startTestProxy({ limits });
  proxy.policy.addClient("two", OTHER);
  using changing = await dialRaw(proxy.httpPort);
  assertEquals([await ask(changing), await ask(changing)], [403, 403]);
  {
    using second = await dialRaw(proxy.httpPort);
    assertEquals(await ask(second), 429);
  }
  assertEquals(await ask(changing, OTHER), 403);
  using first = await dialRaw(proxy.httpPort);
  assertEquals(await ask(first), 403); // its place is free again
  using more = await dialRaw(proxy.httpPort);
  assertEquals([await ask(more, OTHER), proxy.server.counters().openGrants], [429, 2]);
  await waitUntil("the refused one is gone", () => proxy.server.counters().connections <= 3);
});

Deno.test("the places of a connection that has gone are free again", async () => {
  const limits = { maxConnectionsPerClient: 1, minConnectionsPerClient: 1, maxConnections: 1 };
  await using proxy = await startTestProxy({ limits });
  for (let at = 0; at < 3; at++) {
    using peer = await dialRaw(proxy.httpPort);
    assertEquals(await ask(peer), 403);
    peer.conn.close();
    await waitUntil("it is gone", () => proxy.server.counters().connections === 0);
    assertEquals(proxy.server.counters().openGrants, 0);
  }
});

Deno.test("a client that goes takes its idle connections along, those of the client that they are of now", async () => {
  await using proxy = await startTestProxy({ limits: { keepAliveTimeoutMs: NEVER_MS } });
  proxy.policy.addClient("two", OTHER);
  using changed = await dialRaw(proxy.httpPort);
  using own = await dialRaw(proxy.httpPort);
  assertEquals([await ask(changed), await ask(changed, OTHER), await ask(own)], [403, 403, 403]);
  proxy.policy.removeClient("one");
  assertEquals(await soon("the end", own.readAll()), "");
  assertEquals(await ask(changed, OTHER), 403);
  proxy.policy.removeClient("two");
  assertEquals(await soon("the end", changed.readAll()), "");
});

Deno.test("a client that goes has its request under way answered with why, and its connection closed behind that", async () => {
  await using upstream = await startRawUpstream(async (peer) => void await peer.readAll(), { names: [] });
  await using proxy = await startTestProxy({ limits: { keepAliveTimeoutMs: NEVER_MS } });
  const host = `up.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  await waitUntil("it is under way", () => upstream.connections === 1);
  proxy.policy.removeClient("one");
  const answer = await soon("an answer", peer.readResponse());
  assertEquals(answer.status, 403);
  assertStringIncludes(answer.head, "revoked");
  assertStringIncludes(answer.head, "Connection: close");
  assertEquals(await soon("the end", peer.readAll()), "");
});

Deno.test("a stop closes idle connections at once, and asked for again does nothing more", async () => {
  await using proxy = await startTestProxy({
    limits: { keepAliveTimeoutMs: NEVER_MS, drainTimeoutMs: NEVER_MS },
  });
  using peer = await dialRaw(proxy.httpPort);
  using silent = await dialRaw(proxy.tlsPort);
  assertEquals(await ask(peer), 403);
  await waitUntil("both are in", () => proxy.server.counters().connections === 2);
  const stopped = proxy.server[Symbol.asyncDispose]();
  await proxy.server[Symbol.asyncDispose]();
  assertEquals(await soon("the end", Promise.all([peer.readAll(), silent.readAll()])), ["", ""]);
  await soon("the stop", Promise.resolve(stopped));
  assertEquals([proxy.server.counters().connections, proxy.server.counters().openGrants], [0, 0]);
});

Deno.test("a stop lets what is under way finish, and takes nothing more on its connection", async () => {
  const told = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    await told.promise;
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await peer.readAll();
  }, { names: [] });
  await using proxy = await startTestProxy({
    limits: { keepAliveTimeoutMs: NEVER_MS, drainTimeoutMs: NEVER_MS },
  });
  const host = `up.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  await waitUntil("it is under way", () => upstream.connections === 1);
  const stopped = proxy.server[Symbol.asyncDispose]();
  await soon("nothing more", Promise.resolve(proxy.server[Symbol.asyncDispose]())); // waits for nobody
  const isRefused = () => dialRaw(proxy.httpPort).then(({ conn }) => (conn.close(), false), () => true);
  await waitUntil("nobody is accepted", isRefused);
  told.resolve();
  const { status, head, body } = await soon("an answer", peer.readResponse());
  assertEquals([status, head.includes("Connection: close"), body], [200, true, "ok"]);
  assertEquals(await soon("the end", peer.readAll()), "");
  await soon("the stop", Promise.resolve(stopped));
});

Deno.test("fewConnections() says how many, and how to have more", () => {
  assertEquals(
    fewConnections(12),
    "only 12 connections fit the limit of open files: raise it (ulimit -n, LimitNOFILE=)",
  );
});

Deno.test("startProxy() says that the limit of open files allows fewer connections than it was told to take", async () => {
  const said: string[] = [];
  startLog((line) => said.push(line));
  for (const [maxConnections, isFewer] of [[1e12, descriptorLimit() !== undefined], [1, false]] as const) {
    said.splice(0);
    await using proxy = await startTestProxy({ limits: { maxConnections } });
    const most = proxy.server.counters().maxConnections;
    assertEquals([most < maxConnections, said.length], [isFewer, isFewer ? 1 : 0] as unknown[]);
    if (isFewer) assertStringIncludes(said[0] ?? "", fewConnections(most));
  }
});

Deno.test("nobody reaches a port of the proxy itself through it, and none of its other ports either", async () => {
  using api = openListener({ hostname: "127.0.0.1", port: 0 });
  const apiPort = (api.addr as Deno.NetAddr).port;
  await using proxy = await startTestProxy({ ownPorts: [apiPort] });
  const ports = [proxy.httpPort, proxy.tlsPort, apiPort];
  proxy.policy.allow("one", { host: "up.test", ports });
  using peer = await dialRaw(proxy.httpPort);
  for (const port of ports) {
    await peer.send(
      `GET http://up.test:${port}/ HTTP/1.1\r\nHost: up.test:${port}\r\nProxy-Authorization: ${
        basic(TOKEN)
      }\r\n\r\n`,
    );
    assertStringIncludes((await soon("an answer", peer.readResponse())).head, "own-address");
  }
});
