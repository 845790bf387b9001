/** A login whose token an HTTP/2 upstream refuses: the words of its refusal are read as over HTTP/1.1. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Http2ServerStream } from "../../proxy/http2/types.ts";
import { Rig } from "../unit/secrets/support.ts";
import { FakeProvider } from "../support/fake_provider.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const ignore = !hasProgram("curl");
const BAD = new TextEncoder().encode('{"code":"unauthenticated:bad-credentials","error":"not validated"}');
const HOUR = 3_600_000;

interface Refusal {
  readonly pieces: readonly Uint8Array[];
  readonly coding?: string;
}

/** What the client sees when its upstream takes only the provider's present token, which the proxy does not have. */
async function refusedWith({ pieces, coding }: Refusal) {
  await using stack = new AsyncDisposableStack();
  const provider = stack.use(await FakeProvider.start());
  const rig = stack.use(await Rig.start({ isStarted: false }));
  const upstream = stack.use(
    await startHttp2Upstream({
      handle: async (stream: Http2ServerStream) => {
        const sent = stream.head.fields.find(({ key }) => key === "authorization")?.value;
        if (sent === `Bearer ${provider.accessToken}`) {
          stream.respond({ status: 200, fields: [] });
          return await stream.write(new TextEncoder().encode("welcome"), true);
        }
        const fields = coding === undefined ? [] : [{ key: "content-encoding", value: coding }];
        stream.respond({ status: 403, fields }, pieces.length === 0);
        for (const [i, piece] of pieces.entries()) {
          await new Promise((resolve) => setTimeout(resolve, 20)); // so that they do not arrive as one
          await stream.write(piece, i === pieces.length - 1);
        }
      },
    }),
  );
  const { accessToken, refreshToken, tokenEndpoint } = provider;
  await rig.adopt("oauth-xai", {
    access_token: accessToken,
    refresh_token: refreshToken,
    token_endpoint: tokenEndpoint,
    expires_at: rig.clock.now() + HOUR,
  }, { host: "up.test" });
  const proxy = stack.use(
    await startTestProxy({
      credentials: rig.credentials,
      onSecretChange: (listener) => rig.state.onChange(listener),
    }),
  );
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "login" });
  provider.accessToken = "another one";
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-http2-login-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
  const { stdout } = await runProgram("curl", [
    ...[
      "-sS",
      "-i",
      "--http2",
      "--max-time",
      "20",
      "--cacert",
      `${dir}/ca.pem`,
      "--suppress-connect-headers",
    ],
    ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, `https://up.test:${upstream.port}/v1`],
  ]);
  return { out: stdout, refreshes: provider.refreshes, seen: upstream.requests.length };
}

Deno.test(
  { ignore, name: "a refusal over HTTP/2 is read whatever pieces and coding it comes in" },
  async (t) => {
    const halves = (bytes: Uint8Array) => [bytes.subarray(0, 20), bytes.subarray(20)];
    const rows: readonly (readonly [name: string, refusal: Refusal])[] = [
      ["behind its head", { pieces: [BAD] }],
      ["in two pieces", { pieces: halves(BAD) }],
      ["gzip", { pieces: halves(gzipSync(BAD)), coding: "gzip" }],
      ["br", { pieces: halves(brotliCompressSync(BAD)), coding: "br" }],
    ];
    for (const [name, refusal] of rows) {
      await t.step(name, async () => {
        const { out, refreshes, seen } = await refusedWith(refusal);
        assertStringIncludes(out, "HTTP/2 200");
        assertStringIncludes(out, "welcome");
        assertEquals([refreshes, seen], [1, 2]);
      });
    }
  },
);

Deno.test(
  { ignore, name: "a refusal for other reasons goes to the client whole, and nothing is renewed" },
  async (t) => {
    const other = new TextEncoder().encode('{"code":"permission-denied"}'.padEnd(9_000, " "));
    const rows: readonly (readonly [name: string, pieces: readonly Uint8Array[]])[] = [
      ["other words, longer than what is looked at", [other.subarray(0, 30), other.subarray(30)]],
      ["its words too late", [new Uint8Array(8_192).fill(0x20), BAD]],
      ["none", []],
    ];
    for (const [name, pieces] of rows) {
      await t.step(name, async () => {
        const { out, refreshes, seen } = await refusedWith({ pieces });
        assertStringIncludes(out, "HTTP/2 403");
        const body = out.slice(out.indexOf("\r\n\r\n") + 4);
        assertEquals(body, pieces.map((piece) => new TextDecoder().decode(piece)).join(""));
        assertEquals([refreshes, seen], [0, 1]);
      });
    }
  },
);
