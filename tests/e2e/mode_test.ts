/** Learning without a restart: the real program, with two workers, is switched for one client and ends that by itself. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Program } from "../support/program.ts";
import { basic, dialRaw, openTlsTunnel } from "../support/raw_peer.ts";

/** The status of a CONNECT to a host that no rule names. */
async function connectStatus(port: number, token: string): Promise<number> {
  using peer = await dialRaw(port);
  const auth = `Proxy-Authorization: ${basic(token)}`;
  await peer.send(`CONNECT new.test:443 HTTP/1.1\r\nHost: new.test:443\r\n${auth}\r\n\r\n`);
  return Number((await peer.readHead()).slice(9, 12));
}

Deno.test("mode: one client learns for a while, the other stays strict, and each switch is in the log", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-mode-" });
  try {
    const program = new Program(dir);
    await using daemon = await program.up(["--workers", "2"]);
    const [one, two] = [
      await program.ok(["client", "create", "one"]),
      await program.ok(["client", "create", "two"]),
    ];
    const statuses = async (token: string) =>
      await Promise.all(Array.from({ length: 12 }, () => connectStatus(daemon.httpPort, token)));
    assertEquals(new Set(await statuses(one)), new Set([403]));

    await program.ok(["mode", "audit", "--client", "one", "--for", "1h"]);
    assertEquals(new Set(await statuses(one)), new Set([200]));
    assertEquals(new Set(await statuses(two)), new Set([403]));
    assertMatch(await program.ok(["mode"]), /\(all\) +strict[^]*one +audit +in (1h|59m)/);

    // What is learnt is what suggest makes a rule of.
    const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
    using tunnel = await openTlsTunnel(daemon.httpPort, "new.test:443", one, caPem);
    await tunnel.send("GET /v1/things HTTP/1.1\r\nHost: new.test\r\n\r\n");
    assertEquals((await tunnel.readResponse()).status, 403);
    assertStringIncludes(await program.ok(["suggest", "one"]), "--path /v1/things");

    await program.ok(["mode", "audit", "--for", "2s"]); // for all, in the place of the one before
    assertEquals(new Set(await statuses(two)), new Set([200]));
    for (;;) if (await connectStatus(daemon.httpPort, two) === 403) break; // it ends by itself
    assertEquals(new Set(await statuses(one)), new Set([403]));

    await program.ok(["mode", "audit"]);
    await program.ok(["mode", "strict"]);
    assertEquals(new Set(await statuses(one)), new Set([403]));
    const changes = (await program.ok(["logs"])).split("\n").filter((line) => line.includes(" change "));
    assertEquals(changes.map((line) => line.replace(/^\S+ +/, "")), [
      "change client=one mode=audit duration=1h",
      "change client=* mode=audit duration=2.0s",
      "change client=* mode=audit",
      "change client=* mode=strict",
    ]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("mode: bad values and unknown clients are refused, and nothing is switched", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-mode-" });
  try {
    const program = new Program(dir);
    await using _daemon = await program.up(["--workers", "1"]);
    for (const args of [["loud"], ["audit", "--for", "soon"], ["audit", "--for", "1500ms"]]) {
      assertEquals((await program.run(["mode", ...args])).code === 0, false, args.join(" "));
    }
    const unknown = await program.run(["mode", "audit", "--client", "nobody"]);
    assertEquals([unknown.code, unknown.stderr.includes("nobody")], [1, true]);
    assertEquals(JSON.parse(await program.ok(["mode", "--json"])), { mode: "strict", switches: [] });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
