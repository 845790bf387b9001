import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { readQuery } from "../../../secrets/aws/query.ts";
import { presignQuery, signHead } from "../../../secrets/aws/signer.ts";
import { ChunkSigner } from "../../../secrets/aws/chunks.ts";

/**
 * The examples that AWS has published, as facts: the test suite of Signature Version 4 (service `service`), and those of the
 * Amazon S3 API Reference. Its keys are AWS's own examples, and open nothing.
 */
const KEYS = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
const S3_KEYS = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const EMPTY = createHash("sha256").digest("hex");
const SUITE_TIME = Date.UTC(2015, 7, 30, 12, 36, 0);
const S3_TIME = Date.UTC(2013, 4, 24);
const S3_SCOPE = { service: "s3", region: "us-east-1" };

/** Names of an object's own, which no client must be able to touch. By botocore. */
const ODD = "/?constructor=1&__proto__=2&toString=3&__proto__=4";

const UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const SUITE: readonly {
  readonly name: string;
  readonly method?: string;
  readonly target?: string;
  readonly fields?: readonly (readonly [string, string])[];
  readonly body?: string;
  readonly signature: string;
}[] = [
  { name: "get-vanilla", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
  {
    name: "get-vanilla-query-order-key-case",
    target: "/?Param2=value2&Param1=value1",
    signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
  },
  {
    name: "get-vanilla-query-unreserved",
    target: `/?${UNRESERVED}=${UNRESERVED}`,
    signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
  },
  {
    name: "get-header-value-trim",
    fields: [["my-header1", " value1"], ["my-header2", '"a   b   c"']],
    signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
  },
  {
    name: "get-header-key-duplicate",
    fields: [["my-header1", "value2"], ["my-header1", "value2"], ["my-header1", "value1"]],
    signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
  },
  {
    name: "normalize-path/get-slashes",
    target: "//",
    signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
  },
  {
    name: "normalize-path/get-slash-dot-slash",
    target: "/./",
    signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
  },
  {
    name: "normalize-path/get-slash-pointless-dot",
    target: "/./example",
    signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
  },
  {
    name: "a path that is encoded as it is sent is encoded once more (by botocore)",
    target: "/%E1%88%B4",
    signature: "697b34846207a3f72246f99d74ae1ee4fe54f44bb06730c58a0d339eb079596d",
  },
  {
    name: "names that objects have",
    target: ODD,
    fields: [["constructor", "x"], ["__proto__", "y"]],
    signature: "9adc60f5706bb7edbaf848862c8ed49ca082a526091a1cb930409ee74b7e604a",
  },
  {
    name: "post-vanilla",
    method: "POST",
    signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
  },
  {
    name: "post-header-key-sort",
    method: "POST",
    fields: [["my-header1", "value1"]],
    signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
  },
  {
    name: "post-x-www-form-urlencoded",
    method: "POST",
    fields: [["content-type", "application/x-www-form-urlencoded"]],
    body: "Param1=value1",
    signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
  },
];

/** Of the S3 API Reference. */
const S3_EXAMPLES: readonly {
  readonly name: string;
  readonly target: string;
  readonly fields?: readonly (readonly [string, string])[];
  readonly signature: string;
}[] = [
  {
    name: "GET Object",
    target: "/test.txt",
    fields: [["range", "bytes=0-9"]],
    signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  },
  {
    name: "GET Bucket Lifecycle",
    target: "/?lifecycle",
    signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  },
  {
    name: "GET Bucket (List Objects)",
    target: "/?max-keys=2&prefix=J",
    signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  },
];

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function signable(method: string, target: string, fields: readonly (readonly [string, string])[]) {
  const [path = "", text = ""] = target.split("?");
  const query = readQuery(text);
  if (!Array.isArray(query)) throw new Error(query.why);
  return {
    method,
    path,
    query,
    fields: fields.map(([key, value]) => ({ key, value })),
    signedHeaders: new Set(fields.map(([key]) => key)),
  };
}

Deno.test("signHead() makes the signatures of AWS's test suite", async (t) => {
  for (const { name, method = "GET", target = "/", fields = [], body = "", signature } of SUITE) {
    await t.step(name, async () => {
      const request = signable(method, target, [["host", "example.amazonaws.com"], ...fields]);
      const signed = await signHead({ ...request, payload: sha256(body) }, {
        keys: KEYS,
        scope: { service: "service", region: "us-east-1" },
        nowMs: SUITE_TIME,
      });
      assertEquals(signed.signature, signature);
    });
  }
});

Deno.test("signHead() makes the signatures of S3's documented examples", async (t) => {
  for (const { name, target, fields = [], signature } of S3_EXAMPLES) {
    await t.step(name, async () => {
      const request = signable("GET", target, [
        ["host", "examplebucket.s3.amazonaws.com"],
        ["x-amz-content-sha256", EMPTY],
        ...fields,
      ]);
      const signed = await signHead({ ...request, payload: EMPTY }, {
        keys: S3_KEYS,
        scope: S3_SCOPE,
        nowMs: S3_TIME,
      });
      assertEquals(signed.signature, signature);
    });
  }
});

Deno.test("presignQuery() makes the URL of S3's documented example", async () => {
  const request = signable("GET", "/test.txt", [["host", "examplebucket.s3.amazonaws.com"]]);
  const query = await presignQuery({ ...request, payload: "UNSIGNED-PAYLOAD" }, {
    keys: S3_KEYS,
    scope: S3_SCOPE,
    nowMs: S3_TIME,
    expiresS: 86_400,
  });
  assertEquals(
    new URLSearchParams(query).get("X-Amz-Signature"),
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  );
});

const SEED_FIELDS = [
  ["host", "s3.amazonaws.com"],
  ["x-amz-storage-class", "REDUCED_REDUNDANCY"],
  ["content-encoding", "aws-chunked"],
  ["x-amz-decoded-content-length", "66560"],
] as const;

const CHUNKED = [
  {
    name: "chunks",
    payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    more: [["content-length", "66824"]],
    signatures: [
      "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
      "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
      "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ],
    seed: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
  },
  {
    name: "chunks with a trailer",
    payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    more: [["x-amz-trailer", "x-amz-checksum-crc32c"]],
    signatures: [
      "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
      "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
      "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ],
    trailer: "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
    seed: "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
  },
] as const;

Deno.test("ChunkSigner makes the signatures of S3's documented examples, however the body is cut", async (t) => {
  for (const example of CHUNKED) {
    const bodyWith = (signatures: readonly string[], trailer: string | undefined) =>
      Buffer.from(
        `10000;chunk-signature=${signatures[0]}\r\n${"a".repeat(65_536)}\r\n` +
          `400;chunk-signature=${signatures[1]}\r\n${"a".repeat(1_024)}\r\n` +
          `0;chunk-signature=${signatures[2]}\r\n` +
          (trailer === undefined
            ? "\r\n"
            : `x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:${trailer}\r\n\r\n`),
      );
    const trailer = "trailer" in example ? example.trailer : undefined;
    const placeholder = "0".repeat(64);
    const sent = bodyWith([placeholder, placeholder, placeholder], trailer && placeholder);
    const wanted = bodyWith(example.signatures, trailer);
    for (const pieceBytes of [sent.length, 65_536, 8_191, 100, 1]) {
      await t.step(`${example.name} in pieces of ${pieceBytes}`, async () => {
        const request = signable("PUT", "/examplebucket/chunkObject.txt", [
          ...SEED_FIELDS,
          ["x-amz-content-sha256", example.payload],
          ...example.more,
        ]);
        const head = await signHead({ ...request, payload: example.payload }, {
          keys: S3_KEYS,
          scope: S3_SCOPE,
          nowMs: S3_TIME,
        });
        assertEquals(head.signature, example.seed);
        let held = 0;
        const signer = new ChunkSigner({
          seed: head.signature,
          longDate: head.longDate,
          scope: "20130524/us-east-1/s3/aws4_request",
          signText: head.signText,
          hasTrailer: trailer !== undefined,
          room: { take: (bytes) => (held += bytes) >= 0, give: (bytes) => void (held -= bytes) },
        });
        const out: Uint8Array[] = [];
        for (let at = 0; at < sent.length; at += pieceBytes) {
          out.push(await signer.push(sent.subarray(at, at + pieceBytes)));
        }
        signer.end();
        assertEquals(Buffer.concat(out).equals(wanted), true);
        assertEquals(held, 0);
      });
    }
  }
});

/** Signs a GET with S3's keys. */
async function signS3(
  path: string,
  more: { fields?: readonly (readonly [string, string])[]; sessionToken?: string } = {},
) {
  const { fields = [], sessionToken } = more;
  const request = signable("GET", "/", [["host", "b.test"]]);
  return await signHead({
    ...request,
    path,
    fields: [...request.fields, ...fields.map(([key, value]) => ({ key, value }))],
    payload: EMPTY,
  }, {
    keys: { ...S3_KEYS, ...(sessionToken === undefined ? {} : { sessionToken }) },
    scope: S3_SCOPE,
    nowMs: S3_TIME,
  });
}

Deno.test("signHead() gives the headers to be set, the session's token among them where there is one", async () => {
  const { headers, signature, longDate } = await signS3("/");
  assertEquals(headers.map(([name]) => name), ["Authorization", "X-Amz-Date"]);
  assertEquals([headers[0]?.[1].endsWith(`Signature=${signature}`), headers[1]?.[1], longDate], [
    true,
    "20130524T000000Z",
    "20130524T000000Z",
  ]);
  const session = await signS3("/", { sessionToken: "tok/en" });
  assertEquals(session.headers.slice(1), [["X-Amz-Date", "20130524T000000Z"], [
    "X-Amz-Security-Token",
    "tok/en",
  ]]);
  assertEquals(session.signature === signature, false);
});

Deno.test("signHead() signs the host, the type, every field of AWS's and what the SDK had signed, and nothing else", async () => {
  const names = async (...fields: (readonly [string, string])[]) => {
    const { headers } = await signS3("/", { fields });
    return /SignedHeaders=([^,]*)/.exec(headers[0]?.[1] ?? "")?.[1];
  };
  assertEquals(
    await names(["content-type", "a/b"], ["x-amz-meta-a", "b"], ["accept", "c"], ["x-ama", "d"]),
    "content-type;host;x-amz-date;x-amz-meta-a",
  );
  assertEquals(await names(["x-amz-content-sha256", EMPTY]), "host;x-amz-content-sha256;x-amz-date");
  assertEquals(await names(), "host;x-amz-date");
});

Deno.test("signHead() signs a path of S3 as what it decodes to, encoded once", async (t) => {
  const same: readonly (readonly [string, string])[] = [
    ["/a%2bb", "/a%2Bb"],
    ["/a+b", "/a%2Bb"],
    ["/%41%7e%2D", "/A~-"],
    ["/%2f", "//"],
    ["/\u00e4", "/%E4"],
    ["/\u0001", "/%01"],
    ["/%c3%a4", "/%C3%A4"],
    ["/a%", "/a%25"],
    ["/a!*'()", "/a%21%2A%27%28%29"],
  ];
  const signatureOf = async (path: string) => (await signS3(path)).signature;
  for (const [path, other] of same) {
    await t.step(`${JSON.stringify(path)} is ${other}`, async () => {
      assertEquals(await signatureOf(path), await signatureOf(other));
    });
  }
  const others = ["/", "/a", "/a/../a", "/a//a", "/./a", "/%E4", "/%C3%A4", "/%2B"];
  const signatures = await Promise.all(others.map(signatureOf));
  assertEquals(new Set(signatures).size, others.length); // nothing is normalised
});

Deno.test("signHead() signs bytes beyond ASCII in a field as the bytes that they are", async () => {
  // As they are read, each byte a character, and as the text that they are.
  const read = await signS3("/", { fields: [["x-amz-meta-a", "\u00c3\u00a4"]] });
  const wanted = createHash("sha256").update([
    "GET",
    "/",
    "",
    "host:b.test",
    "x-amz-date:20130524T000000Z",
    "x-amz-meta-a:\u00e4",
    "",
    "host;x-amz-date;x-amz-meta-a",
    EMPTY,
  ].join("\n")).digest("hex");
  const text = `AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n${wanted}`;
  assertEquals(await read.signText(text), read.signature);
});

Deno.test("presignQuery() leaves the client's other parameters as they were sent, and sends its token along", async () => {
  const request = signable("GET", "/a?b=c+d&X-Amz-Date=1&x-amz-SIGNATURE=2&e=%2f", [["host", "b.test"], [
    "range",
    "x",
  ]]);
  const query = await presignQuery({ ...request, payload: "UNSIGNED-PAYLOAD" }, {
    keys: { ...S3_KEYS, sessionToken: "a/b (c)!*'" },
    scope: S3_SCOPE,
    nowMs: S3_TIME,
    expiresS: 60,
  });
  const parts = query.split("&");
  assertEquals(parts.slice(0, 2), ["b=c+d", "e=%2f"]);
  assertEquals(parts.slice(2).map((part) => part.split("=")[0]).sort(), [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
  ]);
  assertEquals(
    parts.find((part) => part.startsWith("X-Amz-Security-Token")),
    "X-Amz-Security-Token=a%2Fb%20%28c%29%21%2A%27",
  );
  assertEquals(new URLSearchParams(query).get("X-Amz-SignedHeaders"), "host;range");
});
