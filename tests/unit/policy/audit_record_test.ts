import { assertEquals, assertMatch } from "@std/assert";
import {
  type AuditRecord,
  boundRecord,
  cutText,
  formatRecord,
  formatStored,
  isCut,
  isUnauthenticatedDenial,
  parseRecord,
  sizeOfRecord,
} from "../../../policy/audit_record.ts";

const ALLOW: AuditRecord = {
  verdict: "allow",
  client: "ci-1",
  method: "GET",
  scheme: "https",
  host: "api.example.com",
  port: 443,
  path: "/v1/models",
  status: 200,
  secret: "llm-key",
  sent: 0,
  received: 5120,
  durationMs: 34.2,
};
const DENY: AuditRecord = {
  verdict: "deny",
  client: "ci-1",
  method: "GET",
  host: "a.test",
  port: 443,
  mode: "strict",
  reason: "no-rule",
};
/** Every field that a line can have. */
const EVERY: Required<Omit<AuditRecord, "setupMs" | "opened" | "repeated">> = {
  verdict: "deny",
  client: "ci-1",
  auth: "none",
  ruleOwner: "build-1",
  method: "POST",
  scheme: "http",
  host: "api.example.com",
  port: 8_080,
  path: "/v1/x",
  query: "a=1",
  says: "graphql:query",
  status: 200,
  secret: "llm-key",
  proto: "h2",
  budget: "10-requests-a-day",
  grpcStatus: 0,
  tokens: { input: 1, output: 2, isEstimated: true },
  echoed: 3,
  cleartext: true,
  mode: "audit",
  reason: "no-rule",
  sent: 4,
  received: 5,
  durationMs: 6,
  origin: { src: "10.0.0.5:40312", proxyPort: 3128, tls: "1.2" },
};

Deno.test("a line has every field of a record, in the documented order, and JSON gives the record back", async (t) => {
  await t.step("text", () => {
    assertEquals(
      formatRecord(EVERY, "text", 0, 2),
      "deny client=ci-1 auth=none rule-owner=build-1 method=POST scheme=http host=api.example.com port=8080 " +
        "path=/v1/x query=a=1 status=200 secret=llm-key cleartext=true mode=audit reason=no-rule sent=4 " +
        "received=5 duration=6ms repeated=2 proto=h2 grpc-status=0 echoed=3 src=10.0.0.5:40312 " +
        "proxy-port=3128 tls=1.2 says=graphql:query budget=10-requests-a-day input-tokens=1 output-tokens=2 " +
        "tokens-estimated=true",
    );
  });
  await t.step("JSON", () => {
    const stored = { ...EVERY, timeMs: 1_000, repeated: 2 };
    assertEquals(parseRecord(formatStored(stored, "json")), stored);
  });
  await t.step("what says nothing has no field", () => {
    const tokens = { input: 0, output: 0, isEstimated: false };
    const line = formatStored({ verdict: "change", tokens, timeMs: 0, repeated: 1 }, "text");
    assertEquals(line, "change client=- input-tokens=0 output-tokens=0");
    const parsed = parseRecord(formatStored({ verdict: "change", timeMs: 0, repeated: 1 }, "json"));
    const fields = ["says", "budget", "tokens", "proto", "grpcStatus", "echoed", "origin"];
    assertEquals(fields.filter((name) => name in (parsed ?? {})), []);
  });
});

Deno.test("parseRecord() takes no value that no record has", () => {
  const line = formatRecord(EVERY, "json", 0);
  const reread = (from: string, to: string) => parseRecord(line.replace(from, to));
  assertEquals(reread('"auth":"none"', '"auth":"x"')?.auth, undefined);
  assertEquals(reread('"scheme":"http"', '"scheme":"ftp"')?.scheme, undefined);
  assertEquals(reread('"proto":"h2"', '"proto":"h3"')?.proto, undefined);
  assertEquals(reread('"mode":"audit"', '"mode":"x"')?.mode, undefined);
  assertEquals(reread('"reason":"no-rule"', '"reason":"x"')?.reason, undefined);
  assertEquals(reread('"cleartext":true', '"cleartext":1')?.cleartext, undefined);
  assertEquals(reread('"tls":"1.2"', '"tls":"1.1"')?.origin?.tls, undefined);
  assertEquals(reread('"tokens_estimated":true', '"tokens_estimated":1')?.tokens?.isEstimated, false);
  assertEquals(reread('"output_tokens":2', '"output_tokens":""')?.tokens, undefined);
  assertEquals(reread('"input_tokens":1', '"input_tokens":""')?.tokens, undefined);
  assertEquals(reread('"port":8080', '"port":"8080"')?.port, undefined);
  assertEquals(reread('"path":"/v1/x"', '"path":1')?.path, undefined);
  assertEquals(reread('"time":"1970-01-01T00:00:00.000Z"', '"time":0'), undefined);
  assertEquals(reread('"time":"1970-01-01T00:00:00.000Z"', '"time":"never"'), undefined);
});

