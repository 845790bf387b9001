/** HTTP/2 under inspection (SPEC section 9.15): a stream has no more rights than a request of HTTP/1.1. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Http2Upstream, startHttp2Upstream } from "../support/http2_upstream.ts";
import { everythingBy, startTestParent } from "../support/parent_proxy.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { startTestProxy, type TestProxy, type TestProxyOptions, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const ignore = !hasProgram("curl");
const PYTHON = "/usr/bin/python3";
const hasGrpc = await canImportGrpc();

interface Site extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: Http2Upstream;
  readonly dir: string;
  /** Runs curl through the proxy; its output is the head and the body. */
  curl(...args: readonly string[]): Promise<string>;
  readonly url: string;
}

async function startSite(
  upstreamOptions: Parameters<typeof startHttp2Upstream>[0] = {},
  options: TestProxyOptions = {},
): Promise<Site> {
  const stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-http2-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const upstream = stack.use(await startHttp2Upstream(upstreamOptions));
  const proxy = stack.use(await startTestProxy(options));
  await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  return {
    proxy,
    upstream,
    dir,
    url: `https://up.test:${upstream.port}`,
    curl: async (...args) => {
      const { stdout, stderr } = await runProgram("curl", [
        ...["-sS", "-i", "--max-time", "20", "--cacert", `${dir}/ca.pem`],
        ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, "--suppress-connect-headers"],
        ...args,
      ]);
      return stdout + stderr;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function allow({ proxy, upstream }: Site, more: { readonly paths?: readonly string[] } = {}) {
  return proxy.policy.allow("one", {
    host: "up.test",
    ports: [upstream.port],
    paths: ["/v1/*"],
    secret: "key",
    ...more,
  });
}

Deno.test({ ignore, name: "what is retired serves no request any more" }, async () => {
  await using site = await startSite();
  allow(site);
  const get = async () => {
    assertMatch(await site.curl("--http2", `${site.url}/v1/a`), /^HTTP\/2 200/);
    return site.upstream.connections;
  };
  assertEquals([await get(), await get()], [1, 1]);
  site.proxy.server.retireUpstreams();
  assertEquals([await get(), await get()], [2, 2]);
});

Deno.test({ ignore, name: "every stream is decided, gets its credential and has its line" }, async () => {
  await using site = await startSite();
  allow(site);
  const { curl, url, proxy, upstream } = site;
  const out = await curl("--http2", `${url}/v1/a?q`, "-H", "authorization: Bearer MINE", `${url}/v2/b`);
  assertMatch(out, /^HTTP\/2 200/);
  assertStringIncludes(out, "GET /v1/a?q Bearer REAL");
  assertMatch(out, /HTTP\/2 403[^]*x-slicer-proxy-reason: no-rule/);
  assertEquals(upstream.requests, ["GET /v1/a?q Bearer REAL"]);
  assertEquals(upstream.connections, 1); // the one that was asked which protocol it speaks
  await proxy.waitLine(/^allow client=one method=GET .*path=\/v1\/a status=200 secret=key .*proto=h2/);
  await proxy.waitLine(/^deny client=one method=GET .*path=\/v2\/b .*reason=no-rule .*proto=h2/);
});

Deno.test({ ignore, name: "bodies, their ends and trailers pass in both directions" }, async () => {
  await using site = await startSite();
  allow(site);
  const body = "x".repeat(700_000);
  await Deno.writeTextFile(`${site.dir}/body`, body);
  const out = await site.curl("--http2", "--data-binary", `@${site.dir}/body`, `${site.url}/v1/a`);
  assertStringIncludes(out, `${body}POST /v1/a Bearer REAL`);
  assertStringIncludes(out, "x-check: whole");
});

Deno.test({ ignore, name: "the client gets what the upstream picks of its offer" }, async (t) => {
  const rows = [
    { name: "both have both", alpn: ["h2", "http/1.1"], flag: "--http2", expected: /^HTTP\/2 200/ },
    {
      name: "the client has no HTTP/2",
      alpn: ["h2", "http/1.1"],
      flag: "--http1.1",
      expected: /^HTTP\/1.1 200/,
    },
    { name: "the upstream has no HTTP/2", alpn: ["http/1.1"], flag: "--http2", expected: /^HTTP\/1.1 200/ },
    {
      name: "nothing in common",
      alpn: ["h2"],
      flag: "--http1.1",
      expected: /^HTTP\/1.1 502[^]*protocol-mismatch/,
    },
  ];
  for (const { name, alpn, flag, expected } of rows) {
    await t.step(name, async () => {
      await using site = await startSite({ alpn });
      allow(site);
      assertMatch(await site.curl(flag, `${site.url}/v1/a`), expected);
      assertMatch(await site.curl(flag, `${site.url}/v1/a`), expected); // as it is remembered
    });
  }
  await t.step("it is switched off", async () => {
    await using site = await startSite({}, { http2: false });
    allow(site);
    assertMatch(await site.curl("--http2", `${site.url}/v1/a`), /^HTTP\/1.1 200/);
  });
});

Deno.test({ ignore, name: "a stream names the host of its tunnel, in :authority and in host" }, async () => {
  await using site = await startSite();
  allow(site);
  const out = await site.curl("--http2", "-H", "Host: other.test", `${site.url}/v1/a`);
  assertMatch(out, /^HTTP\/2 403[^]*x-slicer-proxy-reason: host-mismatch/);
  assertEquals(site.upstream.requests, []);
});

Deno.test({ ignore, name: "paths are read as in HTTP/1.1" }, async () => {
  await using site = await startSite();
  allow(site, { paths: ["/v1/*"] });
  const out = await site.curl("--http2", "--path-as-is", `${site.url}/v1/../admin`);
  assertMatch(out, /^HTTP\/2 403[^]*x-slicer-proxy-reason: path-ambiguous/);
  assertEquals(site.upstream.requests, []);
});

Deno.test(
  { ignore, name: "audit mode answers an unknown host in what it prefers, and dials nothing" },
  async () => {
    await using site = await startSite({}, { mode: "audit" });
    const out = await site.curl("--http2", `${site.url}/v1/a`);
    assertMatch(out, /^HTTP\/2 403[^]*x-slicer-proxy-reason: no-rule/);
    await site.proxy.waitLine(/^deny client=one method=GET .*mode=audit reason=no-rule .*proto=h2/);
    assertEquals(site.upstream.connections, 0);
  },
);

Deno.test({ ignore, name: "a denied gRPC call is told so in its own words" }, async () => {
  await using site = await startSite();
  allow(site);
  const args = ["-X", "POST", "-H", "content-type: application/grpc+proto", "-H", "te: trailers"];
  const out = await site.curl("--http2", ...args, `${site.url}/other.Service/Get`);
  assertMatch(out, /^HTTP\/2 200[^]*grpc-status: 7\r\ngrpc-message: slicer-proxy: [^\r\n]*no-rule/);
});

Deno.test({ ignore, name: "revocation resets the streams of its rule, and the others go on" }, async () => {
  const started = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  let count = 0;
  await using site = await startSite({
    handle: async (stream) => {
      stream.respond({ status: 200, fields: [] });
      await stream.write(new TextEncoder().encode("begun "));
      if (++count === 2) started.resolve();
      await finish.promise;
      await stream.write(new TextEncoder().encode(`done ${stream.head.path}`), true);
    },
  });
  const gone = allow(site, { paths: ["/v1/*"] });
  allow(site, { paths: ["/v2/*"] });
  const running = site.curl("--http2", "-Z", `${site.url}/v1/a`, `${site.url}/v2/b`);
  await started.promise;
  site.proxy.policy.revoke(gone);
  await site.proxy.waitLine(/path=\/v1\/a .*reason=revoked .*proto=h2/);
  finish.resolve();
  const out = await running;
  assertStringIncludes(out, "done /v2/b");
  assertEquals(out.includes("done /v1/a"), false);
});

const GRPC = `
import sys, grpc
from concurrent import futures
role, place, cert, key = sys.argv[1:5]
plain = lambda b: b
class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        if name == "Unary":
            def unary(r, c):
                c.set_trailing_metadata((("x-auth", dict(c.invocation_metadata()).get("authorization", "-")),))
                return b"got " + r
            return grpc.unary_unary_rpc_method_handler(unary, plain, plain)
        if name == "Fail":
            return grpc.unary_unary_rpc_method_handler(lambda r, c: c.abort(grpc.StatusCode.NOT_FOUND, "nothing here"), plain, plain)
        if name == "Both":
            def both(rs, c):
                for r in rs: yield b"re " + r
            return grpc.stream_stream_rpc_method_handler(both, plain, plain)
        if name == "Endless":
            def endless(r, c):
                import time
                while c.is_active():
                    yield b"tick"
                    time.sleep(0.05)
            return grpc.unary_stream_rpc_method_handler(endless, plain, plain)
if role == "server":
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Handler(),))
    pair = (open(key, "rb").read(), open(cert, "rb").read())
    print(server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials((pair,))), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None)
else:
    channel = grpc.secure_channel(place, grpc.ssl_channel_credentials(open(cert, "rb").read()))
    answer, call = channel.unary_unary("/p.S/Unary", plain, plain).with_call(b"one", timeout=20)
    print(answer.decode(), dict(call.trailing_metadata())["x-auth"])
    for method in ["/p.S/Fail", "/p.Other/Unary"]:
        try: channel.unary_unary(method, plain, plain)(b"two", timeout=20)
        except grpc.RpcError as e: print(e.code().name, "no-rule" in e.details() or e.details())
    print([m.decode() for m in channel.stream_stream("/p.S/Both", plain, plain)(iter([b"a", b"b"]), timeout=20)])
    try:
        for m in channel.unary_stream("/p.S/Endless", plain, plain)(b"", timeout=1): pass
    except grpc.RpcError as e: print(e.code().name)
    stream = channel.unary_stream("/p.S/Endless", plain, plain)(b"", timeout=20)
    next(stream); stream.cancel()
    print("cancelled")
`;

async function canImportGrpc(): Promise<boolean> {
  try {
    return (await new Deno.Command(PYTHON, { args: ["-c", "import grpc"], stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

for (const way of ["", ", by a parent"]) {
  Deno.test({
    ignore: !hasGrpc,
    name: `grpcio: unary, streams, errors, a denial, a deadline and a cancellation${way}`,
  }, async () => {
    await using parent = await startTestParent({ names: ["127.0.0.1"] });
    const parents = everythingBy({ scheme: "https", port: parent.port });
    await using site = await startSite({}, way === "" ? {} : { parents });
    const { dir, proxy } = site;
    const { certPem, keyPem } = await (await upstreamAuthority()).issue(["up.test"]);
    await Deno.writeTextFile(`${dir}/calls.py`, GRPC);
    await Deno.writeTextFile(`${dir}/up.crt`, certPem);
    await Deno.writeTextFile(`${dir}/up.key`, keyPem);
    const server = new Deno.Command(PYTHON, {
      args: [`${dir}/calls.py`, "server", "-", `${dir}/up.crt`, `${dir}/up.key`],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const lines = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const port = Number((await lines.read()).value);
    try {
      proxy.policy.allow("one", { host: "up.test", ports: [port], paths: ["/p.S/*"], secret: "key" });
      const { stdout, stderr } = await runProgram(PYTHON, [
        ...[`${dir}/calls.py`, "client", `up.test:${port}`, `${dir}/ca.pem`, "-"],
      ], { env: { https_proxy: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, no_proxy: "" } });
      assertEquals(stdout.split("\n"), [
        "got one Bearer REAL",
        "NOT_FOUND nothing here",
        "PERMISSION_DENIED True",
        "['re a', 're b']",
        "DEADLINE_EXCEEDED",
        "cancelled",
        "",
      ], stderr);
      await proxy.waitLine(/method=POST .*path=\/p\.S\/Unary status=200 secret=key .*proto=h2 grpc-status=0/);
      await proxy.waitLine(/path=\/p\.S\/Fail status=200 .*proto=h2 grpc-status=5/);
    } finally {
      await server.stdin.close();
      await lines.cancel();
      await server.status;
    }
  });
}
