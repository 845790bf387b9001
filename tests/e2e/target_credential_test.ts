/** Credentials in the query and in the path, over HTTP/1.1 and HTTP/2: what the upstream sees, and what nobody else does. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { startFrameUpstream } from "../support/frame_peer.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { Rig } from "../unit/secrets/support.ts";

const ignore = !hasProgram("curl");

interface SiteOptions {
  readonly type: string;
  readonly value: string;
  readonly paths: readonly string[];
  readonly version?: string;
  readonly isDown?: boolean;
  /** Of another upstream. */
  readonly port?: number;
}

async function startSite(
  { type, value, paths, version = "--http1.1", isDown = false, port: other }: SiteOptions,
) {
  const stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-target-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const echo = stack.use(await startEchoUpstream());
  const upstream = stack.use(await startHttp2Upstream());
  const port = other ?? (isDown ? unusedPort() : version === "--http2" ? upstream.port : echo.port);
  const rig = stack.use(await Rig.start({ isStarted: false }));
  await rig.adopt(type, value, { host: "up.test" });
  const proxy = stack.use(await startTestProxy({ credentials: rig.credentials, logQuery: true }));
  await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
  proxy.policy.allow("one", { host: "up.test", ports: [port], paths, secret: "login" });
  return {
    proxy,
    /** Request lines that an upstream has seen, less the version. */
    requests: () => [
      ...echo.seen.map(({ requestLine }) => requestLine.replace(" HTTP/1.1", "")),
      ...upstream.requests.map((line) => line.replace(/ -$/, "")),
    ],
    /** The header lines of the first request over HTTP/1.1. */
    headers: () => echo.seen[0]?.headers.join("\n") ?? "",
    curl: async (...args: readonly string[]) => {
      const { stdout, stderr } = await runProgram("curl", [
        ...[
          "-sS",
          "-i",
          "-g",
          "--max-time",
          "20",
          "--cacert",
          `${dir}/ca.pem`,
          "--suppress-connect-headers",
          version,
        ],
        ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, ...args],
      ]);
      return stdout + stderr;
    },
    url: `https://up.test:${port}`,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

for (const version of ["--http1.1", "--http2"]) {
  Deno.test({ ignore, name: `a key in the query, ${version}` }, async () => {
    await using site = await startSite({ type: "query", value: "key=planted K&", paths: ["/v1/*"], version });
    const own = ["-H", "x-goog-api-key: MINE", "-H", "Authorization: Bearer MINE"];
    const out = await site.curl(...own, `${site.url}/v1/a?q=1&key=MINE&%4Bey=MINE`);
    assertMatch(out, /200/);
    assertEquals(site.requests(), ["GET /v1/a?key=planted%20K%26&q=1"]);
    assert(!site.headers().includes("MINE"));
    await site.proxy.waitLine(/path=\/v1\/a query=q=1&key=MINE&%4Bey=MINE status=200/);
    assert(!site.proxy.lines.join().includes("planted"));
  });

  Deno.test({ ignore, name: `a key in the path, ${version}` }, async () => {
    await using site = await startSite({ type: "path", value: "123:planted", paths: ["/bot{}/*"], version });
    for (const placeholder of ["{}", "%7B%7D", "%7b%7d"]) {
      assertMatch(await site.curl(`${site.url}/bot${placeholder}/send?text={}`), /200/);
    }
    assertEquals(site.requests(), Array(3).fill("GET /bot123:planted/send?text={}"));
    await site.proxy.waitLine(/path=\/bot\{\}\/send /);
    await site.proxy.waitLine(/path=\/bot%7B%7D\/send /);
    assert(!site.proxy.lines.join().includes("planted"));
  });
}

Deno.test({ ignore, name: "a key in the path goes only where the rule has pinned it" }, async (t) => {
  const rows = [
    { name: "twice", paths: ["/bot{}/*"], path: "/bot{}/search/{}" },
    { name: "under a wide rule", paths: ["/*"], path: "/search/{}" },
    { name: "under a rule without paths", paths: [], path: "/bot{}/send" },
    { name: "nowhere", paths: ["/bot{}/*", "/file/*"], path: "/file/x" },
    { name: "behind what the rule says", paths: ["/bot/*"], path: "/bot/{}" },
  ];
  for (const { name, paths, path } of rows) {
    await t.step(name, async () => {
      await using site = await startSite({ type: "path", value: "123:planted", paths });
      const out = await site.curl(site.url + path);
      assertStringIncludes(out, "HTTP/1.1 403");
      assertStringIncludes(out, "X-Slicer-Proxy-Reason: placeholder");
      assertStringIncludes(out, "goes where the path has {}, once");
      assert(!out.includes("planted"));
      assertEquals(site.requests(), []);
    });
  }
});

Deno.test({ ignore, name: "a key in the target stays out of HTTP/2's compression tables" }, async (t) => {
  const kinds = [
    { type: "query", value: "key=planted", paths: ["/v1/*"], path: "/v1/a" },
    { type: "path", value: "planted", paths: ["/bot{}/*"], path: "/bot{}/send" },
    { type: "bearer", value: "planted", paths: ["/v1/*"], path: "/v1/a" }, // which is in no target
  ];
  for (const { type, value, paths, path } of kinds) {
    await t.step(type, async () => {
      await using upstream = await startFrameUpstream(async (peer) => {
        await peer.send("SETTINGS");
        await peer.next(/^HEADERS 1/);
        await peer.send("HEADERS 1 ES EH :status=204");
        await peer.end();
      });
      await using site = await startSite({ type, value, paths, version: "--http2", port: upstream.port });
      assertMatch(await site.curl(`${site.url}${path}`), /204/);
      const isInTarget = type !== "bearer";
      assertEquals(upstream.peers[0]?.sensitive, [isInTarget ? ":path" : "authorization"]);
    });
  }
});

Deno.test({ ignore, name: "an upstream that fails has the key in no error and no line" }, async (t) => {
  for (
    const [type, value, path] of [["query", "key=planted", "/bot{}"], ["path", "planted", "/bot{}"]] as const
  ) {
    await t.step(type, async () => {
      await using site = await startSite({ type, value, paths: [path], isDown: true });
      const out = await site.curl(site.url + path);
      assertStringIncludes(out, "HTTP/1.1 502");
      assert(!out.includes("planted"));
      await site.proxy.waitLine(/reason=connect-refused/);
      assert(!site.proxy.lines.join().includes("planted"));
    });
  }
});

function unusedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
