/** Bodies whose hash an SDK signs and does not say: held until they are hashed, within bounds; and HTTP/2. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { MAX_HASHED_BODY_BYTES } from "../../core/limits.ts";
import { readRequest, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { pythonWith } from "../support/aws/lab.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { Rig } from "../unit/secrets/support.ts";

const KEYS = { access_key_id: "AKIAREALREALREALREAL", secret_access_key: "real/secret+key" };
const AUTHORIZATION =
  "AWS4-HMAC-SHA256 Credential=AKIASLICERPROXYDUMMY/20260102/eu-west-1/dynamodb/aws4_request, " +
  `SignedHeaders=content-type;host;x-amz-date, Signature=${"0".repeat(64)}`;
const FIELDS =
  `Authorization: ${AUTHORIZATION}\r\nX-Amz-Date: 20260102T030405Z\r\nContent-Type: application/x-amz-json-1.0\r\n`;

interface Site extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly target: string;
  readonly rig: Rig;
}

async function startSite(
  upstream: Pick<Upstream, "port">,
  options: Parameters<typeof startTestProxy>[0] = {},
): Promise<Site> {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(await Rig.start({ isStarted: false }));
  await rig.adopt("aws", KEYS, { host: "up.test" });
  const proxy = stack.use(
    await startTestProxy({
      ...options,
      credentials: rig.credentials,
      onSecretChange: (listener) => rig.state.onChange(listener),
    }),
  );
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], secret: "login" });
  const moved = stack.move();
  return {
    rig,
    proxy,
    target: `up.test:${upstream.port}`,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** Answers with the fields and the body that it saw. */
