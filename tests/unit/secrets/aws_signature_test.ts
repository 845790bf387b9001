import { assertEquals, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { isAuthParameter, isS3, readSignature } from "../../../secrets/aws/client_signature.ts";
import { allowedPayloads } from "../../../secrets/aws/guard.ts";
import { awsErrorCode, awsFault } from "../../../secrets/aws/fault.ts";
import { readOffset, UpstreamClocks } from "../../../secrets/aws/clocks.ts";
import { readQuery } from "../../../secrets/aws/query.ts";

const SCOPE = "AKIASLICERPROXYDUMMY/20260102/eu-west-1/s3/aws4_request";
const SIGNATURE = "a".repeat(64);
const GOOD = `AWS4-HMAC-SHA256 Credential=${SCOPE}, SignedHeaders=host;x-amz-date, Signature=${SIGNATURE}`;
const PRESIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + encodeURIComponent(SCOPE) +
  `&X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=${SIGNATURE}`;

function read(
  authorization: string | readonly string[] | undefined,
  query?: string,
  more: Record<string, string> = {},
) {
  const values = authorization === undefined ? [] : [authorization].flat();
  return readSignature({
    query,
    fields: [
      ...values.map((value) => ({ key: "authorization", value })),
      ...Object.entries(more).map(([key, value]) => ({ key, value })),
    ],
  });
}

Deno.test("readSignature() reads what SDKs send", async (t) => {
  const forms = [
    GOOD,
    GOOD.replaceAll(", ", ","),
    `AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date, Signature=${SIGNATURE}, Credential=${SCOPE}`,
    GOOD.replace("AKIASLICERPROXYDUMMY", "an/id/with/slashes"),
  ];
  for (const form of forms) {
    await t.step(form.slice(0, 60), () => {
      const signature = read(form);
      if ("why" in signature) throw new Error(signature.why);
      const { service, region, signedHeaders, payload } = signature;
      assertEquals({ service, region, signedHeaders, payload }, {
        service: "s3",
        region: "eu-west-1",
        signedHeaders: new Set(["host", "x-amz-date"]),
        payload: { kind: "unsaid" },
      });
    });
  }
  await t.step("a presigned URL", () => {
    const signature = read(undefined, `versionId=1&${PRESIGNED}`);
    if ("why" in signature) throw new Error(signature.why);
    assertEquals(signature.form, "query");
    assertEquals(signature.expiresS, 60);
    assertEquals(signature.signedAtMs, Date.UTC(2026, 0, 2, 3, 4, 5));
    assertEquals(signature.payload, { kind: "said", value: "UNSIGNED-PAYLOAD" });
  });
});

Deno.test("readSignature() refuses what cannot be signed anew, and says what to do", async (t) => {
  const rows: [name: string, signature: ReturnType<typeof read>, words: string][] = [
    ["none", read(undefined), "slicer-proxy env"],
    ["a bearer token", read("Bearer x"), "is no AWS signature"],
    ["version 2", read("AWS AKIA:sig="), "s3v4"],
    ["version 2 in the URL", read(undefined, "AWSAccessKeyId=A&Signature=b&Expires=1"), "s3v4"],
    ["SigV4a", read(GOOD.replace("HMAC-SHA256", "ECDSA-P256-SHA256")), "AWS_AUTH_SCHEME_PREFERENCE=sigv4"],
    [
      "SigV4a in the URL",
      read(undefined, PRESIGNED.replace("HMAC-SHA256", "ECDSA-P256-SHA256")),
      "AWS_AUTH_SCHEME_PREFERENCE=sigv4",
    ],
    [
      "events",
      read(GOOD, undefined, { "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-EVENTS" }),
      "InvokeModelWithResponseStream",
    ],
    ["two fields", read([GOOD, GOOD]), "more than once"],
    ["field and URL", read(GOOD, PRESIGNED), "more than once"],
    ["a parameter twice", read(undefined, `${PRESIGNED}&X-Amz-Expires=61`), "cannot be read"],
    ["another end", read(GOOD.replace("aws4_request", "aws5_request")), "cannot be read"],
    ["a short signature", read(GOOD.slice(0, -1)), "cannot be read"],
    ["a part twice", read(`${GOOD}, Signature=${SIGNATURE}`), "cannot be read"],
    ["a part too many", read(`${GOOD}, More=1`), "cannot be read"],
    ["no signed headers", read(GOOD.replace("host;x-amz-date", "")), "cannot be read"],
    ["an expiry of zero", read(undefined, PRESIGNED.replace("Expires=60", "Expires=0")), "cannot be read"],
    ["a hash that is none", read(GOOD, undefined, { "x-amz-content-sha256": "abc" }), "cannot be read"],
    ["a query that is no UTF-8", read(GOOD, "a=%ff"), "percent-encoded"],
    ["301 parameters", read(GOOD, Array(301).fill("a").join("&")), "300 parameters"],
  ];
  for (const [name, signature, words] of rows) {
    await t.step(
      name,
      () => assertStringIncludes("why" in signature ? signature.why : "it was taken", words),
    );
  }
  await t.step("300 parameters are taken", () => {
    assertEquals("why" in read(GOOD, Array(300).fill("a").join("&")), false);
  });
});

Deno.test("readSignature(): what the body's field says, in each of its forms", async (t) => {
  const hash = "0123456789abcdef".repeat(4);
  const rows: readonly (readonly [said: string, payload: unknown])[] = [
    [hash, { kind: "said", value: hash }],
    ["UNSIGNED-PAYLOAD", { kind: "said", value: "UNSIGNED-PAYLOAD" }],
    ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", { kind: "said", value: "STREAMING-UNSIGNED-PAYLOAD-TRAILER" }],
    ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", {
      kind: "chunks",
      value: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
      hasTrailer: false,
    }],
    ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", {
      kind: "chunks",
      value: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
      hasTrailer: true,
    }],
  ];
  for (const [said, payload] of rows) {
    await t.step(said, () => {
      const signature = read(GOOD, undefined, { "x-amz-content-sha256": said });
      assertEquals("why" in signature ? signature.why : signature.payload, payload);
    });
  }
  const why = (signature: ReturnType<typeof read>) => "why" in signature ? signature.why : "it was taken";
  await t.step("SigV4a", () => {
    const said = { "x-amz-content-sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" };
    assertStringIncludes(why(read(GOOD, undefined, said)), "AWS_AUTH_SCHEME_PREFERENCE=sigv4");
  });
  await t.step("said twice", () => {
    const twice = (other: string) =>
      readSignature({
        query: undefined,
        fields: [GOOD, hash, other].map((value, i) => ({
          key: i === 0 ? "authorization" : "x-amz-content-sha256",
          value,
        })),
      });
    assertEquals("why" in twice(hash), false);
    assertStringIncludes(why(twice("a".repeat(64))), "x-amz-content-sha256 is not as");
  });
  await t.step("in a presigned URL", () => {
    const presigned = (query: string, more = {}) => {
      const signature = read(undefined, query, more);
      return "why" in signature ? signature.why : signature.payload;
    };
    assertEquals(presigned(`${PRESIGNED}&x-amz-content-SHA256=${hash}`), { kind: "said", value: hash });
    assertEquals(presigned(PRESIGNED, { "x-amz-content-sha256": hash }), { kind: "said", value: hash });
    assertEquals(presigned(PRESIGNED.replace("%2Fs3%2F", "%2Fsts%2F")), { kind: "unsaid" });
    assertEquals(
      presigned(`${PRESIGNED}&x-amz-content-sha256=STREAMING-AWS4-HMAC-SHA256-PAYLOAD`),
      "the chunks of a body cannot be signed by a presigned URL",
    );
    assertStringIncludes(String(presigned(`${PRESIGNED}&x-amz-content-sha256=x`)), "cannot be read");
  });
});

