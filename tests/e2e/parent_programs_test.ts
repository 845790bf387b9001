/** Real programs as parent proxies (Squid, tinyproxy, this proxy itself), and what goes through them: HTTP/2, gRPC, WebSockets, client certificates. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Buffer } from "node:buffer";
import { startEchoUpstream, startRawUpstream } from "../support/echo_upstream.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import {
  everythingBy,
  type ParentProgram,
  startSquid,
  startTestParent,
  startTinyproxy,
} from "../support/parent_proxy.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { dialRaw, openTlsTunnel } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { upstreamAuthority } from "../support/test_authority.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

const hasSquid = hasProgram("/usr/sbin/squid") && hasProgram("openssl");
const hasTinyproxy = hasProgram("tinyproxy");
const hasCurl = hasProgram("curl");
const USER = { name: "corp", password: "p4ss-w0rd" };

function authorization(password: string): string {
  return `Basic ${btoa(`${USER.name}:${password}`)}`;
}

/** Runs curl through the proxy; its output is the head and the body. */
async function curl(proxy: TestProxy, ...args: readonly string[]): Promise<string> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-parent-" });
  try {
    await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
    const { stdout, stderr } = await runProgram("curl", [
      ...["-sS", "-i", "--max-time", "30", "--cacert", `${dir}/ca.pem`, "--suppress-connect-headers"],
      ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, ...args],
    ]);
    return stdout + stderr;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const PROGRAMS: readonly (readonly [
  string,
  boolean,
  (options: { readonly user?: typeof USER }) => Promise<ParentProgram>,
])[] = [["squid", hasSquid, startSquid], ["tinyproxy", hasTinyproxy, startTinyproxy]];

for (const [name, isHere, startProgram] of PROGRAMS) {
  Deno.test({
    ignore: !isHere || !hasCurl,
    name: `${name} as the parent: TLS, cleartext by address and by name, its user and password`,
  }, async (t) => {
    await using secure = await startEchoUpstream();
    await using clear = await startEchoUpstream({ names: [] });
    await using parent = await startProgram({ user: USER });
    const start = async (password: string, dns: "local" | "parent" = "local") => {
      const proxy = await startTestProxy({
        parents: everythingBy({ port: parent.port, authorization: authorization(password) }, { dns }),
      });
      proxy.policy.setCredential({
        secret: "key",
        host: "up.test",
        headers: [["Authorization", "Bearer REAL"]],
      });
      proxy.policy.allow("one", { host: "up.test", ports: [secure.port], secret: "key" });
      proxy.policy.allow("one", { host: "up.test", ports: [clear.port] });
      proxy.policy.allow("one", { host: "localhost", ports: [clear.port] });
      return proxy;
    };
    await using proxy = await start(USER.password);
    await t.step("TLS", async () => {
      const told = await curl(proxy, `https://up.test:${secure.port}/a`, `https://up.test:${secure.port}/b`);
      assertEquals(told.match(/HTTP\/1\.1 200/g)?.length, 2, told);
      assertStringIncludes(told, "Bearer REAL");
      assertEquals(/Proxy-Auth/i.test(told), false);
      assertEquals(secure.connections, 1);
    });
    await t.step("cleartext, by the address that was checked", async () => {
      const told = await curl(proxy, `http://up.test:${clear.port}/a`);
      assertStringIncludes(told, `"Host: up.test:${clear.port}"`);
    });
    await t.step("cleartext, by the name, kept", async () => {
      await using named = await start(USER.password, "parent");
      const url = `http://localhost:${clear.port}`;
      const told = await curl(named, `${url}/a`, `${url}/b`);
      assertEquals(told.match(/HTTP\/1\.1 200/g)?.length, 2, told);
      assertStringIncludes(told, `Host: localhost:${clear.port}`);
      assertEquals(/Proxy-Auth/i.test(told), false, told);
    });
    await t.step("a wrong password", async () => {
      await using wrong = await start("wrong");
      const told = await curl(wrong, `https://up.test:${secure.port}/a`);
      assertMatch(told, /^HTTP\/2 502 [^]*x-slicer-proxy-reason: parent-auth/);
      await using named = await start("wrong", "parent");
      const clearly = await curl(named, `http://localhost:${clear.port}/a`);
      assertEquals(/407|Proxy-Authenticate/.test(clearly.split("\r\n\r\n")[0] ?? ""), false, clearly);
    });
    assertStringIncludes(await parent.log(), `127.0.0.1:${secure.port}`);
  });
}

