/** `seal-key rotate` of the running program: requests with secrets go on in all threads, and a restart finds the new key. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { readRequest, type SeenRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { header } from "../support/fake_provider.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { waitUntil } from "../support/sockets.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const WORKERS = Deno.build.os === "linux" ? 2 : 1;

Deno.test("seal-key rotate: nobody notices but the files", async () => {
  const seen: SeenRequest[] = [];
  await using upstream = await startRawUpstream(async (peer) => {
    for (let request; (request = await readRequest(peer));) {
      seen.push(request);
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  }, { names: ["localhost"] });
  const dir = await Deno.makeTempDir({ prefix: "slicer-seal-" });
  try {
    const program = new Program(dir);
    await Deno.writeTextFile(`${dir}/roots.crt`, (await upstreamAuthority()).caPem);
    const flags = [`--workers=${WORKERS}`, "--allow-cidr=127.0.0.0/8,::1/128", "--upstream-ca=roots.crt"];
    const target = `localhost:${upstream.port}`;
    const mk = `${dir}/.slicer/proxy/mk`;
    let token = "";
    const ca = () => Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    {
      await using daemon = await program.up(flags);
      token = await program.ok(["client", "create", "one"]);
      await program.ok(["secret", "create", "key", "--host", "localhost", "--value-file=-"], {
        stdin: "planted",
      });
      await program.ok([
        "allow",
        "one",
        "--host",
        "localhost",
        "--port",
        `${upstream.port}`,
        "--secret",
        "key",
      ]);
      const caPem = await ca();
      let isOver = false;
      const statuses: number[] = [];
      const traffic = Promise.all(Array.from({ length: 4 }, async () => {
        while (!isOver) {
          using tunnel = await openTlsTunnel(daemon.httpPort, target, token, caPem);
          for (let n = 0; n < 5; n++) {
            await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
            statuses.push((await tunnel.readResponse()).status);
          }
        }
      }));
      await waitUntil("requests", () => statuses.length > 20);
      const first = await Deno.readTextFile(mk);
      for (let round = 0; round < 3; round++) {
        const before = await Deno.readTextFile(mk);
        const rotated = JSON.parse(await program.ok(["seal-key", "rotate", "--json"]));
        assertEquals([rotated.secrets, rotated.key_file], [1, ".slicer/proxy/mk"]);
        assertEquals(await Deno.readTextFile(`${mk}.previous`), before);
        assert(await Deno.readTextFile(mk) !== before);
        const more = statuses.length + 20;
        await waitUntil("requests after it", () => statuses.length > more);
      }
      isOver = true;
      await traffic;
      assertEquals(statuses.filter((status) => status !== 200), []);
      assert(seen.every((request) => header(request, "authorization") === "Bearer planted"));
      // A change afterwards is sealed with the new key.
      await program.ok(["secret", "create", "late", "--host", "localhost", "--value-file=-"], {
        stdin: "late",
      });
      await Deno.writeTextFile(`${dir}/first`, first, { mode: 0o600 });
      const again = await program.run(["seal-key", "rotate", "--key-file", mk]);
      assertEquals([again.code, /the one in force/.test(again.stderr)], [1, true]);
      const open = await program.run(["seal-key", "rotate", "--key-file", "none"]);
      assertMatch(open.stderr, /^error: cannot unseal the state: its seal key \S+\/none is missing/im);
    }
    const old = await program.run(["up", "--http-port=1", "--https-port=2", "--seal-key-file=first"]);
    assertEquals(old.code, 1);
    assertMatch(
      old.stderr,
      /the seal key first is not the one that it was sealed with \(its key is [0-9a-f]{16}/,
    );
    await using daemon = await program.up(flags);
    using tunnel = await openTlsTunnel(daemon.httpPort, target, token, await ca());
    await tunnel.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    assertEquals((await tunnel.readResponse()).status, 200);
    assertEquals(seen.slice(-1).map((request) => header(request, "authorization")), ["Bearer planted"]);
    await Deno.writeTextFile(`${dir}/mk2`, `${"a5".repeat(32)}\n`, { mode: 0o600 });
    const { stdout, stderr } = await program.run(["seal-key", "rotate", "--key-file", "mk2"]);
    assertMatch(stdout, /^sealed 2 secrets with the key [0-9a-f]{16}, which is in \/\S+\/mk2\n$/);
    assertStringIncludes(stderr, "from now on the proxy starts with --seal-key-file");
    for (const text of [stdout, stderr, daemon.stderr.text]) assert(!text.includes("a5a5a5a5"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
