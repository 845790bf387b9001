import { assert, assertEquals, assertMatch } from "@std/assert";
import { namesHost } from "../../../../proxy/tunnels/inspect.ts";
import { makeClientHello } from "../../../support/client_hello.ts";
import { openTunnel } from "../../../support/raw_peer.ts";
import { soon, waitUntil } from "../../../support/sockets.ts";
import { startTestProxy, type TestProxyOptions, TOKEN } from "../../../support/start_proxy.ts";

async function start(options: TestProxyOptions = {}) {
  const proxy = await startTestProxy(options);
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [443] });
  return {
    ...{ proxy, rule },
    open: () => openTunnel(proxy.httpPort, "up.test:443", TOKEN),
    isEmpty: () => {
      const { openTunnels, openGrants } = proxy.server.counters();
      return openTunnels === 0 && openGrants === 0;
    },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

const DENIED = /^deny client=one method=CONNECT host=up\.test port=443 mode=strict reason=/;

Deno.test("a tunnel that begins as neither TLS nor HTTP does is refused, and one that begins as text is read", async (t) => {
  const rows: readonly (readonly [string, readonly number[], isText: boolean])[] = [
    ["a NUL", [0x00], false],
    ["below a blank", [0x1f], false],
    ["a blank", [0x20], true],
    ["a tilde", [0x7e], true],
    ["DEL", [0x7f], false],
    ["beyond ASCII", [0x80], false],
    ["a tab", [0x09], false],
    ["SSH", [..."SSH-"].map((letter) => letter.charCodeAt(0)), false],
    ["nearly SSH", [..."SSH_"].map((letter) => letter.charCodeAt(0)), true],
  ];
  for (const [name, first, isText] of rows) {
    await t.step(name, async () => {
      await using s = await start();
      using peer = await s.open();
      await peer.sendBytes(Uint8Array.from([...first, ...new TextEncoder().encode("x\r\n\r\n")]));
      if (isText) assertMatch(await soon("an answer", peer.readHead()), /^HTTP\/1\.1 400/);
      else {
        assert(await soon("the end", peer.isClosed()));
        assertMatch(await s.proxy.waitLine(DENIED), /reason=tls-no-client-hello/);
      }
    });
  }
});

Deno.test("a tunnel through which nothing comes is closed in time, and gives its place back", async (t) => {
  for (const sent of [new Uint8Array(0), makeClientHello({ serverName: "up.test" }).subarray(0, 9)]) {
    await t.step(`${sent.length} bytes`, async () => {
      await using s = await start({ limits: { headTimeoutMs: 100, handshakeTimeoutMs: 100 } });
      using peer = await s.open();
      await peer.sendBytes(sent);
      assert(await soon("the end", peer.isClosed()));
      assertMatch(await s.proxy.waitLine(DENIED), /reason=tls-no-client-hello/);
      await waitUntil("nothing is held", s.isEmpty);
    });
  }
});

Deno.test("a tunnel whose client goes away before it says anything is closed", async () => {
  await using s = await start();
  using peer = await s.open();
  await waitUntil("it is counted", () => s.proxy.server.counters().openTunnels === 1);
  peer.conn.close();
  assertMatch(await s.proxy.waitLine(DENIED), /reason=tls-no-client-hello/);
  await waitUntil("nothing is held", s.isEmpty);
});

Deno.test("a ClientHello for another host gets TLS's own alert, and nothing else", async () => {
  await using s = await start();
  using peer = await s.open();
  await peer.sendBytes(makeClientHello({ serverName: "evil.test" }));
  assertEquals(await soon("the alert", peer.readAll()), "\x15\x03\x03\x00\x02\x02\x70");
  assertMatch(await s.proxy.waitLine(DENIED), /reason=host-mismatch/);
});

Deno.test("a tunnel whose certificate fails as nothing may fail is a bug, that is reported", async () => {
  await using s = await start({ certificates: { forHost: () => Promise.reject(new TypeError("bug")) } });
  using peer = await s.open();
  await peer.sendBytes(makeClientHello({ serverName: "up.test" }));
  await soon("the end", peer.readAll().catch(() => ""));
  assertMatch(await s.proxy.waitLine(DENIED), /reason=/);
  assertEquals(s.proxy.bugs.splice(0).map(String), ["TypeError: bug"]);
});

Deno.test("a tunnel ends with its rule before anything was said, and says why", async () => {
  await using s = await start();
  using peer = await s.open();
  await waitUntil("it is counted", () => s.proxy.server.counters().openTunnels === 1);
  s.proxy.policy.revoke(s.rule);
  await soon("the end", peer.readAll().catch(() => ""));
  assertMatch(await s.proxy.waitLine(DENIED), /reason=revoked/);
  await waitUntil("nothing is held", s.isEmpty);
});

Deno.test("namesHost() takes the host in any writing, with a port that nobody asked for, and no other", () => {
  const rows: readonly (readonly [serverName: string, isIt: boolean])[] = [
    ["up.test", true],
    ["UP.Test", true],
    ["up.test.", true],
    ["up.test:443", true],
    ["up.test:65535", true],
    ["up.test:443443", false],
    ["up.test:", false],
    ["a.up.test", false],
    ["up.tes", false],
    ["", false],
  ];
  for (const [serverName, isIt] of rows) assertEquals(namesHost(serverName, "up.test"), isIt, serverName);
});
