import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AUDIT_LIMITS } from "../../../api/routes_audit.ts";
import { startApi } from "../../../api/server.ts";
import { FRONT_LIMITS } from "../../../api/tls_front.ts";
import { ProxyError } from "../../../core/errors.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { proxyAuthority } from "../../support/test_authority.ts";
import { exchange, REPORT, TestApi, TOKEN } from "./support.ts";

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
      assertEquals(api.api.ports, [api.address.port]);
    });
  }
});

Deno.test("startApi() leaves nothing behind when one of its listeners cannot start", async () => {
  await using first = await TestApi.start({ tcp: {} });
  const options = {
    control: first.control,
    audit: first.audit,
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

Deno.test("the TLS front bounds connections in all and per source", async (t) => {
  const tls = await issueTls();
  const rows: [name: string, limits: Partial<typeof FRONT_LIMITS>][] = [
    ["per source", { maxPerSource: 2 }],
    ["in all", { maxConnections: 2 }],
  ];
  for (const [name, limits] of rows) {
    await t.step(name, async () => {
      await using api = await TestApi.start({ tcp: { tls }, frontLimits: { ...FRONT_LIMITS, ...limits } });
      const inside = [await Deno.connect(api.address), await Deno.connect(api.address)];
      using outside = await Deno.connect(api.address);
      const startedAt = performance.now();
      assertEquals(await outside.read(new Uint8Array(1)).catch(() => null), null);
      assert(performance.now() - startedAt < FRONT_LIMITS.idleMs / 2); // not for its silence
      for (const connection of inside) connection.close();
      // Their places are free once the front has seen them go.
      let status = 0;
      while (status === 0) {
        status = await connectTls(api).then((connection) =>
          exchange(connection, "/healthz", {
            headers: { host: "127.0.0.1", authorization: `Bearer ${TOKEN}` },
          })
        ).then((answer) => answer.status, () => 0);
      }
      assertEquals(status, 200);
    });
  }
});

Deno.test("the TLS front ends connections that are silent, in a handshake too", async () => {
  await using api = await TestApi.start({
    tcp: { tls: await issueTls() },
    frontLimits: { ...FRONT_LIMITS, idleMs: 200 },
  });
  using silent = await Deno.connect(api.address);
  using hello = await Deno.connect(api.address);
  await hello.write(new Uint8Array([0x16, 3, 1, 2, 0, 1]));
  for (const connection of [silent, hello]) {
    assertEquals(await connection.read(new Uint8Array(1)).catch(() => null), null);
  }
});

Deno.test("the TLS front leaves who follows the audit log alone: a heartbeat is no silence", async () => {
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
