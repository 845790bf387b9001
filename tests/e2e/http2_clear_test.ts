/** HTTP/2 with prior knowledge (RFC 9113 §3.3) inside a tunnel without TLS. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { PREFACE } from "../../proxy/http2/frames.ts";
import { openHttp2 } from "../support/http2_client.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { openTunnel } from "../support/raw_peer.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const PYTHON = "/usr/bin/python3";

/** A server that notes what it gets, answers with `words` and closes. */
function startListener(words: string) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let got = "";
  const serving = (async () => {
    for await (const conn of listener) {
      const buffer = new Uint8Array(65_536);
      // The preface and SETTINGS come in one write or in more.
      while (!got.includes("SM\r\n\r\n")) {
        const count = await conn.read(buffer);
        if (count === null) break;
        got += new TextDecoder("latin1").decode(buffer.subarray(0, count));
      }
      await conn.write(new TextEncoder().encode(words)).catch(() => {});
      for (;;) {
        const count = await conn.read(buffer).catch(() => null);
        if (count === null) break;
        got += new TextDecoder("latin1").decode(buffer.subarray(0, count));
      }
      conn.close();
    }
  })().catch(() => {});
  return {
    port: listener.addr.port,
    got: () => got,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await serving;
    },
  };
}

Deno.test("every stream is decided by its path, and goes on in clear as HTTP/2", async () => {
  await using upstream = await startHttp2Upstream({ isClear: true });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/v1/*"] });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`, { isClear: true });
  const allowed = await client.ask("/v1/a", { fields: [{ key: "authorization", value: "Bearer MINE" }] });
  assertEquals([allowed.status, allowed.body], [200, "GET /v1/a Bearer MINE"]);
  const denied = await client.ask("/v2");
  assertEquals([denied.status, denied.fields["x-slicer-proxy-reason"]], [403, "no-rule"]);
  assertEquals([upstream.requests.length, upstream.connections], [1, 1]);
  await proxy.waitLine(/^allow .*method=GET scheme=http .*path=\/v1\/a status=200 .*proto=h2/);
  await proxy.waitLine(/^deny .*scheme=http .*path=\/v2 .*reason=no-rule .*proto=h2/);
});

Deno.test("no credential goes over it, and the answer says what can have it", async () => {
  await using upstream = await startHttp2Upstream({ isClear: true });
  await using proxy = await startTestProxy({ cleartextSecrets: "always" });
  proxy.policy.setCredential({
    ...{ secret: "key", host: "up.test", cleartext: true },
    headers: [["Authorization", "Bearer REAL"]],
  });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "key" });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`, { isClear: true });
  const denied = await client.ask("/a");
  assertEquals([denied.status, denied.fields["x-slicer-proxy-reason"]], [403, "cleartext-secret"]);
  assertStringIncludes(denied.body, "not sent over HTTP/2 without TLS; HTTP/1.1 and TLS can have it");
  const call = await client.ask("/p.S/Get", {
    method: "POST",
    fields: [{ key: "content-type", value: "application/grpc" }],
  });
  assertEquals([call.status, call.fields["grpc-status"]], [200, "7"]);
  assertMatch(call.fields["grpc-message"] ?? "", /not sent over HTTP\/2 without TLS/);
  assertEquals([upstream.requests.length, upstream.connections], [0, 0]);
});

Deno.test("a server of HTTP/1 gets nothing that the client chose", async () => {
  await using upstream = startListener("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/v1"] });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`, { isClear: true });
  const smuggled = "\r\n\r\nGET /admin HTTP/1.1\r\nHost: up.test\r\n\r\n";
  const stream = await client.open("/v1", { method: "POST", end: false });
  await stream.write(new TextEncoder().encode(smuggled));
  const { status, fields } = await stream.response();
  assertEquals(status, 502);
  assertEquals(fields.find(({ key }) => key === "x-slicer-proxy-reason")?.value, "protocol-mismatch");
  assertEquals(upstream.got().startsWith(new TextDecoder().decode(PREFACE)), true);
  assertEquals(upstream.got().includes("admin") || upstream.got().includes("/v1"), false);
});

Deno.test("an unknown host is told so in HTTP/2, and nothing is dialled", async () => {
  await using upstream = await startHttp2Upstream({ isClear: true });
  await using proxy = await startTestProxy({ mode: "audit" });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`, { isClear: true });
  assertEquals((await client.ask("/a")).status, 403);
  assertEquals(upstream.connections, 0);
  await proxy.waitLine(/^deny .*scheme=http .*mode=audit reason=no-rule .*proto=h2/);
});

Deno.test("the first bytes decide, however they come; without HTTP/2 the preface is refused", async (t) => {
  const head = "PRI * HTTP/2.0\r\n\r\n";
  await t.step("a method that begins as the preface", async () => {
    await using proxy = await startTestProxy({ mode: "audit" });
    using peer = await openTunnel(proxy.httpPort, "up.test:80", TOKEN);
    for (const byte of "PRIX /a HTTP/1.1\r\nHost: up.test\r\n\r\n") await peer.send(byte);
    assertEquals((await peer.readResponse()).status, 403);
    await proxy.waitLine(/method=PRIX .*path=\/a/);
  });
  await t.step("the preface, byte by byte", async () => {
    await using proxy = await startTestProxy({ mode: "audit" });
    using peer = await openTunnel(proxy.httpPort, "up.test:80", TOKEN);
    for (const byte of PREFACE) await peer.sendBytes(Uint8Array.of(byte));
    assertEquals((await peer.readBytes(9)).charCodeAt(3), 4); // SETTINGS
  });
  await t.step("HTTP/2 is off", async () => {
    await using proxy = await startTestProxy({ mode: "audit", http2: false });
    using peer = await openTunnel(proxy.httpPort, "up.test:80", TOKEN);
    await peer.send(`${head}SM\r\n\r\n`);
    assertMatch(await peer.readHead(), /^HTTP\/1\.1 [45]0[0-9] /);
  });
});

Deno.test({
  ignore: !hasProgram("curl"),
  name: "curl with prior knowledge through a tunnel",
}, async () => {
  await using upstream = await startHttp2Upstream({ isClear: true });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/v1/*"] });
  const { stdout, stderr } = await runProgram("curl", [
    ...["-sS", "-i", "--max-time", "20", "--http2-prior-knowledge", "-p", "--suppress-connect-headers"],
    ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, `http://up.test:${upstream.port}/v1/a`],
  ]);
  assertMatch(stdout, /^HTTP\/2 200/, stderr);
  assertStringIncludes(stdout, "GET /v1/a -");
});

const GRPC = `
import sys, grpc
from concurrent import futures
plain = lambda b: b
class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method.endswith("/Both"):
            def both(rs, c):
                for r in rs: yield b"re " + r
            return grpc.stream_stream_rpc_method_handler(both, plain, plain)
        return grpc.unary_unary_rpc_method_handler(lambda r, c: b"got " + r, plain, plain)
if sys.argv[1] == "server":
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Handler(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None)
else:
    channel = grpc.insecure_channel(sys.argv[2])
    print(channel.unary_unary("/p.S/Unary", plain, plain)(b"one", timeout=20).decode())
    print([m.decode() for m in channel.stream_stream("/p.S/Both", plain, plain)(iter([b"a", b"b"]), timeout=20)])
    try: channel.unary_unary("/p.Other/Unary", plain, plain)(b"two", timeout=20)
    except grpc.RpcError as e: print(e.code().name, "no-rule" in e.details() or e.details())
`;

Deno.test({ ignore: !await canImport("grpc"), name: "grpcio over an insecure channel" }, async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-http2-clear-" });
  await Deno.writeTextFile(`${dir}/calls.py`, GRPC);
  const server = new Deno.Command(PYTHON, {
    args: [`${dir}/calls.py`, "server"],
    ...{ stdin: "piped", stdout: "piped", stderr: "null" },
  }).spawn();
  const lines = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    const port = Number((await lines.read()).value);
    await using proxy = await startTestProxy();
    proxy.policy.allow("one", { host: "up.test", ports: [port], methods: ["POST"], paths: ["/p.S/*"] });
    const { stdout, stderr } = await runProgram(
      PYTHON,
      [`${dir}/calls.py`, "client", `up.test:${port}`],
      { env: { http_proxy: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, no_proxy: "" } },
    );
    assertEquals(
      stdout.split("\n"),
      ["got one", "['re a', 're b']", "PERMISSION_DENIED True", ""],
      stderr,
    );
    await proxy.waitLine(/scheme=http .*path=\/p\.S\/Unary status=200 .*proto=h2 grpc-status=0/);
  } finally {
    await server.stdin.close();
    await lines.cancel();
    await server.status;
    await Deno.remove(dir, { recursive: true });
  }
});

async function canImport(module: string): Promise<boolean> {
  try {
    const command = new Deno.Command(PYTHON, { args: ["-c", `import ${module}`], stderr: "null" });
    return (await command.output()).success;
  } catch {
    return false;
  }
}
