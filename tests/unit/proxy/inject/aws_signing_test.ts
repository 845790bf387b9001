/** The signature that goes to AWS: what of the head it takes the place of, whose time it has, and how the body is signed. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { AwsSigning, placeOf } from "../../../../proxy/inject/aws_signing.ts";
import type { AwsRequest } from "../../../../proxy/decide/aws_request.ts";
import type { Upload } from "../../../../proxy/forward/upload.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import { ChunkSigner } from "../../../../secrets/aws/chunks.ts";
import type { ClientSignature, Payload } from "../../../../secrets/aws/client_signature.ts";
import { readQuery } from "../../../../secrets/aws/query.ts";
import { makeExchange, NOW, type StageOptions } from "./stage.ts";

const KEYS = { accessKeyId: "AKIAREAL", secretAccessKey: "real/secret" };
const HASH = "a".repeat(64);
const OLD = "0".repeat(64);

function requestOf(parts: Partial<ClientSignature> = {}, payloads?: readonly string[]): AwsRequest {
  return {
    signature: {
      form: "header",
      ...{ service: "s3", region: "eu-west-1" },
      signedHeaders: new Set(["host"]),
      payload: { kind: "said", value: HASH },
      query: [],
      ...parts,
    },
    payloads,
  };
}

/** What leaves for a client's fields, and what became of the body. */
async function sign(
  aws: AwsRequest,
  { fields = {}, target = "/a?x=1", hash = HASH, ...options }: StageOptions & {
    readonly fields?: Readonly<Record<string, string>>;
    readonly target?: string;
    /** Of the body, when it has to be found out. */
    readonly hash?: string;
  } = {},
) {
  const stage = makeExchange({ aws, ...options });
  let holds = 0;
  const upload = {
    rewriter: undefined,
    hold: () => {
      holds++;
      return Promise.resolve(hash);
    },
  } as unknown as Upload;
  const signing = new AwsSigning(stage.exchange, aws);
  const head = { fields: Object.entries(fields).map(([name, value]) => makeField(name, value)), target };
  const again = () => signing.sign(KEYS, head, upload);
  const signed = await again();
  return {
    ...stage,
    signed,
    upload,
    again,
    holds: () => holds,
    names: signed.fields.map(({ name }) => name),
    valueOf: (key: string) => signed.fields.find((field) => field.key === key)?.value,
  };
}

Deno.test("placeOf() names an upstream by its host and port", () => {
  assertEquals(placeOf({ host: "a.test", port: 8443 }), "a.test 8443");
});

Deno.test("a signature in the head takes the place of the client's own and of its time", async () => {
  const fields = {
    Host: "api.test",
    Authorization: "AWS4-HMAC-SHA256 dummy",
    "X-Amz-Date": "20200101T000000Z",
    "X-Amz-Security-Token": "dummy",
    Expect: "100-continue",
    A: "b",
  };
  const { signed, names, valueOf, holds } = await sign(requestOf(), { fields });
  assertEquals(names.filter((name) => !/^(x-amz-date|authorization)$/i.test(name)), ["Host", "Expect", "A"]);
  assertEquals([signed.target, holds()], ["/a?x=1", 0]);
  assertEquals(valueOf("x-amz-date"), "20260102T030405Z");
  assertMatch(
    valueOf("authorization") ?? "",
    /^AWS4-HMAC-SHA256 Credential=AKIAREAL\/20260102\/eu-west-1\/s3\/aws4_request, ?SignedHeaders=host;x-amz-date, ?Signature=[0-9a-f]{64}$/,
  );
});

Deno.test("a signature covers what is asked: method, path, query, fields and payload each change it", async () => {
  const base = { fields: { Host: "api.test" } };
  const query = readQuery("x=1");
  assert(Array.isArray(query));
  const signatures = await Promise.all([
    sign(requestOf(), base),
    sign(requestOf(), { ...base, path: "/other" }),
    sign(requestOf({ query }), base),
    sign(requestOf({ payload: { kind: "said", value: "UNSIGNED-PAYLOAD" } }), base),
    sign(requestOf({ region: "us-east-1" }), base),
    sign(requestOf(), { fields: { Host: "other.test" } }),
  ]);
  assertEquals(new Set(signatures.map(({ valueOf }) => valueOf("authorization"))).size, 6);
});

