import { assertEquals } from "@std/assert";
import { otlpRecord, otlpRequest, readOtlpAnswer } from "../../../../proxy/records/otlp.ts";
import type { StoredRecord } from "../../../../policy/audit_record.ts";

const TIME = { timeMs: 1_800_000_000_123, repeated: 1 };

function attributesOf(record: StoredRecord): Record<string, unknown> {
  return Object.fromEntries(
    otlpRecord(record, "uid-1").attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
  );
}

Deno.test("otlpRecord() gives every field of a record a place", () => {
  const full: Required<Omit<StoredRecord, "setupMs" | "opened">> = {
    ...TIME,
    repeated: 3,
    verdict: "allow",
    client: "one",
    auth: "none",
    ruleOwner: "two",
    method: "POST",
    scheme: "https",
    host: "api.example.com",
    port: 443,
    path: "/v1/x",
    query: "a=b",
    says: "mcp:tools/call",
    status: 200,
    secret: "key",
    proto: "h2",
    budget: "requests=1/1h",
    grpcStatus: 0,
    echoed: 1,
    tokens: { input: 5, output: 6, isEstimated: true },
    cleartext: true,
    mode: "audit",
    reason: "client-closed",
    sent: 10,
    received: 20,
    durationMs: 12.4,
    origin: { src: "192.168.1.7:4711", proxyPort: 3128, tls: "1.3" },
  };
  assertEquals(attributesOf(full), {
    "log.record.uid": "uid-1",
    "slicer_proxy.verdict": "allow",
    "slicer_proxy.client": "one",
    "slicer_proxy.auth": "none",
    "slicer_proxy.rule_owner": "two",
    "client.address": "192.168.1.7",
    "client.port": "4711",
    "network.local.port": "3128",
    "tls.protocol.version": "1.3",
    "http.request.method": "POST",
    "url.scheme": "https",
    "server.address": "api.example.com",
    "server.port": "443",
    "url.path": "/v1/x",
    "url.query": "a=b",
    "network.protocol.name": "http",
    "network.protocol.version": "2",
    "http.response.status_code": "200",
    "rpc.grpc.status_code": "0",
    "http.request.body.size": "10",
    "http.response.body.size": "20",
    "slicer_proxy.duration_ms": "12",
    "slicer_proxy.secret": "key",
    "slicer_proxy.cleartext": true,
    "slicer_proxy.mode": "audit",
    "slicer_proxy.reason": "client-closed",
    "slicer_proxy.echoed": "1",
    "slicer_proxy.says": "mcp:tools/call",
    "slicer_proxy.budget": "requests=1/1h",
    "gen_ai.usage.input_tokens": "5",
    "gen_ai.usage.output_tokens": "6",
    "slicer_proxy.tokens_estimated": true,
    "slicer_proxy.repeated": "3",
  });
  const record = otlpRecord(full, "uid-1");
  assertEquals([record.timeUnixNano, record.severityText, record.eventName], [
    "1800000000123000000",
    "INFO",
    "slicer_proxy.decision",
  ]);
  assertEquals([record.observedTimeUnixNano, record.severityNumber], [record.timeUnixNano, 9]);
});

Deno.test("otlpRecord() tells changes from decisions, sizes of tunnels from those of bodies, and has no time before 1970", () => {
  const change = otlpRecord({ ...TIME, timeMs: -5, verdict: "change", method: "SUSPEND" }, "uid-1");
  assertEquals([change.eventName, change.severityNumber, change.timeUnixNano], [
    "slicer_proxy.change",
    9,
    "0000000",
  ]);
  const tunnel = attributesOf({ ...TIME, verdict: "passthrough", path: "/x", sent: 1, received: 2 });
  assertEquals([tunnel["slicer_proxy.sent_bytes"], tunnel["slicer_proxy.received_bytes"]], ["1", "2"]);
});

Deno.test("otlpRecord() has the methods of the semantic conventions as they are, and no other", () => {
  const known = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];
  for (const method of [...known, "get", "PROPFIND"]) {
    const { "http.request.method": said, "http.request.method_original": original } = attributesOf({
      ...{ ...TIME, verdict: "allow", path: "/", method },
    });
    assertEquals([said, original], known.includes(method) ? [method, undefined] : ["_OTHER", method], method);
  }
});

