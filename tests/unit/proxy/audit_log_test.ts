import { assertEquals, assertMatch } from "@std/assert";
import { Deadlines } from "../../../core/deadlines.ts";
import { AuditLog, type AuditRecord, formatRecord, type LogFormat } from "../../../proxy/audit_log.ts";

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
  ];
  for (const { name, record, line } of rows) {
    await t.step(name, () => assertEquals(formatRecord(record, "text", 0), line));
  }
});

Deno.test("formatRecord() prints JSON of the same fields", () => {
  assertEquals(JSON.parse(formatRecord({ ...ALLOW, ruleOwner: "x", query: "a=b" }, "json", 1_000, 3)), {
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

/** A log whose sink fails while `failing` holds an error. */
function startLog(format: LogFormat = "text") {
  const written: string[] = [];
  const state: { failing: Error | undefined } = { failing: undefined };
  const log = new AuditLog({
    format,
    now: () => 0,
    deadlines: new Deadlines(),
    sink: {
      write: (lines) => {
        if (state.failing) return Promise.reject(state.failing);
        written.push(lines);
        return Promise.resolve();
      },
    },
  });
  return { log, written, state, lines: () => written.join("").split("\n").slice(0, -1) };
}

Deno.test("AuditLog writes lines in order, those of one turn at once", async () => {
  const { log, written, lines } = startLog();
  for (let port = 1; port <= 3; port++) log.write({ ...ALLOW, port });
  await log.flush();
  assertEquals(written.length, 1);
  log.write({ ...ALLOW, port: 4 });
  await log.close();
  assertEquals(lines().map((line) => /port=(\d+)/.exec(line)?.[1]), ["1", "2", "3", "4"]);
});

Deno.test("AuditLog counts what is denied again and again, and never what is allowed", async () => {
  const { log, lines } = startLog();
  for (let i = 0; i < 100; i++) {
    log.write(DENY);
    log.write({ ...DENY, host: `b${i % 2}.test` });
    log.write(ALLOW);
  }
  await log.close();
  const count = (pattern: RegExp) => lines().filter((line) => pattern.test(line)).length;
  assertEquals(count(/^allow /), 100);
  assertEquals(count(/host=a\.test.*reason=no-rule$/), 5);
  assertEquals(lines().filter((line) => line.includes("repeated=")).sort(), [
    "deny client=ci-1 method=GET host=a.test port=443 mode=strict reason=no-rule repeated=95",
    "deny client=ci-1 method=GET host=b0.test port=443 mode=strict reason=no-rule repeated=45",
    "deny client=ci-1 method=GET host=b1.test port=443 mode=strict reason=no-rule repeated=45",
  ]);
});

Deno.test("AuditLog adds up what it is given, coalesced or not", async () => {
  const { log } = startLog();
  for (let i = 0; i < 10; i++) log.write(DENY);
  log.write(ALLOW);
  log.write({ verdict: "passthrough", sent: 10, received: 20 });
  await log.close();
  assertEquals(log.totals, { allow: 1, deny: 10, passthrough: 1, sentBytes: 10, receivedBytes: 5_140 });
});

Deno.test("AuditLog is not writable while its sink fails, and loses no line once it recovers", async () => {
  const { log, state, lines } = startLog();
  state.failing = new Error("disk full");
  log.write({ ...ALLOW, port: 1 });
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(log.isWritable, false);
  log.write({ ...ALLOW, port: 2 });
  state.failing = undefined;
  await log.flush();
  assertEquals(log.isWritable, true);
  log.write({ ...ALLOW, port: 3 });
  await log.close();
  assertEquals(lines().map((line) => /port=(\d+)/.exec(line)?.[1]), ["1", "2", "3"]);
});

Deno.test("AuditLog.close() does not wait for a sink that keeps failing", async () => {
  const { log, state, lines } = startLog();
  state.failing = new Error("disk full");
  log.write(ALLOW);
  await log.close();
  assertEquals(lines(), []);
});