Deno.test("over HTTP/2 the authority is signed as the host, and a Host beside it is not", async () => {
  const aws = requestOf();
  const over1 = await sign(aws, { fields: { Host: "api.test" } });
  const over2 = await sign(aws, { authority: "api.test" });
  const both = await sign(aws, { authority: "api.test", fields: { Host: "other.test" } });
  assertEquals(
    [over2, both].map(({ valueOf }) => valueOf("authorization")),
    Array(2).fill(over1.valueOf("authorization")),
  );
  assertEquals([over2.valueOf("host"), both.valueOf("host")], [undefined, "other.test"]);
});

Deno.test("the time of a signature is the upstream's", async () => {
  const stage = makeExchange();
  const aws = requestOf();
  stage.awsClocks.learn("api.test 443", new Date(NOW + 600_000).toUTCString(), NOW);
  const signing = new AwsSigning(stage.exchange, aws);
  const { fields } = await signing.sign(
    KEYS,
    { fields: [makeField("Host", "api.test")], target: "/" },
    {} as Upload,
  );
  assertEquals(fields.find(({ key }) => key === "x-amz-date")?.value, "20260102T031405Z");
});

const UNSAID: Payload = { kind: "unsaid" };

Deno.test("a payload that nobody said is found out once, said in the head, and waited for no more", async () => {
  const fields = { Host: "api.test", Expect: "100-continue" };
  const found = await sign(requestOf({ payload: UNSAID }), { fields });
  assertEquals([found.valueOf("x-amz-content-sha256"), found.valueOf("expect"), found.holds()], [
    HASH,
    undefined,
    1,
  ]);
  await found.again();
  assertEquals(found.holds(), 1);
  const presigned = await sign(requestOf({ payload: UNSAID, form: "query", signedAtMs: NOW, expiresS: 60 }), {
    fields,
  });
  assertEquals([presigned.names, presigned.holds()], [["Host"], 1]);
});

Deno.test("a payload that the rule does not allow is not signed", async () => {
  const allowed = await sign(requestOf({ payload: UNSAID }, [HASH]), { fields: { Host: "api.test" } });
  assertEquals(allowed.holds(), 1);
  for (const payloads of [[], ["b".repeat(64)]]) {
    const error = await assertRejects(() => sign(requestOf({ payload: UNSAID }, payloads)), ProxyError);
    assertEquals([error.code, error.reason], ["policy.signature", "aws-scope"]);
    assert(error.message.startsWith("Cannot sign the request: STS gives out keys"), error.message);
  }
});

