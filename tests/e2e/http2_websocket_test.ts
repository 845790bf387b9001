/** WebSockets over HTTP/2 (RFC 8441) through an inspected tunnel: what both sides see, and how it ends. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { H2, Http2Error } from "../../proxy/http2/error.ts";
import type { Http2ServerStream } from "../../proxy/http2/types.ts";
import { openHttp2 } from "../support/http2_client.ts";
import { type Http2Upstream, startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const WEBSOCKET = { protocol: "websocket", fields: [{ key: "sec-websocket-version", value: "13" }] };

async function echo(stream: Http2ServerStream): Promise<void> {
  stream.respond({ status: 200, fields: [{ key: "x-token", value: tokenOf(stream) }] });
  while (await stream.fill()) {
    const piece = stream.available;
    await stream.write(piece);
    stream.consume(piece.length);
  }
  stream.end();
}

function tokenOf({ head: { fields } }: Http2ServerStream): string {
  return fields.find(({ key }) => key === "authorization")?.value ?? "-";
}

interface Stage extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: Http2Upstream;
  readonly target: string;
}

async function startStage(
  handle: (stream: Http2ServerStream) => Promise<void> = echo,
  hasExtendedConnect = true,
): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const upstream = stack.use(await startHttp2Upstream({ handle, hasExtendedConnect }));
  const proxy = stack.use(await startTestProxy());
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  const moved = stack.move();
  return {
    proxy,
    upstream,
    target: `up.test:${upstream.port}`,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** A client of a tunnel whose upstream is known, so that the first SETTINGS say everything. */
async function openKnown({ proxy, target }: Stage) {
  {
    await using first = await openHttp2(proxy, target);
    await first.ask("/ws/none", { method: "OPTIONS" });
  }
  const client = await openHttp2(proxy, target);
  await client.connection.ready;
  return client;
}

function allowWebSocket({ proxy, upstream: { port } }: Stage) {
  return proxy.policy.allow("one", {
    host: "up.test",
    ports: [port],
    methods: ["GET", "OPTIONS"],
    paths: ["/ws", "/ws/*"],
    secret: "key",
  });
}

Deno.test("Extended CONNECT is announced as the upstream announces it, and refused before", async (t) => {
  for (const has of [true, false]) {
    await t.step(has ? "announced" : "not announced", async () => {
      await using stage = await startStage(echo, has);
      allowWebSocket(stage);
      await using client = await openKnown(stage);
      assertEquals(client.connection.hasExtendedConnect, has);
      const stream = await client.open("/ws", WEBSOCKET);
      if (has) assertEquals((await stream.response()).status, 200);
      else {
        const error = await assertRejects(() => stream.response(), Http2Error);
        assertEquals(error.h2Code, H2.PROTOCOL_ERROR);
      }
      stream.reset(H2.CANCEL);
    });
  }
  await t.step("to a tunnel that was opened before the upstream was known", async () => {
    await using stage = await startStage();
    allowWebSocket(stage);
    await using client = await openHttp2(stage.proxy, stage.target);
    // The upstream has said it before it answers this.
    await client.ask("/ws/none", { method: "OPTIONS" });
    assertEquals(client.connection.hasExtendedConnect, true);
  });
  await t.step("not where no rule says what the upstream is", async () => {
    await using stage = await startStage();
    await using proxy = await startTestProxy({ mode: "audit" });
    await using client = await openHttp2(proxy, stage.target);
    assertEquals((await client.ask("/ws")).status, 403);
    assertEquals(client.connection.hasExtendedConnect, false);
  });
});

Deno.test("a WebSocket is decided as GET, gets its credential, and has one line with its bytes", async () => {
  await using stage = await startStage();
  allowWebSocket(stage);
  await using client = await openKnown(stage);
  const denied = await client.open("/other", WEBSOCKET);
  const { status, fields } = await denied.response();
  assertEquals(status, 403);
  assertEquals(fields.find(({ key }) => key === "x-slicer-proxy-reason")?.value, "no-rule");
  const stream = await client.open("/ws", {
    ...WEBSOCKET,
    fields: [...WEBSOCKET.fields, { key: "authorization", value: "Bearer MINE" }],
  });
  const head = await stream.response();
  assertEquals([head.status, head.fields.find(({ key }) => key === "x-token")?.value], [200, "Bearer REAL"]);
  for (const text of ["hello", "again"]) {
    await stream.write(new TextEncoder().encode(text));
    await stream.fill();
    assertEquals(new TextDecoder().decode(stream.available), text);
    stream.consume(text.length);
  }
  stream.end();
  assertEquals(await stream.fill(), false); // and so does the upstream
  await stage.proxy.waitLine(/^deny .*method=GET .*path=\/other .*reason=no-rule .*proto=h2/);
  await stage.proxy.waitLine(
    /^allow .*method=GET .*path=\/ws status=200 secret=key sent=10 received=10 .*proto=h2/,
  );
  assertEquals(stage.upstream.requests.at(-1), "CONNECT /ws Bearer REAL");
});

