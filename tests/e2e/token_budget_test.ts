/** Budgets of tokens: what answers of models say, streamed or not, and what counts where they do not. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { readRequest, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { openHttp2 } from "../support/http2_client.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { Program } from "../support/program.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const JSON_ANSWER = JSON.stringify({
  content: [{ type: "text", text: 'here: "usage":{"input_tokens":1}' }],
  usage: { input_tokens: 30, cache_read_input_tokens: 5, output_tokens: 5 },
});
const EVENTS = [
  { type: "message_start", message: { usage: { input_tokens: 30, output_tokens: 1 } } },
  { type: "content_block_delta", delta: { type: "text_delta", text: "x".repeat(400) } },
  { type: "message_delta", delta: {}, usage: { output_tokens: 10 } },
].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
const UNTOLD =
  ["a".repeat(40), "b".repeat(40)].map((content) =>
    `data: ${JSON.stringify({ id: "chatcmpl-1", choices: [{ delta: { content } }] })}\n\n`
  ).join("") + "data: [DONE]\n\n";

interface Model extends Upstream {
  /** Lets an answer to `/hang` go on. */
  readonly release: () => void;
}

/** Answers as models do, in chunks that are cut anywhere. */
async function startModel(): Promise<Model> {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const upstream = await startRawUpstream(async (peer) => {
    for (let request = await readRequest(peer); request; request = await readRequest(peer)) {
      const [, path = ""] = request.requestLine.split(" ");
      const send = async (type: string, body: Uint8Array, more = "", size = 7) => {
        await peer.send(
          `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${more}Transfer-Encoding: chunked\r\n\r\n`,
        );
        for (let at = 0; at < body.length; at += size) {
          const piece = body.subarray(at, at + size);
          await peer.send(`${piece.length.toString(16)}\r\n`);
          await peer.conn.write(piece);
          await peer.send("\r\n");
        }
      };
      const bytes = (text: string) => new TextEncoder().encode(text);
      const end = () => peer.send("0\r\n\r\n");
      if (path.startsWith("/hang/")) {
        await send("text/event-stream", bytes(EVENTS.slice(0, 2).join("")), "", 4_096);
        await released;
        return;
      }
      if (path.startsWith("/json/")) await send("application/json", bytes(JSON_ANSWER));
      else if (path.startsWith("/events/")) await send("text/event-stream", bytes(EVENTS.join("")));
      else if (path.startsWith("/untold/")) await send("text/event-stream", bytes(UNTOLD));
      else if (path.startsWith("/gzip/")) {
        await send("text/event-stream", gzipSync(EVENTS.join("")), "Content-Encoding: gzip\r\n");
      } else if (path.startsWith("/br/")) {
        await send("application/json", brotliCompressSync(JSON_ANSWER), "Content-Encoding: br\r\n");
      } else if (path.startsWith("/no-gzip/")) {
        await send("text/event-stream", bytes(UNTOLD), "Content-Encoding: gzip\r\n");
      } else if (path.startsWith("/grpc-web/")) {
        await send("application/grpc-web+proto", new Uint8Array(400), "Grpc-Encoding: gzip\r\n");
      } else await send("application/octet-stream", new Uint8Array(400));
      await end();
    }
  });
  return Object.assign(upstream, { release });
}

