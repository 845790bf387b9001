/**
 * The program with its data plane in one thread and on two: the same requests, roots, changes, log and stop. Which of the two
 * `up` takes by itself depends on the machine, so every other test with a process tries either, and this one both.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { readRequest, type SeenRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { header } from "../support/fake_provider.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

for (const workers of [1, 2]) {
  Deno.test({
    name: `up --workers=${workers}: a request, a change, and a stop while another request is under way`,
    ignore: workers > 1 && Deno.build.os !== "linux",
    fn: async () => {
      const seen: SeenRequest[] = [];
      const arrived = Promise.withResolvers<void>();
      const go = Promise.withResolvers<void>();
      await using upstream = await startRawUpstream(async (peer) => {
        for (let request; (request = await readRequest(peer));) {
          seen.push(request);
          if (request.requestLine.includes("/slow")) {
            arrived.resolve();
            await go.promise;
          }
          await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
      }, { names: ["localhost"] });
      const dir = await Deno.makeTempDir({ prefix: "slicer-threads-" });
      try {
        const program = new Program(dir);
        await Deno.writeTextFile(`${dir}/roots.crt`, (await upstreamAuthority()).caPem);
        const flags = [`--workers=${workers}`, "--allow-cidr=127.0.0.0/8,::1/128", "--upstream-ca=system"];
        await using daemon = await program.up(flags, { SSL_CERT_FILE: `${dir}/roots.crt` });
        assertMatch(await program.ok(["status"]), new RegExp(`^workers +${workers}$`, "m"));
        const token = await program.ok(["client", "create", "one"]);
        await program.ok(["secret", "create", "key", "--host", "localhost", "--value-file=-"], {
          stdin: "planted",
        });
        const port = `${upstream.port}`;
        const rule = ["one", "--host", "localhost", "--port", port, "--path", "/a", "--secret", "key"];
        await program.ok(["allow", ...rule]);
        await program.ok(["allow", "one", "--host", "localhost", "--port", port, "--path", "/slow"]);
        const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
        const open = () => openTlsTunnel(daemon.httpPort, `localhost:${port}`, token, caPem);
        const get = async (tunnel: RawPeer, path: string) => {
          await tunnel.send(`GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
          return (await tunnel.readResponse()).status;
        };
        using first = await open();
        assertEquals(await get(first, "/a"), 200);
        assertEquals(seen.map((request) => header(request, "authorization")), ["Bearer planted"]);
        await program.ok(["revoke", ...rule]);
        assertEquals(await first.isClosed(), true);
        using again = await open();
        assertEquals(await get(again, "/a"), 403);
        const second = new Program(`${dir}/.slicer`);
        const ports = [`--http-port=${daemon.httpPort}`, `--https-port=${daemon.httpsPort}`];
        const { code, stderr } = await second.run(["up", `--workers=${workers}`, ...ports]);
        assertEquals(code, 1);
        assertMatch(stderr, /^error: cannot listen on 127\.0\.0\.1:\d+: the port is in use$/m);
        const slow = get(again, "/slow");
        await arrived.promise;
        const ended = daemon.end("SIGTERM");
        go.resolve();
        assertEquals(await soon("the answer", slow), 200);
        assertEquals((await ended).code, 0, daemon.stderr.text);
        const lines = daemon.stdout.text.split("\n").filter((line) => line.startsWith("allow "));
        assertEquals(lines.map((line) => /path=\S+ status=\d+/.exec(line)?.[0]), [
          "path=/a status=200",
          "path=/slow status=200",
        ]);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}
