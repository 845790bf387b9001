import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import {
  awsScopeOf,
  judgeAnswer,
  judgeFailure,
  judgeToken,
  probeUrl,
  shownUrl,
} from "../../../secrets/probe.ts";

const secret = (host: string, type = "bearer") => ({ name: "s", host, type, cleartext: false });
const urlOf = (host: string, type?: string, text?: string) => probeUrl(secret(host, type), text)?.href;

Deno.test("probeUrl() asks what costs nothing, or what the operator names", async (t) => {
  const rows: readonly [host: string, type: string, text: string | undefined, url: string | undefined][] = [
    ["api.anthropic.com", "bearer", undefined, "https://api.anthropic.com/v1/models?limit=1"],
    ["*.github.com", "bearer", undefined, "https://api.github.com/user"],
    ["api.telegram.org", "path", undefined, "https://api.telegram.org/bot%7B%7D/getMe"],
    ["api.x.ai", "oauth-xai", undefined, "https://api.x.ai/v1/models"],
    ["a.test", "oauth-refresh", undefined, undefined],
    ["a.test", "google-service-account", undefined, undefined],
    ["a.test", "bearer", "https://a.test/x?y", "https://a.test/x?y"],
    ["*.a.test", "bearer", "http://b.a.test:8080/", "http://b.a.test:8080/"],
    ["::1", "bearer", "https://[::1]/x", "https://[::1]/x"],
    ["a.test", "path", "https://a.test/bot{}/x", "https://a.test/bot%7B%7D/x"],
  ];
  for (const [host, type, text, url] of rows) {
    await t.step(`${host} ${type} ${text}`, () => assertEquals(urlOf(host, type, text), url));
  }
});

Deno.test("probeUrl() says what it cannot ask", async (t) => {
  const rows: readonly [host: string, type: string, text: string | undefined, words: string][] = [
    ["a.test", "bearer", undefined, "no harmless call is known"],
    ["github.com", "github-app", undefined, "no harmless call is known"],
    ["sts.eu-west-1.amazonaws.com", "aws", undefined, "no harmless call is known"],
    ["a.test", "bearer", "a.test", "no plain http or https URL"],
    ["a.test", "bearer", "ftp://a.test/", "no plain http or https URL"],
    ["a.test", "bearer", "https://u@a.test/", "no plain http or https URL"],
    ["a.test", "bearer", "https://:p@a.test/", "no plain http or https URL"],
    ["a.test", "bearer", "https://b.test/", "names another host"],
    ["a.test", "path", "https://a.test/x", "does not say where in the path"],
  ];
  for (const [host, type, text, words] of rows) {
    await t.step(`${host} ${type} ${text}`, () => {
      const error = assertThrows(() => urlOf(host, type, text), ProxyError, words);
      assertEquals(error.code, "input.invalid");
    });
  }
});

Deno.test("awsScopeOf() reads service and region from the host's name", async (t) => {
  const rows: readonly [host: string, service: string, region: string][] = [
    ["sts.amazonaws.com", "sts", "us-east-1"],
    ["s3.eu-west-1.amazonaws.com", "s3", "eu-west-1"],
    ["bucket.s3.dualstack.eu-west-1.amazonaws.com", "s3", "eu-west-1"],
    ["dynamodb.us-gov-west-1.amazonaws.com", "dynamodb", "us-gov-west-1"],
    ["sqs.cn-north-1.amazonaws.com.cn", "sqs", "cn-north-1"],
    ["eu-west-1.amazonaws.com", "s3", "eu-west-1"],
    ["bedrock-runtime.us-east-2.amazonaws.com", "bedrock", "us-east-2"],
    ["bedrock-agent.us-east-2.amazonaws.com", "bedrock", "us-east-2"],
    ["bedrock-agent-runtime.us-east-2.amazonaws.com", "bedrock", "us-east-2"],
    ["minio.example.com", "s3", "us-east-1"],
    ["amazonaws.com", "s3", "us-east-1"],
  ];
  for (const [host, service, region] of rows) {
    await t.step(host, () => assertEquals(awsScopeOf(host), { service, region }));
  }
});

Deno.test("judgeAnswer() goes by the status, and by what says no in a 200", async (t) => {
  const url = new URL("https://a.test/x?key=planted");
  const judge = (status: number, bodyStart = "", bare?: number) =>
    judgeAnswer(url, { status, bodyStart }, { bare, material: ["planted"] });
  const rows: readonly [status: number, verdict: string, words: string][] = [
    [200, "accepted", "takes"],
    [299, "accepted", "takes"],
    [300, "unclear", "sends elsewhere"],
    [399, "unclear", "sends elsewhere"],
    [400, "unclear", "does not take this call"],
    [401, "refused", "refuses the credential"],
    [403, "refused", "has no right"],
    [404, "unclear", "does not take this call"],
    [407, "unclear", "as a proxy does"],
    [429, "unclear", "too many calls"],
    [499, "unclear", "does not take this call"],
    [500, "unclear", "in trouble itself"],
  ];
  for (const [status, verdict, words] of rows) {
    await t.step(String(status), () => {
      const test = judge(status);
      assertEquals([test.verdict, test.words.includes(words), test.status], [verdict, true, status]);
      assertEquals(test.url, "https://a.test/x");
    });
  }
  await t.step("Slack and Telegram", () => {
    assertEquals(judge(200, '{"ok":false,"error":"invalid_auth"}').verdict, "refused");
    assertEquals(judge(200, '{"ok":true}').verdict, "accepted");
  });
  await t.step("who answers anybody says nothing", () => {
    assertEquals(judge(200, "", 299).verdict, "unclear");
    assertEquals(judge(200, "", 300).verdict, "accepted");
  });
  await t.step("the error's code is shown, and never the credential", () => {
    const code = (bodyStart: string) => /HTTP status 400(?:, (.*))?\)/.exec(judge(400, bodyStart).words)?.[1];
    assertEquals(code('{"error":{"status":"A"}}'), "A");
    assertEquals(code('{"error":{"code":"A"}}'), "A");
    assertEquals(code('{"error":{"code":7,"type":"A"}}'), "A");
    assertEquals(code('{"error":"invalid_auth"}'), "invalid_auth");
    assertEquals(code('{"code":"A"}'), "A");
    assertEquals(code("<Error><Code>AccessDenied</Code></Error>"), "AccessDenied");
    assertEquals(code('{"code":"is-planted"}'), undefined);
    assertEquals(code('{"code":"plant"}'), undefined);
    assertEquals(code('{"code":"two words"}'), undefined);
    assertEquals(code("text"), undefined);
  });
});

Deno.test("judgeFailure() and judgeToken() say what was found out without an answer", () => {
  const error = new ProxyError("upstream.dns", "Cannot find a.test", { hint: "look at the name" });
  const url = new URL("https://a.test/x?y");
  assertEquals(judgeFailure(error, url), {
    verdict: "failed",
    words: "Cannot find a.test; look at the name",
    url: "https://a.test/x",
  });
  assertEquals(judgeFailure(new ProxyError("upstream.dns", "Cannot"), undefined), {
    verdict: "failed",
    words: "Cannot",
  });
  assertThrows(() => judgeFailure(new TypeError("bug"), url), TypeError);
  assertEquals(judgeToken(secret("a.test"), true).words.includes("was fetched"), true);
  assertEquals(judgeToken(secret("a.test"), false).words.includes("is at hand"), true);
  assertEquals(shownUrl(new URL("https://a.test/bot%7b%7D/x?y")), "https://a.test/bot{}/x");
});
