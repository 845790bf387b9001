import { Buffer } from "node:buffer";
import { assert, assertEquals, assertMatch, assertNotMatch, assertStringIncludes } from "@std/assert";
import { type ErrorCode, ProxyError } from "../../../core/errors.ts";
import { explainDenial } from "../../../policy/explain.ts";
import { answerOf, type Refusal, refusalOf } from "../../../proxy/error_response.ts";
import { parseFields } from "../../../proxy/http1/head_reader.ts";
import { formatAnswer } from "../../../proxy/http1/request.ts";

Deno.test("refusalOf() has a status and a reason for every code of the request path", async (t) => {
  const rows: [ErrorCode, number, string][] = [
    ["client.malformed", 400, "malformed"],
    ["client.head-too-large", 431, "head-too-large"],
    ["client.timeout", 408, "idle-timeout"],
    ["client.closed", 400, "client-closed"],
    ["auth.missing", 407, "auth-missing"],
    ["auth.invalid", 407, "auth-invalid"],
    ["policy.mismatch", 403, "host-mismatch"],
    ["policy.revoked", 403, "revoked"],
    ["policy.placeholder", 403, "placeholder"],
    ["policy.signature", 403, "aws-signature"],
    ["policy.suspended", 403, "client-suspended"],
    ["policy.store-lost", 503, "store-lost"],
    ["policy.asked", 403, "ask-denied"],
    ["upstream.address-denied", 403, "address-denied"],
    ["upstream.dns", 502, "dns"],
    ["upstream.refused", 502, "connect-refused"],
    ["upstream.unreachable", 502, "connect-unreachable"],
    ["upstream.tls", 502, "tls-protocol"],
    ["upstream.closed", 502, "upstream-closed"],
    ["upstream.echo", 502, "credential-echo"],
    ["upstream.malformed", 502, "upstream-malformed"],
    ["upstream.timeout", 504, "upstream-timeout"],
    ["credential.unavailable", 502, "secret-unavailable"],
    ["limit.reached", 503, "overload"],
    ["audit.write-failed", 503, "audit-write-failed"],
  ];
  for (const [code, status, reason] of rows) {
    await t.step(code, () => {
      const refusal = refusalOf(new ProxyError(code, "Cannot go on: x"));
      assertEquals([refusal.status, refusal.reason, refusal.detail], [status, reason, "Cannot go on: x"]);
    });
  }
});

Deno.test("refusalOf() takes the finer reason of an error, and 429 for a quota", () => {
  assertEquals(
    refusalOf(new ProxyError("upstream.tls", "x", { reason: "tls-expired" })).reason,
    "tls-expired",
  );
  assertEquals(refusalOf(new ProxyError("upstream.tls", "x", { reason: "no such" })).reason, "tls-protocol");
  const { status, reason } = refusalOf(new ProxyError("limit.reached", "x", { reason: "quota" }));
  assertEquals([status, reason], [429, "quota"]);
});

Deno.test("refusalOf() says nothing of an error that is a bug", () => {
  for (
    const error of [
      new TypeError("secret text"),
      "secret text",
      undefined,
      new ProxyError("state.locked", "secret text"),
    ]
  ) {
    const refusal = refusalOf(error);
    assertEquals([refusal.status, refusal.reason], [500, "internal"]);
    assertNotMatch(refusal.detail, /secret text/);
  }
});

interface Answer {
  readonly statusLine: string;
  readonly fields: readonly string[];
  readonly body: string;
}

function answer(
  refusal: Refusal,
  { accept, isHead = false, close = false }: { accept?: string; isHead?: boolean; close?: boolean } = {},
): Answer {
  const fields = accept === undefined
    ? []
    : parseFields([`Accept: ${accept}`], { maxHeaderCount: 9 }, "client.malformed");
  const text = Buffer.from(formatAnswer(answerOf(refusal, { fields }), { isHead, close })).toString("utf8");
  const at = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, at).split("\r\n");
  return { statusLine, fields: lines, body: text.slice(at + 4) };
}

const PLAIN: Refusal = { status: 502, reason: "dns", detail: "Cannot find a.test: the name has no address" };

