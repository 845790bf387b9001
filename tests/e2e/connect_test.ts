/** `connect`, as SSH's ProxyCommand runs it, without a helper in the VM. */
import { assertEquals, assertMatch } from "@std/assert";
import { startRawUpstream } from "../support/echo_upstream.ts";
import { Program } from "../support/program.ts";

Deno.test("connect joins stdin and stdout to a host, and says which rule is missing, in a form that works", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.send(`you sent ${await peer.readUntil("\n")}`);
  }, { names: [] });
  const dir = await Deno.makeTempDir();
  try {
    const program = new Program(dir);
    await using daemon = await program.up(["--allow-cidr", "127.0.0.0/8"]);
    await Deno.writeTextFile(`${dir}/token`, await program.ok(["client", "create", "ci-1"]));
    const connect = (...way: string[]) =>
      program.run(["connect", `127.0.0.1:${upstream.port}`, ...way], { stdin: "hello\n" });
    const way = [
      ...["--proxy", `127.0.0.1:${daemon.httpsPort}`, "--token-file", "token"],
      ...["--ca", ".slicer/ca/sbox/ca.crt"],
    ];

    const unnamed = await connect();
    assertMatch(unnamed.stderr, /no helper is installed\nhint: .*for a proxy on loopback, write --proxy IP/);

    const refused = await connect(...way);
    assertEquals([refused.code, refused.stdout], [1, ""]);
    const hint = `slicer-proxy allow ci-1 --host 127.0.0.1 --port ${upstream.port} --passthrough`;
    assertEquals(refused.stderr.split("\n")[1], `hint: on the host: ${hint}`);

    await program.ok(hint.split(" ").slice(1));
    assertEquals((await connect(...way)).stdout, "you sent hello\n");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
