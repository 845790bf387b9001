/** Bodies that a rule has to know are read within bounds, over both versions of HTTP, and go upstream as they came. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { Replayer } from "../../policy/replay.ts";
import { parseRule } from "../../policy/rule.ts";
import { MAX_BODY_BYTES } from "../../policy/words/body_text.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const canRun = hasProgram("curl");
const QUERY = '{"query":"{ viewer { login } }"}';
const MUTATION = '{"query":"mutation { viewer }"}';

/** Answers with what it was sent, in hex. */
async function startUpstream() {
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["api.test"]);
  const asked: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen: () => {} },
    async (request) => {
      const bytes = Buffer.from(await request.arrayBuffer());
      asked.push(`${request.method} ${new URL(request.url).pathname} ${bytes.length}`);
      return new Response(bytes.toString("hex"));
    },
  );
  return { port: server.addr.port, asked, [Symbol.asyncDispose]: () => server.shutdown() };
}

for (const version of ["--http1.1", "--http2"]) {
  Deno.test({ name: `bodies under a rule for GraphQL (${version})`, ignore: !canRun }, async (t) => {
    await using upstream = await startUpstream();
    await using proxy = await startTestProxy({ limits: { bodyReadTimeoutMs: 2_000 } });
    const rule = { host: "api.test", ports: [upstream.port], paths: ["/graphql"], graphql: ["query"] };
    proxy.policy.allow("one", rule);
    proxy.policy.allow("one", { host: "api.test", ports: [upstream.port], paths: ["/other"] });
    const dir = await Deno.makeTempDir({ prefix: "slicer-body-" });
    await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
    const send = async (body: Uint8Array, headers: readonly string[] = [], path = "/graphql") => {
      await Deno.writeFile(`${dir}/body`, body);
      const { stdout } = await runProgram("curl", [
        ...[
          "-sS",
          version,
          "--cacert",
          `${dir}/ca.pem`,
          "-x",
          `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`,
        ],
        ...["--data-binary", `@${dir}/body`, "-H", "Content-Type: application/json"],
        ...headers.flatMap((header) => ["-H", header]),
        ...["-w", "\n%{http_code}", `https://api.test:${upstream.port}${path}`],
      ]);
      const at = stdout.lastIndexOf("\n");
      return { status: Number(stdout.slice(at + 1)), text: stdout.slice(0, at) };
    };
    const bytes = (text: string) => new TextEncoder().encode(text);
    const large = JSON.stringify({ query: "{ viewer }", variables: { x: "x".repeat(1_048_000) } });
    try {
      const passed: readonly [string, Uint8Array, readonly string[]][] = [
        ["as it is", bytes(QUERY), []],
        ["gzip", gzipSync(QUERY), ["Content-Encoding: gzip"]],
        ["deflate", deflateSync(QUERY), ["Content-Encoding: deflate"]],
        ["br", brotliCompressSync(QUERY), ["Content-Encoding: br"]],
        ["in chunks", bytes(QUERY), ["Transfer-Encoding: chunked"]],
        ["asked for first", bytes(QUERY), ["Expect: 100-continue"]],
        ["as large as may be", bytes(large.padEnd(MAX_BODY_BYTES)), []],
      ];
      for (const [name, body, headers] of passed) {
        await t.step(`goes on: ${name}`, async () => {
          assertEquals(await send(body, headers), { status: 200, text: Buffer.from(body).toString("hex") });
        });
      }
      const before = upstream.asked.length;
      const refused: readonly [string, Uint8Array, readonly string[], RegExp][] = [
        ["a mutation", bytes(MUTATION), [], /no-rule/],
        ["a mutation, gzip", gzipSync(MUTATION), ["Content-Encoding: gzip"], /no-rule/],
        ["too large", bytes(large.padEnd(MAX_BODY_BYTES + 1)), [], /body-too-large/],
        [
          "too large, in chunks",
          bytes(large + " ".repeat(1_000)),
          ["Transfer-Encoding: chunked"],
          /body-too-large/,
        ],
        [
          "too large unfolded",
          gzipSync(large + " ".repeat(1_000)),
          ["Content-Encoding: gzip"],
          /body-encoding/,
        ],
        ["another coding", bytes(QUERY), ["Content-Encoding: zstd"], /body-unreadable/],
        [
          "bytes in another coding",
          Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd),
          ["Content-Encoding: zstd"],
          /body-encoding/,
        ],
        ["two codings", gzipSync(gzipSync(QUERY)), ["Content-Encoding: gzip, gzip"], /body-encoding/],
        ["two fields", gzipSync(QUERY), ["Content-Encoding: gzip", "Content_Encoding: br"], /body-encoding/],
        ["text that says it is Brotli", bytes(QUERY), ["Content-Encoding: br"], /body-unreadable/],
        ["cut short", gzipSync(QUERY).subarray(0, 20), ["Content-Encoding: gzip"], /body-encoding/],
        ["not what it says", bytes(QUERY), ["Content-Encoding: gzip"], /body-unreadable/],
        ["a member twice", bytes('{"query":"{a}","query":"mutation{b}"}'), [], /body-unreadable/],
      ];
      for (const [name, body, headers, reason] of refused) {
        await t.step(`is denied: ${name}`, async () => {
          const { status, text } = await send(body, headers);
          assertEquals(status, 403, text);
          assertMatch(text, reason);
        });
      }
      await t.step("an upgrade could say anything", async () => {
        const { status, text } = await send(bytes(QUERY), ["Connection: Upgrade", "Upgrade: websocket"]);
        // HTTP/2 has no such fields.
        assertEquals(status, version === "--http2" ? 200 : 403, text);
      });
      assertEquals(upstream.asked.slice(before).length, version === "--http2" ? 1 : 0);
      await t.step("nothing is read under other rules", async () => {
        const body = bytes(large + " ".repeat(1_000));
        assertEquals((await send(body, [], "/other")).status, 200);
      });
      await t.step("and the log says enough to decide it again", async () => {
        await proxy.waitLine(/allow .*path=\/graphql .*says=graphql:query\(viewer\)/);
        await proxy.waitLine(/deny .*reason=no-rule .*says=graphql:mutation\(viewer\)/);
        await proxy.waitLine(/deny .*says=graphql:!body-too-large/);
        const replayer = new Replayer(new Map([["one", [parseRule({ ...rule, graphql: ["mutation"] })]]]));
        for (const record of proxy.records) if (record.path === "/graphql") replayer.add(record);
        const { denied, allowed } = replayer.result();
        assert(denied >= passed.length && allowed === 2, JSON.stringify(replayer.result()));
      });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}
