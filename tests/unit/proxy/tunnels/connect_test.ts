import { assertEquals, assertMatch } from "@std/assert";
import { basic, dialRaw } from "../../../support/raw_peer.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { startTestProxy, TOKEN } from "../../../support/start_proxy.ts";

const connect = (target: string, more = "") => `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${more}\r\n`;

/** Up to and with its request, at once: the answers before the last stay unread. */
const OPENINGS: readonly (readonly [name: string, bytes: string])[] = [
  [
    "CONNECT",
    connect("nobody.test:443") + connect("up.test:443", `Proxy-Authorization: ${basic(TOKEN)}\r\n`),
  ],
  [
    "SOCKS5",
    "\x05\x01\x02" + `\x01\x01p${String.fromCharCode(TOKEN.length)}${TOKEN}` +
    "\x05\x01\x00\x03\x07up.test\x01\xbb",
  ],
];

Deno.test("a client that resets before it is told that its tunnel is open is no bug, and has one line", async (t) => {
  for (const [method, bytes] of OPENINGS) {
    for (const reason of ["client-closed", "no-rule"]) {
      await t.step(`${method}, ${reason}`, async () => {
        const isWarm = () => {
          peer.conn.close(); // with answers that it has not read: a reset
          return true;
        };
        await using proxy = await startTestProxy({ explain: "inside", certificates: { isWarm } });
        if (reason !== "no-rule") proxy.policy.allow("one", { host: "up.test", ports: [443] });
        using peer = await dialRaw(proxy.httpPort);
        await peer.send(bytes);
        const lines = () => proxy.lines.filter((line) => line.includes("host=up.test"));
        await waitUntil("it has come", () => lines().length > 0);
        await waitUntil("it is gone", () => proxy.server.counters().connections === 0);
        await proxy[Symbol.asyncDispose]();
        assertEquals(lines().length, 1);
        assertMatch(lines()[0] ?? "", new RegExp(`^deny client=one .*method=${method} .*reason=${reason}`));
      });
    }
  }
});

Deno.test("a CONNECT at which something fails that may not fail is answered, and reported as a bug", async () => {
  await using proxy = await startTestProxy();
  proxy.policy.rulesFor = () => {
    throw new TypeError("bug");
  };
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(connect("up.test:443", `Proxy-Authorization: ${basic(TOKEN)}\r\n`));
  assertEquals((await peer.readResponse()).status, 500);
  assertMatch(
    await proxy.waitLine(/^deny client=one /),
    /method=CONNECT host=up\.test port=443 .*reason=internal/,
  );
  assertEquals(proxy.bugs.splice(0).map(String), ["TypeError: bug"]);
});