Deno.test("formatRecord() prints the documented lines", async (t) => {
  const rows: { name: string; record: AuditRecord; line: string }[] = [
    {
      name: "allow",
      record: ALLOW,
      line:
        "allow client=ci-1 method=GET scheme=https host=api.example.com port=443 path=/v1/models status=200 secret=llm-key sent=0 received=5120 duration=34ms",
    },
    {
      name: "tokens under a budget, partly reckoned",
      record: { ...ALLOW, tokens: { input: 12, output: 340, isEstimated: true } },
      line:
        "allow client=ci-1 method=GET scheme=https host=api.example.com port=443 path=/v1/models status=200 secret=llm-key sent=0 received=5120 duration=34ms input-tokens=12 output-tokens=340 tokens-estimated=true",
    },
    {
      name: "deny a request",
      record: {
        ...DENY,
        client: "reviewfn",
        scheme: "https",
        host: "api.example.com",
        path: "/v1/models",
        mode: "audit",
      },
      line:
        "deny client=reviewfn method=GET scheme=https host=api.example.com port=443 path=/v1/models mode=audit reason=no-rule",
    },
    {
      name: "deny a tunnel",
      record: { ...DENY, client: "reviewfn", method: "CONNECT", host: "api.example.com" },
      line: "deny client=reviewfn method=CONNECT host=api.example.com port=443 mode=strict reason=no-rule",
    },
    {
      name: "passthrough",
      record: {
        verdict: "passthrough",
        client: "build-1",
        host: "db.example.com",
        port: 5432,
        sent: 812,
        received: 20480,
        durationMs: 3_100,
      },
      line: "passthrough client=build-1 host=db.example.com port=5432 sent=812 received=20480 duration=3.1s",
    },
    {
      name: "without credentials",
      record: {
        verdict: "passthrough",
        auth: "none",
        ruleOwner: "build-1",
        host: "db.example.com",
        port: 22,
      },
      line: "passthrough client=- auth=none rule-owner=build-1 host=db.example.com port=22",
    },
    {
      name: "where it came from, behind all else",
      record: { ...DENY, origin: { src: "[fd00::5]:40312", proxyPort: 3129, tls: "1.3" } },
      line:
        "deny client=ci-1 method=GET host=a.test port=443 mode=strict reason=no-rule src=[fd00::5]:40312 " +
        "proxy-port=3129 tls=1.3",
    },
    {
      name: "in clear",
      record: { ...DENY, origin: { src: "10.0.0.5:40312", proxyPort: 3128 } },
      line:
        "deny client=ci-1 method=GET host=a.test port=443 mode=strict reason=no-rule src=10.0.0.5:40312 " +
        "proxy-port=3128",
    },
  ];
  for (const { name, record, line } of rows) {
    await t.step(name, () => assertEquals(formatRecord(record, "text", 0), line));
  }
});

Deno.test("formatRecord() prints JSON of the same fields", () => {
  assertEquals(JSON.parse(formatRecord({ ...ALLOW, ruleOwner: "x", query: "a=b" }, "json", 1_000, 3)), {
    v: 1,
    time: "1970-01-01T00:00:01.000Z",
    verdict: "allow",
    client: "ci-1",
    rule_owner: "x",
    method: "GET",
    scheme: "https",
    host: "api.example.com",
    port: 443,
    path: "/v1/models",
    query: "a=b",
    status: 200,
    secret: "llm-key",
    sent: 0,
    received: 5120,
    duration_ms: 34,
    repeated: 3,
  });
});

Deno.test("formatRecord() lets no value forge a line or a field", () => {
  const path = '/a\nallow client=root "x"\r\x1b[2J\u2028\u{1f600}';
  const text = formatRecord({ ...DENY, path, method: "G T" }, "text", 0);
  assertMatch(text, /^[\x21-\x7e]+( [\x21-\x7e]+)*$/);
  assertEquals(text.split(" ").map((field) => field.split("=")[0]), [
    "deny",
    "client",
    "method",
    "host",
    "port",
    "path",
    "mode",
    "reason",
  ]);
  const json = formatRecord({ ...DENY, path }, "json", 0);
  assertEquals(json.includes("\n"), false);
  assertEquals(JSON.parse(json).path, path);
});

