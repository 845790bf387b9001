/** A full house: the reckoning of `fitLimits()` against the real program with few descriptors. */
import { assert, assertEquals } from "@std/assert";
import { startRawUpstream } from "../support/echo_upstream.ts";
import { startTlsWrap } from "../support/forwarder.ts";
import { Program } from "../support/program.ts";
import { hasProgram } from "../support/programs.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

/** Tunnels that are opened at most, and at once. */
const MOST = 600;
const AT_ONCE = 10;

for (const [descriptors, letIn] of [[1_200, 130], [4_096, 500], [20_000, MOST]] as const) {
  Deno.test({
    name: `with ${descriptors} descriptors a full house refuses new clients, and the API and the log go on`,
    ignore: !hasProgram("prlimit"),
    fn: () => fill(descriptors, letIn),
  });
}

/** Tunnels that take six descriptors each: TLS to the proxy, TLS inside, and an upstream that has not answered. */
async function fill(descriptors: number, letIn: number): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-descriptors-" });
  const held = Promise.withResolvers<void>();
  const tunnels: RawPeer[] = [];
  try {
    await using upstream = await startRawUpstream(() => held.promise, { names: ["localhost"] });
    await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
    const program = new Program(dir, {}, ["prlimit", `--nofile=${descriptors}`]);
    await using daemon = await program.up([
      "--allow-cidr",
      "127.0.0.0/8,::1/128",
      "--upstream-ca",
      "upstream.pem",
    ]);
    const token = await program.ok(["client", "create", "one"]);
    await program.ok(["allow", "one", "--host", "localhost", "--port", String(upstream.port)]);
    const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    await using wrapped = startTlsWrap(daemon.httpsPort, caPem);
    const target = `localhost:${upstream.port}`;
    const open = async () => {
      const tunnel = await openTlsTunnel(wrapped.port, target, token, caPem);
      tunnels.push(tunnel);
      await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    };
    for (let isFull = false; !isFull && tunnels.length < MOST;) {
      const opened = await Promise.allSettled(Array.from({ length: AT_ONCE }, open));
      isFull = opened.some(({ status }) => status === "rejected");
    }
    assert(tunnels.length >= letIn, `${tunnels.length} tunnels`);
    const status = JSON.parse(await program.ok(["status", "--json"]));
    assertEquals(status.process.max_fds, descriptors);
    assert(status.process.open_fds < descriptors - 50, `${status.process.open_fds} are open`);
    if (letIn < MOST) await daemon.waitLine(/^deny client=- reason=overload/m);
    await program.ok(["revoke", "one", "--host", "localhost"]);
    held.resolve();
    await daemon.waitLine(/client=one .*host=localhost/);
  } finally {
    held.resolve();
    for (const tunnel of tunnels) tunnel[Symbol.dispose]();
    await Deno.remove(dir, { recursive: true });
  }
}
