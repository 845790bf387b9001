/** `secret test` and `secret show` in the real program, and the SDK's calls of them. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SlicerProxy } from "../../sdk/slicer_proxy.ts";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { header } from "../support/fake_provider.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

Deno.test("secret test tells a right credential from a wrong one, and secret show who uses it", async () => {
  await using stack = new AsyncDisposableStack();
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-secret-use-" }));
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
  const upstream = stack.use(
    await startRawUpstream(async (peer) => {
      for (let request; (request = await readRequest(peer));) {
        const isRight = header(request, "authorization") === "Bearer planted-right";
        await peer.send(`HTTP/1.1 ${isRight ? 200 : 401} X\r\nContent-Length: 0\r\n\r\n`);
      }
    }, { names: ["localhost"] }),
  );
  const program = new Program(dir);
  const daemon = stack.use(
    await program.up(["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem"]),
  );
  const at = `https://localhost:${upstream.port}/v1/me?x=planted-query`;
  const create = (value: string) =>
    program.run(["secret", "create", "key", "--host", "localhost", "--force", "--value-file", "-"], {
      stdin: value,
    });
  const token = (await program.ok(["client", "create", "one"])).trim();
  assertEquals((await create("planted-right")).code, 0);
  await program.ok([
    ...["allow", "one", "--host", "localhost", "--port", String(upstream.port)],
    ...["--path", "/v1/*", "--method", "GET", "--secret", "key"],
  ]);

  const right = await program.run(["secret", "test", "key", "--at", at]);
  assertEquals([right.code, right.stdout], [0, ""]);
  assertStringIncludes(right.stderr, `secret key works: localhost:${upstream.port} takes the credential`);
  const unused = await program.ok(["secret", "show", "key"]);
  assertMatch(unused, /^type +bearer$/m);
  assertMatch(unused, /^last used +not since the proxy was started/m);
  assertMatch(unused, new RegExp(`^ {2}one localhost GET /v1/\\* ${upstream.port}$`, "m"));

  const ca = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
  const target = `localhost:${upstream.port}`;
  using peer = await openTlsTunnel(daemon.httpPort, target, token, ca);
  await peer.send(`GET /v1/me HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  assertEquals((await peer.readResponse()).status, 200);
  const sdk = new SlicerProxy({ url: `${dir}/.slicer/proxy/api.sock` });
  let details = await sdk.secrets.show("key");
  for (let i = 0; details.last_used_at === undefined && i < 200; i++) { // its record follows the answer
    await new Promise((resolve) => setTimeout(resolve, 25));
    details = await sdk.secrets.show("key");
  }
  assertEquals([details.last_used_by, details.used_by.length], ["one", 1]);
  assert(Math.abs(Date.parse(details.last_used_at ?? "") - Date.now()) < 60_000);
  assertMatch(await program.ok(["secret", "show", "key"]), /^last used +20\S+ by one$/m);

  assertEquals((await create("planted-wrong")).code, 0);
  const wrong = await program.run(["secret", "test", "key", "--at", at]);
  assertEquals(wrong.code, 1);
  assertStringIncludes(wrong.stderr, "refuses the credential (HTTP status 401)");
  const tested = await sdk.secrets.test("key", { url: at });
  assertEquals([tested.verdict, tested.status], ["refused", 401]);
  const unknown = await program.run(["secret", "test", "key"]);
  assertStringIncludes(unknown.stderr, "no harmless call is known for localhost");
  assertStringIncludes(unknown.stderr, "--at https://localhost/PATH");
  assertEquals((await program.run(["secret", "show", "nobody"])).code, 1);

  await daemon.end("SIGTERM");
  const said = [right, wrong, unknown].map(({ stdout, stderr }) => stdout + stderr).join() + unused +
    JSON.stringify([details, tested]) + daemon.stdout.text + daemon.stderr.text;
  assertEquals(said.match(/.{0,30}planted.{0,20}/g), null);
});