Deno.test({ ignore: !hasSquid || !hasCurl, name: "a name that only Squid knows" }, async () => {
  await using upstream = await startEchoUpstream({ names: ["inner.corp"] });
  await using parent = await startSquid({ hosts: { "inner.corp": "127.0.0.1" } });
  await using proxy = await startTestProxy({
    parents: everythingBy({ port: parent.port }, { dns: "parent" }),
  });
  proxy.policy.allow("one", { host: "inner.corp", ports: [upstream.port] });
  assertMatch(await curl(proxy, `https://inner.corp:${upstream.port}/a`), /^HTTP\/1\.1 200/);
});

Deno.test(
  { ignore: !hasCurl, name: "this proxy as the parent of another, over TLS, passing and inspecting" },
  async (t) => {
    await using upstream = await startEchoUpstream();
    for (const passthrough of [true, false]) {
      await t.step(passthrough ? "passing" : "inspecting", async () => {
        await using parent = await startTestProxy();
        parent.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough });
        const start = (upstreamCas: readonly string[]) =>
          startTestProxy({
            parents: everythingBy({
              ...{ scheme: "https", host: "localhost", port: parent.tlsPort },
              authorization: `Basic ${btoa(`any:${TOKEN}`)}`,
            }, { dns: "parent" }),
            caCertsFor: () => upstreamCas,
            resolve: () => Promise.resolve(["127.0.0.1"]),
          });
        {
          await using proxy = await start([parent.caPem, (await upstreamAuthority()).caPem]);
          proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
          const told = await curl(proxy, `https://up.test:${upstream.port}/a`);
          assertMatch(told, /^HTTP\/1\.1 200/);
          assertEquals(/Proxy-Auth/i.test(told), false, told);
        }
        const line = passthrough ? /^passthrough client=one host=up\.test/ : /^allow client=one method=GET/;
        await parent.waitLine(line);
        if (passthrough) return;
        // The CA of a parent that looks inside has to be trusted, or nothing goes.
        await using wary = await startTestProxy({
          parents: everythingBy({ port: parent.httpPort, authorization: `Basic ${btoa(`any:${TOKEN}`)}` }, {
            dns: "parent",
          }),
        });
        wary.policy.allow("one", { host: "up.test", ports: [upstream.port] });
        assertMatch(
          await curl(wary, `https://up.test:${upstream.port}/a`),
          /^HTTP\/2 502 [^]*x-slicer-proxy-reason: tls-unknown-issuer/,
        );
      });
    }
  },
);

Deno.test(
  { ignore: !hasCurl, name: "HTTP/2 through parents: chosen with the upstream, kept, and clear too" },
  async (t) => {
    await using upstream = await startHttp2Upstream();
    await using clear = await startHttp2Upstream({ isClear: true });
    for (const scheme of ["http", "https"] as const) {
      await t.step(`${scheme} parent`, async () => {
        await using parent = await startTestParent({ names: scheme === "https" ? ["127.0.0.1"] : [] });
        await using proxy = await startTestProxy({ parents: everythingBy({ port: parent.port, scheme }) });
        proxy.policy.allow("one", { host: "up.test", ports: [upstream.port, clear.port] });
        const url = `https://up.test:${upstream.port}`;
        const told = await curl(proxy, "--http2", `${url}/a`, `${url}/b`);
        assertEquals(told.match(/HTTP\/2 200/g)?.length, 2, told);
        assertEquals(parent.heads.length, 1);
        const clearly = await curl(proxy, "--http2-prior-knowledge", "-p", `http://up.test:${clear.port}/a`);
        assertMatch(clearly, /^HTTP\/2 200/);
      });
    }
  },
);

Deno.test("WebSockets through parents: a clear one has a tunnel though other requests need none", async (t) => {
  for (const isClear of [true, false]) {
    await t.step(isClear ? "ws" : "wss", async () => {
      await using upstream = await startRawUpstream(async (peer) => {
        await peer.readHead();
        await peer.send("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        await peer.send((await peer.readBytes(5)).toUpperCase());
      }, { names: isClear ? [] : ["up.test"] });
      await using parent = await startTestParent();
      await using proxy = await startTestProxy({
        parents: everythingBy({ port: parent.port }, { dns: "parent" }),
      });
      const place = `up.test:${upstream.port}`;
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
      using peer = isClear
        ? await dialRaw(proxy.httpPort)
        : await openTlsTunnel(proxy.httpPort, place, TOKEN, proxy.caPem);
      const target = isClear ? `http://${place}/ws` : "/ws";
      await peer.send(
        `GET ${target} HTTP/1.1\r\nHost: ${place}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          (isClear ? `Proxy-Authorization: Basic ${btoa(`proxy:${TOKEN}`)}\r\n` : "") +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}\r\n\r\n`,
      );
      assertMatch(await soon("the 101", peer.readHead()), /^HTTP\/1\.1 101/);
      await peer.send("hello");
      assertEquals(await peer.readBytes(5), "HELLO");
      assertMatch(parent.heads.join(), new RegExp(`^CONNECT ${place} `));
    });
  }
});