Deno.test("readSignature(): each part within its bounds", async (t) => {
  const isTaken = (signature: ReturnType<typeof read>) => !("why" in signature);
  const headers = (count: number) => Array.from({ length: count }, (_, i) => `h${i}`).join(";");
  const rows: readonly (readonly [name: string, signature: ReturnType<typeof read>, isTaken: boolean])[] = [
    ["128 signed headers", read(GOOD.replace("host;x-amz-date", headers(128))), true],
    ["129", read(GOOD.replace("host;x-amz-date", headers(129))), false],
    ["a header of 128 letters", read(GOOD.replace("x-amz-date", "h".repeat(128))), true],
    ["of 129", read(GOOD.replace("x-amz-date", "h".repeat(129))), false],
    ["a header in capitals", read(GOOD.replace("x-amz-date", "X-Amz-Date")), false],
    ["a region of 64", read(GOOD.replace("eu-west-1", "r".repeat(64))), true],
    ["of 65", read(GOOD.replace("eu-west-1", "r".repeat(65))), false],
    ["a service of 64", read(GOOD.replace("/s3/", `/${"s".repeat(64)}/`)), true],
    ["of 65", read(GOOD.replace("/s3/", `/${"s".repeat(65)}/`)), false],
    ["a service in capitals", read(GOOD.replace("/s3/", "/S3/")), false],
    ["a short date", read(GOOD.replace("20260102", "2026010")), false],
    ["no id", read(GOOD.replace("AKIASLICERPROXYDUMMY/", "")), false],
    ["an id of 12 parts", read(GOOD.replace("AKIASLICERPROXYDUMMY", "a/".repeat(11) + "a")), true],
    ["of 13", read(GOOD.replace("AKIASLICERPROXYDUMMY", "a/".repeat(12) + "a")), false],
    ["no credential", read(GOOD.replace("Credential", "Other")), false],
    ["no signature", read(GOOD.replace("Signature=", "Other=")), false],
    ["a signature that is no hex", read(GOOD.replace(SIGNATURE, "g".repeat(64))), false],
    ["a part without =", read(`${GOOD}, x`), false],
    ["the scheme alone", read("AWS4-HMAC-SHA256"), false],
    ["a URL without its date", read(undefined, PRESIGNED.replace("X-Amz-Date", "Date")), false],
    ["with a date that is none", read(undefined, PRESIGNED.replace("20260102T03", "20261302T03")), false],
    ["without its headers", read(undefined, PRESIGNED.replace("X-Amz-SignedHeaders", "X")), false],
    ["without its credential", read(undefined, PRESIGNED.replace("X-Amz-Credential", "X")), false],
    ["without its signature", read(undefined, PRESIGNED.replace("X-Amz-Signature", "X")), false],
    ["with an end of 8 digits", read(undefined, PRESIGNED.replace("Expires=60", "Expires=10000000")), false],
    ["in lower case", read(undefined, PRESIGNED.replaceAll("X-Amz-", "x-amz-")), true],
  ];
  for (const [name, signature, expected] of rows) {
    await t.step(name, () => assertEquals(isTaken(signature), expected));
  }
  await t.step("a parameter of another kind may come twice", () => {
    assertEquals(isTaken(read(undefined, `a=1&a=2&${PRESIGNED}`)), true);
  });
  await t.step("for how long a URL is good", () => {
    const expires = (query: string) => {
      const signature = read(undefined, query);
      return "why" in signature ? signature.why : signature.expiresS;
    };
    assertEquals([
      expires(PRESIGNED.replace("&X-Amz-Expires=60", "")),
      expires(PRESIGNED.replace("Expires=60", "Expires=604800")),
      expires(PRESIGNED.replace("Expires=60", "Expires=604801")),
      expires(PRESIGNED.replace("Expires=60", "Expires=1")),
    ], [300, 604_800, 604_800, 1]);
  });
  await t.step("signatures of version 2, by each sign of one", () => {
    for (
      const [authorization, query] of [["AWS x", ""], ["AWS3-HTTPS x", ""], [undefined, "Signature=x"], [
        undefined,
        "AWSAccessKeyId=x",
      ]] as const
    ) {
      const signature = read(authorization, query);
      assertStringIncludes("why" in signature ? signature.why : "", "version 2");
    }
  });
});

