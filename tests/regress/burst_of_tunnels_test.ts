/**
 * When several hundred tunnels were opened at once, accepted loopback connections were ahead of the connects that register
 * them by more than the number of strangers that is borne, and the proxy cut its own.
 */
import { assertEquals } from "@std/assert";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

Deno.test("hundreds of tunnels that are opened at once all get through", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const target = `up.test:${upstream.port}`;
  for (let round = 0; round < 3; round++) {
    const tunnels = await Promise.allSettled(
      Array.from({ length: 400 }, () => openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem)),
    );
    const open = tunnels.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
    for (const tunnel of open) tunnel[Symbol.dispose]();
    assertEquals(open.length, tunnels.length);
    while (proxy.server.counters().connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
});
