/** Each form of an AWS signature through the proxy, against an upstream that verifies with botocore. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Buffer } from "node:buffer";
import { readQuery } from "../../secrets/aws/query.ts";
import { presignQuery, signHead } from "../../secrets/aws/signer.ts";
import { type AwsLab, pythonWith, REAL, SESSION, setUpAws } from "../support/aws/lab.ts";
import { TOKEN } from "../support/start_proxy.ts";

const ignore = pythonWith("botocore") === undefined;
const DUMMY = {
  accessKeyId: "AKIASLICERPROXYDUMMY",
  secretAccessKey: "slicerproxydummy000000000000000000000000",
};
const ZEROS = "0".repeat(64);

/** See each field. */
interface Sent {
  readonly method?: string;
  readonly service?: string;
  readonly region?: string;
  /** The first part of the host's name. */
  readonly name?: string;
  /** Path and query. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload?: string;
  readonly body?: BodyInit | undefined;
  /** Of the URL, in seconds from now; the signature is in the headers without it. */
  readonly presignedAt?: number;
}

/** A request as an SDK with placeholder keys sends it. */
async function send(
  lab: AwsLab,
  sent: Sent,
): Promise<{ readonly response: Response; readonly text: string }> {
  const { method = "GET", service = "s3", region = "eu-west-1", name = "s3", headers = {}, payload } = sent;
  const [path = "", search = ""] = sent.target.split("?");
  const host = new URL(lab.endpoint(name)).host;
  const said = payload === undefined ? {} : { "x-amz-content-sha256": payload };
  const all: Record<string, string> = { ...headers, ...said };
  const query = readQuery(search);
  if (!Array.isArray(query)) throw new Error(query.why);
  const signable = {
    method,
    path,
    query,
    fields: [{ key: "host", value: host }, ...Object.entries(all).map(([key, value]) => ({ key, value }))],
    signedHeaders: new Set(["host", ...Object.keys(all)]),
    payload: payload ?? ZEROS,
  };
  const parts = { keys: { ...DUMMY, sessionToken: "slicerproxydummy-token" }, scope: { service, region } };
  let url = `${lab.endpoint(name)}${sent.target}`;
  if (sent.presignedAt === undefined) {
    const { headers } = await signHead(signable, { ...parts, nowMs: Date.now() });
    Object.assign(all, Object.fromEntries(headers));
  } else {
    const nowMs = Date.now() + sent.presignedAt * 1_000;
    const signed = await presignQuery({ ...signable, payload: "UNSIGNED-PAYLOAD" }, {
      ...parts,
      nowMs,
      expiresS: 60,
    });
    url = `${lab.endpoint(name)}${path}?${signed}`;
  }
  const client = Deno.createHttpClient({
    proxy: {
      url: `http://127.0.0.1:${lab.proxy.httpPort}`,
      basicAuth: { username: "proxy", password: TOKEN },
    },
    caCerts: [lab.proxy.caPem],
  });
  try {
    const response = await fetch(url, {
      method,
      headers: all,
      client,
      ...(sent.body ? { body: sent.body } : {}),
    });
    return { response, text: await response.text() };
  } finally {
    client.close();
  }
}

/** An aws-chunked body whose signatures are none. */
function chunked(sizes: readonly number[], trailer = ""): Buffer {
  const chunk = (size: number) => `${size.toString(16)};chunk-signature=${ZEROS}\r\n${"x".repeat(size)}`;
  const last = trailer === "" ? "\r\n" : `${trailer}\r\nx-amz-trailer-signature:${ZEROS}\r\n\r\n`;
  return Buffer.from([...sizes, 0].map(chunk).join("\r\n") + last);
}

/** No line of the audit log holds anything of the real keys. */
function check(lab: AwsLab): void {
  const said = lab.proxy.lines.join("\n");
  for (
    const secret of [REAL.secret_access_key, SESSION.secret, SESSION.token, REAL.access_key_id, SESSION.id]
  ) {
    assert(!said.includes(secret), `the audit log holds ${secret}`);
  }
}

