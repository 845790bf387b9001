/** A key in a file that changes, in the real program: the next request has it, what was open with the old one ends. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { header } from "../support/fake_provider.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

for (const workers of ["1", "2"]) {
  Deno.test(`an upstream's 401 brings the file's new key, and a bad file keeps it, --workers ${workers}`, async () => {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-followed-" }));
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
    await Deno.writeTextFile(`${dir}/key`, "planted-1", { mode: 0o600 });
    let right = "planted-1";
    const upstream = stack.use(
      await startRawUpstream(async (peer) => {
        for (let request; (request = await readRequest(peer));) {
          if (request.requestLine.includes("/stream")) {
            await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
            continue;
          }
          const isRight = header(request, "authorization") === `Bearer ${right}`;
          await peer.send(`HTTP/1.1 ${isRight ? 200 : 401} X\r\nContent-Length: 0\r\n\r\n`);
        }
      }, { names: ["localhost"] }),
    );
    const program = new Program(dir);
    const daemon = stack.use(
      await program.up([
        ...["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem", "--workers", workers],
      ]),
    );
    const token = (await program.ok(["client", "create", "one"])).trim();
    await program.ok(["secret", "create", "key", "--host", "localhost", "--from-file", "key"]);
    await program.ok([
      "allow",
      "one",
      "--host",
      "localhost",
      "--port",
      String(upstream.port),
      "--secret",
      "key",
    ]);
    const ca = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    const target = `localhost:${upstream.port}`;
    const send = async (path: string): Promise<RawPeer> => {
      const peer = await openTlsTunnel(daemon.httpPort, target, token, ca);
      await peer.send(`GET ${path} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      return peer;
    };
    const ask = async (): Promise<string> => {
      using peer = await send("/");
      return await peer.readHead().catch(() => "cut");
    };
    const until = async (isSo: () => Promise<boolean>) => {
      for (let i = 0; !await isSo(); i++) {
        assert(i < 200, "it did not happen");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    assertMatch(await ask(), /^HTTP\/1.1 200/);
    using stream = await send("/stream");
    await stream.readHead();

    right = "planted-2";
    await Deno.writeTextFile(`${dir}/.new`, "planted-2", { mode: 0o600 });
    await Deno.rename(`${dir}/.new`, `${dir}/key`);
    await until(async () => (await ask()).startsWith("HTTP/1.1 200"));
    assertEquals((await stream.readAll().catch(() => "begin")).replace(/^$/, "begin"), "begin"); // ended, and not whole

    await Deno.writeTextFile(`${dir}/key`, "planted\nin two lines");
    await until(async () => (await program.ok(["secret", "list"])).includes("the value of before is used"));
    assertMatch(await ask(), /^HTTP\/1.1 200/);
    assertMatch(await program.ok(["status"]), /the value of before is used/);
    await daemon.end("SIGTERM");
    assertEquals((daemon.stdout.text + daemon.stderr.text).match(/.{0,30}planted.{0,20}/g), null);
  });
}