Deno.test("a body of chunks is signed by the head's signature, within the client's room", async () => {
  for (const hasTrailer of [false, true]) {
    const payload: Payload = { kind: "chunks", value: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", hasTrailer };
    const { upload, room } = await sign(requestOf({ payload }), { fields: { Host: "api.test" } });
    const { rewriter } = upload;
    assert(rewriter instanceof ChunkSigner);
    const last = `0;chunk-signature=${OLD}\r\n${
      hasTrailer ? `a:b\r\nx-amz-trailer-signature:${OLD}\r\n` : ""
    }\r\n`;
    const half = new TextEncoder().encode(last);
    assertEquals((await rewriter.push(half.subarray(0, 9))).length, 0);
    assertEquals(room.held, 9);
    const out = new TextDecoder().decode(await rewriter.push(half.subarray(9)));
    assertEquals(out.replace(/[0-9a-f]{64}/g, OLD), last);
    assert(!out.includes(OLD));
    rewriter.end();
    assertEquals(room.held, 0);
  }
  const plain = await sign(requestOf(), { fields: { Host: "api.test" } });
  assertEquals(plain.upload.rewriter, undefined);
});

Deno.test("a chunk's signature hangs on the seed, the time and the scope of the head's", async () => {
  const payload: Payload = { kind: "chunks", value: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", hasTrailer: false };
  const last = new TextEncoder().encode(`0;chunk-signature=${OLD}\r\n\r\n`);
  const chunkOf = async (aws: AwsRequest) => {
    const { upload } = await sign(aws, { fields: { Host: "api.test" } });
    return new TextDecoder().decode(await upload.rewriter?.push(last) ?? new Uint8Array(0));
  };
  const one = await chunkOf(requestOf({ payload }));
  assertEquals(await chunkOf(requestOf({ payload })), one);
  // By value, from an implementation of our own beside it: AWS4-HMAC-SHA256-PAYLOAD over the seed.
  const { valueOf } = await sign(requestOf({ payload }), { fields: { Host: "api.test" } });
  const seed = /Signature=([0-9a-f]{64})/.exec(valueOf("authorization") ?? "")?.[1] ?? "";
  const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  const text = [
    "AWS4-HMAC-SHA256-PAYLOAD",
    "20260102T030405Z",
    "20260102/eu-west-1/s3/aws4_request",
    seed,
    empty,
    empty,
  ];
  assertEquals(one, `0;chunk-signature=${await signByHand(text.join("\n"))}\r\n\r\n`);
});

/** SigV4's key for 2026-01-02, eu-west-1 and s3, and an HMAC with it. */
async function signByHand(text: string): Promise<string> {
  const hmac = async (key: Uint8Array<ArrayBuffer>, message: string) => {
    const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, [
      "sign",
    ]);
    return new Uint8Array(await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(message)));
  };
  let key: Uint8Array<ArrayBuffer> = new TextEncoder().encode(`AWS4${KEYS.secretAccessKey}`);
  for (const part of ["20260102", "eu-west-1", "s3", "aws4_request"]) key = await hmac(key, part);
  return [...await hmac(key, text)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test("a presigned URL is good from now on for no longer than it was, and one that has ended keeps its time", async (t) => {
  const rows: readonly (readonly [
    name: string,
    signedAgoS: number,
    expiresS: number,
    date: string,
    expires: string,
  ])[] = [
    ["made now", 0, 60, "20260102T030405Z", "60"],
    ["made before", 20, 60, "20260102T030405Z", "40"],
    ["a second left", 59, 60, "20260102T030405Z", "1"],
    ["ended", 60, 60, "20260102T030305Z", "60"],
    ["long ended", 600, 60, "20260102T025405Z", "60"],
    ["made ahead of time", -30, 60, "20260102T030405Z", "60"],
  ];
  for (const [name, signedAgoS, expiresS, date, expires] of rows) {
    await t.step(name, async () => {
      const query = readQuery("x=1&X-Amz-Date=20200101T000000Z");
      assert(Array.isArray(query));
      const { signed } = await sign(
        requestOf({ form: "query", signedAtMs: NOW - signedAgoS * 1_000, expiresS, query }),
        { fields: { Host: "api.test" } },
      );
      const [path, text] = signed.target.split("?");
      const parameters = new URLSearchParams(text);
      assertEquals(
        [path, parameters.get("X-Amz-Date"), parameters.get("X-Amz-Expires"), parameters.get("x")],
        [
          "/a",
          date,
          expires,
          "1",
        ],
      );
      assertEquals(parameters.get("X-Amz-Credential"), "AKIAREAL/20260102/eu-west-1/s3/aws4_request");
      assertEquals(signed.fields.map(({ name }) => name), ["Host"]);
    });
  }
  await t.step("a part of a second counts as a whole one", async () => {
    const { signed } = await sign(requestOf({ form: "query", signedAtMs: NOW - 59_001, expiresS: 60 }), {
      fields: { Host: "api.test" },
    });
    assertEquals(new URLSearchParams(signed.target.split("?")[1]).get("X-Amz-Expires"), "1");
  });
  await t.step("its time stands in the query, and a field of that name stays", async () => {
    const { names } = await sign(requestOf({ form: "query", signedAtMs: NOW, expiresS: 60 }), {
      fields: { Host: "api.test", "X-Amz-Date": "x" },
    });
    assertEquals(names, ["Host", "X-Amz-Date"]);
  });
});
