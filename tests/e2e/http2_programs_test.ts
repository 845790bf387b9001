/** Programs of people over HTTP/2: event streams, Python's httpx, audit mode and what is suggested afterwards. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DenialTally } from "../../policy/denial_tally.ts";
import { suggestRules } from "../../policy/suggest.ts";
import { openHttp2 } from "../support/http2_client.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const PYTHON = "/usr/bin/python3";
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("server-sent events arrive one by one, whoever waits for the next", async () => {
  const seen = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      stream.respond({ status: 200, fields: [{ key: "content-type", value: "text/event-stream" }] });
      await stream.write(bytes("data: 1\n\n"));
      await seen[0]?.promise; // the client has the first before there is a second
      await stream.write(bytes("data: 2\n\n"));
      await seen[1]?.promise;
      await stream.write(bytes("data: 3\n\n"), true);
    },
  });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  const stream = await client.open("/events");
  assertEquals((await stream.response()).status, 200);
  for (const [i, expected] of ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"].entries()) {
    await stream.fill();
    assertEquals(text(stream.available), expected);
    stream.consume(stream.available.length);
    seen[i]?.resolve();
  }
  assertEquals(await stream.fill(), false);
  await proxy.waitLine(/path=\/events status=200 .*received=27 .*proto=h2/);
});

const HTTPX = `
import sys, httpx
proxy, ca, base = sys.argv[1:4]
with httpx.Client(http2=True, proxies=proxy, verify=ca, timeout=20) as client:
    a = client.get(base + "/v1/a")
    print(a.http_version, a.status_code, a.text)
    b = client.post(base + "/v1/b", content=b"x" * 300_000)
    print(b.http_version, b.status_code, len(b.content))
    c = client.get(base + "/v2")
    print(c.http_version, c.status_code, c.headers["x-slicer-proxy-reason"])
    with client.stream("GET", base + "/v1/stream") as d:
        print("".join(d.iter_text()))
`;

Deno.test({ ignore: !await canImport("httpx, h2"), name: "Python's httpx with HTTP/2" }, async () => {
  await using upstream = await startHttp2Upstream();
  await using proxy = await startTestProxy();
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/v1/*"], secret: "key" });
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-httpx-" });
  try {
    await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
    await Deno.writeTextFile(`${dir}/client.py`, HTTPX);
    const { stdout, stderr } = await runProgram(PYTHON, [
      ...[`${dir}/client.py`, `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, `${dir}/ca.pem`],
      `https://up.test:${upstream.port}`,
    ]);
    assertEquals(stdout.split("\n"), [
      "HTTP/2 200 GET /v1/a Bearer REAL",
      `HTTP/2 200 ${300_000 + "POST /v1/b Bearer REAL".length}`,
      "HTTP/2 403 no-rule",
      "GET /v1/stream Bearer REAL",
      "",
    ], stderr);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test(
  { ignore: !hasProgram("curl"), name: "audit mode over HTTP/2 suggests what was asked" },
  async () => {
    await using upstream = await startHttp2Upstream();
    await using proxy = await startTestProxy({ mode: "audit" });
    const dir = await Deno.makeTempDir({ prefix: "slicer-test-audit-" });
    const base = `https://up.test:${upstream.port}`;
    const curl = (...args: readonly string[]) =>
      runProgram("curl", [
        ...["-sS", "-i", "--http2", "--max-time", "20", "--cacert", `${dir}/ca.pem`],
        ...["--suppress-connect-headers", "-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, ...args],
      ]);
    try {
      await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
      const denied = await curl(`${base}/v1/models`, `${base}/v1/usage`);
      assertMatch(denied.stdout, /^HTTP\/2 403[^]*HTTP\/2 403/);
      await curl("-X", "POST", "-H", "content-type: application/grpc", `${base}/p.S/Get`);
      await proxy.waitLine(/path=\/p\.S\/Get mode=audit reason=no-rule .*grpc-status=7/);
      assertEquals(upstream.connections, 0);
      const tally = new DenialTally("one");
      for (const record of proxy.records) tally.add(record);
      const { proposals } = suggestRules({ denials: tally.denials, rules: [] });
      for (const { rule } of proposals) proxy.policy.allow("one", rule);
      assertEquals(
        proposals.map(({ rule: { grpc, paths } }) => grpc ?? paths),
        [["p.S/Get"], ["/v1/models", "/v1/usage"]],
      );
      const allowed = await curl(`${base}/v1/models`, `${base}/v1/usage`, `${base}/v1/other`);
      assertStringIncludes(allowed.stdout, "GET /v1/models -");
      assertStringIncludes(allowed.stdout, "GET /v1/usage -");
      assertMatch(allowed.stdout, /HTTP\/2 403[^]*no-rule/);
      const call = await curl("-X", "POST", "-H", "content-type: application/grpc", `${base}/p.S/Get`);
      assertStringIncludes(call.stdout, "POST /p.S/Get -");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);

async function canImport(modules: string): Promise<boolean> {
  try {
    const command = new Deno.Command(PYTHON, { args: ["-c", `import ${modules}`], stderr: "null" });
    return (await command.output()).success;
  } catch {
    return false;
  }
}