Deno.test("readQuery() keeps what was sent beside what it means", () => {
  assertEquals(readQuery("a=b+c%2B&&d&e==f"), [
    { raw: "a=b+c%2B", name: "a", value: "b c+" },
    { raw: "d", name: "d", value: "" },
    { raw: "e==f", name: "e", value: "=f" },
  ]);
  assertEquals(readQuery("=b&a="), [{ raw: "=b", name: "", value: "b" }, {
    raw: "a=",
    name: "a",
    value: "",
  }]);
  assertEquals(readQuery(""), []);
});

Deno.test("readQuery() forgets no parameter behind many empty ones", () => {
  assertEquals(readQuery("&".repeat(299) + "a"), [{ raw: "a", name: "a", value: "" }]);
  for (const query of ["&".repeat(300) + "a", "&".repeat(301) + "a", `&${"a&".repeat(300)}b`]) {
    assertEquals(readQuery(query), { why: "its query has more than 300 parameters" });
  }
});

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

Deno.test("allowedPayloads() lets STS say who one is, and give out no keys", async (t) => {
  const signed = (service: string, query?: string) => {
    const signature = read(GOOD.replace("/s3/", `/${service}/`), query);
    if ("why" in signature) throw new Error(signature.why);
    return signature;
  };
  const of = (service: string, query?: string, isNamed = false) =>
    allowedPayloads(signed(service, query), { query, fields: [] }, isNamed);
  await t.step("another service", () => assertEquals(of("s3"), undefined));
  await t.step("a rule that names it", () => assertEquals(of("sts", undefined, true), undefined));
  await t.step("a body", () => {
    const bodies = [
      "Action=GetCallerIdentity&Version=2011-06-15",
      "Version=2011-06-15&Action=GetCallerIdentity",
    ];
    assertEquals(of("sts"), bodies.map(sha256));
  });
  await t.step(
    "a query for who one is, without a body",
    () => assertEquals(of("sts", "Action=GetCallerIdentity"), [sha256("")]),
  );
  await t.step("a query for keys", () => assertEquals(of("sts", "Action=GetSessionToken"), []));
  await t.step("both", () => assertEquals(of("sts", "Action=GetCallerIdentity&action=GetSessionToken"), []));
  await t.step("a session's token in a field of S3 Express, and of nothing else", () => {
    const fields = [{ key: "x-amz-s3session-token", value: "x" }];
    const found = allowedPayloads(signed("s3express"), { query: undefined, fields }, false);
    assertStringIncludes(found && "why" in found ? found.why : "", "S3 Express would give");
    assertEquals(allowedPayloads(signed("s3"), { query: undefined, fields }, false), undefined);
    assertEquals(of("s3express"), undefined);
    assertEquals(of("s3", "session"), undefined);
  });
  await t.step("a session of S3 Express", () => {
    const found = of("s3express", "session");
    assertStringIncludes(found && "why" in found ? found.why : "", "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH");
  });
});

