/** A POST went over a kept connection that its upstream was closing (gunicorn does after 2 s), and was answered 502. */
import { assertEquals } from "@std/assert";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const POSTS = 20;

Deno.test("no POST is lost on a connection that its upstream closes when it has been idle", async () => {
  // Closes at the worst moment: when the next request comes after 1.5 s or more.
  await using upstream = await startRawUpstream(async (peer) => {
    for (let idleSince = Infinity;;) {
      const request = await readRequest(peer);
      if (!request || performance.now() - idleSince > 1_500) return;
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      idleSince = performance.now();
    }
  }, { names: [] });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const post = async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send(
      `POST http://up.test:${upstream.port}/ HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n` +
        `Proxy-Authorization: ${basic(TOKEN)}\r\nContent-Length: 2\r\n\r\nhi`,
    );
    return (await soon("an answer", peer.readResponse())).status;
  };
  const postAll = () => Promise.all(Array.from({ length: POSTS }, post));
  const allGood = new Array(POSTS).fill(200);
  assertEquals(await postAll(), allGood);
  const doneAt = performance.now();
  await waitUntil("the upstream would close", () => performance.now() - doneAt > 1_600);
  assertEquals(await postAll(), allGood);
});
