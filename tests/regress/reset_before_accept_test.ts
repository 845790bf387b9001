/**
 * A connection that is reset before it is accepted made the accept loop sleep for 50 ms: 20 such a second, from anybody, were
 * enough to keep everybody else out. And what is counted for a connection must be given back whatever its socket does.
 */
import { assert, assertEquals } from "@std/assert";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";
import { hasResets, startResets } from "../support/resets.ts";
import { soon, tcpPair, waitUntil } from "../support/sockets.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const GOOD = 100;

for (const perSecond of [50, 500]) {
  Deno.test({
    name: `${perSecond} connections a second that are reset before they are accepted keep nobody waiting`,
    ignore: !hasResets,
    fn: async () => {
      await using upstream = await startEchoUpstream({ names: [] });
      await using proxy = await startTestProxy();
      proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
      const host = `plain.test:${upstream.port}`;
      const most = 20 * perSecond; // 20 seconds' worth: with a pause for each, GOOD requests would take longer
      await using onPlain = startResets(proxy.httpPort, { perSecond, most });
      await using onTls = startResets(proxy.tlsPort, { perSecond, most });
      await waitUntil("they have begun", () => onPlain.made > 0 && onTls.made > 0);
      for (let i = 0; i < GOOD; i++) {
        using peer = await dialRaw(proxy.httpPort);
        await peer.send(
          `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
        );
        assertEquals((await soon("an answer", peer.readResponse(), 30_000)).status, 200);
      }
      assert(onPlain.made < most && onTls.made < most, `${onPlain.made} resets for ${GOOD} requests`);
      assert(onPlain.made > 0 && onTls.made > 0); // and somebody still listens
      // What came through as a connection, reset a moment later, is counted no more.
      await onPlain[Symbol.asyncDispose]();
      await onTls[Symbol.asyncDispose]();
      await waitUntil("all are gone", () => proxy.server.counters().connections === 0);
    },
  });
}

Deno.test("a socket that takes no options any more is closed, and nothing stays counted for it", async () => {
  await using upstream = await startEchoUpstream({ names: [] });
  await using proxy = await startTestProxy({ limits: { maxConnections: 1 } });
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  const host = `plain.test:${upstream.port}`;
  using pair = await tcpPair();
  const prototype: Pick<Deno.TcpConn, "setNoDelay"> = Object.getPrototypeOf(pair.near);
  const { setNoDelay } = prototype;
  try {
    prototype.setNoDelay = () => {
      throw new Deno.errors.InvalidData("Invalid argument (os error 22)"); // macOS, after a reset
    };
    for (let i = 0; i < 3; i++) {
      using peer = await dialRaw(proxy.httpPort);
      assertEquals(await soon("the end", peer.isClosed()), true);
    }
  } finally {
    prototype.setNoDelay = setNoDelay;
  }
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  assertEquals((await soon("an answer", peer.readResponse())).status, 200);
});
