import { assert, assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { type Finish, finishDial, type Opened } from "../../../../proxy/egress/finish_dial.ts";
import type { Line } from "../../../../proxy/egress/connect/line.ts";
import type { UpstreamConnection } from "../../../../proxy/egress/upstream_connection.ts";
import { SocketStream } from "../../../../proxy/streams/socket_stream.ts";
import { startRawUpstream } from "../../../support/echo_upstream.ts";
import {
  openSockets,
  settledSockets,
  soon,
  startSilentPeer,
  tcpPair,
  waitUntil,
} from "../../../support/sockets.ts";
import { upstreamAuthority } from "../../../support/test_authority.ts";
import { clientCertificate, startAsker } from "../../../support/tls_peers.ts";

const NEVER = new AbortController().signal;
const LIMITS = { ...DEFAULT_LIMITS, handshakeTimeoutMs: 30_000, lingerTimeoutMs: 50 };

async function finish(opened: Opened, more: Partial<Finish> = {}): Promise<UpstreamConnection> {
  const { caPem } = await upstreamAuthority();
  const whole: Finish = {
    scheme: "https",
    host: "up.test",
    port: 443,
    limits: LIMITS,
    deadlines: new Deadlines(),
    caCertsFor: (host) => (host === "up.test" ? [caPem] : []),
    ...more,
  };
  return await soon("the connection", finishDial(opened, whole, NEVER));
}

/** A line to a port: with its connection, or as one that the runtime has no connection of. */
async function lineTo(port: number, hasTcp: boolean): Promise<Line> {
  const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
  return { stream: new SocketStream(tcp), ...(hasTcp ? { tcp } : {}) };
}

async function wordsOf({ reader }: UpstreamConnection, count: number): Promise<string> {
  while (reader.size < count) assert(await soon("its words", reader.fill()), "it has ended");
  return new TextDecoder().decode(reader.available);
}

Deno.test("finishDial() hands a line on as it is where nothing else is wanted", async (t) => {
  const rows: readonly (readonly [string, Partial<Finish>, protocol: string])[] = [
    ["HTTP/1.1 by default", { scheme: "http" }, "http/1.1"],
    ["HTTP/2 in clear", { scheme: "http", alpn: ["h2"] }, "h2"],
    ["bytes", { scheme: "tcp" }, "http/1.1"],
  ];
  for (const [name, more, protocol] of rows) {
    await t.step(name, async () => {
      using pair = await tcpPair();
      const line = { stream: new SocketStream(pair.near), tcp: pair.near };
      const before = performance.now();
      const connection = await finish({ line }, more);
      assert(connection.stream === line.stream);
      assertEquals([connection.isReused, connection.protocol, connection.parent], [
        false,
        protocol,
        undefined,
      ]);
      assert(connection.dialledAt >= before && connection.dialledAt <= performance.now());
      await pair.far.write(new TextEncoder().encode("hi"));
      assertEquals(await wordsOf(connection, 2), "hi");
    });
  }
  await t.step("with the parent that takes requests", async () => {
    using pair = await tcpPair();
    const proxy = { scheme: "http", host: "parent.test", port: 3128 } as const;
    const parent = { proxy, onRefused: () => {} };
    const connection = await finish({ line: { stream: new SocketStream(pair.near) }, parent }, {
      scheme: "http",
    });
    assert(connection.parent === parent);
  });
});

Deno.test("finishDial() takes what came early from who may speak first alone", async (t) => {
  const first = new TextEncoder().encode("e");
  const rows: readonly (readonly [string, Partial<Finish>, isTaken: boolean])[] = [
    ["bytes", { scheme: "tcp" }, true],
    ["HTTP/2 in clear", { scheme: "http", alpn: ["h2", "http/1.1"] }, true],
    ["HTTP/1.1", { scheme: "http" }, false],
    ["HTTP/1.1 before HTTP/2", { scheme: "http", alpn: ["http/1.1", "h2"] }, false],
    ["TLS", { scheme: "https", alpn: ["h2"] }, false],
  ];
  for (const [name, more, isTaken] of rows) {
    await t.step(name, async () => {
      using pair = await tcpPair();
      const finishing = finish(
        { line: { stream: new SocketStream(pair.near), tcp: pair.near }, first },
        more,
      );
      if (isTaken) {
        const connection = await finishing;
        assertEquals(await wordsOf(connection, 1), "e");
        await pair.far.write(new TextEncoder().encode("!"));
        assertEquals(await wordsOf(connection, 2), "e!");
      } else {
        const { code, reason } = await assertRejects(() => finishing, ProxyError);
        assertEquals([code, reason], ["upstream.malformed", "parent-malformed"]);
        assertEquals(await soon("the end", pair.far.read(new Uint8Array(1))), null);
      }
    });
  }
});

Deno.test("finishDial() speaks TLS over any line, and closing ends all of it", async (t) => {
  const before = await settledSockets();
  for (const hasTcp of [true, false]) {
    await t.step(hasTcp ? "of the runtime" : "of another kind", async () => {
      let ended = false;
      await using server = await startRawUpstream(async (peer) => {
        await peer.send("hello");
        await peer.readAll().catch(() => {});
        ended = true;
      }, { names: ["up.test"] });
      const connection = await finish({ line: await lineTo(server.port, hasTcp) });
      assertEquals([await wordsOf(connection, 5), connection.isReused], ["hello", false]);
      connection.stream.close();
      await waitUntil("the server sees the end", () => ended);
    });
    await t.step(`${hasTcp}: not trusted`, async () => {
      await using server = await startRawUpstream((peer) => peer.send("hello"), { names: ["other.test"] });
      const { reason } = await assertRejects(
        async () => await finish({ line: await lineTo(server.port, hasTcp) }),
        ProxyError,
      );
      assertEquals(reason, "tls-wrong-name");
    });
  }
  await waitUntil("nothing is left", () => openSockets() <= before);
});

Deno.test("finishDial() shows a client certificate over any line", async (t) => {
  const before = await settledSockets();
  const certificate = await clientCertificate();
  for (const hasTcp of [true, false]) {
    await t.step(hasTcp ? "dialled anew at the address that has answered" : "over the line", async () => {
      await using server = await startAsker();
      const line = await lineTo(server.port, hasTcp);
      const connection = await finish({ line, ...(hasTcp ? { address: "127.0.0.1" } : {}) }, {
        port: server.port,
        clientCertificate: certificate,
      });
      assertEquals(await wordsOf(connection, 5), "hello");
      assertEquals(server.shown, ["robot.test"]);
      await connection.stream.write(new TextEncoder().encode("!"));
      assertEquals(await wordsOf(connection, 6), "hello!");
      connection.stream.close();
    });
  }
  await t.step("a line that is no connection of ours, though its address is known", async () => {
    await using server = await startAsker();
    const line = await lineTo(server.port, false);
    const connection = await finish({ line, address: "127.0.0.2" }, {
      port: server.port,
      clientCertificate: certificate,
    });
    assertEquals(await wordsOf(connection, 5), "hello");
    connection.stream.close();
  });
  await t.step("a connection to a parent, whose address is not the upstream's", async () => {
    await using server = await startAsker();
    const connection = await finish({ line: await lineTo(server.port, true) }, {
      port: 1,
      clientCertificate: certificate,
    });
    assertEquals(await wordsOf(connection, 5), "hello");
    connection.stream.close();
  });
  await t.step("that leads nowhere", async () => {
    await using peer = startSilentPeer();
    const finishing = finish({ line: await lineTo(peer.port, false) }, {
      clientCertificate: certificate,
      limits: { ...LIMITS, handshakeTimeoutMs: 100 },
    });
    const { code } = await assertRejects(() => finishing, ProxyError);
    assertEquals(code, "upstream.timeout");
    const [conn] = peer.accepted;
    assert(conn);
    const into = new Uint8Array(4_096);
    const toTheEnd = async () => {
      while (await conn.read(into) !== null);
    };
    await soon("the line ends", toTheEnd());
  });
  await waitUntil("nothing is left", () => openSockets() <= before);
});
