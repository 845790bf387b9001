/** Status lines of refusals: many programs show nothing else of an answer to CONNECT. */
import { assertEquals, assertMatch } from "@std/assert";
import { hasProgram, runProgram } from "../support/programs.ts";
import { basic, dialRaw, openTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const auth = `Proxy-Authorization: ${basic(TOKEN)}\r\n`;

Deno.test("a status line says why, with the host in canonical form and nothing else of the request", async (t) => {
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "clear.test", ports: [80], methods: ["GET"] });
  proxy.policy.allow("one", { host: "gone.invalid", ports: [80] });
  const long = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(50)}.test`;
  const rows: [request: string, line: string][] = [
    [`CONNECT API.Example.COM.:443 HTTP/1.1\r\n${auth}`, "403 slicer-proxy: no-rule (api.example.com)"],
    [`CONNECT ${long}:443 HTTP/1.1\r\n${auth}`, `403 slicer-proxy: no-rule (${long})`],
    ["CONNECT api.example.com:443 HTTP/1.1\r\n", "407 slicer-proxy: auth-missing (api.example.com)"],
    [`CONNECT api.example.com HTTP/1.1\r\n${auth}`, "400 slicer-proxy: malformed"],
    [`GET /<script> HTTP/1.1\r\nHost: x\r\n${auth}`, "400 slicer-proxy: malformed"],
    [
      `POST http://clear.test/some/path HTTP/1.1\r\nHost: clear.test\r\n${auth}`,
      "403 slicer-proxy: no-rule (clear.test)",
    ],
    [
      `GET http://gone.invalid/ HTTP/1.1\r\nHost: gone.invalid\r\n${auth}`,
      "502 slicer-proxy: dns (gone.invalid)",
    ],
  ];
  for (const [request, line] of rows) {
    await t.step(line, async () => {
      using peer = await dialRaw(proxy.httpPort);
      await peer.send(`${request}\r\n`);
      assertEquals((await peer.readResponse()).head.split("\r\n")[0], `HTTP/1.1 ${line}`);
    });
  }
  await t.step("in a tunnel whose head cannot be read", async () => {
    using tunnel = await openTunnel(proxy.httpPort, "clear.test:80", TOKEN);
    await tunnel.send("GET / HTTP/3.0\r\n\r\n");
    assertEquals(
      (await tunnel.readResponse()).head.split("\r\n")[0],
      "HTTP/1.1 400 slicer-proxy: malformed (clear.test)",
    );
  });
});

Deno.test({
  ignore: !hasProgram("curl"),
  name: "curl shows the line of a CONNECT that was refused",
  fn: async () => {
    await using proxy = await startTestProxy();
    const { stderr } = await runProgram("curl", [
      ...["-sv", "-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, "https://api.example.com/"],
    ]);
    assertMatch(stderr, /HTTP\/1\.1 403 slicer-proxy: no-rule \(api\.example\.com\)/);
  },
});
