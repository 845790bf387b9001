import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../core/limits.ts";
import { hasNativeCalls } from "../../../../core/native.ts";
import { Interceptor, type ServerCertificate } from "../../../../proxy/tls/loopback.ts";
import type { TlsSession } from "../../../../proxy/tls/loopback_session.ts";
import { hasProgram, runProgram } from "../../../support/programs.ts";
import { RawPeer } from "../../../support/raw_peer.ts";
import { settledSockets, soon, type TcpPair, tcpPair, waitUntil } from "../../../support/sockets.ts";
import { proxyAuthority } from "../../../support/test_authority.ts";

hasNativeCalls();
const NOTHING = new Uint8Array(0);

async function setUp(limits: Partial<Limits> = {}) {
  const { caPem, issue } = await proxyAuthority();
  let now = Date.now();
  let loads = 0;
  const ports = new Set<number>();
  const interceptor = new Interceptor({
    ports,
    limits: { ...DEFAULT_LIMITS, lingerTimeoutMs: 200, ...limits },
    deadlines: new Deadlines(),
    now: () => now,
  });
  const load = (host: string) => async (): Promise<ServerCertificate> => {
    loads++;
    return await issue([host], now);
  };
  return {
    interceptor,
    ports,
    caPem,
    load,
    /** Ends TLS for `host` on the far end of a new connection, with a real client on the near end. */
    terminate: async (host: string) => {
      const pair = await tcpPair();
      const session = interceptor.terminate(pair.far, NOTHING, host, load(host));
      session.catch(() => {});
      const tls = await Deno.startTls(pair.near, { hostname: host, caCerts: [caPem] });
      return { session, tls, client: new RawPeer(tls), pair };
    },
    loads: () => loads,
    advance: (ms: number) => now += ms,
    [Symbol.asyncDispose]: () => interceptor.close(),
  };
}

async function failure(promise: Promise<TlsSession>): Promise<string> {
  const error = await assertRejects(() => soon("the handshake", promise), ProxyError);
  return `${error.code} ${error.reason}`;
}

async function finish(
  { client, pair, session }: { client: RawPeer; pair: TcpPair; session: Promise<TlsSession> },
) {
  client[Symbol.dispose]();
  const opened = await session.catch(() => undefined);
  opened?.close();
  await soon("every descriptor is closed", opened?.done ?? Promise.resolve());
  pair[Symbol.dispose]();
}

Deno.test("terminate() gives both sides each other's bytes, and a close_notify at the end", async () => {
  await using setup = await setUp();
  const made = await setup.terminate("a.test");
  const session = await made.session;
  await made.client.send("to the proxy");
  const buffer = new Uint8Array(100);
  assertEquals(await session.read(buffer), 12);
  await session.write(new TextEncoder().encode("to the client"));
  assertEquals(await made.client.readBytes(13), "to the client");
  session.close();
  assertEquals(await made.client.readAll(), ""); // a truncation would throw
  await finish(made);
});

Deno.test("a session that has said its end reads the client's, not an error of being closed under the read", async () => {
  await using setup = await setUp();
  const made = await setup.terminate("a.test");
  const session = await made.session;
  await session.closeWrite();
  assertEquals(await made.client.readAll(), "");
  const reading = session.read(new Uint8Array(1));
  made.client[Symbol.dispose]();
  assertEquals(await soon("the end", reading), null);
  session.close();
  await soon("every descriptor is closed", session.done);
  made.pair[Symbol.dispose]();
});

Deno.test("a session that nobody reads or closes is closed soon after its client has gone", async () => {
  await using setup = await setUp();
  const made = await setup.terminate("a.test");
  const session = await made.session;
  await session.closeWrite();
  made.client[Symbol.dispose]();
  await soon("every descriptor is closed", session.done);
  made.pair[Symbol.dispose]();
});

Deno.test("abort() cuts without close_notify", async () => {
  await using setup = await setUp();
  const made = await setup.terminate("a.test");
  (await made.session).abort();
  await assertRejects(() => made.client.readAll());
  await finish(made);
});

