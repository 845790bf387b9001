/** Lists of tools narrowed to what a rule allows: with the protocol's own client, and with answers of every form. */
import { assertEquals, assertMatch } from "@std/assert";
import { gzipSync } from "node:zlib";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { startMcpServer } from "../support/mcp_server.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

for (const isJson of [false, true]) {
  Deno.test(`the SDK's client sees the allowed tools alone, in ${isJson ? "JSON" : "events"}`, async () => {
    await using server = await startMcpServer({ isJson });
    await using proxy = await startTestProxy();
    proxy.policy.allow("one", {
      ...{ host: "mcp.test", ports: [server.port], mcpTool: ["write_*"], mcpFilterList: true },
    });
    using http = Deno.createHttpClient({
      proxy: { url: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}` },
      caCerts: [proxy.caPem],
    });
    const client = new Client({ name: "test", version: "1" });
    const transport = new StreamableHTTPClientTransport(new URL(`https://mcp.test:${server.port}/mcp`), {
      fetch: (url: string | URL, init?: RequestInit) => fetch(url, { ...init, client: http }),
    });
    try {
      await client.connect(transport);
      for (let i = 0; i < 2; i++) { // the connection goes on after an answer that was written anew
        const { tools } = await client.listTools();
        assertEquals(tools.map(({ name }: { name: string }) => name), ["write_file"]);
      }
      await client.callTool({ name: "write_file", arguments: {} });
      assertEquals(server.called, ["write_file"]);
    } finally {
      await client.close();
    }
  });
}

const LIST = '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"write"}]}}';
const NARROWED = '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}';
const JSON_TYPE = { "content-type": "application/json" };

const SECRET = "sk-planted/0123456789+abcdef";
const described = (text: string) => LIST.replace('"read"', `"read","description":"${text}"`);

/** Answers by path. */
const ANSWERS: Readonly<Record<string, (request: Request) => Response>> = {
  "/echo": ({ headers }) =>
    new Response(Uint8Array.from(gzipSync(described(headers.get("authorization") ?? ""))), {
      headers: { ...JSON_TYPE, "content-encoding": "gzip" },
    }),
  "/json": () => new Response(LIST, { headers: { ...JSON_TYPE, etag: '"1"' } }),
  "/gzip": () =>
    new Response(Uint8Array.from(gzipSync(LIST)), { headers: { ...JSON_TYPE, "content-encoding": "gzip" } }),
  "/chunks": () =>
    new Response(
      ReadableStream.from([LIST.slice(0, 30), LIST.slice(30)]).pipeThrough(new TextEncoderStream()),
      { headers: JSON_TYPE },
    ),
  "/events": () => new Response(`data: ${LIST}\n\n`, { headers: { "content-type": "text/event-stream" } }),
  "/error": () => new Response("no list here", { status: 404 }),
  "/later": () => new Response("Accepted", { status: 202 }),
  "/zstd": () =>
    new Response(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0), {
      headers: { ...JSON_TYPE, "content-encoding": "zstd" },
    }),
  "/html": () => new Response("<p>write</p>"),
  "/large": () => new Response(LIST + " ".repeat(1_048_576), { headers: JSON_TYPE }),
};
const WANTED: readonly [path: string, status: number, text: string | RegExp][] = [
  ["/json", 200, NARROWED],
  ["/gzip", 200, NARROWED],
  ["/chunks", 200, NARROWED],
  ["/events", 200, `data: ${NARROWED}\n\n`],
  ["/error", 404, "no list here"],
  ["/later", 202, "Accepted"],
  ["/zstd", 502, /compressed in a way that is not read/],
  ["/html", 502, /no JSON/],
  ["/large", 502, /larger than 1 MiB/],
];

for (const version of ["--http1.1", "--http2"]) {
  const canRun = hasProgram("curl");
  Deno.test({ name: `lists of tools in every form of answer (${version})`, ignore: !canRun }, async (t) => {
    const { certPem: cert, keyPem: key } = await (await upstreamAuthority()).issue(["api.test"]);
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} },
      async (request) => {
        await request.body?.cancel();
        return ANSWERS[new URL(request.url).pathname]?.(request) ?? new Response(null, { status: 500 });
      },
    );
    await using proxy = await startTestProxy({ onEcho: "mask" });
    const { port } = server.addr;
    const rule = { host: "api.test", ports: [port], mcpTool: ["read"], mcpFilterList: true };
    proxy.policy.allow("one", { ...rule, paths: ["/echo"], secret: "key" });
    proxy.policy.allow("one", rule);
    proxy.policy.setCredential({
      ...{ secret: "key", host: "api.test", headers: [["Authorization", `Bearer ${SECRET}`]] },
      material: [SECRET],
    });
    const dir = await Deno.makeTempDir({ prefix: "slicer-mcp-" });
    await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
    const ask = async (path: string, method: string) => {
      const { stdout } = await runProgram("curl", [
        ...["-sS", version, "--cacert", `${dir}/ca.pem`, "-D", `${dir}/head`],
        ...[
          "-x",
          `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`,
          "-H",
          "Content-Type: application/json",
        ],
        ...["-d", JSON.stringify({ jsonrpc: "2.0", id: 1, method }), "-w", "\n%{http_code}"],
        `https://api.test:${port}${path}`,
      ]);
      const at = stdout.lastIndexOf("\n");
      return { status: Number(stdout.slice(at + 1)), text: stdout.slice(0, at) };
    };
    try {
      for (const [path, status, text] of WANTED) {
        await t.step(path, async () => {
          const answer = await ask(path, "tools/list");
          assertEquals(answer.status, status);
          if (typeof text === "string") assertEquals(answer.text, text);
          else assertMatch(answer.text, text);
          assertEquals(answer.text.includes('"write"'), false);
          const head = await Deno.readTextFile(`${dir}/head`);
          if (text === NARROWED) {
            assertMatch(head, new RegExp(`^content-length: ${NARROWED.length}\r$`, "im"));
          }
          assertEquals(/^(etag|content-encoding):/im.test(head), false);
        });
      }
      await t.step("a credential in it is masked", async () => {
        const { text } = await ask("/echo", "tools/list");
        assertMatch(text, /"description":"Bearer \*{28}"}\]}}$/);
        await proxy.waitLine(/^allow .*path=\/echo status=200 secret=key .*echoed=1/);
      });
      await t.step("other answers pass as they are", async () => {
        assertEquals((await ask("/json", "ping")).text, LIST);
      });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}
