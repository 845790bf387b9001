import { assertEquals } from "@std/assert";
import { areKeysGone, awsErrorCode, awsFault, textIn } from "../../../secrets/aws/fault.ts";

/** What each code that AWS documents says about the signature. */
const CODES = {
  "aws-clock": ["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"],
  "aws-region": [
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
  ],
  "aws-key": [
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "UnrecognizedClient",
    "InvalidToken",
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "InvalidSignature",
    "AuthFailure",
  ],
} as const;
/** Other keys would be refused as well: it is the signature that is wrong. */
const OF_SIGNATURE: readonly string[] = CODES["aws-key"].slice(8);

const xml = (code: string, words = "") => `<Error><Code>${code}</Code><Message>${words}</Message></Error>`;

Deno.test("awsFault() and areKeysGone() know each code", async (t) => {
  for (const [fault, codes] of Object.entries(CODES)) {
    for (const code of codes) {
      await t.step(code, () => {
        assertEquals(awsFault({ errorType: undefined, bodyStart: xml(code) }), fault);
        assertEquals(areKeysGone(xml(code)), fault === "aws-key" && !OF_SIGNATURE.includes(code));
      });
    }
  }
  await t.step("a refusal that is about no signature", () => {
    assertEquals(awsFault({ errorType: undefined, bodyStart: xml("AccessDenied") }), undefined);
    assertEquals(awsFault({ errorType: undefined, bodyStart: "" }), undefined);
  });
});

Deno.test("awsFault() reads on where a signature does not match", () => {
  const of = (words: string) =>
    awsFault({ errorType: undefined, bodyStart: xml("InvalidSignatureException", words) });
  assertEquals(of("Signature expired: 20260102T000000Z is now earlier than …"), "aws-clock");
  assertEquals(of("Signature not yet current: …"), "aws-clock");
  assertEquals(of("Credential should be scoped to a valid region"), "aws-region");
  assertEquals(of("The request signature we calculated does not match"), "aws-key");
});

Deno.test("awsErrorCode() finds the code in each of the forms that AWS gives it", async (t) => {
  const rows: readonly [
    name: string,
    bodyStart: string,
    errorType: string | undefined,
    code: string | undefined,
  ][] = [
    ["XML", xml("A"), undefined, "A"],
    ["the header, before all else", xml("A"), "B", "B"],
    ["a header with a namespace", "", "com.amazon.coral.service#B", "B"],
    ["a header with a URL", "", "ValidationException:http://internal.amazon.com/", "ValidationException"],
    ["JSON 1.1", '{"__type":"x#A","message":"m"}', undefined, "A"],
    ["JSON of REST", '{"message":"m","code" : "A"}', undefined, "A"],
    ["JSON of REST in capitals", '{"Code":"A"}', undefined, "A"],
    ["JSON whose beginning is not here", '"code":"A"}', undefined, "A"],
    ["a code that is none", xml("A b"), undefined, undefined],
    ["a code of 64", xml("A".repeat(64)), undefined, "A".repeat(64)],
    ["a code of 65", xml("A".repeat(65)), undefined, undefined],
    ["a code without end", "<Code>A", undefined, undefined],
    ["a number", '{"code":1}', undefined, undefined],
  ];
  for (const [name, bodyStart, errorType, code] of rows) {
    await t.step(name, () => assertEquals(awsErrorCode({ errorType, bodyStart }), code));
  }
});

Deno.test("textIn() gives what stands between two marks", () => {
  assertEquals(textIn("a<b>c<d", "<b>", "<"), "c");
  assertEquals([textIn("<b>c", "<b>", "<"), textIn("c<", "<b>", "<"), textIn("<b><", "<b>", "<")], [
    undefined,
    undefined,
    "",
  ]);
  assertEquals([textIn("no mark<", "<b>", "<"), textIn("<", "", "<")], [undefined, ""]);
});