Deno.test("terminate() opens one listener for a host, also for many that ask at once", async () => {
  await using setup = await setUp();
  const made = await Promise.all(Array.from({ length: 12 }, () => setup.terminate("a.test")));
  await Promise.all(made.map(({ session }) => session));
  assertEquals([setup.loads(), setup.interceptor.listenerCount, setup.ports.size], [1, 1, 1]);
  await Promise.all(made.map(finish));
});

Deno.test("terminate() asks for a new certificate from renewAt on, and sessions of the old one live on", async () => {
  await using setup = await setUp();
  const old = await setup.terminate("a.test");
  await old.session;
  const { renewAt } = await (await proxyAuthority()).issue(["a.test"]);
  setup.advance(renewAt - Date.now() - 60_000);
  const before = await setup.terminate("a.test");
  await before.session;
  assertEquals(setup.loads(), 1);
  setup.advance(120_000);
  const after = await setup.terminate("a.test");
  await after.session;
  assertEquals(setup.loads(), 2);
  await old.client.send("x");
  assertEquals(await (await old.session).read(new Uint8Array(1)), 1);
  for (const made of [old, before, after]) await finish(made);
});

Deno.test("terminate() keeps maxTlsListeners, drops the one unused for longest, and its sessions live on", async () => {
  await using setup = await setUp({ maxTlsListeners: 2 });
  const hosts = ["a.test", "b.test", "a.test", "c.test"];
  const made = [];
  for (const host of hosts) {
    const one = await setup.terminate(host);
    await one.session;
    made.push(one);
  }
  assertEquals([setup.loads(), setup.interceptor.listenerCount], [3, 2]);
  await waitUntil("the dropped one is closed", () => setup.ports.size === 2);
  for (const { client, session } of made) {
    await client.send("x");
    assertEquals(await (await session).read(new Uint8Array(1)), 1);
  }
  const again = await setup.terminate("a.test"); // was used after b
  await again.session;
  assertEquals(setup.loads(), 3);
  const reopened = await setup.terminate("b.test");
  await reopened.session;
  assertEquals(setup.loads(), 4);
  await Promise.all([...made, again, reopened].map(finish));
});

Deno.test("terminate() whose certificate cannot be had fails alone, and closes its connection", async () => {
  await using setup = await setUp();
  const { interceptor, load } = setup;
  using first = await tcpPair();
  const refused = new ProxyError("limit.reached", "Cannot mint: too many", { reason: "quota" });
  const failing = interceptor.terminate(first.far, NOTHING, "a.test", async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    throw refused;
  });
  failing.catch(() => {});
  using second = await tcpPair();
  const session = interceptor.terminate(second.far, NOTHING, "a.test", load("a.test"));
  const tls = await Deno.startTls(second.near, { hostname: "a.test", caCerts: [setup.caPem] });
  await soon("the handshake of the other", tls.handshake());
  assertEquals(await assertRejects(() => failing), refused);
  assertEquals(await first.near.read(new Uint8Array(1)), null);
  tls.close();
  const opened = await session;
  opened.close();
  await opened.done;
});

Deno.test("terminate() says why a handshake failed, and leaves nothing open", async (t) => {
  const rows: readonly (readonly [string, (near: Deno.TcpConn) => Promise<unknown>, string])[] = [
    [
      "no TLS",
      (near) => near.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")),
      "client.malformed tls-no-client-hello",
    ],
    ["an end at once", (near) => near.closeWrite(), "client.closed client-closed"],
    ["silence", () => Promise.resolve(), "client.timeout tls-handshake"],
    [
      "half a ClientHello",
      (near) => near.write(Uint8Array.of(22, 3, 1, 1, 0, 1, 0)),
      "client.timeout tls-handshake",
    ],
    ["another CA trusted", async (near) => {
      const tls = await Deno.startTls(near, { hostname: "a.test" });
      await tls.handshake().catch(() => {});
      tls.close();
    }, "client.malformed tls-untrusted-ca"],
  ];
  for (const [name, act, expected] of rows) {
    await t.step(name, async () => {
      const before = await settledSockets();
      {
        await using setup = await setUp({ handshakeTimeoutMs: 250 });
        using pair = await tcpPair();
        const failed = failure(
          setup.interceptor.terminate(pair.far, NOTHING, "a.test", setup.load("a.test")),
        );
        await act(pair.near);
        assertEquals(await failed, expected);
      }
      assertEquals(await settledSockets(), before);
    });
  }
});