Deno.test({
  name: "chunks that are signed one by one are signed anew, with a trailer and without",
  ignore,
  fn: async (t) => {
    await using lab = await setUpAws();
    const put = (target: string, payload: string, body: Buffer, trailer?: string) =>
      send(lab, {
        method: "PUT",
        target,
        payload,
        body: new Uint8Array(body),
        headers: {
          "content-encoding": "aws-chunked",
          "x-amz-decoded-content-length": "1",
          ...(trailer === undefined ? {} : { "x-amz-trailer": trailer }),
        },
      });
    const CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    await t.step("of every size", async () => {
      const { response, text } = await put("/b/chunks", CHUNKS, chunked([65_536, 1_048_576, 8_192, 100]));
      assertEquals(response.status, 200, text);
      const { text: found } = await send(lab, { target: "/b/chunks", payload: "UNSIGNED-PAYLOAD" });
      assertEquals(found, "x".repeat(65_536 + 1_048_576 + 8_192 + 100));
    });
    await t.step("none but the last", async () => {
      assertEquals((await put("/b/none", CHUNKS, chunked([]))).response.status, 200);
    });
    await t.step("with a trailer", async () => {
      const body = chunked([65_536, 5], "x-amz-checksum-crc32c:sOO8/Q==");
      const { response, text } = await put("/b/trailer", `${CHUNKS}-TRAILER`, body, "x-amz-checksum-crc32c");
      assertEquals(response.status, 200, text);
    });
    await t.step("unsigned chunks pass as they are", async () => {
      const body = Buffer.from("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n");
      const unsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
      const { response, text } = await put("/b/unsigned", unsigned, body, "x-amz-checksum-crc32c");
      assertEquals(response.status, 200, text);
      assertEquals((await send(lab, { target: "/b/unsigned", payload: "UNSIGNED-PAYLOAD" })).text, "hello");
    });
    assertEquals(lab.upstream.seen.filter(({ error }) => error !== null), []);
    const bad: [name: string, body: Buffer][] = [
      ["a chunk of 1 MiB and a byte", chunked([1_048_577])],
      ["a short chunk before the last", chunked([8_191, 100])],
      ["no last chunk", chunked([8_192]).subarray(0, -20)],
      ["no signature", Buffer.from("5\r\nhello\r\n0\r\n\r\n")],
      ["something behind the last", Buffer.concat([chunked([5]), Buffer.from("more")])],
      [
        "a chunk that is longer than it says",
        Buffer.from(chunked([5]).toString().replace("xxxxx", "xxxxxx")),
      ],
    ];
    for (const [name, body] of bad) {
      await t.step(`refused: ${name}`, async () => {
        const { response, text } = await put("/b/bad", CHUNKS, body);
        assertEquals(response.status, 400, text);
        assertStringIncludes(text, "aws-chunked");
        const taken = lab.upstream.seen.filter(({ path, error }) => path === "/b/bad" && error === null);
        assertEquals(taken, []);
      });
    }
    check(lab);
  },
});

Deno.test({
  name: "a presigned URL works, for as long as it says",
  ignore,
  fn: async (t) => {
    await using lab = await setUpAws({
      value: { ...REAL, session_token: SESSION.token },
      keys: [{ id: REAL.access_key_id, secret: REAL.secret_access_key, token: SESSION.token }],
    });
    await send(lab, { method: "PUT", target: "/b/o", payload: "UNSIGNED-PAYLOAD", body: "content" });
    await t.step("now", async () => {
      const target = "/b/o?versionId=null&response-content-type=text%2Fplain";
      const { response, text } = await send(lab, { target, presignedAt: 0 });
      assertEquals([response.status, text], [200, "content"]);
    });
    await t.step("once it has ended, in AWS's own words", async () => {
      const { response, text } = await send(lab, { target: "/b/o", presignedAt: -61 });
      assertEquals(response.status, 403);
      assertStringIncludes(text, "Request has expired");
    });
    await t.step("made by a clock that is ahead", async () => {
      assertEquals((await send(lab, { target: "/b/o", presignedAt: 600 })).response.status, 200);
    });
    check(lab);
  },
});

Deno.test({
  name: "a rule limits service and region; what is not signed so is denied, and says why",
  ignore,
  fn: async (t) => {
    await using lab = await setUpAws({ rule: { awsService: ["s3", "bedrock*"], awsRegion: ["eu-*"] } });
    const rows: [name: string, sent: Omit<Sent, "target">, status: number, reason?: string][] = [
      ["service and region", {}, 404],
      ["a service by its beginning", { service: "bedrock-agent" }, 200],
      ["another service", { service: "dynamodb", name: "dynamodb" }, 403, "aws-scope"],
      ["another region", { region: "us-east-1" }, 403, "aws-scope"],
      ["another region in the URL", { region: "us-east-1", presignedAt: 0 }, 403, "aws-scope"],
    ];
    for (const [name, sent, status, reason] of rows) {
      await t.step(name, async () => {
        const { response, text } = await send(lab, { payload: "UNSIGNED-PAYLOAD", ...sent, target: "/b/o" });
        assertEquals([response.status, response.headers.get("x-slicer-proxy-reason")], [
          status,
          reason ?? null,
        ], text);
      });
    }
    check(lab);
  },
});

