import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { parseRule } from "../../../policy/rule.ts";
import {
  isServiceNamed,
  parseAwsRegion,
  parseAwsService,
  scopeMiss,
} from "../../../policy/words/aws_scope.ts";

Deno.test("parseAwsService() and parseAwsRegion() take names, and a star at their end", async (t) => {
  for (const text of ["s3", "execute-api", "bedrock*", "*", "eu-west-1", "EU-*"]) {
    await t.step(text, () => {
      assertEquals(parseAwsService(text), text.toLowerCase());
      assertEquals(parseAwsRegion(text), text.toLowerCase());
    });
  }
  for (const text of ["", " ", "a b", "*-1", "e*u", "s3,sts", "a".repeat(64) + "*", "ü"]) {
    await t.step(`refused: ${text}`, () => {
      assertThrows(() => parseAwsService(text), ProxyError);
    });
  }
});

Deno.test("scopeMiss() says what of a scope a rule does not allow", () => {
  const scope = { service: "s3", region: "eu-west-1" };
  assertEquals(scopeMiss({}, scope), undefined);
  assertEquals(scopeMiss({ awsService: ["s3"], awsRegion: ["eu-*"] }, scope), undefined);
  assertEquals(scopeMiss({ awsService: ["s"] }, scope), "the service s3, and the rule allows s");
  assertEquals(scopeMiss({ awsService: ["sts", "s*"] }, scope), undefined);
  assertEquals(scopeMiss({ awsRegion: ["us-*"] }, scope), "the region eu-west-1, and the rule allows us-*");
  assertEquals(scopeMiss({ awsRegion: ["eu-west-1"] }, { ...scope, region: "EU-WEST-1" }), undefined);
  assertEquals(
    scopeMiss({ awsRegion: ["eu-*"] }, { ...scope, region: "eu" }),
    "the region eu, and the rule allows eu-*",
  );
  const nine = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
  assertEquals(
    scopeMiss({ awsService: nine }, scope),
    "the service s3, and the rule allows a, b, c, d, e, f, g, h",
  );
  assertEquals(isServiceNamed({ awsService: ["s*", "*"] }, "sts"), false);
  assertEquals(isServiceNamed({ awsService: ["sts"] }, "sts"), true);
});

Deno.test("parseRule() takes both words, sorted, and not with passthrough", () => {
  const rule = parseRule({ host: "*.amazonaws.com", awsService: ["sts", "S3", "s3"], awsRegion: ["eu-*"] });
  assertEquals([rule.awsService, rule.awsRegion], [["s3", "sts"], ["eu-*"]]);
  assertThrows(() => parseRule({ host: "a.example", passthrough: true, awsService: ["s3"] }), ProxyError);
});
