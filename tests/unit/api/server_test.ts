import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AUDIT_LIMITS } from "../../../api/routes_audit.ts";
import { startApi } from "../../../api/server.ts";
import { FRONT_LIMITS } from "../../../api/front.ts";
import { ProxyError } from "../../../core/errors.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { hasResets, startResets } from "../../support/resets.ts";
import { proxyAuthority } from "../../support/test_authority.ts";
import { exchange, NO_DESK, REPORT, TestApi, TOKEN } from "./support.ts";

const HELD = new TextEncoder().encode(
  "POST /proxy/v1/clients HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n",
);

async function issueTls(): Promise<{ cert: string; key: string }> {
  const { certPem, keyPem } = await (await proxyAuthority()).issue([
    "127.0.0.1",
    "0.0.0.0",
    "proxy.internal",
  ]);
  return { cert: certPem, key: keyPem };
}

async function connectTls(api: TestApi): Promise<Deno.TlsConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: api.address.port });
  return await Deno.startTls(connection, {
    hostname: "127.0.0.1",
    caCerts: [(await proxyAuthority()).caPem],
  });
}

Deno.test("startApi() refuses a TCP address that is none, or beyond loopback without TLS", async (t) => {
  await using api = await TestApi.start();
  const rows: [hostname: string, says: string][] = [
    ["0.0.0.0", "beyond loopback it needs TLS"],
    ["::", "beyond loopback it needs TLS"],
    ["192.0.2.1", "beyond loopback it needs TLS"],
    ["126.255.255.255", "beyond loopback it needs TLS"],
    ["128.0.0.0", "beyond loopback it needs TLS"],
    ["example.com", "is no IP address"],
    ["", "is no IP address"],
    ["127.1", "is no IP address"],
  ];
  for (const [hostname, says] of rows) {
    await t.step(hostname || "empty", async () => {
      const started = () =>
        startApi({
          control: api.control,
          audit: api.audit,
          secrets: NO_DESK,
          status: () => REPORT,
          log: { error: () => {} },
          tcp: { hostname, port: 0, token: TOKEN },
        });
      assertEquals((await assertRejects(started, ProxyError, says)).code, "cli.usage");
    });
  }
});

Deno.test("startApi() listens on any loopback address without TLS", async (t) => {
  for (const hostname of ["127.0.0.1", "localhost", "127.9.9.9"]) {
    await t.step(hostname, async () => {
      await using api = await TestApi.start({ tcp: { hostname } });
      assertEquals((await api.callTcp("/healthz")).status, 200);
      assertEquals(api.api.ports[0], api.address.port);
      assertEquals(api.api.ports.length, 2); // the listener behind the front is never dialled either
    });
  }
});

Deno.test("startApi() leaves nothing behind when one of its listeners cannot start", async () => {
  await using first = await TestApi.start({ tcp: {} });
  const options = {
    control: first.control,
    audit: first.audit,
    secrets: NO_DESK,
    status: () => REPORT,
    log: { error: () => {} },
  };
  const socketPath = `${first.dir}/second.sock`;
  const taken = () => startApi({ ...options, socketPath, tcp: { ...first.address, token: TOKEN } });
  const error = await assertRejects(taken, ProxyError, "Cannot listen for API calls");
  assertEquals(error.code, "listen.failed");
  await assertRejects(() => Deno.lstat(socketPath), Deno.errors.NotFound);

  // The sanitizer would find the TCP listener of this one.
  const running = () =>
    startApi({
      ...options,
      socketPath: first.socketPath,
      tcp: { hostname: "127.0.0.1", port: 0, token: TOKEN },
    });
  assertEquals((await assertRejects(running, ProxyError, "already running")).code, "state.locked");
  assertEquals((await first.call("/healthz")).status, 200);

  const badTls = { cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key: "x" };
  const bad = () =>
    startApi({ ...options, tcp: { hostname: "127.0.0.1", port: 0, token: TOKEN, tls: badTls } });
  assertEquals((await assertRejects(bad, ProxyError)).code, "listen.failed");
});

Deno.test("startApi() serves TLS beyond loopback, by address and by the names it is given", async () => {
  await using api = await TestApi.start({
    tcp: { hostname: "0.0.0.0", tls: await issueTls(), names: ["proxy.internal"] },
  });
  const { port } = api.address;
  const call = async (host: string, headers: Record<string, string> = {}) =>
    await exchange(await connectTls(api), "/proxy/v1/clients", {
      headers: { host, authorization: `Bearer ${TOKEN}`, ...headers },
    });
  assertEquals((await call(`127.0.0.1:${port}`)).text, "[]");
  assertEquals((await call("proxy.internal")).status, 200);
  assertEquals((await call("proxy.internal", { origin: "https://proxy.internal" })).status, 200);
  assertEquals((await call("proxy.internal", { origin: "http://proxy.internal" })).status, 403);
  assertEquals((await call("evil.example")).status, 421);
  assertEquals((await call(`127.0.0.1:${port}`, { authorization: "" })).status, 401);

  // The listener behind the front is on loopback, guarded like the front, and named so that nobody is led there.
  assertEquals(api.api.ports[0], port);
  assertEquals(api.api.ports.length, 2);
});

