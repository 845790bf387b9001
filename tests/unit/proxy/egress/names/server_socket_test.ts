import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import {
  openServerSocket,
  type ServerSocketOptions,
} from "../../../../../proxy/egress/names/server_socket.ts";
import { startRawUpstream } from "../../../../support/echo_upstream.ts";
import { holdTimers } from "../../../../support/held_timers.ts";
import { watchNoDelay } from "../../../../support/no_delay.ts";
import { soon, startSilentPeer, waitUntil } from "../../../../support/sockets.ts";
import { upstreamAuthority } from "../../../../support/test_authority.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const NEVER = new AbortController().signal;

const open = (options: Partial<ServerSocketOptions>, signal = NEVER) =>
  soon(
    "a connection",
    openServerSocket({
      host: "127.0.0.1",
      port: 0,
      systemResolve: () => Promise.reject(new Error("nobody asks")),
      ...options,
    }, signal),
  );

Deno.test("openServerSocket() connects to an address without asking, and to a name by the system's word", async () => {
  await using server = await startRawUpstream((peer) => peer.send("hi"), { names: [] });
  const asked: string[] = [];
  const systemResolve = (host: string) => {
    asked.push(host);
    return Promise.resolve(["127.0.0.1"]);
  };
  for (const host of ["127.0.0.1", "dns.test"]) {
    using watch = await watchNoDelay();
    const { stream, reader, protocol } = await open({ host, port: server.port, systemResolve });
    await reader.fill();
    assertEquals([new TextDecoder().decode(reader.available), protocol], ["hi", undefined]);
    assertEquals(watch.ports.length, 1);
    stream.close();
  }
  assertEquals(asked, ["dns.test"]);
});

Deno.test("openServerSocket() tries the next address after a quarter of a second", async () => {
  using timers = holdTimers(250);
  await using server = startSilentPeer();
  const opening = openServerSocket({
    host: "127.0.0.1",
    port: server.port,
    systemResolve: () => Promise.resolve([]),
  }, NEVER);
  assertEquals(timers.pending, [250]);
  (await opening).stream.close();
});

Deno.test("openServerSocket() says why it cannot connect: of several addresses why not to the last", async () => {
  const port = closedPort();
  const alone = await assertRejects(() => open({ port }), FailedLookup);
  assertEquals(alone.kind, "away");
  assertStringIncludes(alone.message, "refused");
  const systemResolve = () => Promise.resolve(["255.255.255.255", "127.0.0.1"]);
  const both = await assertRejects(() => open({ host: "dns.test", port, systemResolve }), FailedLookup);
  assertStringIncludes(both.message, "refused");
  const missing = new FailedLookup("missing");
  const looking = () => open({ host: "dns.test", port, systemResolve: () => Promise.reject(missing) });
  assert(await assertRejects(looking) === missing);
});

Deno.test("openServerSocket() verifies the certificate for the name, and tells what was agreed on", async () => {
  const { caPem, issue } = await upstreamAuthority();
  const { certPem: cert, keyPem: key } = await issue(["dns.test"]);
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key, alpnProtocols: ["dot"] });
  const serving = (async () => {
    const ends: (number | null | string)[] = [];
    for await (const conn of listener) {
      ends.push(await conn.read(new Uint8Array(1)).catch(() => "failed"));
      conn.close();
    }
    return ends;
  })();
  const at = {
    port: (listener.addr as Deno.NetAddr).port,
    systemResolve: () => Promise.resolve(["127.0.0.1"]),
  };
  const tls = { alpn: ["dot"], caCerts: () => [caPem] };
  const watched = watchSignal();
  const { stream, protocol } = await open({ ...at, host: "dns.test", tls }, watched.signal);
  assertEquals([protocol, watched.listeners], ["dot", 0]);
  stream.close();
  const other = await assertRejects(() => open({ ...at, host: "other.test", tls }), FailedLookup);
  assertEquals(other.kind, "away");
  assertStringIncludes(other.message, "Cannot trust other.test");
  const stranger = { alpn: ["dot"], caCerts: () => [] };
  const untrusted = await assertRejects(() => open({ ...at, host: "dns.test", tls: stranger }), FailedLookup);
  assertStringIncludes(untrusted.message, "Cannot trust dns.test");
  const plain = await open({ ...at, host: "dns.test", tls: { alpn: [], caCerts: () => [caPem] } });
  assertEquals(plain.protocol, undefined);
  plain.stream.close();
  listener.close();
  assertEquals((await soon("all ends", serving)).length, 4);
});

Deno.test("openServerSocket() is given up with its signal, at every step", async (t) => {
  const gone = new Error("gone");
  await t.step("before", async () => {
    await using peer = startSilentPeer();
    assert(await assertRejects(() => open({ port: peer.port }, AbortSignal.abort(gone))) === gone);
    assertEquals(peer.accepted.length, 0);
  });
  await t.step("while the name is looked up", async () => {
    const watched = watchSignal();
    const opening = open({ host: "dns.test", systemResolve: () => new Promise(() => {}) }, watched.signal);
    watched.abort(gone);
    assert(await assertRejects(() => opening) === gone);
    assertEquals(watched.listeners, 0);
  });
  await t.step("in the handshake, which ends for the server too", async () => {
    await using peer = startSilentPeer();
    const watched = watchSignal();
    const tls = { alpn: [], caCerts: () => [] };
    const opening = open({ port: peer.port, tls }, watched.signal);
    await waitUntil("it is connected", () => peer.accepted.length === 1);
    const [conn] = peer.accepted;
    assert(conn);
    await conn.read(new Uint8Array(1)); // its first message
    watched.abort(gone);
    assert(await assertRejects(() => opening) === gone);
    const into = new Uint8Array(4_096);
    const toTheEnd = async () => {
      while (await conn.read(into) !== null);
    };
    await soon("the end", toTheEnd());
    assertEquals(watched.listeners, 0);
  });
});

function closedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
