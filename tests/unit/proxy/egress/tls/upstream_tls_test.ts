import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { ProxyError } from "../../../../../core/errors.ts";
import { startUpstreamTls, type TlsPeer } from "../../../../../proxy/egress/tls/upstream_tls.ts";
import { closeQuietly } from "../../../../../proxy/streams/byte_reader.ts";
import {
  openSockets,
  settledSockets,
  soon,
  startSilentPeer,
  waitUntil,
} from "../../../../support/sockets.ts";
import { upstreamAuthority } from "../../../../support/test_authority.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const NEVER = new AbortController().signal;

interface Server extends AsyncDisposable {
  readonly port: number;
}

/** Does handshakes for `up.test`, and picks of these protocols; of none it knows of no ALPN. */
async function serve(alpnProtocols: readonly string[]): Promise<Server> {
  const { certPem: cert, keyPem: key } = await (await upstreamAuthority()).issue(["up.test"]);
  const offer = alpnProtocols.length > 0 ? { alpnProtocols: [...alpnProtocols] } : {};
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key, ...offer });
  const serving = (async () => {
    for await (const conn of listener) {
      await conn.handshake().then(() => conn.read(new Uint8Array(1))).catch(() => {});
      closeQuietly(conn);
    }
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await serving;
    },
  };
}

async function start({ port }: Server, more: Partial<TlsPeer> = {}, signal = NEVER) {
  const { caPem } = await upstreamAuthority();
  const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
  return await soon(
    "the handshake",
    startUpstreamTls(tcp, {
      host: "up.test",
      limits: { handshakeTimeoutMs: 30_000 },
      deadlines: new Deadlines(),
      caCertsFor: (host) => (host === "up.test" ? [caPem] : []),
      ...more,
    }, signal),
  );
}

async function failure(starting: Promise<unknown>): Promise<readonly unknown[]> {
  const { code, reason, message } = await assertRejects(() => starting, ProxyError);
  return [code, reason, message];
}

Deno.test("startUpstreamTls() agrees on a protocol that was offered, and on no other", async (t) => {
  const mismatch = [
    "upstream.tls",
    "protocol-mismatch",
    "Cannot connect to up.test: it speaks no version of HTTP that the client offers",
  ];
  const rows: readonly (readonly [string, readonly string[], TlsPeer["alpn"], string | readonly string[]])[] =
    [
      ["both", ["h2", "http/1.1"], ["h2", "http/1.1"], "h2"],
      ["HTTP/1.1 alone, by default", ["h2", "http/1.1"], undefined, "http/1.1"],
      ["HTTP/2 alone", ["h2"], ["h2"], "h2"],
      ["a server that knows of no ALPN", [], ["h2", "http/1.1"], "http/1.1"],
      ["a server that knows of no ALPN, and HTTP/2 is wanted", [], ["h2"], mismatch],
      ["a server that says no", ["http/1.1"], ["h2"], mismatch],
    ];
  for (const [name, server, alpn, expected] of rows) {
    await t.step(name, async () => {
      await using upstream = await serve(server);
      const starting = start(upstream, alpn ? { alpn } : {});
      if (typeof expected !== "string") return assertEquals(await failure(starting), expected);
      const { conn, protocol } = await starting;
      assertEquals(protocol, expected);
      conn.close();
    });
  }
});

Deno.test("startUpstreamTls() verifies the certificate for the host, with the CAs for that host", async (t) => {
  await using upstream = await serve([]);
  const { caPem } = await upstreamAuthority();
  const rows: readonly (readonly [string, Partial<TlsPeer>, string])[] = [
    ["another name", { host: "other.test", caCertsFor: () => [caPem] }, "tls-wrong-name"],
    ["another CA", { caCertsFor: () => [] }, "tls-unknown-issuer"],
  ];
  for (const [name, more, reason] of rows) {
    await t.step(name, async () => {
      assertEquals((await failure(start(upstream, more))).slice(0, 2), ["upstream.tls", reason]);
    });
  }
});

Deno.test("startUpstreamTls() says what a server did in the handshake", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for (const answer of ["", "HTTP/1.1 400 No\r\n\r\n"]) {
      using conn = await listener.accept();
      await conn.read(new Uint8Array(4_096));
      if (answer !== "") await conn.write(new TextEncoder().encode(answer));
    }
  })();
  const server = { port: listener.addr.port, [Symbol.asyncDispose]: () => Promise.resolve() };
  assertEquals((await failure(start(server))).slice(0, 2), ["upstream.tls", "upstream-closed"]);
  assertEquals((await failure(start(server))).slice(0, 2), ["upstream.tls", "tls-protocol"]);
  listener.close();
  await serving;
});

Deno.test("startUpstreamTls() has its time, or ends with its signal, and leaves nothing open", async (t) => {
  const before = await settledSockets();
  await t.step("time", async () => {
    await using peer = startSilentPeer();
    const [code, reason, message] = await failure(start(peer, { limits: { handshakeTimeoutMs: 20 } }));
    assertEquals([code, reason], ["upstream.timeout", "connect-timeout"]);
    assertStringIncludes(String(message), "took too long");
    await theEnd(peer.accepted[0]);
  });
  await t.step("signal", async () => {
    await using peer = startSilentPeer();
    const [gone, why] = [watchSignal(), new Error("gone")];
    const starting = start(peer, {}, gone.signal);
    await waitUntil("it begins", () => gone.listeners === 1);
    gone.abort(why);
    assert(await assertRejects(() => starting) === why);
    assertEquals(gone.listeners, 0);
    await waitUntil("it is accepted", () => peer.accepted.length === 1);
    await theEnd(peer.accepted[0]);
  });
  await t.step("signal, afterwards", async () => {
    await using upstream = await serve([]);
    const { signal, listeners } = watchSignal();
    const { conn } = await start(upstream, {}, signal);
    assertEquals(listeners, 0);
    conn.close();
  });
  await waitUntil("nothing is left", () => openSockets() <= before);
});

async function theEnd(conn: Deno.TcpConn | undefined): Promise<void> {
  assert(conn);
  const into = new Uint8Array(4_096);
  for (;;) if (await soon("the end", conn.read(into)) === null) return;
}