Deno.test("a WebSocket moves no more than the slower side takes", async () => {
  let got = 0;
  const isOpen = Promise.withResolvers<void>();
  await using stage = await startStage(async (stream) => {
    if (stream.head.method !== "CONNECT") return await echo(stream);
    stream.respond({ status: 200, fields: [] });
    await isOpen.promise;
    while (await stream.fill()) {
      got += stream.available.length;
      stream.consume(stream.available.length);
    }
    stream.end();
  });
  allowWebSocket(stage);
  await using client = await openKnown(stage);
  const stream = await client.open("/ws", WEBSOCKET);
  await stream.response();
  const total = 8 * 1_048_576;
  let sent = 0;
  const sending = (async () => {
    for (const piece = new Uint8Array(65_536); sent < total; sent += piece.length) await stream.write(piece);
    stream.end();
  })();
  // What lies between: two windows, and a buffer of the splice.
  for (let last = -1; sent !== last;) {
    last = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assertEquals(sent > 0 && sent < 2 * 1_048_576, true, `${sent}`);
  isOpen.resolve();
  await sending;
  assertEquals(await stream.fill(), false);
  assertEquals(got, total);
});

Deno.test("the end of one side is told from its cut", async (t) => {
  const rows: readonly (readonly [name: string, cut: (stream: Http2ServerStream) => void, code?: number])[] =
    [
      ["ended", (stream) => stream.end()],
      ["reset", (stream) => stream.reset(H2.INTERNAL_ERROR), H2.CANCEL],
    ];
  for (const [name, cut, code] of rows) {
    await t.step(`${name} by the upstream`, async () => {
      await using stage = await startStage(async (stream) => {
        if (stream.head.method !== "CONNECT") return await echo(stream);
        stream.respond({ status: 200, fields: [] });
        await stream.write(new TextEncoder().encode("x"));
        cut(stream);
        while (await stream.fill()) stream.consume(stream.available.length);
      });
      allowWebSocket(stage);
      await using client = await openKnown(stage);
      const stream = await client.open("/ws", WEBSOCKET);
      await stream.response();
      const drain = async () => {
        while (await stream.fill()) stream.consume(stream.available.length);
      };
      if (code === undefined) await drain();
      else assertEquals((await assertRejects(drain, Http2Error)).h2Code, code);
      stream.end();
      await stage.proxy.waitLine(/path=\/ws status=200/);
    });
  }
  await t.step("reset by the client", async () => {
    const ended = Promise.withResolvers<unknown>();
    await using stage = await startStage(async (stream) => {
      if (stream.head.method !== "CONNECT") return await echo(stream);
      stream.respond({ status: 200, fields: [] });
      await stream.fill().catch(ended.resolve);
    });
    allowWebSocket(stage);
    await using client = await openKnown(stage);
    const stream = await client.open("/ws", WEBSOCKET);
    await stream.response();
    stream.reset(H2.CANCEL);
    assertEquals((await ended.promise as Http2Error).h2Code, H2.CANCEL);
  });
});

Deno.test("an upstream that refuses the WebSocket: its answer is relayed, nothing of the stream goes there", async () => {
  let early = "";
  await using stage = await startStage(async (stream) => {
    if (stream.head.method !== "CONNECT") return await echo(stream);
    early = new TextDecoder().decode(stream.peek(10));
    stream.respond({ status: 404, fields: [] });
    await stream.write(new TextEncoder().encode("none here"), true);
  });
  allowWebSocket(stage);
  await using client = await openKnown(stage);
  const stream = await client.open("/ws", WEBSOCKET);
  await stream.write(new TextEncoder().encode("too early"));
  assertEquals((await stream.response()).status, 404);
  await stream.fill();
  assertEquals(new TextDecoder().decode(stream.available), "none here");
  assertEquals(early, "");
  assertEquals((await client.ask("/ws", {})).status, 200); // the connection is as good as before
});

Deno.test("revoking the rule resets the WebSocket on both sides", async () => {
  const ended = Promise.withResolvers<unknown>();
  await using stage = await startStage(async (stream) => {
    if (stream.head.method !== "CONNECT") return await echo(stream);
    stream.respond({ status: 200, fields: [] });
    await stream.fill().catch(ended.resolve);
  });
  const rule = allowWebSocket(stage);
  stage.proxy.policy.allow("one", { host: "up.test", ports: [stage.upstream.port], paths: ["/still"] });
  await using client = await openKnown(stage);
  const stream = await client.open("/ws", WEBSOCKET);
  await stream.response();
  stage.proxy.policy.revoke(rule);
  assertEquals((await assertRejects(() => stream.fill(), Http2Error)).h2Code, H2.CANCEL);
  await ended.promise;
  await stage.proxy.waitLine(/path=\/ws status=200 secret=key reason=revoked .*proto=h2/);
  assertEquals((await client.ask("/still")).status, 200);
});

Deno.test("a WebSocket that rests for too long ends on both sides", async () => {
  await using upstream = await startHttp2Upstream({ handle: echo, hasExtendedConnect: true });
  await using proxy = await startTestProxy({ limits: { tunnelIdleTimeoutMs: 300 } });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  await using client = await openKnown({ proxy, upstream, target: `up.test:${upstream.port}` } as Stage);
  const stream = await client.open("/ws", WEBSOCKET);
  await stream.response();
  await assertRejects(() => stream.fill(), Http2Error);
  await proxy.waitLine(/path=\/ws status=200 reason=idle-timeout/);
});

Deno.test("other protocols are as other upgrades of HTTP/1.1", async (t) => {
  const rows = [
    { protocol: "connect-udp", paths: ["/ws"], status: 403 },
    { protocol: "connect-udp", paths: [], status: 200 },
    { protocol: "h2c", paths: [], status: 403 },
    { protocol: "TLS/1.0", paths: [], status: undefined }, // no token
    { protocol: "WebSocket", paths: ["/ws"], status: 200 },
  ];
  for (const { protocol, paths, status } of rows) {
    await t.step(`${protocol} under ${paths.length} paths`, async () => {
      await using stage = await startStage();
      stage.proxy.policy.allow("one", { host: "up.test", ports: [stage.upstream.port], paths });
      await using client = await openKnown(stage);
      const stream = await client.open("/ws", { protocol });
      if (status === undefined) await assertRejects(() => stream.response(), Http2Error);
      else assertEquals((await stream.response()).status, status);
      if (status === 403) await stage.proxy.waitLine(/path=\/ws .*reason=upgrade-not-allowed/);
      stream.reset(H2.CANCEL);
    });
  }
});

const NODE_SERVER = `
const fs = require("node:fs");
const [cert, key] = process.argv.slice(-2);
const server = require("node:http2").createSecureServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), settings: { enableConnectProtocol: true },
});
server.on("stream", (stream, headers) => {
  if (headers[":protocol"] !== "websocket") { stream.respond({ ":status": 200 }); return stream.end("no websocket"); }
  stream.respond({ ":status": 200, "sec-websocket-protocol": headers["sec-websocket-protocol"] ?? "",
    "x-seen": headers.authorization ?? "-" });
  stream.pipe(stream);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
`;

const NODE_CLIENT = `
const fs = require("node:fs"), net = require("node:net"), tls = require("node:tls"), http2 = require("node:http2");
const [proxyPort, target, token, ca] = process.argv.slice(-4);
const socket = net.connect(Number(proxyPort), "127.0.0.1", () => socket.write(
  "CONNECT " + target + " HTTP/1.1\\r\\nHost: " + target + "\\r\\nProxy-Authorization: Bearer " + token + "\\r\\n\\r\\n"));
socket.once("data", () => {
  const inner = tls.connect({ socket, servername: "up.test", ALPNProtocols: ["h2"], ca: fs.readFileSync(ca) });
  const session = http2.connect("https://" + target, { createConnection: () => inner });
  session.on("remoteSettings", ({ enableConnectProtocol }) => {
    if (!enableConnectProtocol) return;
    const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":scheme": "https",
      ":path": "/ws", ":authority": target, "sec-websocket-version": "13", "sec-websocket-protocol": "chat" });
    let got = "";
    stream.on("response", (h) => { console.log(h[":status"], h["sec-websocket-protocol"], h["x-seen"]); stream.write("hello"); });
    stream.on("data", (d) => { got += d; if (got === "hello") stream.end(" and bye"); });
    stream.on("end", () => { console.log(got); session.close(); socket.destroy(); });
  });
});
`;

Deno.test(
  { ignore: !hasProgram("node"), name: "Node's http2 as client and server of a WebSocket" },
  async () => {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.makeTempDir({ prefix: "slicer-test-http2-ws-" });
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    const { certPem, keyPem } = await (await upstreamAuthority()).issue(["up.test"]);
    await Deno.writeTextFile(`${dir}/up.crt`, certPem);
    await Deno.writeTextFile(`${dir}/up.key`, keyPem);
    const server = new Deno.Command("node", {
      args: ["-e", NODE_SERVER, "--", `${dir}/up.crt`, `${dir}/up.key`],
      ...{ stdin: "piped", stdout: "piped", stderr: "null" },
    }).spawn();
    const lines = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
    stack.defer(async () => {
      await server.stdin.close();
      await lines.cancel();
      await server.status;
    });
    const port = Number((await lines.read()).value);
    const proxy = stack.use(await startTestProxy());
    await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
    proxy.policy.setCredential({
      secret: "key",
      host: "up.test",
      headers: [["Authorization", "Bearer REAL"]],
    });
    proxy.policy.allow("one", {
      host: "up.test",
      ports: [port],
      methods: ["GET"],
      paths: ["/ws"],
      secret: "key",
    });
    const { stdout, stderr } = await runProgram("node", [
      ...["-e", NODE_CLIENT, "--", String(proxy.httpPort), `up.test:${port}`, TOKEN, `${dir}/ca.pem`],
    ]);
    assertEquals(stdout, "200 chat Bearer REAL\nhello and bye\n", stderr);
    await proxy.waitLine(/method=GET .*path=\/ws status=200 secret=key sent=13 received=13 .*proto=h2/);
  },
);

const PYTHON_CLIENT = `
import socket, ssl, sys
import h2.connection, h2.config, h2.events, h2.settings
port, target, token, ca = sys.argv[1:5]
sock = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
sock.sendall(f"CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\nProxy-Authorization: Bearer {token}\\r\\n\\r\\n".encode())
assert sock.recv(4096).startswith(b"HTTP/1.1 200")
context = ssl.create_default_context(cafile=ca)
context.set_alpn_protocols(["h2"])
tls = context.wrap_socket(sock, server_hostname="up.test")
conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
conn.initiate_connection()
tls.sendall(conn.data_to_send())
got, opened = b"", False
while True:
    data = tls.recv(65536)
    if not data: break
    for event in conn.receive_data(data):
        if isinstance(event, h2.events.RemoteSettingsChanged) and not opened:
            if conn.remote_settings.enable_connect_protocol:
                opened = True
                conn.send_headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"),
                    (":path", "/ws"), (":authority", target)])
        elif isinstance(event, h2.events.ResponseReceived):
            print(dict(event.headers)[b":status"].decode())
            conn.send_data(1, b"hello", end_stream=True)
        elif isinstance(event, h2.events.DataReceived):
            got += event.data
            conn.acknowledge_received_data(event.flow_controlled_length, 1)
        elif isinstance(event, h2.events.StreamEnded):
            print(got.decode())
            sys.exit()
    tls.sendall(conn.data_to_send())
`;

const PYTHON = "/usr/bin/python3";

Deno.test({ ignore: !await canImport("h2"), name: "Python's h2 as client of a WebSocket" }, async () => {
  await using stage = await startStage();
  allowWebSocket(stage);
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-http2-ws-" });
  try {
    await Deno.writeTextFile(`${dir}/ca.pem`, stage.proxy.caPem);
    await Deno.writeTextFile(`${dir}/client.py`, PYTHON_CLIENT);
    const { stdout, stderr } = await runProgram(PYTHON, [
      ...[`${dir}/client.py`, String(stage.proxy.httpPort), stage.target, TOKEN, `${dir}/ca.pem`],
    ]);
    assertStringIncludes(stdout, "200\nhello\n", stderr);
  } finally {
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