Deno.test("close() does not wait for a handshake that is under way", async () => {
  const setup = await setUp({ handshakeTimeoutMs: 120_000 });
  using pair = await tcpPair();
  const failing = setup.interceptor.terminate(pair.far, NOTHING, "a.test", setup.load("a.test"));
  failing.catch(() => {});
  await pair.near.write(Uint8Array.of(22, 3, 1, 1, 0, 1, 0)); // half a ClientHello
  await waitUntil("its listener is there", () => setup.ports.size === 1);
  await soon("the end", setup.interceptor.close());
  pair.near.close();
  await assertRejects(() => soon("the handshake's end", failing));
  await waitUntil("its listener is gone", () => setup.ports.size === 0);
});

Deno.test("a session's done resolves when both sides have gone, with every descriptor closed", async () => {
  const before = await settledSockets();
  {
    await using setup = await setUp();
    const made = await setup.terminate("a.test");
    await made.session;
    await finish(made);
  }
  assertEquals(await settledSockets(), before);
});

const KNOCK = `import socket, ssl, sys
address, own_port, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((address, own_port))
s.settimeout(20)
s.connect(("127.0.0.1", port))
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
try:
    tls = context.wrap_socket(s, server_hostname="a.test")
    tls.sendall(b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n")
    print("got", len(tls.recv(100)))
except (ssl.SSLError, OSError) as error:
    print("refused")`;

Deno.test({
  ignore: !hasProgram("python3"),
  name:
    "another local process gets nothing from a loopback listener, from another address with our port neither",
}, async (t) => {
  await using setup = await setUp();
  const made = await setup.terminate("a.test");
  const session = await made.session;
  const [listenerPort = 0] = setup.ports;
  const ours = await peerPortOf(listenerPort);
  const rows = [["any port", "127.0.0.1", 0], [
    "127.0.0.2 with the port of our splice",
    "127.0.0.2",
    ours,
  ]] as const;
  for (const [name, address, ownPort] of rows) {
    await t.step(name, async () => {
      const { code, stdout } = await runProgram("python3", [
        "-c",
        KNOCK,
        address,
        `${ownPort}`,
        `${listenerPort}`,
      ]);
      assertEquals(code, 0);
      assertMatch(stdout.trim(), /^(refused|got 0)$/);
    });
  }
  await made.client.send("still here");
  assertEquals(await session.read(new Uint8Array(100)), 10);
  await finish(made);
});

Deno.test("a stranger on a loopback listener is closed at once while none of our own is on its way", async () => {
  await using setup = await setUp();
  const made = await setup.terminate("a.test");
  await made.session;
  const [port = 0] = setup.ports;
  using stranger = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(await soon("the end", stranger.read(new Uint8Array(1)), 1_500), null); // sooner than UNCLAIMED_MS
  await finish(made);
});

Deno.test("many strangers on a loopback listener do not keep our own connections out", async () => {
  await using setup = await setUp();
  const first = await setup.terminate("a.test");
  await first.session;
  const [port = 0] = setup.ports;
  const knocking = Promise.all(Array.from({ length: 200 }, async () => {
    using stranger = await Deno.connect({ hostname: "127.0.0.1", port });
    await stranger.read(new Uint8Array(1)).catch(() => {});
  }));
  const made = await Promise.all(Array.from({ length: 10 }, () => setup.terminate("a.test")));
  for (const { session } of made) assert(await soon("a session", session));
  await soon("all strangers are closed", knocking);
  await Promise.all([first, ...made].map(finish));
});

/** The port of the one connection from 127.0.0.1 to `port`. */
async function peerPortOf(port: number): Promise<number> {
  const rows = (await Deno.readTextFile("/proc/net/tcp")).split("\n").slice(1);
  for (const row of rows) {
    const [, local = "", remote = "", state] = row.trim().split(/\s+/);
    if (state === "01" && parseInt(remote.split(":")[1] ?? "", 16) === port) {
      return parseInt(local.split(":")[1] ?? "", 16);
    }
  }
  throw new Error("there is no such connection");
}