Deno.test({
  name: "what AWS has against a signature is told from a denied action in the audit log",
  ignore,
  fn: async (t) => {
    const rows: [name: string, options: Parameters<typeof setUpAws>[0], status: number, log: RegExp][] = [
      ["a wrong key", { keys: [{ id: REAL.access_key_id, secret: "another" }] }, 403, /reason=aws-key/],
      ["an unknown key", { keys: [{ id: "AKIAOTHER", secret: "another" }] }, 403, /reason=aws-key/],
      ["a wrong region", { region: "us-east-1" }, 403, /reason=aws-region/],
      [
        "a clock that is an hour behind: sent once more",
        { skew: 3_600 },
        200,
        /status=200 secret=login sent=4 /,
      ],
      [
        "a clock that is an hour ahead: sent once more",
        { skew: -3_600 },
        200,
        /status=200 secret=login sent=4 /,
      ],
    ];
    for (const [name, options, status, log] of rows) {
      await t.step(name, async () => {
        await using lab = await setUpAws(options);
        const put = { method: "PUT", target: "/b/o", payload: "UNSIGNED-PAYLOAD", body: "body" };
        assertEquals((await send(lab, put)).response.status, status);
        await lab.proxy.waitLine(log);
        if (status === 200) {
          assertEquals((await send(lab, put)).response.status, 200);
          // The offset is known by the third, and there is no fourth.
          assertEquals((await lab.upstream.waitFor(3)).map(({ error }) => error === null), [
            false,
            true,
            true,
          ]);
        }
        check(lab);
      });
    }
    await t.step("a denied action has no such reason", async () => {
      await using lab = await setUpAws();
      assertEquals(
        (await send(lab, { target: "/b/missing", payload: "UNSIGNED-PAYLOAD" })).response.status,
        404,
      );
      const line = await lab.proxy.waitLine(/status=404/);
      assert(!line.includes("reason="));
    });
  },
});

Deno.test({
  name: "a role's keys are fetched from STS and renewed; the VM sees nothing of it",
  ignore,
  fn: async (t) => {
    const role = {
      ...REAL,
      role_arn: "arn:aws:iam::123456789012:role/vm",
      sts_endpoint: "https://sts.aws.test:STS_PORT/",
    };
    const keys = [{ id: REAL.access_key_id, secret: REAL.secret_access_key }, SESSION];
    await t.step("with an external id, by a clock that is an hour off", async () => {
      await using lab = await setUpAws({
        value: { ...role, external_id: "ext-1", duration: "15m" },
        keys: [keys[0] ?? {}, { ...SESSION, external_id: "ext-1" }],
        skew: 3_600,
      });
      const sent = { target: "/b/missing", payload: "UNSIGNED-PAYLOAD" };
      assertEquals((await send(lab, sent)).response.status, 404);
      assertEquals(
        (await lab.upstream.waitFor(4)).map((
          { service, key, error },
        ) => [service, key, error?.split(":")[0] ?? null]),
        [
          ["sts", REAL.access_key_id, "RequestTimeTooSkewed"],
          ["sts", REAL.access_key_id, null],
          ["s3", SESSION.id, "RequestTimeTooSkewed"],
          ["s3", SESSION.id, null],
        ],
      );
      check(lab);
    });
    await t.step("a role that is refused", async () => {
      await using lab = await setUpAws({
        value: { ...role, external_id: "wrong" },
        keys: [...keys.slice(0, 1), { ...SESSION, external_id: "right" }],
      });
      const { response, text } = await send(lab, { target: "/b/o", payload: "UNSIGNED-PAYLOAD" });
      assertEquals([response.status, response.headers.get("x-slicer-proxy-reason")], [
        502,
        "secret-unavailable",
      ]);
      assertStringIncludes(text, "STS refused the role (AccessDenied)");
    });
    await t.step("the VM reaches STS' endpoint of the secret by no rule", async () => {
      await using lab = await setUpAws({ value: role, keys });
      const { response } = await send(lab, {
        method: "POST",
        name: "sts",
        service: "sts",
        target: "/",
        body: "Action=GetCallerIdentity&Version=2011-06-15",
      });
      assertEquals(response.headers.get("x-slicer-proxy-reason"), "token-endpoint");
    });
  },
});