Deno.test("otlpRecord() tells requests of HTTP from what is none, and sources in every form", async (t) => {
  const rows: readonly (readonly [string, Partial<StoredRecord>, Record<string, unknown>])[] = [
    ["a made-up method", { method: "x-EVIL", path: "/" }, {
      "http.request.method": "_OTHER",
      "http.request.method_original": "x-EVIL",
      "url.path": "/",
      "network.protocol.name": "http",
    }],
    ["a tunnel", { method: "CONNECT", sent: 1, received: 2 }, {
      "http.request.method": "CONNECT",
      "network.protocol.name": "http",
      "slicer_proxy.sent_bytes": "1",
      "slicer_proxy.received_bytes": "2",
    }],
    ["SOCKS", { method: "SOCKS5" }, { "slicer_proxy.method": "SOCKS5" }],
    ["IPv6", { origin: { src: "[fe80::1]:99" } }, { "client.address": "fe80::1", "client.port": "99" }],
    ["several connections", { origin: { src: "10.0.0.1" } }, { "client.address": "10.0.0.1" }],
    ["of IPv6", { origin: { src: "[fe80::1]" } }, { "client.address": "fe80::1" }],
    ["a method of a connection", { method: "DNS", host: "a.test" }, {
      "slicer_proxy.method": "DNS",
      "server.address": "a.test",
    }],
    ["no method", { path: "/a" }, { "url.path": "/a", "network.protocol.name": "http" }],
    ["tokens that were told", { path: "/", tokens: { input: 1, output: 2, isEstimated: false } }, {
      "url.path": "/",
      "network.protocol.name": "http",
      "gen_ai.usage.input_tokens": "1",
      "gen_ai.usage.output_tokens": "2",
    }],
    ["two at once", { repeated: 2, durationMs: 0.5 }, {
      "slicer_proxy.repeated": "2",
      "slicer_proxy.duration_ms": "1",
    }],
    ["half a pair", { path: "/\ud800", says: "mcp:\udc00" }, {
      "url.path": "/\ufffd",
      "network.protocol.name": "http",
      "slicer_proxy.says": "mcp:\ufffd",
    }],
  ];
  for (const [name, fields, expected] of rows) {
    await t.step(name, () => {
      const record: StoredRecord = { ...TIME, verdict: "deny", ...fields };
      assertEquals(attributesOf(record), {
        "log.record.uid": "uid-1",
        "slicer_proxy.verdict": "deny",
        ...expected,
      });
      const { severityNumber, severityText, eventName, body } = otlpRecord(record, "uid-1");
      assertEquals([severityNumber, severityText, eventName], [13, "WARN", "slicer_proxy.decision"]);
      assertEquals(Object.values(body)[0].startsWith("deny client=- "), true);
      assertEquals(JSON.stringify(otlpRecord(record, "")).isWellFormed(), true);
    });
  }
});

Deno.test("otlpRequest() says who sends", () => {
  const source = { version: "1.0", instance: "i-1", hostgroup: "sbox" };
  assertEquals(otlpRequest(source, []), {
    resourceLogs: [{
      resource: {
        attributes: [
          { key: "service.name", value: { stringValue: "slicer-proxy" } },
          { key: "service.version", value: { stringValue: "1.0" } },
          { key: "service.instance.id", value: { stringValue: "i-1" } },
          { key: "slicer_proxy.hostgroup", value: { stringValue: "sbox" } },
        ],
      },
      scopeLogs: [{ scope: { name: "slicer-proxy.audit", version: "1.0" }, logRecords: [] }],
    }],
  });
});

Deno.test("readOtlpAnswer() tells what was taken from what is to be sent again", async (t) => {
  const taken = (rejected = 0, why = "") => ({ kind: "taken", rejected, why }) as const;
  const later = (why: string, more = {}) =>
    ({ kind: "later", why, isAuth: false, afterMs: 0, ...more }) as const;
  const now = Date.parse("2026-01-01T00:00:00Z");
  const partial = (fields: unknown) => JSON.stringify({ partialSuccess: fields });
  const rows: readonly (readonly [number, string, Record<string, string>, unknown])[] = [
    [200, "{}", {}, taken()],
    [200, "", {}, taken()],
    [204, "", {}, taken()],
    [200, partial({}), {}, taken()],
    [200, partial({ rejectedLogRecords: "3", errorMessage: "too old" }), {}, taken(3, "too old")],
    [200, partial({ rejectedLogRecords: 3 }), {}, taken(3)],
    [200, partial({ rejectedLogRecords: "-3" }), {}, taken()],
    [200, partial({ rejectedLogRecords: "many", errorMessage: 7 }), {}, taken()],
    [200, partial([1]), {}, taken()],
    [200, "<html>log in</html>", {}, later("its answer is none of OTLP")],
    [200, "[]", {}, later("its answer is none of OTLP")],
    [400, "", {}, { kind: "refused" }],
    [413, "", {}, { kind: "refused" }],
    [422, "", {}, { kind: "refused" }],
    [299, " \n", {}, taken()],
    [300, "", {}, later("it answered with 300")],
    [199, "", {}, later("it answered with 199")],
    [200, partial({ rejectedLogRecords: "0", errorMessage: "mind this" }), {}, taken(0, "mind this")],
    [200, partial({ rejectedLogRecords: 1.5 }), {}, taken()],
    [200, partial(null), {}, taken()],
    [200, partial("x"), {}, taken()],
    [200, "null", {}, later("its answer is none of OTLP")],
    [200, "7", {}, later("its answer is none of OTLP")],
    [429, "", { "retry-after": "999999999" }, later("it answered with 429", { afterMs: 999_999_999_000 })],
    [429, "", { "retry-after": "0" }, later("it answered with 429")],
    [401, "", {}, later("it answered with 401", { isAuth: true })],
    [403, "", {}, later("it answered with 403", { isAuth: true })],
    [404, "", {}, later("it answered with 404")],
    [302, "", { location: "https://elsewhere/" }, later("it answered with 302")],
    [429, "", { "retry-after": "7" }, later("it answered with 429", { afterMs: 7_000 })],
    [
      503,
      "",
      { "retry-after": "Thu, 01 Jan 2026 00:01:00 GMT" },
      later("it answered with 503", { afterMs: 60_000 }),
    ],
    [503, "", { "retry-after": "Thu, 01 Jan 1970 00:01:00 GMT" }, later("it answered with 503")],
    [503, "", { "retry-after": "soon" }, later("it answered with 503")],
  ];
  for (const [status, body, headers, expected] of rows) {
    await t.step(`${status} ${body} ${JSON.stringify(headers)}`, () => {
      assertEquals(
        readOtlpAnswer({ status, body, headers }, now),
        expected as ReturnType<typeof readOtlpAnswer>,
      );
    });
  }
});