Deno.test("startApi() shows another certificate when it is time, and what is open goes on", async () => {
  const clock = new FakeClock();
  const opened: number[] = [];
  const { certPem, keyPem } = await (await proxyAuthority()).issue(["127.0.0.1", "renewed.internal"]);
  const renew = () => Promise.resolve({ cert: certPem, key: keyPem });
  const tls = { ...await issueTls(), renewAt: clock.now() + 1_000, renew };
  await using api = await TestApi.start({ clock, tcp: { tls, onPort: (port) => opened.push(port) } });
  const { caPem } = await proxyAuthority();
  const connect = async () => {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port: api.address.port });
    const connection = await Deno.startTls(tcp, { hostname: "renewed.internal", caCerts: [caPem] });
    await connection.handshake().catch((error) => {
      connection.close();
      throw error;
    });
    return connection;
  };
  const call = async (connection: Deno.TlsConn) =>
    (await exchange(connection, "/healthz", {
      headers: { host: `127.0.0.1:${api.address.port}`, authorization: `Bearer ${TOKEN}` },
    })).status;
  const old = await connectTls(api);
  await old.handshake();
  await assertRejects(connect, Error, "peer certificate");
  clock.advance(1_000);
  assertEquals(await call(await connect()), 200);
  assertEquals(await call(old), 200);
  assertEquals(opened.length, 1);
});

Deno.test("startApi() answers HTTP/2 clients over TLS", async () => {
  const tls = await issueTls();
  await using api = await TestApi.start({ tcp: { tls } });
  const { port } = api.address;
  using client = Deno.createHttpClient({ caCerts: [(await proxyAuthority()).caPem], http2: true });
  const call = (headers: HeadersInit) =>
    fetch(`https://127.0.0.1:${port}/proxy/v1/clients`, { client, headers });
  const answer = await call({ authorization: `Bearer ${TOKEN}` });
  assertEquals([answer.status, await answer.text()], [200, "[]"]);
  const refused = await call({});
  assertEquals(refused.status, 401);
  await refused.body?.cancel();
});

Deno.test("startApi() lets calls under way end when it stops", async () => {
  const api = await TestApi.start({ tcp: {} });
  using connection = await Deno.connect({ transport: "unix", path: api.socketPath });
  await connection.write(HELD);
  await api.call("/healthz"); // by now the first call is waiting for its body
  const stopping = api[Symbol.asyncDispose]();
  await assertRejects(() => Deno.connect({ transport: "unix", path: api.socketPath }), Deno.errors.NotFound);
  await connection.write(new TextEncoder().encode('{"name":"a"}'));
  const buffer = new Uint8Array(4_096);
  const length = await connection.read(buffer) ?? 0;
  assertStringIncludes(new TextDecoder().decode(buffer.subarray(0, length)), "HTTP/1.1 201 Created");
  await stopping;
});

Deno.test("startApi() stops within its bound, whoever hangs on", async () => {
  const api = await TestApi.start({ tcp: {}, drainMs: 100 });
  const ends = [
    await Deno.connect({ transport: "unix", path: api.socketPath }),
    await Deno.connect({ transport: "unix", path: api.socketPath }),
    await Deno.connect(api.address),
    await Deno.connect(api.address),
  ];
  await ends[0]?.write(HELD);
  await ends[1]?.write(HELD.subarray(0, 20));
  await ends[2]?.write(HELD.subarray(0, 20));
  await api.call("/healthz");
  const startedAt = performance.now();
  await api[Symbol.asyncDispose]();
  assert(performance.now() - startedAt < 2_000);
  for (const end of ends) {
    assertEquals(await end.read(new Uint8Array(1)).catch(() => null), null);
    end.close();
  }
});

Deno.test("startApi() refuses calls beyond its bound with 503, and takes them again afterwards", async () => {
  await using api = await TestApi.start({ maxCalls: 2, drainMs: 100 });
  const held = [];
  for (let i = 0; i < 2; i++) {
    const connection = await Deno.connect({ transport: "unix", path: api.socketPath });
    await connection.write(HELD);
    held.push(connection);
  }
  let answer = await api.call("/healthz");
  while (answer.status === 200) answer = await api.call("/healthz"); // until both are under way
  assertEquals([answer.status, answer.headers["retry-after"]], [503, "1"]);
  assertStringIncludes(answer.text, "2 calls are under way");
  for (const connection of held) connection.close();
  while (answer.status === 503) answer = await api.call("/healthz");
  assertEquals(answer.status, 200);
});

/** A connection over TCP on which one call was let in. */
async function admitted(api: TestApi): Promise<Deno.TcpConn> {
  const connection = await Deno.connect(api.address);
  const answer = await call(connection).catch(() => "");
  if (answer.startsWith("HTTP/1.1 200")) return connection;
  connection.close();
  throw new Error(`not let in: ${answer}`);
}

