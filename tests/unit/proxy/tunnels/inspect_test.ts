import { assert, assertEquals, assertMatch } from "@std/assert";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { inspect, namesHost } from "../../../../proxy/tunnels/inspect.ts";
import { Engine } from "../../../wire/harness.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";
import { makeClientHello } from "../../../support/client_hello.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { openTlsTunnel, openTunnel } from "../../../support/raw_peer.ts";
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
    ["LF", [0x0a], true],
    ["between LF and CR", [0x0b], false],
    ["CR", [0x0d], true],
    ["behind CR", [0x0e], false],
    ["SSH, up to its dash", [..."SSH"].map((letter) => letter.charCodeAt(0)), true],
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

Deno.test("inspect() is idle until something comes through the tunnel, and not while that is read", async (t) => {
  const hello = makeClientHello({ serverName: "up.test" });
  const rows: readonly (readonly [
    string,
    first: Uint8Array,
    next: Uint8Array,
    idle: readonly boolean[],
    ms: string,
  ])[] = [
    ["nothing yet", new Uint8Array(0), hello.subarray(0, 20), [true, false], "handshakeTimeoutMs"],
    ["a first byte that was read with the CONNECT", hello.subarray(0, 1), hello.subarray(1, 9), [
      false,
      false,
    ], "handshakeTimeoutMs"],
    [
      "a head in clear",
      new Uint8Array(0),
      new TextEncoder().encode("GET /"),
      [true, false],
      "headTimeoutMs",
    ],
  ];
  for (const [name, first, next, idle, ms] of rows) {
    await t.step(name, async () => {
      await using engine = new Engine();
      const deadlines = new FakeDeadlines();
      Object.assign(engine.context, { deadlines });
      const [peer, stream] = makePipe();
      const state = {
        ...{ source: "192.0.2.1", origin: { src: "192.0.2.1:1", proxyPort: 1 } },
        ...{ isIdle: false, isStopping: false, identify: () => true },
      };
      const [client = { name: "one", version: "" }] = engine.policy.clients();
      const served = inspect({
        ...{ stream, reader: new ByteReader(stream, first), tunnel: undefined, state },
        ...{ origin: state.origin, context: engine.context },
      }, {
        client,
        rule: undefined,
        target: { host: "up.test", port: 443 },
        method: "CONNECT",
        startedAt: 0,
      });
      await settle();
      const before = state.isIdle;
      await peer.write(next);
      await settle();
      assertEquals([before, state.isIdle], idle);
      const { headTimeoutMs, handshakeTimeoutMs } = DEFAULT_LIMITS;
      assertEquals(deadlines.left, [ms === "headTimeoutMs" ? headTimeoutMs : handshakeTimeoutMs]);
      deadlines.advance(Math.max(headTimeoutMs, handshakeTimeoutMs));
      await settle();
      peer.close();
      await soon("the end", served);
      assertEquals([state.isIdle, deadlines.left, engine.context.grants.size], [false, [], 0]);
    });
  }
});

Deno.test("a tunnel in which nothing is asked has a line, and one in which something is has no other", async (t) => {
  const allowed =
    /^allow client=one method=CONNECT host=up\.test port=443 status=200 sent=0 received=0 duration=/;
  const rows: readonly {
    readonly name: string;
    readonly options?: TestProxyOptions;
    readonly host?: string;
    readonly words?: string;
    readonly expected: RegExp;
  }[] = [
    { name: "TLS", expected: allowed },
    {
      name: "in audit mode, without a rule",
      options: { mode: "audit" },
      host: "other.test",
      expected: /^deny client=one method=CONNECT host=other\.test port=443 mode=audit reason=client-closed$/,
    },
    {
      name: "open only to say that it was refused",
      options: { explain: "inside" },
      host: "other.test",
      expected: /^deny client=one method=CONNECT host=other\.test port=443 mode=strict reason=no-rule$/,
    },
    {
      name: "a request",
      words: "GET / HTTP/1.1\r\nHost: up.test\r\nX: a b\0\r\n\r\n",
      expected: /^deny client=one scheme=https host=up\.test port=443 status=400 reason=malformed$/,
    },
  ];
  for (const { name, options, host = "up.test", words = "", expected } of rows) {
    await t.step(name, async () => {
      await using s = await start(options);
      {
        using peer = await openTlsTunnel(s.proxy.httpPort, `${host}:443`, TOKEN, s.proxy.caPem);
        await peer.send(words);
        if (words !== "") await soon("the answer", peer.readHead());
      }
      await s.proxy.waitLine(expected);
      await waitUntil("nothing is held", s.isEmpty);
      await s.proxy.audit.flush();
      assertEquals(s.proxy.lines.length, 1, s.proxy.lines.join("\n"));
    });
  }
  await t.step("in clear, of another protocol whose program gave up", async () => {
    await using s = await start();
    {
      using peer = await s.open();
      await peer.send("EHLO me\r\n");
    }
    assertMatch(await s.proxy.waitLine(DENIED), /reason=tls-no-client-hello$/);
  });
});

Deno.test("a tunnel that its rule leaves after the handshake has a line that says so", async () => {
  await using s = await start();
  using peer = await openTlsTunnel(s.proxy.httpPort, "up.test:443", TOKEN, s.proxy.caPem);
  s.proxy.policy.revoke(s.rule);
  await soon("the end", peer.readAll().catch(() => ""));
  assertMatch(await s.proxy.waitLine(DENIED), /reason=revoked$/);
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
