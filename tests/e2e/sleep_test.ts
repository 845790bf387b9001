/** A machine that slept, in the real program: the process is stopped for a while, as a paused VM's is. */
import { assertEquals } from "@std/assert";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

for (const workers of ["1", "2"]) {
  Deno.test(`after a sleep no request gets an upstream connection of before, --workers ${workers}`, async () => {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-sleep-" }));
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    await Deno.writeTextFile(`${dir}/ca.pem`, (await upstreamAuthority()).caPem);
    let open = 0;
    const upstream = stack.use(
      await startRawUpstream(async (peer) => {
        open++;
        try {
          while (await readRequest(peer)) await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        } finally {
          open--;
        }
      }, { names: ["127.0.0.1"] }),
    );
    const program = new Program(dir);
    const daemon = stack.use(
      await program.up(["--allow-cidr", "127.0.0.0/8", "--upstream-ca", "ca.pem", "--workers", workers]),
    );
    const token = await program.ok(["client", "create", "one"]);
    await program.ok(["allow", "one", "--host", "127.0.0.1", "--port", String(upstream.port)]);
    const ca = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    const target = `127.0.0.1:${upstream.port}`;
    const ask = async () => {
      using peer = await openTlsTunnel(daemon.httpPort, target, token, ca);
      await peer.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      assertEquals((await soon("an answer", peer.readResponse())).status, 200);
    };
    await ask();
    await waitUntil("it is kept", () => open === 1);
    const stoppedAt = performance.now();
    daemon.child.kill("SIGSTOP");
    await waitUntil("that was a sleep", () => performance.now() - stoppedAt > 7_500);
    daemon.child.kill("SIGCONT");
    await daemon.waitWords(
      /nothing ran here for \d+s: connections and names of before are not used again\n/,
    );
    await waitUntil("what was idle has ended", () => open === 0);
    await ask();
    assertEquals(upstream.connections, 2);
  });
}