/** One call with the token on a connection that stays open. */
async function call(connection: Deno.TcpConn): Promise<string> {
  await connection.write(
    new TextEncoder().encode(
      `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`,
    ),
  );
  const buffer = new Uint8Array(4_096);
  return new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
}

/** True when the other side has ended the connection, which nothing was sent on. */
async function hasEnded(connection: Deno.TcpConn): Promise<boolean> {
  return await connection.read(new Uint8Array(1)).catch(() => null) === null;
}

Deno.test("the front: silent connections make room for each other, and are never in the way of an operator", async (t) => {
  const rows: [name: string, limits: Partial<typeof FRONT_LIMITS>][] = [
    ["per source", { maxNewcomersPerSource: 2 }],
    ["in all", { maxNewcomers: 2 }],
    ["with all places taken", { maxConnections: 3 }],
  ];
  for (const [name, limits] of rows) {
    await t.step(name, async () => {
      await using api = await TestApi.start({ tcp: {}, frontLimits: { ...FRONT_LIMITS, ...limits } });
      using operator = await admitted(api);
      const silent = [await Deno.connect(api.address), await Deno.connect(api.address)];
      for (let i = 0; i < 20; i++) {
        silent.push(await Deno.connect(api.address));
        using oldest = silent.shift() ?? operator;
        assert(await hasEnded(oldest));
      }
      for (let i = 0; i < 5; i++) (await admitted(api)).close(); // somebody new
      assertStringIncludes(await call(operator), "HTTP/1.1 200"); // and who was there before
      for (const connection of silent) connection.close();
    });
  }
});

Deno.test("the front bounds connections in all, those of operators too", async () => {
  await using api = await TestApi.start({ tcp: {}, frontLimits: { ...FRONT_LIMITS, maxConnections: 2 } });
  const inside = [await admitted(api), await admitted(api)];
  using outside = await Deno.connect(api.address);
  assert(await hasEnded(outside));
  inside.pop()?.close();
  // Its place is free once the front has seen it go.
  let another: Deno.TcpConn | undefined;
  while (!another) another = await admitted(api).catch(() => undefined);
  for (const connection of [another, ...inside]) connection.close();
});

Deno.test("the front ends whoever shows no token in time: silent, in a handshake, in a head, refused", async () => {
  const frontLimits = { ...FRONT_LIMITS, newcomerMs: 300 };
  await using plain = await TestApi.start({ tcp: {}, frontLimits });
  await using api = await TestApi.start({ tcp: { tls: await issueTls() }, frontLimits });
  using operator = await admitted(plain);
  const firsts: [TestApi, Uint8Array<ArrayBuffer>][] = [
    [api, new Uint8Array()],
    [api, new Uint8Array([0x16, 3, 1, 2, 0, 1])],
    [plain, new Uint8Array()],
    [plain, new TextEncoder().encode("GET /healthz HTTP/1.1\r\nHost: 127")],
  ];
  for (const [where, first] of firsts) {
    using connection = await Deno.connect(where.address);
    if (first.length > 0) await connection.write(first);
    assert(await hasEnded(connection));
  }
  using refused = await Deno.connect(plain.address);
  await refused.write(new TextEncoder().encode("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
  const text = await new Response(refused.readable).text();
  assertStringIncludes(text, "HTTP/1.1 401"); // and an end
  assertStringIncludes(await call(operator), "HTTP/1.1 200"); // after all that time
});

Deno.test({
  name: "connections to the API that are reset before they are accepted harm nobody",
  ignore: !hasResets,
  fn: async () => {
    await using api = await TestApi.start({ tcp: {} });
    const most = 10_000; // 20 seconds' worth
    await using resets = startResets(api.address.port, { perSecond: 500, most });
    for (let i = 0; i < 100 || resets.made < 100; i++) {
      assert(resets.made >= 0); // somebody listens
      (await admitted(api)).close();
    }
    assert(resets.made < most);
  },
});

Deno.test("the front ends connections that rest for too long", async () => {
  await using api = await TestApi.start({ tcp: {}, frontLimits: { ...FRONT_LIMITS, idleMs: 200 } });
  using operator = await admitted(api);
  assert(await hasEnded(operator));
});

Deno.test("the front leaves who follows the audit log alone: a heartbeat is no silence", async () => {
  const idleMs = 200;
  await using api = await TestApi.start({
    tcp: { tls: await issueTls() },
    frontLimits: { ...FRONT_LIMITS, idleMs },
    auditLimits: { ...AUDIT_LIMITS, heartbeatMs: idleMs / 4 },
  });
  using client = Deno.createHttpClient({ caCerts: [(await proxyAuthority()).caPem] });
  const answer = await fetch(`https://127.0.0.1:${api.address.port}/proxy/v1/audit?follow=1`, {
    client,
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  let beats = 0;
  for await (const bytes of answer.body ?? []) if ((beats += bytes.length) > 8) break;
  assert(beats > 8);
  assert(AUDIT_LIMITS.heartbeatMs < FRONT_LIMITS.idleMs / 2);
});
