/** The way out through a parent proxy: what it is asked, what it must not know, and what is said when it cannot be had. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FailedLookup } from "../../proxy/egress/names/failed_lookup.ts";
import { startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { everythingBy, startTestParent } from "../support/parent_proxy.ts";
import { basic, dialRaw, openTlsTunnel, openTunnel } from "../support/raw_peer.ts";
import { settledSockets, soon, startSilentPeer, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

const AUTHORIZATION = `Basic ${btoa("corp:p4ss:w0rd")}`;

async function get(proxy: TestProxy, place: string, path = "/v1/models") {
  using peer = await openTlsTunnel(proxy.httpPort, place, TOKEN, proxy.caPem);
  await peer.send(`GET ${path} HTTP/1.1\r\nHost: ${place}\r\n\r\n`);
  return await soon("the answer", peer.readResponse());
}

function reasonOf({ head }: { readonly head: string }): string | undefined {
  return /X-Slicer-Proxy-Reason: (\S+)/.exec(head)?.[1];
}

async function getClear(proxy: TestProxy, place: string, count = 1) {
  using peer = await dialRaw(proxy.httpPort);
  const answers = [];
  for (let i = 0; i < count; i++) {
    await peer.send(
      `GET http://${place}/a HTTP/1.1\r\nHost: ${place}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
    );
    answers.push(await soon("the answer", peer.readResponse()));
  }
  return answers;
}

Deno.test("a parent is asked for the address that was checked, and sees no credential and no inner byte", async () => {
  await using upstream = await startEchoUpstream();
  await using parent = await startTestParent();
  await using proxy = await startTestProxy({
    parents: everythingBy({ port: parent.port, authorization: AUTHORIZATION }),
  });
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "key" });
  const { status, body } = await get(proxy, `up.test:${upstream.port}`);
  assertEquals(status, 200);
  const { requestLine, headers } = JSON.parse(body);
  assertEquals(requestLine, "GET /v1/models HTTP/1.1");
  assertEquals(headers, [`Host: up.test:${upstream.port}`, "Authorization: Bearer REAL"]);
  assertEquals(parent.heads, [
    `CONNECT 127.0.0.1:${upstream.port} HTTP/1.1\r\nHost: 127.0.0.1:${upstream.port}\r\n` +
    `Proxy-Authorization: ${AUTHORIZATION}\r\n\r\n`,
  ]);
  assertEquals(proxy.lines.some((line) => line.includes("corp") || line.includes(btoa("corp"))), false);
});

Deno.test("kept connections through a parent are used again, over TLS to it too", async (t) => {
  for (const names of [[], ["127.0.0.1"]]) {
    await t.step(names.length > 0 ? "https parent" : "http parent", async () => {
      await using upstream = await startEchoUpstream();
      await using parent = await startTestParent({ names });
      await using proxy = await startTestProxy({
        parents: everythingBy({ port: parent.port, scheme: names.length > 0 ? "https" : "http" }),
      });
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
      for (let i = 0; i < 3; i++) assertEquals((await get(proxy, `up.test:${upstream.port}`)).status, 200);
      assertEquals(parent.heads.length, 1);
      assertEquals(upstream.connections, 1);
    });
  }
});

Deno.test("cleartext by a checked address needs a tunnel: a parent would make Host of the address", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using parent = await startTestParent();
  await using proxy = await startTestProxy({ parents: everythingBy({ port: parent.port }) });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const place = `up.test:${upstream.port}`;
  for (const { status } of await getClear(proxy, place, 2)) assertEquals(status, 200);
  assertEquals(upstream.seen.map(({ requestLine }) => requestLine), ["GET /a HTTP/1.1", "GET /a HTTP/1.1"]);
  assertEquals(upstream.seen[0]?.headers, [`Host: ${place}`]);
  assertMatch(parent.heads.join(), /^CONNECT 127\.0\.0\.1:\d+ HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\n\r\n$/);
});

Deno.test("with --upstream-proxy-dns=parent a name under an exact rule is asked for, in absolute form without TLS", async (t) => {
  await using upstream = await startEchoUpstream();
  await using parent = await startTestParent();
  await using clear = await startEchoUpstream({ names: [] }); // it takes absolute form as a parent does
  const notHere = () => Promise.reject(new Error("ENOTFOUND"));
  await t.step("TLS", async () => {
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: parent.port }, { dns: "parent" }),
      resolve: notHere,
    });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
    assertEquals((await get(proxy, `up.test:${upstream.port}`)).status, 200);
    assertStringIncludes(parent.heads.at(-1) ?? "", `CONNECT up.test:${upstream.port} `);
  });
  await t.step("cleartext, two requests on one connection", async () => {
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: clear.port, authorization: AUTHORIZATION }, { dns: "parent" }),
      resolve: notHere,
    });
    proxy.policy.allow("one", { host: "up.test", ports: [8080] });
    const answers = await getClear(proxy, "up.test:8080", 2);
    assertEquals(answers.map(({ status }) => status), [200, 200]);
    assertEquals(clear.connections, 1);
    assertEquals(clear.seen.at(-1)?.requestLine, "GET http://up.test:8080/a HTTP/1.1");
    assertEquals(clear.seen.at(-1)?.headers, [
      "Host: up.test:8080",
      `Proxy-Authorization: ${AUTHORIZATION}`,
    ]);
  });
  await t.step("its 407 does not reach the client", async () => {
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: clear.port }, { dns: "parent" }),
      resolve: notHere,
    });
    proxy.policy.allow("one", { host: "up.test" });
    using peer = await dialRaw(proxy.httpPort);
    await peer.send(
      `GET http://up.test/status/407 HTTP/1.1\r\nHost: up.test\r\nProxy-Authorization: ${
        basic(TOKEN)
      }\r\n\r\n`,
    );
    const { head, status, body } = await soon("the answer", peer.readResponse());
    assertEquals(status, 502);
    assertStringIncludes(head, "X-Slicer-Proxy-Reason: parent-auth");
    assertStringIncludes(body, "parent proxy: it answers 407");
    const count = clear.seen.length;
    const [again] = await getClear(proxy, "up.test");
    assertEquals(again && reasonOf(again), "parent-auth");
    assertEquals(clear.seen.length, count); // not asked again so soon
  });
  await t.step("under a pattern the address is asked for, or nothing", async () => {
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: parent.port }, { dns: "parent" }),
      resolve: notHere,
    });
    proxy.policy.allow("one", { host: "*.test", ports: [upstream.port] });
    const { status, head } = await get(proxy, `up.test:${upstream.port}`);
    assertEquals(status, 502);
    assertStringIncludes(head, "X-Slicer-Proxy-Reason: dns");
  });
});

Deno.test("what a parent answers is told apart, and nothing goes around it", async (t) => {
  await using upstream = await startEchoUpstream();
  const rows: readonly (readonly [string, answer: string, number, string])[] = [
    ["407", "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=corp\r\n\r\n", 502, "parent-auth"],
    ["403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 502, "parent-denied"],
    ["a redirect", "HTTP/1.1 302 Found\r\nLocation: http://login.corp/\r\n\r\n", 502, "parent-denied"],
    ["503", "HTTP/1.1 503 Unavailable\r\n\r\n", 502, "parent-failed"],
    ["504", "HTTP/1.1 504 Timeout\r\n\r\n", 504, "parent-timeout"],
    ["something else", "SSH-2.0-OpenSSH_9.2\r\n", 502, "parent-malformed"],
    ["bare line feeds", "HTTP/1.1 200 OK\n\n", 502, "parent-malformed"],
    ["nothing", "", 502, "parent-malformed"],
    [
      "a head that is too large",
      `HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
      502,
      "parent-malformed",
    ],
    ["only interim answers", "HTTP/1.1 100 Continue\r\n\r\n".repeat(50), 502, "parent-malformed"],
    ["200 with bytes glued on", "HTTP/1.1 200 OK\r\n\r\nhello", 502, "parent-malformed"],
  ];
  for (const [name, answer, status, reason] of rows) {
    await t.step(name, async () => {
      await using parent = await startTestParent({ answer: () => answer, port: () => upstream.port });
      await using proxy = await startTestProxy({
        parents: everythingBy({ port: parent.port, authorization: AUTHORIZATION }),
      });
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
      const told = await get(proxy, `up.test:${upstream.port}`);
      assertEquals([told.status, reasonOf(told)], [status, reason]);
      assertStringIncludes(told.body, "through the parent proxy");
      assertEquals(/proxy-authenticate|127\.0\.0\.1/i.test(told.head + told.body), false, told.body);
      await proxy.waitLine(new RegExp(`reason=${reason}`));
    });
  }
  await t.step("silence", async () => {
    await using silent = startSilentPeer();
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: silent.port }),
      limits: { parentTimeoutMs: 300 },
    });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
    const told = await get(proxy, `up.test:${upstream.port}`);
    assertEquals([told.status, reasonOf(told)], [504, "parent-timeout"]);
  });
  await t.step("a port where nobody listens", async () => {
    await using proxy = await startTestProxy({ parents: everythingBy({ port: 1 }) });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
    const told = await get(proxy, `up.test:${upstream.port}`);
    assertEquals(told.status, 502);
    assertStringIncludes(told.head, "X-Slicer-Proxy-Reason: parent-unreachable");
    assertStringIncludes(told.body, "it refuses connections");
  });
  await t.step("a certificate of nobody", async () => {
    await using parent = await startTestParent({ names: ["other.test"] });
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: parent.port, scheme: "https", authorization: AUTHORIZATION }),
    });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
    const told = await get(proxy, `up.test:${upstream.port}`);
    assertStringIncludes(told.head, "X-Slicer-Proxy-Reason: parent-tls");
    assertEquals(parent.heads, []);
  });
});

Deno.test("silence after a 200 is the handshake's time-out, and a parent that dies ends what went through it", async (t) => {
  await t.step("silence", async () => {
    await using parent = await startTestParent({ port: () => silent.port });
    await using silent = startSilentPeer();
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: parent.port }),
      limits: { handshakeTimeoutMs: 2_000 },
    });
    proxy.policy.allow("one", { host: "up.test", ports: [443] });
    const told = await get(proxy, "up.test:443");
    assertEquals([told.status, reasonOf(told)], [504, "connect-timeout"]);
  });
  await t.step("death", async () => {
    const { promise: isAsked, resolve: asked } = Promise.withResolvers<void>();
    await using upstream = await startRawUpstream(async (peer) => {
      await peer.readHead();
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
      asked();
      await peer.readAll();
    });
    const parent = await startTestParent();
    await using proxy = await startTestProxy({ parents: everythingBy({ port: parent.port }) });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
    using peer = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
    await peer.send(`GET /a HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
    await peer.readUntil("part");
    await isAsked;
    await parent[Symbol.asyncDispose]();
    await peer.readAll().catch(() => {}); // cut, and not ended as if that had been all
    await proxy.waitLine(/reason=upstream-closed/);
  });
});

Deno.test("passthrough goes through a parent, and what the far end says first is not lost", async () => {
  await using far = await startRawUpstream(async (peer) => {
    await peer.send("SSH-2.0-far\r\n");
    await peer.send((await peer.readUntil("\n")).toUpperCase());
  }, { names: [] });
  await using parent = await startTestParent({
    answer: () => "HTTP/1.0 200 OK\r\nVia: x\r\n\r\nglued on;",
  });
  await using proxy = await startTestProxy({ parents: everythingBy({ port: parent.port }) });
  proxy.policy.allow("one", { host: "up.test", ports: [far.port], passthrough: true });
  using peer = await openTunnel(proxy.httpPort, `up.test:${far.port}`, TOKEN);
  assertEquals(await peer.readUntil("far\r\n"), "glued on;SSH-2.0-far\r\n");
  await peer.send("hello\n");
  assertEquals(await peer.readAll(), "HELLO\n");
  assertEquals(parent.heads.length, 1);
});

Deno.test("a credential without TLS does not go through a parent, unless its secret allows that", async (t) => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using parent = await startTestParent();
  for (const cleartext of [false, true]) {
    await t.step(cleartext ? "allowed" : "refused", async () => {
      await using proxy = await startTestProxy({ parents: everythingBy({ port: parent.port }) });
      const headers = [["Authorization", "Bearer REAL"]] as const;
      proxy.policy.setCredential({ secret: "key", host: "up.test", headers, cleartext });
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "key" });
      const [told] = await getClear(proxy, `up.test:${upstream.port}`);
      assertEquals(told?.status, cleartext ? 200 : 403);
      if (!cleartext) assertStringIncludes(told?.body ?? "", "it would go through a parent proxy");
    });
  }
  assertEquals([parent.heads.length, upstream.seen.length], [1, 1]);
});

Deno.test("addresses are checked though a parent would dial them, and the proxy is no parent of itself", async (t) => {
  await using parent = await startTestParent();
  await t.step("an address that is denied", async () => {
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: parent.port }),
      denyCidrs: ["203.0.113.0/24"],
      resolve: () => Promise.resolve(["203.0.113.9"]),
    });
    proxy.policy.allow("one", { host: "up.test" });
    const told = await get(proxy, "up.test:443");
    assertEquals([told.status, reasonOf(told)], [403, "address-denied"]);
  });
  await t.step("itself", async () => {
    const parents = { ...everythingBy({ port: 1 }) };
    await using proxy = await startTestProxy({ parents });
    Object.assign(parents.byPattern[0]?.parent ?? {}, { port: proxy.httpPort });
    proxy.policy.allow("one", { host: "up.test" });
    const told = await get(proxy, "up.test:443");
    assertEquals([told.status, reasonOf(told)], [403, "own-address"]);
  });
  assertEquals(parent.heads, []);
});

Deno.test("a parent's addresses are raced, and the upstream's are asked for in turn", async () => {
  await using upstream = await startEchoUpstream();
  await using parent = await startTestParent({
    answer: (authority) =>
      authority.startsWith("127.0.0.77:") ? "HTTP/1.1 503 No\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n",
  });
  const dead: unknown[] = [];
  await using proxy = await startTestProxy({
    parents: everythingBy({ host: "parent.test", port: parent.port }),
    resolve: (host) =>
      Promise.resolve(host === "parent.test" ? ["127.0.0.66", "127.0.0.1"] : ["127.0.0.77", "127.0.0.1"]),
    onDeadChoice: (choice) => dead.push(choice),
  });
  const place = `up.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], oneRequestPerConnection: true });
  for (let i = 0; i < 2; i++) assertEquals((await get(proxy, place)).status, 200);
  const asked = parent.heads.map((head) => head.split(" ")[1]?.split(":")[0]);
  assertEquals(asked, ["127.0.0.77", "127.0.0.1", "127.0.0.1"]); // the second time it begins with what was good
  assertEquals(dead, [
    { place: `parent.test:${parent.port}`, address: "127.0.0.66", instead: "127.0.0.1" },
    { place: `${place} by http://parent.test:${parent.port}`, address: "127.0.0.77", instead: "127.0.0.1" },
  ]);
});

Deno.test("a parent that refuses the password is not asked again for every request", async () => {
  await using parent = await startTestParent({ answer: () => "HTTP/1.1 407 No\r\n\r\n" });
  await using proxy = await startTestProxy({
    parents: everythingBy({ port: parent.port, authorization: AUTHORIZATION }),
    resolve: () => Promise.resolve(["127.0.0.1", "127.0.0.2", "127.0.0.3"]),
  });
  proxy.policy.allow("one", { host: "*" });
  for (const host of ["a.test", "b.test", "c.test"]) {
    assertEquals(reasonOf(await get(proxy, `${host}:443`)), "parent-auth");
  }
  assertEquals(parent.heads.length, 1);
});

Deno.test("an upstream that answers 407 as its parent would cuts nobody else off", async () => {
  await using upstream = await startEchoUpstream();
  await using parent = await startTestParent({
    answer: (authority) =>
      authority.startsWith("http:")
        ? "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
        : "HTTP/1.1 200 OK\r\n\r\n",
  });
  await using proxy = await startTestProxy({
    parents: everythingBy({ port: parent.port, authorization: AUTHORIZATION }, { dns: "parent" }),
  });
  const place = `up.test:${upstream.port}`;
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], oneRequestPerConnection: true });
  proxy.policy.allow("one", { host: "evil.test" });
  assertEquals((await get(proxy, place)).status, 200);
  for (let i = 0; i < 2; i++) {
    const [answer] = await getClear(proxy, "evil.test");
    assertEquals(answer && reasonOf(answer), "parent-auth");
  }
  assertEquals(parent.heads.filter((head) => head.startsWith("GET ")).length, 1); // itself it has
  assertEquals((await get(proxy, place)).status, 200);
});

Deno.test("what keeps a parent's name from being found does not tell clients the name", async () => {
  await using proxy = await startTestProxy({
    parents: everythingBy({ host: "inner-parent.test", port: 3128 }),
    resolve: (host) =>
      host === "up.test" ? Promise.resolve(["127.0.0.1"]) : Promise.reject(new FailedLookup("busy")),
  });
  proxy.policy.allow("one", { host: "up.test" });
  const { status, body } = await get(proxy, "up.test:443");
  assertEquals(status, 429);
  assertStringIncludes(body, "Cannot connect to up.test:443 through the parent proxy");
  assertEquals(body.includes("inner-parent"), false);
});

Deno.test("an https parent leaves no descriptor behind", async () => {
  await using upstream = await startEchoUpstream();
  await using parent = await startTestParent({ names: ["127.0.0.1"] });
  const before = await settledSockets();
  {
    await using proxy = await startTestProxy({
      parents: everythingBy({ port: parent.port, scheme: "https" }),
      limits: { lingerTimeoutMs: 100 },
    });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], oneRequestPerConnection: true });
    for (let i = 0; i < 5; i++) assertEquals((await get(proxy, `up.test:${upstream.port}`)).status, 200);
  }
  await waitUntil("its sockets are closed", async () => await settledSockets() <= before);
});
