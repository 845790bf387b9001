import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connectFrom } from "../../../../../proxy/egress/connect/source_dial.ts";
import { startRawUpstream } from "../../../../support/echo_upstream.ts";
import { hasFullBacklog, startFullBacklog } from "../../../../support/full_backlog.ts";
import { settledSockets, soon, startSilentPeer } from "../../../../support/sockets.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const LINUX = { ignore: Deno.build.os !== "linux" }; // where all of 127.0.0.0/8 is ours

Deno.test({
  ...LINUX,
  name: "connectFrom() connects from the address, lets go of its signal, and goes on when the peer has ended",
  fn: async () => {
    const sources: string[] = [];
    const got = Promise.withResolvers<string>();
    await using upstream = await startRawUpstream(async (peer) => {
      sources.push((peer.conn.remoteAddr as Deno.NetAddr).hostname);
      await peer.conn.closeWrite();
      got.resolve(await peer.readAll());
    }, { names: [] });
    const watch = watchSignal();
    const to = { hostname: "127.0.0.1", port: upstream.port, signal: watch.signal };
    const stream = await soon("the connection", connectFrom("127.0.0.2", to));
    assertEquals(watch.listeners, 0);
    assertEquals(await soon("its end", stream.read(new Uint8Array(1))), null);
    await stream.write(new TextEncoder().encode("still here"));
    await stream.closeWrite();
    assertEquals(await soon("our words", got.promise), "still here");
    assertEquals(sources, ["127.0.0.2"]);
    stream.close();
  },
});

Deno.test({
  ...LINUX,
  name: "connectFrom() fails as the runtime's own connect does, and leaves nothing open",
  fn: async () => {
    const before = await settledSockets();
    const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    closed.close();
    const watch = watchSignal();
    const to = { hostname: "127.0.0.1", port: closed.addr.port, signal: watch.signal };
    await assertRejects(
      () => soon("the failure", connectFrom("127.0.0.2", to)),
      Deno.errors.ConnectionRefused,
    );
    const error = await assertRejects(() => soon("the failure", connectFrom("192.0.2.1", to)), Error);
    assertMatch((error as { readonly code?: string }).code ?? "", /^E(?:INVAL|ADDRNOTAVAIL)$/); // not an address of ours
    assertEquals([watch.listeners, await settledSockets()], [0, before]);
  },
});

Deno.test({
  ...LINUX,
  name: "connectFrom() that is given up before it begins dials nobody",
  fn: async () => {
    await using silent = startSilentPeer();
    const why = new Error("no more");
    const to = { hostname: "127.0.0.1", port: silent.port, signal: AbortSignal.abort(why) };
    assertEquals(await assertRejects(() => soon("the failure", connectFrom("127.0.0.2", to))), why);
    await settledSockets();
    assertEquals(silent.accepted.length, 0);
  },
});

Deno.test({
  ignore: LINUX.ignore || !hasFullBacklog,
  name: "connectFrom() that is given up on its way ends with the signal's reason",
  fn: async () => {
    await using full = await startFullBacklog();
    const watch = watchSignal();
    const to = { hostname: "127.0.0.1", port: full.port, signal: watch.signal };
    const why = new Error("no more");
    const dialling = connectFrom("127.0.0.2", to);
    dialling.catch(() => {});
    while (watch.listeners === 0) await new Promise((next) => setTimeout(next, 1));
    watch.abort(why);
    assertEquals(await assertRejects(() => soon("the failure", dialling)), why);
    assertEquals(watch.listeners, 0);
  },
});
