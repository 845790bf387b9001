/** Testing a secret: what is sent where, and what is said of each answer. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parseCidr } from "../../../../core/cidr.ts";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { Dialler, type DialTarget } from "../../../../proxy/egress/dialler.ts";
import { testSecret } from "../../../../proxy/egress/secret_probe.ts";
import type { UpstreamConnection } from "../../../../proxy/egress/upstream_connection.ts";
import { ByteReader, type ByteStream } from "../../../../proxy/streams/byte_reader.ts";
import { parseAmzDate } from "../../../../secrets/aws/client_signature.ts";
import { signHead } from "../../../../secrets/aws/signer.ts";
import type { Credential } from "../../../../secrets/credential.ts";
import { awsScopeOf } from "../../../../secrets/probe.ts";
import { readRequest, type SeenRequest, startRawUpstream } from "../../../support/echo_upstream.ts";
import { FakeProvider } from "../../../support/fake_provider.ts";
import { upstreamAuthority } from "../../../support/test_authority.ts";
import { watchSignal } from "../../../support/watched_signal.ts";
import { Rig } from "../../secrets/support.ts";

interface Answered {
  readonly status: number;
  readonly body?: string;
  /** Without a credential; default 401. */
  readonly bare?: number;
  readonly isChunked?: boolean;
}

