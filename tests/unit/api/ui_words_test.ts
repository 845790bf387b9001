/** The page's words, against those of the program itself. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  allowCommand,
  formatBytes,
  formatDate,
  formatGrpcStatus,
  formatSpan,
  formatTook,
  isBoundTo,
  limitsOf,
  secretCommand,
  shorten,
  titleOf,
  visible,
} from "../../../api/ui/words.js";
import { escapeTerminal, quoteShell } from "../../../core/escape.ts";
import { allowArguments } from "../../../policy/allow_command.ts";
import { hostWithin } from "../../../policy/rule.ts";

const HOSTILE = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    "<img src=x onerror=alert(1)>",
    "\u202egpj.exe",
    "'$(x)",
    "=ls",
    "a b",
    "\x1b[2J",
    "\ud800",
    "‮",
    "'",
  ),
);

Deno.test("visible() shows what escapeTerminal() shows", () => {
  fc.assert(fc.property(HOSTILE, (text) => assertEquals(visible(text), escapeTerminal(text))));
});

Deno.test("allowCommand() is the command that the program suggests, and the TTL", () => {
  const rule = fc.record({
    host: fc.constantFrom("api.example.com", "*.example.com", "*", "2001:db8::1"),
    methods: fc.subarray(["GET", "POST"]),
    paths: fc.subarray(["/a b", "/it's/*", "/$(x)", "/<script>", "/=ls"]),
    ports: fc.subarray([80, 8443]),
    secret: fc.constantFrom(undefined, "key"),
  });
  fc.assert(fc.property(rule, HOSTILE, fc.constantFrom("", "1h"), (input, client, ttl) => {
    const { secret, ...fields } = input;
    const body = { ...fields, ...(secret === undefined ? {} : { secret }) };
    const words = [
      ...allowArguments(client, { ...body, passthrough: false }),
      ...(ttl === "" ? [] : ["--ttl", ttl]),
    ];
    assertEquals(allowCommand(client, body, ttl), words.map(quoteShell).join(" "));
  }));
  const passed = { host: "db.example.com", ports: [5432], passthrough: true };
  assertEquals(
    allowCommand("ci-1", passed, ""),
    "slicer-proxy allow ci-1 --host db.example.com --port 5432 --passthrough",
  );
});

Deno.test("titleOf() names a rule by what it is about", () => {
  const rows: [Parameters<typeof titleOf>[0], string][] = [
    [{ host: "a.test", methods: ["GET"], paths: ["/v1"] }, "GET a.test /v1"],
    [{ host: "a.test", paths: ["*"], ports: [8443] }, "any method a.test:8443 any path"],
    [{ host: "a.test", grpc: ["p.S/Get"] }, "gRPC a.test p.S/Get"],
    [ruleOf({ host: "github.com", git: "read", repo: ["acme/web"] }), "github.com git read · repo acme/web"],
    [
      ruleOf({ host: "m.test", paths: ["/mcp"], mcp_tool: ["read_file", "ls"] }),
      "m.test /mcp · mcp tool read_file, ls",
    ],
    [
      ruleOf({ host: "api.github.com", methods: ["POST"], paths: ["/graphql"], graphql: ["query"] }),
      "api.github.com POST · /graphql · graphql query",
    ],
    [ruleOf({ host: "a.test", git: "read", paths: ["*"] }), "a.test git read"],
  ];
  for (const [rule, title] of rows) assertEquals(titleOf(rule), title);
});

/** The page's type of a rule names no word that it does not treat by itself. */
function ruleOf(rule: { readonly host: string } & Readonly<Record<string, unknown>>): { host: string } {
  return rule;
}

Deno.test("limitsOf() says what a rule leaves open", () => {
  const rows: [Parameters<typeof limitsOf>[0], string][] = [
    [{ host: "x" }, "any method · any path"],
    [
      { host: "x", methods: ["GET", "PUT"], paths: ["/a", "/b/*"], ports: [8443] },
      "GET, PUT · /a, /b/* · port 8443",
    ],
    [{ host: "x", passthrough: true }, "any bytes, port 80, 443"],
    [{ host: "x", passthrough: true, ports: [22] }, "any bytes, port 22"],
  ];
  for (const [rule, words] of rows) assertEquals(limitsOf(rule), words);
});

Deno.test("spans, durations, sizes and cuts", () => {
  const spans: [number, string][] = [
    [-1, "0s"],
    [999, "0s"],
    [1_000, "1s"],
    [59_999, "59s"],
    [60_000, "1m 0s"],
    [899_000, "14m 59s"],
    [3_600_000, "1h 0m"],
    [604_799_000, "6d 23h"],
  ];
  for (const [ms, text] of spans) assertEquals(formatSpan(ms), text);
  assertEquals([34, 999, 3_100, 125_000].map(formatTook), ["34 ms", "999 ms", "3.1 s", "2m 5s"]);
  assertEquals([0, 812, 1_000, 20_480, 310_200, 3_200_000, 5e15].map(formatBytes), [
    "0",
    "812",
    "1.0k",
    "20.5k",
    "310k",
    "3.2M",
    "5000T",
  ]);
  assertEquals([shorten("abc", 3), shorten("abcd", 3)], ["abc", "abc…"]);
});

Deno.test("isBoundTo() says what the proxy says of a rule's host and that of a secret", () => {
  const rules = [
    "api.example.com",
    "*.example.com",
    "*.a.example.com",
    "example.com",
    "*",
    "xample.com",
    "192.0.2.1",
  ];
  const secrets = ["api.example.com", "*.example.com", "*.a.example.com", "example.com", "192.0.2.1"];
  for (const secret of secrets) {
    for (const rule of rules) {
      assertEquals(isBoundTo(secret, rule), hostWithin(rule, secret), `${secret} ${rule}`);
    }
  }
});

Deno.test("days, ends of gRPC calls, and the command for a secret", () => {
  assertEquals(formatDate(new Date(2026, 0, 2, 3, 4)), "2026-01-02");
  assertEquals([0, 7, 16, 17, 99].map(formatGrpcStatus), [
    "0 OK",
    "7 PERMISSION_DENIED",
    "16 UNAUTHENTICATED",
    "17",
    "99",
  ]);
  const secret = { name: "llm-key", host: "*.example.com" };
  assertEquals(
    secretCommand(secret),
    "slicer-proxy secret create llm-key --host '*.example.com' --value-file FILE",
  );
  assertEquals(
    secretCommand({ ...secret, type: "oauth-claude" }),
    "slicer-proxy secret create llm-key --force --host '*.example.com' --type oauth-claude --value-file FILE",
  );
});