Deno.test("awsFault() tells key, clock and region from a denied action", async (t) => {
  const xml = (code: string, words = "") =>
    `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>${words}</Message></Error>`;
  const json = (type: string, words = "") => `{"__type": "${type}","message":"${words}"}`;
  const rows: [bodyStart: string, fault: string | undefined, errorType?: string][] = [
    [xml("InvalidAccessKeyId"), "aws-key"],
    [xml("SignatureDoesNotMatch"), "aws-key"],
    [xml("RequestTimeTooSkewed"), "aws-clock"],
    [xml("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than"), "aws-clock"],
    [xml("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong"), "aws-region"],
    [xml("SignatureDoesNotMatch", "Credential should be scoped to a valid region"), "aws-region"],
    [xml("AccessDenied"), undefined],
    [json("com.amazon.coral.service#UnrecognizedClientException"), "aws-key"],
    [json("com.amazon.coral.service#AccessDeniedException"), undefined],
    [json("InvalidSignatureException", "Signature not yet current"), "aws-clock"],
    ["{}", "aws-key", "ExpiredTokenException:http://internal.amazon.com/"],
    ["{}", undefined, "AccessDeniedException"],
    ["", undefined],
    ["<Code>", undefined],
  ];
  for (const [bodyStart, fault, errorType] of rows) {
    await t.step(errorType ?? bodyStart, () => assertEquals(awsFault({ errorType, bodyStart }), fault));
  }
  assertEquals(awsErrorCode({ errorType: undefined, bodyStart: xml("a code with a secret") }), undefined);
});