function startMirror(): Promise<Upstream> {
  return startRawUpstream(async (peer) => {
    for (;;) {
      const request = await readRequest(peer);
      if (!request) return;
      const text = JSON.stringify({
        ...request,
        body: createHash("sha256").update(request.body, "latin1").digest("hex"),
      });
      await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`);
    }
  });
}

Deno.test("a body without a hash is held until it is hashed, however it is framed", async (t) => {
  await using upstream = await startMirror();
  await using site = await startSite(upstream);
  const { proxy, target } = site;
  const content = '{"TableName":"table"}';
  const hash = createHash("sha256").update(content).digest("hex");
  const framed: [name: string, fields: string, body: string][] = [
    ["by its length", `Content-Length: ${content.length}\r\n`, content],
    [
      "in chunks",
      "Transfer-Encoding: chunked\r\n",
      `5\r\n${content.slice(0, 5)}\r\n10\r\n${content.slice(5)}\r\n0\r\n\r\n`,
    ],
  ];
  for (const [name, fields, body] of framed) {
    for (const step of [body.length, 3]) {
      await t.step(`${name}, in pieces of ${step}`, async () => {
        using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
        await peer.send(`POST / HTTP/1.1\r\nHost: ${target}\r\n${FIELDS}${fields}\r\n`);
        for (let at = 0; at < body.length; at += step) await peer.send(body.slice(at, at + step));
        const head = await peer.readHead();
        assertStringIncludes(head, "200 OK");
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
        const seen = JSON.parse(await peer.readBytes(length));
        assert(seen.headers.includes(`X-Amz-Content-Sha256: ${hash}`), seen.headers.join("\n"));
        assert(seen.headers.some((line: string) => line.includes(`Credential=${KEYS.access_key_id}/`)));
      });
    }
  }
  await t.step(
    "whoever waits for leave to send it gets it from the proxy, and the upstream is not asked",
    async () => {
      using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
      await peer.send(
        `POST / HTTP/1.1\r\nHost: ${target}\r\n${FIELDS}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`,
      );
      assertStringIncludes(await peer.readHead(), "100 Continue");
      await peer.send("{}");
      const head = await peer.readHead();
      const seen = JSON.parse(await peer.readBytes(Number(/content-length: (\d+)/i.exec(head)?.[1])));
      assertEquals(seen.headers.filter((line: string) => /^expect/i.test(line)), []);
    },
  );
});

Deno.test("what is held is bounded: in one body, and for one client", async (t) => {
  await using upstream = await startMirror();
  await t.step("a body that is too large", async () => {
    await using site = await startSite(upstream);
    const { proxy, target } = site;
    using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
    await peer.send(
      `POST / HTTP/1.1\r\nHost: ${target}\r\n${FIELDS}Content-Length: ${MAX_HASHED_BODY_BYTES + 1}\r\n\r\n`,
    );
    const piece = "x".repeat(65_536);
    const sending = (async () => {
      for (let sent = 0; sent <= MAX_HASHED_BODY_BYTES; sent += piece.length) await peer.send(piece);
    })().catch(() => {}); // cut off once it was refused
    const head = await peer.readHead();
    assertStringIncludes(head, "403");
    assertStringIncludes(head, "X-Slicer-Proxy-Reason: aws-signature");
    peer[Symbol.dispose]();
    await sending;
  });
  await t.step("many bodies, and what was held is free again", async () => {
    await using site = await startSite(upstream, { limits: { maxHeldBytesPerClient: 100_000 } });
    const { proxy, target } = site;
    using first = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
    await first.send(
      `POST / HTTP/1.1\r\nHost: ${target}\r\n${FIELDS}Content-Length: 90001\r\n\r\n${"x".repeat(90_000)}`,
    );
    for (let i = 0;; i++) {
      using second = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
      await second.send(
        `POST / HTTP/1.1\r\nHost: ${target}\r\n${FIELDS}Content-Length: 20000\r\n\r\n${"x".repeat(20_000)}`,
      );
      const head = await second.readHead();
      if (head.includes("429") && head.includes("X-Slicer-Proxy-Reason: quota")) break;
      assert(i < 100, head); // until the first one is there
    }
    first[Symbol.dispose]();
    await proxy.waitLine(/reason=client-closed/);
    using third = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
    await third.send(
      `POST / HTTP/1.1\r\nHost: ${target}\r\n${FIELDS}Content-Length: 90000\r\n\r\n${"x".repeat(90_000)}`,
    );
    assertStringIncludes(await third.readHead(), "200 OK");
  });
  await t.step("a secret that goes while a body is held ends the request", async () => {
    await using site = await startSite(upstream);
    const { proxy, target, rig } = site;
    using peer = await openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem);
    const expecting = "Expect: 100-continue\r\nContent-Length: 10\r\n";
    await peer.send(`POST / HTTP/1.1\r\nHost: ${target}\r\n${FIELDS}${expecting}\r\n`);
    assertStringIncludes(await peer.readHead(), "100 Continue"); // it is admitted, and held
    await peer.send("five ");
    await rig.state.deleteSecret("login");
    assertStringIncludes(await peer.readHead(), "X-Slicer-Proxy-Reason: revoked");
  });
});

const canVerify = hasProgram("curl") && pythonWith("botocore") !== undefined;

Deno.test({ name: "over HTTP/2 the signature covers what leaves", ignore: !canVerify }, async (t) => {
  const heads: {
    method: string;
    target: string;
    headers: (readonly [string, string])[];
    body_sha256: string;
  }[] = [];
  await using upstream = await startHttp2Upstream({
    handle: async (stream) => {
      const { method, path = "", authority = "", fields } = stream.head;
      const hash = createHash("sha256");
      while (await stream.fill()) {
        hash.update(stream.available);
        stream.consume(stream.available.length);
      }
      heads.push({
        method,
        target: path,
        headers: [["host", authority], ...fields.map(({ key, value }) => [key, value] as const)],
        body_sha256: hash.digest("hex"),
      });
      stream.respond({ status: 200, fields: [] }, true);
    },
  });
  await using site = await startSite(upstream);
  const dir = await Deno.makeTempDir({ prefix: "slicer-aws-h2-" });
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  await Deno.writeTextFile(`${dir}/ca.pem`, site.proxy.caPem);
  const rows: [name: string, args: string[]][] = [
    ["a body that is held", ["--aws-sigv4", "aws:amz:eu-west-1:dynamodb", "-d", '{"a":1}', "/"]],
    ["S3 and its path", ["--aws-sigv4", "aws:amz:eu-west-1:s3", "/b/a%20key%2B"]],
    ["a query", ["--aws-sigv4", "aws:amz:eu-west-1:s3", "/b?prefix=a%2Fb&delimiter=%2F"]],
  ];
  for (const [name, args] of rows) {
    await t.step(name, async () => {
      const url = `https://${site.target}${args.pop()}`;
      const { stdout, stderr } = await runProgram("curl", [
        ...[
          "-sS",
          "--http2",
          "--max-time",
          "20",
          "--cacert",
          `${dir}/ca.pem`,
          "-w",
          "%{http_version} %{http_code}",
        ],
        ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${site.proxy.httpPort}`],
        ...["--user", "AKIASLICERPROXYDUMMY:slicerproxydummy", ...args, url],
      ]);
      assertEquals(stdout, "2 200", stderr);
      const request = { ...heads.at(-1), keys: [{ id: KEYS.access_key_id, secret: KEYS.secret_access_key }] };
      const verify = new URL("../support/aws/verify.py", import.meta.url).pathname;
      const verified = await runProgram(pythonWith("botocore") ?? "", [verify], {
        input: JSON.stringify(request) + "\n",
      });
      assertEquals(verified.stdout, "ok\n", verified.stderr);
    });
  }
});
