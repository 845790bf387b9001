/** Files of `--upstream-ca` that change while the real program runs. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { makeAuthority, upstreamAuthority } from "../support/test_authority.ts";

for (const workers of ["1", "2"]) {
  Deno.test(`--upstream-ca follows its file, and a bad one leaves the old in force, --workers ${workers}`, async () => {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-upstream-ca-" }));
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    const file = `${dir}/corp.pem`;
    const right = (await upstreamAuthority()).caPem;
    const other = (await makeAuthority("other")).caPem;
    await Deno.writeTextFile(file, other);
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
      await program.up([
        ...["--allow-cidr", "127.0.0.0/8", "--upstream-ca", "127.0.0.1=corp.pem", "--workers", workers],
      ]),
    );
    const token = await program.ok(["client", "create", "one"]);
    await program.ok(["allow", "one", "--host", "127.0.0.1", "--port", String(upstream.port)]);
    const ca = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    const target = `127.0.0.1:${upstream.port}`;
    const ask = async () => {
      using peer = await openTlsTunnel(daemon.httpPort, target, token, ca);
      await peer.send(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      const { status, body } = await soon("an answer", peer.readResponse());
      return { status, body };
    };
    const write = async (text: string, mode = 0o644) => {
      await Deno.writeTextFile(`${dir}/.new`, text);
      await Deno.chmod(`${dir}/.new`, mode);
      await Deno.rename(`${dir}/.new`, file);
    };
    const figures = async () => JSON.parse(await program.ok(["status", "--json"])).upstream_cas;

    const refused = await ask();
    assertEquals(refused.status, 502, refused.body);
    assertStringIncludes(refused.body, "which is not trusted here");

    await write(other + right);
    await daemon.waitWords(/upstream CA corp\.pem: 2 in force now, 1 added, 0 removed\n/);
    assertEquals((await ask()).status, 200);

    const rows: readonly (readonly [text: string, mode: number, problem: RegExp])[] = [
      ["no certificate", 0o644, /it holds no PEM certificate/],
      [`${right}-----BEGIN CERTIFICATE-----\nMIIB`, 0o644, /one of its certificates has no end/],
      [other, 0o666, /everybody can write to it/],
    ];
    for (const [text, mode, problem] of rows) {
      await write(text, mode);
      await daemon.waitWords(new RegExp(`${problem.source}; the certificates of before are in force\n`));
      assertEquals((await ask()).status, 200);
      const [{ error, ...rest }] = await figures();
      assertEquals(rest, { host: "127.0.0.1", file: "corp.pem", certificates: 2 });
      assert(problem.test(error), error);
      assertStringIncludes(await program.ok(["status"]), "CHANGED, AND NOT IN FORCE: Cannot use");
    }
    await waitUntil("the upstream's connection is kept", () => open > 0);

    // At once, for whoever says so.
    await write(other);
    daemon.child.kill("SIGHUP");
    await daemon.waitWords(
      /1 in force now, 0 added, 1 removed; upstream connections of before are not used again\n/,
    );
    await waitUntil("connections of before have ended", () => open === 0);
    assertEquals((await ask()).status, 502);
    assertEquals(await figures(), [{ host: "127.0.0.1", file: "corp.pem", certificates: 1 }]);
  });
}

Deno.test("up refuses an --upstream-ca file that everybody can write to", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-upstream-ca-" });
  try {
    await Deno.writeTextFile(`${dir}/ca.pem`, (await upstreamAuthority()).caPem);
    await Deno.chmod(`${dir}/ca.pem`, 0o666);
    const { code, stderr } = await new Program(dir).run(["up", "--upstream-ca", "ca.pem"]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, "cannot use the upstream CA ca.pem: everybody can write to it");
    assertStringIncludes(stderr, "chmod o-w FILE");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