async function post(proxy: TestProxy, port: number, path: string, body = "", more = "") {
  using tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${port}`, TOKEN, proxy.caPem);
  await tunnel.send(
    `POST ${path} HTTP/1.1\r\nHost: up.test:${port}\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`,
  );
  return await soon("an answer", tunnel.readResponse());
}

/** `INPUT+OUTPUT` of the audit line of a path, with `~` where it was reckoned. */
async function counted(proxy: TestProxy, path: string): Promise<string | undefined> {
  const line = await proxy.waitLine(new RegExp(`^allow client=one .* path=${path} `));
  const [, input, output, estimated] =
    / input-tokens=(\d+) output-tokens=(\d+)( tokens-estimated=true)?$/.exec(line) ?? [];
  return input && `${estimated ? "~" : ""}${input}+${output}`;
}

Deno.test("HTTP/1.1: what answers say is counted, in JSON and events, compressed too, and they pass as they are", async () => {
  await using upstream = await startModel();
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["tokens=1M/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);
  const rows = [
    ["/json/v1/messages", JSON_ANSWER, "35+5"],
    ["/events/v1/messages", EVENTS.join(""), "30+10"],
    ["/gzip/v1/messages", latin1(gzipSync(EVENTS.join(""))), "30+10"],
    ["/br/v1/messages", latin1(brotliCompressSync(JSON_ANSWER)), "35+5"],
    ["/json/of/no/model", JSON_ANSWER, "35+5"],
    ["/untold/v1/chat/completions", UNTOLD, "~25+20"],
    ["/bytes/v1/chat/completions", "\0".repeat(400), "~25+100"],
    ["/bytes/left-pad.tgz", "\0".repeat(400), undefined],
  ] as const;
  for (const [path, body, expected] of rows) {
    const answer = await post(proxy, upstream.port, path, "p".repeat(100));
    assertEquals(answer.body, body, path);
    assertEquals(await counted(proxy, path), expected, path);
  }
  assertEquals(proxy.audit.totals.tokens, {
    input: 35 + 30 + 30 + 35 + 35 + 25 + 25,
    output: 5 + 10 + 10 + 5 + 5 + 20 + 100,
  });
});

Deno.test("what is compressed and not read counts by its bytes, and what is not in its coding", async () => {
  await using upstream = await startModel();
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["tokens=1M/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const rows = [
    ["/bytes/a/v1/messages", "Content-Encoding: gzip\r\n", "~100+100"],
    ["/bytes/b/v1/messages", "Content-Encoding: identity\r\n", "~25+100"],
    ["/bytes/x.Predict/GenerateContent", "Grpc-Encoding: gzip\r\n", "~100+100"],
    ["/bytes/c/v1/messages", "Connect-Content-Encoding: br\r\n", "~100+100"],
    ["/grpc-web/GenerateContent", "", "~25+400"],
    ["/no-gzip/v1/messages", "", `~25+${UNTOLD.length}`],
  ] as const;
  for (const [path, fields, expected] of rows) {
    assertEquals((await post(proxy, upstream.port, path, "p".repeat(100), fields)).status, 200, path);
    assertEquals(await counted(proxy, path), expected, path);
  }
});

Deno.test("a rule's tokens: one line at 80 %, then 429; without include_usage it is no different", async () => {
  await using upstream = await startModel();
  await using proxy = await startTestProxy();
  const ports = [upstream.port];
  proxy.policy.allow("one", { host: "up.test", ports, paths: ["/json/*"], budget: ["tokens=90/d"] });
  proxy.policy.allow("one", { host: "up.test", ports, budget: ["tokens=30/d"] });
  const statuses = [];
  for (let i = 0; i < 4; i++) statuses.push((await post(proxy, upstream.port, `/json/${i}`)).status);
  assertEquals(statuses, [200, 200, 200, 429]);
  assertEquals(proxy.lines.filter((line) => line.startsWith("change")), [
    "change client=one method=BUDGET host=up.test budget=tokens=90/d",
  ]);
  for (const path of ["/untold/1", "/untold/2"]) {
    assertEquals((await post(proxy, upstream.port, path)).status, 200);
    assertEquals(await counted(proxy, path), "~0+20"); // reckoned when the answer is over
  }
  const refused = await post(proxy, upstream.port, "/untold/3");
  assertEquals(refused.status, 429);
  assertMatch(refused.head, /X-Slicer-Proxy-Reason: budget/);
  assertMatch(refused.body, /tokens=30\/d, is used up; it is free again at/);
});

Deno.test("who goes away before the end has used what was said, and what was seen", async () => {
  await using upstream = await startModel();
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["tokens=100/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  try {
    const tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
    await tunnel.send(
      `POST /hang/v1/messages HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nContent-Length: 0\r\n\r\n`,
    );
    await soon("the beginning", tunnel.readUntil('xxxx"}}'));
    tunnel[Symbol.dispose]();
    assertEquals(await counted(proxy, "/hang/v1/messages"), "~30+100");
    assertEquals((await post(proxy, upstream.port, "/json/1")).status, 429);
  } finally {
    upstream.release();
  }
});

Deno.test("HTTP/2: streams count alike", async () => {
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      const isZipped = stream.head.path?.startsWith("/gzip/");
      const fields = [
        { key: "content-type", value: "text/event-stream" },
        ...(isZipped ? [{ key: "content-encoding", value: "gzip" }] : []),
      ];
      stream.respond({ status: 200, fields });
      const body = isZipped ? gzipSync(EVENTS.join("")) : new TextEncoder().encode(EVENTS.join(""));
      for (let at = 0; at < body.length; at += 11) await stream.write(body.subarray(at, at + 11));
      stream.end();
    },
  });
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["tokens=80/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  await using client = await openHttp2(proxy, `up.test:${upstream.port}`);
  for (const path of ["/v1/messages", "/gzip/v1/messages"]) {
    assertEquals((await client.ask(path, { method: "POST" })).status, 200);
    assertEquals(await counted(proxy, path), "30+10");
  }
  assertEquals((await client.ask("/more", { method: "POST" })).status, 429);
});

Deno.test("a socket of a model counts its bytes, and ends when the tokens are used up", async () => {
  const extensions: string[] = [];
  await using upstream = await startRawUpstream(async (peer) => {
    const asked = await readRequest(peer);
    extensions.push(...asked?.headers.filter((line) => /^(sec-websocket-ext|accept-enc)/i.test(line)) ?? []);
    await peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    for (let i = 0; i < 1_000; i++) await peer.send("z".repeat(10_000));
  });
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["tokens=50K/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using socket = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await socket.send(
    `GET /v1/realtime HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nConnection: Upgrade\r\n` +
      "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\nAccept-Encoding: zstd\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  await soon("the end", socket.readAll().catch(() => ""));
  const line = await proxy.waitLine(/^allow client=one .* path=\/v1\/realtime status=101 reason=budget /);
  const output = Number(/ output-tokens=(\d+) tokens-estimated=true$/.exec(line)?.[1]);
  assert(output >= 40_000 && output < 400_000, line);
  assertEquals(extensions, ["Accept-Encoding: zstd"]); // compressed messages would count less than they are
});

Deno.test("an answer that decodes to too much passes, and counts by its bytes", async () => {
  const bomb = gzipSync(new Uint8Array(80 * 1_048_576).fill(0x20)); // 80 MiB of blanks
  await using upstream = await startRawUpstream(async (peer) => {
    while (await readRequest(peer)) {
      await peer.send(
        `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`,
      );
      for (let at = 0; at < bomb.length;) at += await peer.conn.write(bomb.subarray(at));
    }
  });
  await using proxy = await startTestProxy();
  proxy.policy.setBudget("one", ["tokens=1M/d"]);
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  const answer = await post(proxy, upstream.port, "/v1/messages");
  assertEquals([answer.status, answer.body.length], [200, bomb.length]);
  assertEquals(await counted(proxy, "/v1/messages"), `~0+${bomb.length}`);
});

for (const workers of [1, 2]) {
  Deno.test({
    name: `up --workers=${workers}: tokens are one budget for all threads, and are kept over a restart`,
    ignore: workers > 1 && Deno.build.os !== "linux",
    fn: async () => {
      await using upstream = await startRawUpstream(async (peer) => {
        while (await readRequest(peer)) {
          await peer.send(
            `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${JSON_ANSWER.length}\r\n\r\n` +
              JSON_ANSWER,
          );
        }
      }, { names: ["localhost"] });
      const dir = await Deno.makeTempDir({ prefix: "slicer-tokens-" });
      try {
        const program = new Program(dir);
        await Deno.writeTextFile(`${dir}/roots.crt`, (await upstreamAuthority()).caPem);
        const flags = [`--workers=${workers}`, "--allow-cidr=127.0.0.0/8,::1/128", "--upstream-ca=roots.crt"];
        const target = `localhost:${upstream.port}`;
        let token = "";
        const askAll = async (httpPort: number, count: number) => {
          const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
          const statuses: number[] = [];
          for (let i = 0; i < count; i++) { // each on a connection of its own, which any of the threads gets
            using tunnel = await openTlsTunnel(httpPort, target, token, caPem);
            await tunnel.send(
              `POST /v1/messages HTTP/1.1\r\nHost: ${target}\r\nContent-Length: 0\r\n\r\n`,
            );
            statuses.push((await soon("an answer", tunnel.readResponse())).status);
          }
          return statuses.filter((status) => status === 200).length;
        };
        {
          await using daemon = await program.up(flags);
          token = await program.ok(["client", "create", "one"]);
          await program.ok(["allow", "one", "--host", "localhost", "--port", `${upstream.port}`]);
          await program.ok(["client", "budget", "one", "--tokens", "400/d"]);
          assertEquals(await askAll(daemon.httpPort, 12), 10);
          assertMatch(await program.ok(["client", "budget", "one"]), /^client +tokens=400\/d +400 /m);
          assertEquals((await daemon.end("SIGTERM")).code, 0, daemon.stderr.text);
          const lines = daemon.stdout.text.split("\n");
          assertEquals(lines.filter((line) => line.includes("budget=tokens=400/d")).length, 1);
          assertEquals(lines.filter((line) => / input-tokens=35 output-tokens=5$/.test(line)).length, 10);
        }
        await using daemon = await program.up(flags);
        assertEquals(await askAll(daemon.httpPort, 2), 0);
        await program.ok(["client", "budget", "one", "--tokens", "440/d"]); // goes on from what is used
        assertEquals(await askAll(daemon.httpPort, 2), 1);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}
