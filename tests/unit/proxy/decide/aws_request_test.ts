import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import type { RuleInput } from "../../../../policy/rule.ts";
import { awsUnder } from "../../../../proxy/decide/aws_request.ts";
import { parseFields } from "../../../../proxy/http1/head_reader.ts";
import { makeRule } from "../../../support/make_rule.ts";

const IDENTITY = [
  "Action=GetCallerIdentity&Version=2011-06-15",
  "Version=2011-06-15&Action=GetCallerIdentity",
].map((text) => createHash("sha256").update(text).digest("hex"));

interface Signed {
  readonly rule?: Partial<RuleInput>;
  readonly service?: string;
  readonly payload?: string | undefined;
  readonly hasKeys?: boolean;
  readonly lines?: readonly string[];
  readonly isSigned?: boolean;
}

/** What is said of a request that is signed for a service in eu-west-1. */
function under(
  { rule = {}, service = "s3", payload, hasKeys = true, lines = [], isSigned = true }: Signed = {},
) {
  const scope = `AKIAEXAMPLE/20260101/eu-west-1/${service}/aws4_request`;
  const signature = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host;x-amz-date, Signature=${
    "0".repeat(64)
  }`;
  const all = [
    ...["Host: up.test", "X-Amz-Date: 20260101T000000Z", ...lines],
    ...(isSigned ? [`Authorization: ${signature}`] : []),
    ...(payload === undefined ? [] : [`X-Amz-Content-Sha256: ${payload}`]),
  ];
  const fields = parseFields(all, { maxHeaderCount: 100 }, "client.malformed");
  const head = { method: "GET", target: "/", version: "HTTP/1.1", fields } as const;
  return awsUnder(makeRule("1", { host: "up.test", ...rule }), hasKeys, {
    head,
    target: { query: undefined },
  });
}

/** The reason, "signed" with what its payload may be, or undefined. */
function outcomeOf(signed: Signed) {
  const found = under(signed);
  if (found === undefined) return undefined;
  return "why" in found ? found.reason : found.payloads ?? "any";
}

const NONE = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

Deno.test("awsUnder() is about rules with keys, or with words about AWS, and no others", () => {
  assertEquals(outcomeOf({ hasKeys: false }), undefined);
  assertEquals(outcomeOf({ hasKeys: false, isSigned: false }), undefined);
  // Words limit whoever brings keys of its own.
  for (const rule of [{ awsService: ["s3"] }, { awsRegion: ["eu-*"] }]) {
    assertEquals(outcomeOf({ hasKeys: false, rule }), undefined);
    assertEquals(outcomeOf({ hasKeys: false, rule, isSigned: false }), "aws-signature");
  }
  for (const rule of [{ awsService: ["dynamodb"] }, { awsRegion: ["us-*"] }]) {
    assertEquals(outcomeOf({ hasKeys: false, rule }), "aws-scope");
    assertEquals(outcomeOf({ rule }), "aws-scope");
  }
  assertEquals(outcomeOf({ payload: NONE }), "any");
  assertEquals(outcomeOf({ isSigned: false }), "aws-signature");
});

Deno.test("awsUnder() gives the signature itself, and says what it was signed for where that is not allowed", () => {
  const found = under({ payload: NONE });
  assert(found && !("why" in found));
  assertEquals([found.signature.service, found.signature.region, found.payloads], [
    "s3",
    "eu-west-1",
    undefined,
  ]);
  const missed = under({ rule: { awsService: ["dynamodb"] } });
  assert(missed && "why" in missed);
  assertEquals(missed.why, "it is signed for the service s3, and the rule allows dynamodb");
});

Deno.test("awsUnder() takes signed chunks only where their length is known", () => {
  const length = ["X-Amz-Decoded-Content-Length: 1"];
  assertEquals(outcomeOf({ payload: CHUNKS, lines: [...length, "Content-Length: 200"] }), "any");
  assertEquals(
    outcomeOf({ payload: CHUNKS, lines: [...length, "Transfer-Encoding: chunked"] }),
    "aws-signature",
  );
  assertEquals(outcomeOf({ payload: NONE, lines: ["Transfer-Encoding: chunked"] }), "any");
});

Deno.test("awsUnder() lets nobody ask STS for keys: GetCallerIdentity passes, and all of it where a rule names STS", () => {
  for (const payload of IDENTITY) assertEquals(outcomeOf({ service: "sts", payload }), IDENTITY);
  assertEquals(outcomeOf({ service: "sts" }), IDENTITY); // its body is hashed here, and compared then
  assertEquals(outcomeOf({ service: "sts", payload: NONE }), "aws-scope");
  assertEquals(outcomeOf({ service: "sts", payload: "UNSIGNED-PAYLOAD" }), "aws-scope");
  assertEquals(
    outcomeOf({
      ...{
        service: "sts",
        payload: CHUNKS,
        lines: ["X-Amz-Decoded-Content-Length: 1", "Content-Length: 200"],
      },
    }),
    "aws-scope",
  );
  assertEquals(outcomeOf({ service: "sts", payload: NONE, rule: { awsService: ["sts"] } }), "any");
  assertEquals(outcomeOf({ service: "sts", payload: NONE, rule: { awsService: ["s*"] } }), "aws-scope");
});

Deno.test("awsUnder() refuses a session of S3 Express, which would be keys of the VM's own", () => {
  const session = ["X-Amz-S3session-Token: x"];
  assertEquals(outcomeOf({ service: "s3express", payload: NONE, lines: session }), "aws-signature");
  assertEquals(outcomeOf({ service: "s3express", payload: NONE }), "any");
});