Deno.test("answerOf() frames the answer by its bytes", () => {
  const umlaut = { ...PLAIN, detail: "Cannot find \u00fc" };
  const { statusLine, fields, body } = answer(umlaut, { close: true });
  assertEquals(statusLine, "HTTP/1.1 502 slicer-proxy: dns");
  assertEquals(fields, [
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${new TextEncoder().encode(body).length}`,
    "Cache-Control: no-store",
    "X-Slicer-Proxy-Reason: dns",
    "Connection: close",
  ]);
  assertStringIncludes(body, "Cannot find \u00fc.");
  assertStringIncludes(body, "The proxy allowed this request");
});

Deno.test("answerOf() says in the status line why, and to which host", () => {
  const rows: [Refusal, string | undefined, string][] = [
    [
      { status: 403, reason: "no-rule", detail: "x" },
      "api.example.com",
      "403 slicer-proxy: no-rule (api.example.com)",
    ],
    [{ status: 407, reason: "auth-missing", detail: "x" }, undefined, "407 slicer-proxy: auth-missing"],
    [{ status: 429, reason: "quota", detail: "x" }, "::1", "429 slicer-proxy: quota (::1)"],
  ];
  for (const [refusal, host, line] of rows) {
    const bytes = formatAnswer(answerOf(refusal, { fields: [] }, host), { isHead: true, close: false });
    assertEquals(Buffer.from(bytes).toString("latin1").split("\r\n")[0], `HTTP/1.1 ${line}`);
  }
});

Deno.test("answerOf() gives HEAD the same head and no body", () => {
  const get = answer(PLAIN);
  const head = answer(PLAIN, { isHead: true });
  assertEquals([head.fields, head.body], [get.fields, ""]);
});

Deno.test("answerOf() asks for proxy credentials with 407 and nowhere else", () => {
  const missing = answer({ status: 407, reason: "auth-missing", detail: "Cannot tell who is asking" });
  assert(missing.fields.includes('Proxy-Authenticate: Basic realm="slicer-proxy"'));
  assertStringIncludes(missing.body, "HTTPS_PROXY=http://proxy:TOKEN@host:port");
  assert(!answer(PLAIN).fields.some((field) => field.startsWith("Proxy-")));
});

Deno.test("answerOf() answers in JSON when the client prefers it", async (t) => {
  const rows = [
    { accept: undefined, isJson: false },
    { accept: "*/*", isJson: false },
    { accept: "text/html, application/xhtml+xml, */*;q=0.8", isJson: false },
    { accept: "application/json", isJson: true },
    { accept: "application/problem+json", isJson: true },
    { accept: "application/vnd.github+json", isJson: true },
    { accept: "APPLICATION/JSON;q=0.9, text/plain;q=0.8", isJson: true },
    { accept: "application/json, text/plain, */*", isJson: true },
    { accept: "application/json;q=0.5, text/plain", isJson: false },
    { accept: "application/json;q=0", isJson: false },
    { accept: "application/json;q=x", isJson: false },
    { accept: "application/jsonp", isJson: false },
  ];
  for (const { accept, isJson } of rows) {
    await t.step(accept ?? "no Accept", () => {
      const { fields, body } = answer(PLAIN, accept === undefined ? {} : { accept });
      assertEquals(
        fields[0],
        `Content-Type: ${isJson ? "application/problem+json" : "text/plain; charset=utf-8"}`,
      );
      if (isJson) assertEquals(JSON.parse(body).reason, "dns");
    });
  }
});

Deno.test("answerOf() says that a denial is policy, whether or not there is a rule to explain", () => {
  const explanation = explainDenial(
    { client: "ci-1", host: "a.test", port: 443, method: "GET", path: "/" },
    "no-rule",
    [],
  );
  const explained: Refusal = { status: 403, reason: "no-rule", detail: "x", explanation };
  const bare: Refusal = {
    status: 403,
    reason: "secret-missing",
    detail: "Client may not: the secret does not exist",
  };
  for (const refusal of [explained, bare]) {
    assertMatch(answer(refusal).body, /policy, not a bad credential/);
    const problem = JSON.stringify(JSON.parse(answer(refusal, { accept: "application/json" }).body));
    assertMatch(problem, /policy, not a bad credential/);
  }
  assertStringIncludes(answer(explained).body, `\n  ${explanation.command}\n`);
  assertEquals(
    JSON.parse(answer(explained, { accept: "application/json" }).body).allow_command,
    explanation.command,
  );
});

Deno.test("answerOf() lets nothing act on a terminal", () => {
  const { body } = answer({ ...PLAIN, detail: "Cannot find \x1b[31m\u202e" });
  assertStringIncludes(body, "\\u{1b}[31m\\u{202e}");
});

Deno.test("answerOf() gives gRPC the status that its clients act on: no retry of a denial, one of what passes", async (t) => {
  const fields = parseFields(
    ["content-type: application/grpc+proto"],
    { maxHeaderCount: 9 },
    "client.malformed",
  );
  const rows = [[400, 13], [403, 7], [429, 8], [431, 8], [500, 13], [502, 14], [503, 14], [504, 4]] as const;
  for (const [status, expected] of rows) {
    await t.step(`${status} is ${expected}`, () => {
      const made = answerOf({ status, reason: "dns", detail: "x" }, {
        method: "POST",
        fields,
        version: "HTTP/2",
      });
      assertEquals(made.status, 200);
      assertEquals(made.fields.find(({ key }) => key === "grpc-status")?.value, String(expected));
    });
  }
});

Deno.test("answerOf() says a denial as the protocol of a remote call has it", async (t) => {
  const refusal: Refusal = { status: 403, reason: "no-rule", detail: "Nothing allows it, not 1 %" };
  const text = "slicer-proxy: Nothing allows it, not 1 %. (no-rule)";
  const error = JSON.stringify({ code: "permission_denied", message: text });
  const last = `{"error":${error}}`;
  const envelope = `\x02\0\0\0${String.fromCharCode(last.length)}${last}`;
  const web = { status: 200, says: ["7", text.replace("%", "%25")], body: "" };
  const rows: { line: string; type: string; status: number; says?: string[]; body: string }[] = [
    { line: "Content-Type: application/grpc-web", type: "application/grpc-web", ...web },
    { line: "Content-Type: application/grpc-web+proto", type: "application/grpc-web", ...web },
    { line: "Content-Type: Application/gRPC-Web-Text; x=y", type: "application/grpc-web-text", ...web },
    {
      line: "Content-Type: application/connect+proto",
      type: "application/connect+proto",
      status: 200,
      body: envelope,
    },
    {
      line: "Content-Type: application/connect+json",
      type: "application/connect+json",
      status: 200,
      body: envelope,
    },
    { line: "Connect-Protocol-Version: 1", type: "application/json", status: 403, body: error },
  ];
  for (const { line, type, status, says = [], body } of rows) {
    await t.step(line, () => {
      const fields = parseFields([line], { maxHeaderCount: 9 }, "client.malformed");
      for (const version of ["HTTP/1.1", "HTTP/2"] as const) {
        const made = answerOf(refusal, { method: "POST", fields, version });
        const values = (name: string) =>
          made.fields.filter(({ key }) => key === name).map(({ value }) => value);
        assertEquals([made.status, values("content-type")], [status, [type]]);
        assertEquals([...values("grpc-status"), ...values("grpc-message")], says);
        assertEquals(values("content-length"), [String(made.body.length)]);
        assertEquals(values("x-slicer-proxy-reason"), ["no-rule"]);
        assertEquals(Buffer.from(made.body).toString("latin1"), body);
      }
    });
  }
});

Deno.test("answerOf() asks for a token in HTTP's way whatever the request speaks, and takes no other type for RPC", () => {
  const lines = ["Content-Type: application/grpc-web", "Connect-Protocol-Version: 1"];
  const asked = { status: 407, reason: "auth-missing", detail: "x" } as const;
  const denied = { status: 403, reason: "no-rule", detail: "x" } as const;
  for (
    const [refusal, line, method = "POST"] of [
      ...lines.map((line) => [asked, line] as const),
      ...lines.map((line) => [denied, line, "CONNECT"] as const),
      ...["application/grpc-website", "application/grpc", "application/connection", "application/json"]
        .map((type) => [denied, `Content-Type: ${type}`] as const),
    ]
  ) {
    const fields = parseFields([line], { maxHeaderCount: 9 }, "client.malformed");
    const made = answerOf(refusal, { method, fields, version: "HTTP/1.1" });
    assertEquals(made.status, refusal.status);
    assertMatch(Buffer.from(made.body).toString(), /^slicer-proxy: /);
  }
});

Deno.test("limits of who asks are 429, those of the proxy 503; those of a minute say when to come back", async (t) => {
  const rows: [reason: string, status: number, retryAfter: string | undefined][] = [
    ["quota", 429, undefined],
    ["budget", 429, undefined],
    ["auth-throttled", 429, "60"],
    ["overload", 503, undefined],
  ];
  for (const [reason, status, retryAfter] of rows) {
    await t.step(reason, () => {
      const refusal = refusalOf(new ProxyError("limit.reached", "x", { reason }));
      const { fields } = answerOf(refusal, { fields: [] });
      assertEquals(refusal.status, status);
      assertEquals(fields.find(({ key }) => key === "retry-after")?.value, retryAfter);
    });
  }
  await t.step("new hosts, and a time of their own", () => {
    const refusal: Refusal = { status: 429, reason: "new-hosts", detail: "x" };
    const after = (more: Partial<Refusal>) =>
      answerOf({ ...refusal, ...more }, { fields: [] }).fields.find(({ key }) => key === "retry-after")
        ?.value;
    assertEquals([after({}), after({ retryAfterSeconds: 7 })], ["60", "7"]);
  });
});

Deno.test("the text of an answer is whole: why, what, and what to do about it", async (t) => {
  const policy = "This is the proxy's policy, not a bad credential.";
  const upstream = "The proxy allowed this request; the upstream could not be used.";
  const rows: readonly (readonly [Refusal, title: string, advice: string | undefined])[] = [
    [
      { status: 403, reason: "revoked", detail: "X" },
      "the client, rule or secret that admitted this is gone",
      policy,
    ],
    [
      { status: 407, reason: "auth-missing", detail: "X" },
      "the client did not say who it is",
      "Send the client's token as the proxy password: HTTPS_PROXY=http://proxy:TOKEN@host:port",
    ],
    [
      { status: 429, reason: "auth-throttled", detail: "X" },
      "too many wrong tokens came from this address within the minute",
      "Wait a minute, and send the right token as the proxy password.",
    ],
    [
      { status: 429, reason: "new-hosts", detail: "X" },
      "this client has asked for as many new hosts as it may within a minute",
      "Wait a minute. Hosts that were used before do not count; up --new-hosts-per-minute sets the limit.",
    ],
    [{ status: 502, reason: "dns", detail: "X" }, "the name has no address", upstream],
    [
      { status: 504, reason: "upstream-timeout", detail: "X" },
      "the upstream did not answer in time",
      upstream,
    ],
    [
      { status: 502, reason: "tls-client-certificate", detail: "X" },
      "the upstream asks for a client certificate",
      `${upstream} Give the rule a secret of the type mtls.`,
    ],
    [{ status: 503, reason: "overload", detail: "X" }, "the proxy as a whole is at a limit", undefined],
    [
      { status: 429, reason: "quota", detail: "X" },
      "this client or source holds as many connections or requests as it may",
      undefined,
    ],
    [{ status: 500, reason: "internal", detail: "X" }, "the proxy failed; its own log says how", undefined],
  ];
  for (const [refusal, title, advice] of rows) {
    await t.step(refusal.reason, () => {
      const { status, reason } = refusal;
      assertEquals(
        answer(refusal).body,
        `slicer-proxy: ${title} (${reason})\n\nX.\n${advice === undefined ? "" : `${advice}\n`}`,
      );
      const { body } = answer(refusal, { accept: "application/json" });
      assertEquals(body.endsWith("}\n"), true);
      assertEquals(JSON.parse(body), {
        ...{ type: "about:blank", title, status, detail: "X.", reason },
        ...(advice === undefined ? {} : { advice }),
      });
    });
  }
});

Deno.test("an explanation stands in the place of the detail, and its command on lines of its own", () => {
  const refusal: Refusal = {
    ...{ status: 403, reason: "no-rule", detail: "X" },
    explanation: { text: "Because. Closest is none.", command: "slicer-proxy allow one --host a.test" },
  };
  const title = "slicer-proxy: no allow rule of this client matches (no-rule)";
  assertEquals(
    answer(refusal).body,
    `${title}\n\nBecause. Closest is none.\n\nAn operator can allow it with:\n  slicer-proxy allow one --host a.test\n`,
  );
  const { explanation: _, ...bare } = refusal;
  const without: Refusal = { ...bare, explanation: { text: "Because." } };
  assertEquals(answer(without).body, `${title}\n\nBecause.\n`);
  const problem = JSON.parse(answer(without, { accept: "application/json" }).body);
  assertEquals(["allow_command" in problem, "advice" in problem, problem.detail], [false, false, "Because."]);
});

Deno.test("refusalOf() says when the same may be asked again, and answerOf() hands it on", () => {
  const refusal = refusalOf(new ProxyError("limit.reached", "x", { reason: "budget", retryAfterSeconds: 7 }));
  assertEquals(refusal.retryAfterSeconds, 7);
  assert(answer(refusal).fields.includes("Retry-After: 7"));
  assertEquals(refusalOf(new TypeError("x")).retryAfterSeconds, undefined);
  assertEquals(
    refusalOf(new TypeError("x")).detail,
    "The proxy failed to handle this request; nothing was sent upstream",
  );
});

Deno.test("answerOf() answers remote calls whose status HTTP has to see, and others, each with its fields", () => {
  const fields = parseFields(["Connect-Protocol-Version: 1"], { maxHeaderCount: 9 }, "client.malformed");
  const made = answerOf(
    { status: 429, reason: "auth-throttled", detail: "x" },
    { method: "POST", fields, version: "HTTP/1.1" },
    "a.test",
  );
  assertEquals(made.phrase, "slicer-proxy: auth-throttled (a.test)");
  assertEquals(made.fields.map(({ line }) => line), [
    "Content-Type: application/json",
    `Content-Length: ${made.body.length}`,
    "Cache-Control: no-store",
    "X-Slicer-Proxy-Reason: auth-throttled",
    "Retry-After: 60",
  ]);
});
