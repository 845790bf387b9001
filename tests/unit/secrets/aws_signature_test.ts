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

Deno.test("readQuery() keeps what was sent beside what it means", () => {
  assertEquals(readQuery("a=b+c%2B&&d&e==f"), [
    { raw: "a=b+c%2B", name: "a", value: "b c+" },
    { raw: "d", name: "d", value: "" },
    { raw: "e==f", name: "e", value: "=f" },
  ]);
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