/** A host that answers all calls in one way, and tests of secrets that are bound to it. */
async function startStage(
  answered: Answered = { status: 200 },
  { allowCidrs = ["127.0.0.0/8"], isTrusted = true, names = ["up.test"], answer }: {
    readonly allowCidrs?: readonly string[];
    readonly isTrusted?: boolean;
    readonly names?: readonly string[];
    /** In the place of what `answered` says. The connection stays open until the other side ends it. */
    readonly answer?: string;
  } = {},
) {
  const stack = new AsyncDisposableStack();
  const seen: SeenRequest[] = [];
  const upstream = stack.use(
    await startRawUpstream(async (peer) => {
      const request = await readRequest(peer);
      if (!request) return;
      seen.push(request);
      if (answer !== undefined) {
        await peer.send(answer);
        await peer.isClosed();
        return;
      }
      const hasCredential = /planted/.test(request.requestLine + request.headers.join());
      const { status, body = "{}", bare = 401, isChunked = false } = answered;
      const framing = isChunked
        ? `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
        : `Content-Length: ${body.length}\r\n\r\n${body}`;
      await peer.send(`HTTP/1.1 ${hasCredential ? status : bare} X\r\n${framing}`);
    }, { names }),
  );
  const rig = stack.use(await Rig.start({ isStarted: false }));
  const dialler = new Dialler({
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    admission: new Admission(DEFAULT_LIMITS),
    resolve: () => Promise.resolve(["127.0.0.1"]),
    addresses: { allowCidrs: allowCidrs.map(parseCidr), denyCidrs: [] },
    caCertsFor: () => [],
    ownAddresses: () => [],
    ...(isTrusted ? { caCertsFor: await trusted() } : {}),
  });
  return {
    rig,
    seen,
    port: upstream.port,
    url: `${names.length > 0 ? "https" : "http"}://${names[0] ?? "up.test"}:${upstream.port}`,
    test: (url?: string, cleartextSecrets: "private" | "always" | "never" = "private") => {
      const record = rig.state.getSecret("login");
      if (!record) throw new Error("there is no secret");
      const credential = (name: string, request: Parameters<typeof rig.credentials.credential>[1]) =>
        rig.credentials.credential(name, request);
      return testSecret({ dialler, limits: DEFAULT_LIMITS, cleartextSecrets, credential }, record, url);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function trusted() {
  const { caPem } = await upstreamAuthority();
  return () => [caPem];
}

Deno.test("testSecret() puts each type where requests have it", async (t) => {
  const rows:
    readonly (readonly [type: string, value: string, path: string, line: string, header: RegExp])[] = [
      ["bearer", "planted", "/me?q=1", "GET /me?q=1 HTTP/1.1", /^Authorization: Bearer planted$/m],
      ["basic", "u:planted", "/me", "GET /me HTTP/1.1", /^Host/m],
      ["header", "X-Key: planted", "/me", "GET /me HTTP/1.1", /^X-Key: planted$/m],
      ["query", "key=planted", "/me?q=1", "GET /me?key=planted&q=1 HTTP/1.1", /^Host/m],
      ["path", "1:planted", "/bot{}/getMe", "GET /bot1:planted/getMe HTTP/1.1", /^Host/m],
    ];
  for (const [type, value, path, line, header] of rows) {
    await t.step(type, async () => {
      await using stage = await startStage();
      await stage.rig.adopt(type, value, { host: "up.test" });
      const tested = await stage.test(stage.url + path);
      if (type !== "basic") assertEquals(tested.verdict, "accepted");
      assertEquals(tested.url, stage.url + path.replace("?q=1", ""));
      assertEquals(stage.seen[0]?.requestLine, line);
      assert(header.test(stage.seen[0]?.headers.join("\n") ?? ""));
      assert(!JSON.stringify(tested).includes("planted"));
    });
  }
});

Deno.test("testSecret() says what each answer means, and shows an error's code and no more", async (t) => {
  const json = (value: unknown) => JSON.stringify(value);
  const rows: readonly (readonly [answered: Answered, verdict: string, words: RegExp])[] = [
    [{ status: 200 }, "accepted", /takes the credential \(HTTP status 200\)$/],
    [{ status: 200, bare: 200 }, "unclear", /answers without a credential too: name a URL that needs one/],
    [
      { status: 200, body: json({ ok: false, error: "invalid_auth" }) },
      "refused",
      /\(HTTP status 200, invalid_auth\)$/,
    ],
    [
      { status: 401, body: json({ error: { code: "invalid_api_key" } }) },
      "refused",
      /status 401, invalid_api_key\)/,
    ],
    [
      { status: 401, body: json({ error: { code: "invalid_api_key" } }), isChunked: true },
      "refused",
      /status 401, invalid_api_key\)/,
    ],
    [
      { status: 403, body: "<Error><Code>AccessDenied</Code></Error>" },
      "refused",
      /status 403, AccessDenied\)/,
    ],
    [
      { status: 401, body: json({ error: "planted" }) },
      "refused",
      /refuses the credential \(HTTP status 401\)$/,
    ],
    [{ status: 401, body: json({ error: "key sk-1 is unknown" }) }, "refused", /\(HTTP status 401\)$/],
    [{ status: 404 }, "unclear", /does not take this call/],
    [{ status: 302 }, "unclear", /sends elsewhere/],
    [{ status: 429 }, "unclear", /too many calls/],
    [{ status: 503 }, "unclear", /in trouble itself/],
  ];
  for (const [answered, verdict, words] of rows) {
    await t.step(`${verdict} ${words}`, async () => {
      await using stage = await startStage(answered);
      await stage.rig.adopt("bearer", "planted", { host: "up.test" });
      const tested = await stage.test(`${stage.url}/me`);
      assertEquals([tested.verdict, tested.status], [verdict, answered.status]);
      assert(words.test(tested.words), tested.words);
    });
  }
});

Deno.test("testSecret() goes through the checks of every dial, and says which one failed", async (t) => {
  await t.step("an address that is denied", async () => {
    await using stage = await startStage({ status: 200 }, { allowCidrs: [] });
    await stage.rig.adopt("bearer", "planted", { host: "up.test" });
    const { verdict, words } = await stage.test(`${stage.url}/me`);
    assertEquals(verdict, "failed");
    assertStringIncludes(words, "Cannot connect to up.test");
    assertEquals(stage.seen, []);
  });
  await t.step("a certificate that is not trusted", async () => {
    await using stage = await startStage({ status: 200 }, { isTrusted: false });
    await stage.rig.adopt("bearer", "planted", { host: "up.test" });
    assertEquals((await stage.test(`${stage.url}/me`)).verdict, "failed");
    assertEquals(stage.seen, []);
  });
  await t.step("without TLS only as requests go", async () => {
    await using stage = await startStage({ status: 200 }, { names: [] });
    await stage.rig.adopt("bearer", "planted", { host: "up.test" });
    const refused = await stage.test(`${stage.url}/me`, "never");
    assertStringIncludes(refused.words, "is not sent without TLS");
    assertEquals(stage.seen, []);
    assertEquals((await stage.test(`${stage.url}/me`, "private")).verdict, "accepted");
  });
});

Deno.test("testSecret() tests a login by its token, and says why there is none", async () => {
  await using stage = await startStage();
  await using provider = await FakeProvider.start();
  await stage.rig.adopt("oauth-client-creds", {
    ...{ client_id: "id:1", client_secret: "planted secret+%", token_endpoint: provider.tokenEndpoint },
  }, { host: "api.example.com" });
  const tested = await stage.test();
  assertEquals(tested.verdict, "accepted");
  assertStringIncludes(tested.words, "a token of this oauth-client-creds was fetched");
  assertStringIncludes((await stage.test()).words, "oauth-client-creds is at hand and has not ended");
  await stage.rig.adopt("oauth-client-creds", {
    ...{ client_id: "id:1", client_secret: "planted-wrong", token_endpoint: provider.tokenEndpoint },
  }, { host: "api.example.com", force: true });
  const refused = await stage.test();
  assertEquals(refused.verdict, "failed");
  assertStringIncludes(
    refused.words,
    "the provider refuses it: the token endpoint refused it (invalid_client)",
  );
});

Deno.test("testSecret() signs for AWS as the host's name says, and for S3 elsewhere", async () => {
  await using stage = await startStage();
  const keys = {
    access_key_id: "AKIAPLANTED",
    secret_access_key: "planted-key",
    session_token: "planted-token",
  };
  await stage.rig.adopt("aws", keys, { host: "up.test" });
  assertEquals((await stage.test(`${stage.url}/b?x=1`)).verdict, "accepted");
  const headers = stage.seen[0]?.headers.join("\n") ?? "";
  assert(
    /^Authorization: AWS4-HMAC-SHA256 Credential=AKIAPLANTED\/\d{8}\/us-east-1\/s3\/aws4_request, /m.test(
      headers,
    ),
    headers,
  );
  assert(!headers.includes("planted-key"));
  const field = (name: string) =>
    stage.seen[0]?.headers.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
  assertEquals(stage.seen[0]?.headers.map((line) => line.split(":")[0]).sort(), [
    ...["Accept", "Accept-Encoding", "Authorization", "Connection", "Host", "User-Agent"],
    ...["X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token"],
  ]);
  const emptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  assertEquals(field("X-Amz-Content-Sha256"), emptySha256);
  const signed = await signHead({
    ...{ method: "GET", path: "/b", query: [{ raw: "x=1", name: "x", value: "1" }] },
    fields: [{ key: "host", value: `up.test:${stage.port}` }, {
      ...{ key: "x-amz-content-sha256", value: emptySha256 },
    }],
    ...{ signedHeaders: new Set(), payload: emptySha256 },
  }, {
    keys: { accessKeyId: "AKIAPLANTED", secretAccessKey: "planted-key", sessionToken: "planted-token" },
    scope: { service: "s3", region: "us-east-1" },
    nowMs: parseAmzDate(field("X-Amz-Date")) ?? 0,
  });
  assertEquals(field("Authorization"), signed.headers[0]?.[1]);
  const error = await assertRejects(() => stage.test(), ProxyError);
  assertStringIncludes(error.message, "no harmless call is known for up.test");
  const rows = [
    ["sts.amazonaws.com", "sts", "us-east-1"],
    ["sts.eu-west-1.amazonaws.com", "sts", "eu-west-1"],
    ["b.s3.us-gov-west-1.amazonaws.com", "s3", "us-gov-west-1"],
    ["store.example.com", "s3", "us-east-1"],
    ["bedrock-runtime.eu-west-1.amazonaws.com", "bedrock", "eu-west-1"],
    ["s3.dualstack.eu-west-1.amazonaws.com", "s3", "eu-west-1"],
    ["sts.cn-north-1.amazonaws.com.cn", "sts", "cn-north-1"],
  ];
  for (const [host = "", service, region] of rows) assertEquals(awsScopeOf(host), { service, region });
});

Deno.test("testSecret() shows AWS's error code for keys without a session", async () => {
  await using stage = await startStage({
    ...{ status: 403, bare: 403, body: "<Error><Code>InvalidAccessKeyId</Code></Error>" },
  });
  await stage.rig.adopt("aws", { access_key_id: "AKIAPLANTED", secret_access_key: "planted-key" }, {
    host: "up.test",
  });
  assertStringIncludes((await stage.test(`${stage.url}/b`)).words, "status 403, InvalidAccessKeyId)");
});

Deno.test("testSecret() refuses what cannot be tested so", async (t) => {
  const rows: readonly (readonly [type: string, value: unknown, url: string | undefined, words: string])[] = [
    ["bearer", "planted", undefined, "no harmless call is known for up.test"],
    ["bearer", "planted", "https://other.test/", "the URL names another host"],
    ["bearer", "planted", "ftp://up.test/", "no plain http or https URL"],
    ["bearer", "planted", "https://u:p@up.test/", "no plain http or https URL"],
    ["path", "planted", "https://up.test/bot", "does not say where in the path"],
  ];
  await using stage = await startStage();
  for (const [type, value, url, words] of rows) {
    await t.step(words, async () => {
      await stage.rig.adopt(type, value, { host: "up.test", force: true });
      const error = await assertRejects(() => stage.test(url), ProxyError);
      assertEquals(error.code, "input.invalid");
      assertStringIncludes(error.message, words);
    });
  }
});

Deno.test("testSecret() asks with these fields and no others", async (t) => {
  for (const name of ["up.test", "api.anthropic.com"]) {
    await t.step(name, async () => {
      await using stage = await startStage({ status: 200 }, { names: [name] });
      await stage.rig.adopt("bearer", "planted", { host: name });
      assertEquals((await stage.test(`${stage.url}/v1/models`)).verdict, "accepted");
      const [asked, bare] = stage.seen.map(({ headers }) => headers.toSorted());
      const fields = [
        ...["Accept-Encoding: identity", "Accept: */*", "Connection: close", `Host: ${name}:${stage.port}`],
        ...["User-Agent: slicer-proxy", ...name === "up.test" ? [] : ["anthropic-version: 2023-06-01"]],
      ];
      assertEquals(bare, fields.toSorted());
      assertEquals(asked, [...fields, "Authorization: Bearer planted"].toSorted());
    });
  }
});

Deno.test("testSecret() reads an answer no further than it has to: the host may leave the connection open", async (t) => {
  const interim = (count: number) => "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count);
  const refusal = '{"code":"wrong_key"}';
  const sized = (length: number, body: string) =>
    `HTTP/1.1 401 X\r\nContent-Length: ${length}\r\n\r\n${body}`;
  const most = DEFAULT_LIMITS.maxInterimResponses;
  const rows: readonly (readonly [name: string, answer: string, verdict: string, words: string])[] = [
    ["all of a body", sized(refusal.length, refusal), "refused", "(HTTP status 401, wrong_key)"],
    [
      "16 KiB of a long one",
      sized(20_000, "<Code>Long</Code>".padEnd(16_384)),
      "refused",
      "status 401, Long)",
    ],
    ["as many interim answers as others may send", interim(most) + sized(2, "{}"), "refused", "status 401)"],
    ["one more", interim(most + 1) + sized(2, "{}"), "failed", "it does not come to an end"],
    ["what is no HTTP", "SSH-2.0-x\r\n\r\n", "failed", ""],
  ];
  for (const [name, answer, verdict, words] of rows) {
    await t.step(name, async () => {
      await using stage = await startStage({ status: 0 }, { answer });
      await stage.rig.adopt("bearer", "planted", { host: "up.test" });
      const tested = await stage.test(`${stage.url}/me`);
      assertEquals(tested.verdict, verdict, tested.words);
      assertStringIncludes(tested.words, words);
    });
  }
});

/** A test of a bearer secret over a dialler of the test's own, under a time limit that the test ends. */
function testOver(
  dial: (target: DialTarget, signal: AbortSignal) => Promise<UpstreamConnection>,
  {
    url = "https://up.test/me",
    host = "up.test",
    cleartextSecrets = "private",
    cleartext = false,
    credential,
  }: {
    /** "" for what is known of the host. */
    readonly url?: string;
    readonly host?: string;
    readonly cleartextSecrets?: "private" | "always" | "never";
    readonly cleartext?: boolean;
    readonly credential?: Promise<Credential> | "gone";
  } = {},
) {
  const record = { name: "login", host, type: "bearer", cleartext };
  const found: Credential = {
    ...{ secret: "login", version: "1", host, cleartext },
    ...{ headers: [["Authorization", "Bearer planted"]], material: ["planted"] },
  };
  const limit = watchSignal();
  const asked: number[] = [];
  const { timeout } = AbortSignal;
  AbortSignal.timeout = (ms) => {
    asked.push(ms);
    return limit.signal;
  };
  try {
    const tested = testSecret(
      {
        ...{ dialler: { dial }, limits: DEFAULT_LIMITS, cleartextSecrets },
        credential: () => credential === "gone" ? undefined : credential ?? found,
      },
      record,
      url === "" ? undefined : url,
    );
    return { tested, limit, asked };
  } finally {
    AbortSignal.timeout = timeout;
  }
}

/** A connection that answers with this, and then ends, fails, or says nothing more until it is closed: then it fails too, as Deno's do. */
function connectionOf(answer: string | readonly string[], end: "ends" | "fails" | "stays" = "ends") {
  const closed = Promise.withResolvers<void>();
  let closes = 0;
  const chunks = [answer].flat().filter((text) => text !== "").map((text) => new TextEncoder().encode(text));
  const stream: ByteStream = {
    read: async (into) => {
      const chunk = chunks.shift();
      if (chunk) {
        const read = chunk.subarray(0, into.length);
        into.set(read);
        if (read.length < chunk.length) chunks.unshift(chunk.subarray(read.length));
        return read.length;
      }
      if (end === "fails") throw new Deno.errors.ConnectionReset("reset");
      if (end === "ends") return null;
      await closed.promise;
      throw new Deno.errors.BadResource("closed");
    },
    write: (bytes) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: () => {
      closes++;
      closed.resolve();
    },
  };
  const connection: UpstreamConnection = {
    ...{ stream, reader: new ByteReader(stream), isReused: false, dialledAt: 0, protocol: "http/1.1" },
  };
  return { connection, isClosed: () => closes > 0 };
}

const OK = "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n";

Deno.test("testSecret() dials what the URL names, as the operator, and without TLS only near", async (t) => {
  const rows = [
    ["https://up.test/me", {}, "https", 443, false],
    ["https://up.test:8443/me", {}, "https", 8_443, false],
    ["http://up.test/me", {}, "http", 80, true],
    ["http://up.test/me", { cleartextSecrets: "always" }, "http", 80, false],
    ["http://up.test/me", { cleartext: true }, "http", 80, false],
    ["http://up.test/me", { cleartext: true, cleartextSecrets: "never" }, "http", 80, false],
    ["https://up.test/me", { cleartextSecrets: "never" }, "https", 443, false],
  ] as const;
  for (const [url, options, scheme, port, isOnlyNear] of rows) {
    await t.step(`${url} ${JSON.stringify(options)}`, async () => {
      const dialled: DialTarget[] = [];
      const made = connectionOf(OK);
      const { tested, limit, asked } = testOver((target) => {
        dialled.push(target);
        return Promise.resolve(made.connection);
      }, { url, ...options });
      assertEquals((await tested).verdict, "refused");
      assertEquals(dialled, [{
        ...{ scheme, host: "up.test", port, ruleHost: "up.test", isOnlyNear },
        ...{ client: { name: "", version: "" }, clientCertificate: undefined },
      }]);
      assertEquals([made.isClosed(), limit.listeners, asked], [true, 0, [15_000]]);
    });
  }
});

Deno.test("testSecret() ends with its time, wherever it waits, and leaves nothing open", async (t) => {
  const late = "Cannot test it: there was no answer within 15 s";
  await t.step("for the credential", async () => {
    const { tested, limit } = testOver(() => Promise.reject(new Error("no dial was expected")), {
      credential: new Promise(() => {}),
    });
    limit.abort();
    assertEquals([(await tested).words, limit.listeners], [late, 0]);
  });
  await t.step("for the connection", async () => {
    const { tested, limit } = testOver((_target, signal) => {
      queueMicrotask(() => limit.abort());
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    assertEquals((await tested).words, late);
  });
  await t.step("between connection and request", async () => {
    const made = connectionOf(OK);
    const { tested, limit } = testOver(() => {
      limit.abort();
      return Promise.resolve(made.connection);
    });
    assertEquals([(await tested).words, made.isClosed()], [late, true]);
  });
  await t.step("for the answer", async () => {
    const made = connectionOf("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", "stays");
    const { tested, limit } = testOver(() => {
      setTimeout(() => limit.abort());
      return Promise.resolve(made.connection);
    });
    assertEquals([(await tested).words, made.isClosed(), limit.listeners], [late, true, 0]);
  });
});

Deno.test("testSecret() tests no secret that is gone", async () => {
  const { tested } = testOver(() => Promise.reject(new Error("no dial was expected")), {
    credential: "gone",
  });
  assertEquals((await tested).words, "Cannot test secret login: it is gone");
});

Deno.test("testSecret() stops reading with the byte that fills 16 KiB", async () => {
  const body = "<Code>Long</Code>".padStart(16_384);
  const head = "HTTP/1.1 401 X\r\nContent-Length: 20000\r\n\r\n";
  const { connection } = connectionOf([head, body.slice(0, -1), body.slice(-1)], "stays");
  const { tested } = testOver(() => Promise.resolve(connection));
  assertStringIncludes((await tested).words, "(HTTP status 401, Long)");
});

Deno.test("testSecret() says that the connection broke", async () => {
  for (const answer of ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"]) {
    const made = connectionOf(answer, "fails");
    const { tested } = testOver(() => Promise.resolve(made.connection));
    assertEquals(await tested, {
      verdict: "failed",
      words: "Cannot read the answer of up.test: the connection broke",
      url: "https://up.test/me",
    });
    assertEquals(made.isClosed(), true);
  }
});

Deno.test("testSecret() reads an answer that comes byte by byte", async (t) => {
  const body = '{"code":"wrong_key"}';
  const rows = [
    `HTTP/1.1 401 X\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    `HTTP/1.1 401 X\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n${body}\r\n0\r\n\r\n`,
    `HTTP/1.1 401 X\r\n\r\n${body}`,
  ];
  for (const answer of rows) {
    await t.step(answer.split("\r\n")[1] || "until the connection ends", async () => {
      const { tested } = testOver(() => Promise.resolve(connectionOf([...answer]).connection));
      assertStringIncludes((await tested).words, "(HTTP status 401, wrong_key)");
    });
  }
});

Deno.test("testSecret() asks without the credential only where the credential was taken, at the operator's URL", async (t) => {
  const known = { url: "", host: "api.openai.com" };
  for (
    const [status, calls, options] of [[299, 2, {}], [300, 1, {}], [401, 1, {}], [200, 1, known]] as const
  ) {
    await t.step(`${status} ${JSON.stringify(options)}`, async () => {
      let count = 0;
      const { tested } = testOver(() => {
        count++;
        return Promise.resolve(connectionOf(`HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`).connection);
      }, options);
      await tested;
      assertEquals(count, calls);
    });
  }
});