Deno.test("UpstreamClocks follows an upstream's Date, and takes no nonsense", () => {
  const now = Date.UTC(2026, 0, 2, 3, 4, 5);
  const date = (ms: number) => new Date(now + ms).toUTCString();
  assertEquals([readOffset(date(59_000), now), readOffset(date(-59_000), now)], [0, 0]);
  assertEquals([readOffset(date(60_000), now), readOffset(date(-60_000), now)], [60_000, -60_000]);
  const year = 366 * 86_400_000;
  assertEquals([readOffset(date(year), now), readOffset(date(year + 1_000), now)], [year, undefined]);
  assertEquals(readOffset(undefined, now), undefined);
  assertEquals(readOffset(date(-3_600_000), now), -3_600_000);
  assertEquals(readOffset(date(400 * 86_400_000), now), undefined);
  assertEquals(readOffset("tomorrow", now), undefined);
  const clocks = new UpstreamClocks();
  assertEquals(clocks.learn("a 443", date(600_000), now), true);
  assertEquals(clocks.learn("a 443", date(601_000), now), false);
  assertEquals(clocks.offsetMs("a 443"), 601_000);
  assertEquals(clocks.learn("a 443", date(660_000), now), false);
  assertEquals(clocks.learn("a 443", date(720_000), now), true); // by a minute, which is the tolerance
  assertEquals(clocks.learn("a 443", date(660_000), now), true);
  assertEquals(clocks.offsetMs("b 443"), 0);
  assertEquals(clocks.learn("a 443", date(0), now), true);
  assertEquals(clocks.offsetMs("a 443"), 0);
  assertEquals([clocks.learn("a 443", "nonsense", now), clocks.learn("a 443", undefined, now)], [
    false,
    false,
  ]);
});

Deno.test("UpstreamClocks keeps the clocks of 1,024 places, those that were used last", () => {
  const now = Date.UTC(2026, 0, 2, 3, 4, 5);
  const date = new Date(now + 600_000).toUTCString();
  const clocks = new UpstreamClocks();
  for (let i = 0; i < 1_024; i++) clocks.learn(`${i} 443`, date, now);
  assertEquals(clocks.offsetMs("0 443"), 600_000); // and that was a use
  const exact = new Date(now).toUTCString();
  for (let i = 0; i < 1_024; i++) clocks.learn(`right ${i} 443`, exact, now); // what is right takes no room
  clocks.learn("one more 443", date, now);
  assertEquals(["0 443", "1 443", "2 443"].map((place) => clocks.offsetMs(place)), [600_000, 0, 600_000]);
});

Deno.test("isS3() and isAuthParameter() know each name", () => {
  assertEquals(["s3", "s3express", "s3-outposts", "s3-object-lambda"].filter(isS3).length, 4);
  assertEquals(["sts", "s3-control", "dynamodb"].filter(isS3), []);
  const names = [
    "algorithm",
    "credential",
    "date",
    "expires",
    "security-token",
    "signature",
    "signedheaders",
  ];
  assertEquals(names.filter((name) => !isAuthParameter(`x-amz-${name}`)), []);
  assertEquals(["x-amz-content-sha256", "X-Amz-Date", "x-amz-meta-a"].filter(isAuthParameter), []);
});
