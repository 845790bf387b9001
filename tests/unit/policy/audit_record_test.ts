import { assertEquals, assertMatch } from "@std/assert";
import {
  type AuditRecord,
  boundRecord,
  formatRecord,
  isCut,
  isUnauthenticatedDenial,
  parseRecord,
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