Deno.test("parseRecord() reads what formatRecord() prints", async (t) => {
  const rows: readonly { readonly name: string; readonly record: AuditRecord; readonly repeated?: number }[] =
    [
      { name: "allowed", record: { ...ALLOW, durationMs: 34 } },
      { name: "denied, coalesced", record: { ...DENY, path: '/a\n"b"', query: "x=1" }, repeated: 7 },
      { name: "nobody", record: { verdict: "deny", reason: "auth-missing" } },
      {
        name: "where it came from",
        record: { ...ALLOW, durationMs: 34, origin: { src: "10.0.0.5:40312", proxyPort: 3129, tls: "1.2" } },
      },
      {
        name: "without credentials",
        record: { verdict: "passthrough", auth: "none", ruleOwner: "b", host: "h.test", port: 22, sent: 0 },
      },
    ];
  for (const { name, record, repeated } of rows) {
    await t.step(name, () => {
      const parsed = parseRecord(formatRecord(record, "json", 1_700_000_000_123, repeated));
      const known = Object.fromEntries(
        Object.entries(parsed ?? {}).filter(([, value]) => value !== undefined),
      );
      assertEquals(known, { ...record, timeMs: 1_700_000_000_123, repeated: repeated ?? 1 });
    });
  }
});

Deno.test("parseRecord() takes no line that is not whole, or not its own", () => {
  const line = formatRecord(ALLOW, "json", 0);
  for (let length = 0; length < line.length; length++) {
    assertEquals(parseRecord(line.slice(0, length)), undefined);
  }
  assertEquals(parseRecord(line.replace('"v":1', '"v":2')), undefined);
  assertEquals(parseRecord(line.replace('"allow"', '"maybe"')), undefined);
  for (const repeated of ["0", "-1", "1.5", "1e300"]) {
    assertEquals(parseRecord(line.replace("}", `,"repeated":${repeated}}`)), undefined, repeated);
  }
  assertEquals(parseRecord(line.replace("}", ',"repeated":2}'))?.repeated, 2);
  assertEquals(parseRecord("null"), undefined);
  assertEquals(parseRecord("[]"), undefined);
});

Deno.test("boundRecord() cuts what is longer than the log keeps, and leaves the rest as it is", async (t) => {
  const most = 2_048;
  const long = `/${"p".repeat(60_000)}`;
  await t.step("nothing to cut", () => {
    const record = { ...DENY, path: `/${"p".repeat(most - 1)}`, query: "q".repeat(most) };
    assertEquals(boundRecord(record) === record, true);
  });
  await t.step("a path", () => {
    const { path = "", ...rest } = boundRecord({ ...DENY, path: long });
    assertEquals(path.slice(0, most), long.slice(0, most));
    assertMatch(path.slice(most), /^…60001-[0-9a-f]{32}$/);
    assertEquals([isCut(path), isCut(long)], [true, false]);
    assertEquals(rest, { ...DENY, query: undefined });
  });
  await t.step("one character more than is kept", () => {
    assertEquals(isCut(boundRecord({ ...DENY, path: `/${"p".repeat(most)}` }).path ?? ""), true);
  });
  await t.step("each text has its own limit: just inside, and one more", () => {
    const rows = [["path", most], ["query", most], ["says", most], ["method", 256], ["host", 256], [
      "client",
      256,
    ]] as const;
    for (const [field, length] of rows) {
      const inside = { ...DENY, [field]: "x".repeat(length) };
      assertEquals(boundRecord(inside) === inside, true, field);
      const cut = boundRecord({ ...DENY, [field]: "x".repeat(length + 1) });
      assertMatch(cut[field] ?? "", /^x+…\d+-[0-9a-f]{32}$/, field);
    }
    assertEquals(cutText("xxx", 3), "xxx");
    assertMatch(cutText("xxxx", 3), /^xxx…4-/);
  });
  await t.step("two that differ at their ends stay different", () => {
    const [a, b] = ["a", "b"].map((end) => boundRecord({ ...DENY, path: long + end }).path);
    assertEquals(a === b, false);
    assertEquals(a, boundRecord({ ...DENY, path: `${long}a` }).path);
  });
  await t.step("every other text that somebody chooses", () => {
    const text = "M".repeat(65_000);
    const cut = boundRecord({ ...DENY, method: text, host: text, query: text, client: text });
    for (const each of [cut.method, cut.host, cut.query, cut.client]) assertEquals(isCut(each ?? ""), true);
    assertEquals(formatRecord(cut, "text", 0).length < 4_000, true);
  });
});

Deno.test("sizeOfRecord() counts every text that can be long", () => {
  const bare = sizeOfRecord({ verdict: "deny" });
  for (const field of ["path", "query", "says", "host"]) {
    assertEquals(sizeOfRecord({ verdict: "deny", [field]: "x".repeat(100) }), bare + 100, field);
  }
});

Deno.test("isUnauthenticatedDenial() is true for what anyone can cause", () => {
  const rows: readonly [AuditRecord, boolean][] = [
    [{ verdict: "deny", reason: "auth-missing" }, true],
    [{ verdict: "deny", auth: "none", method: "SOCKS5" }, true],
    [DENY, false],
    [ALLOW, false],
    [{ verdict: "passthrough", auth: "none", ruleOwner: "b" }, false],
  ];
  for (const [record, expected] of rows) assertEquals(isUnauthenticatedDenial(record), expected);
});
