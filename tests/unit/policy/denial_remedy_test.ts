import { assertEquals } from "@std/assert";
import { cutText } from "../../../policy/audit_record.ts";
import type { Denial } from "../../../policy/denial_tally.ts";
import { asRule, findRemedy, isTunnelSolved, portsFor } from "../../../policy/denial_remedy.ts";
import { parseRule } from "../../../policy/rule.ts";

Deno.test("findRemedy() makes a rule only of a denial that says method, host, port and path", async (t) => {
  const whole = {
    method: "GET",
    host: "a.test",
    port: 443,
    path: "/v1",
    reason: "no-rule",
    count: 1,
    lastMs: 0,
  } as const;
  assertEquals(findRemedy(whole, []).kind, "rule");
  for (const missing of ["method", "host", "port", "path"]) {
    await t.step(
      `without ${missing}`,
      () => assertEquals(findRemedy({ ...whole, [missing]: undefined }, []).kind, "no-rule"),
    );
  }
});

Deno.test("findRemedy() says why there is none", async (t) => {
  const unwritable = "its method or path cannot be written in a rule";
  const rows: readonly [string, Partial<Denial>, string | undefined][] = [
    ["eight readings", { path: "//\\;" }, undefined],
    ["nine readings", { path: "//%2f;" }, "its path can be read in too many ways"],
    [
      "a path that was cut",
      { path: cutText("/abc", 2) },
      "its path is too long for the log to keep the whole of it",
    ],
    ["a method of 32", { method: "A".repeat(32) }, undefined],
    ["a method of 33", { method: "A".repeat(33) }, unwritable],
    ["a gRPC call", { method: "POST", path: "/a.B/C", isGrpc: true }, undefined],
    [
      "a deny rule",
      { reason: "rule-denied" },
      "a deny rule says so: slicer-proxy rules lists it, and rules move puts another before it",
    ],
    [
      "a tunnel that began and was refused for its number",
      { method: "CONNECT", path: undefined, reason: "quota" },
      "no rule helps: this client or source holds as many connections or requests as it may",
    ],
    [
      "a request that was not well formed",
      { reason: "malformed" },
      "no rule helps: the message cannot be read in exactly one way",
    ],
    [
      "a tunnel of something else",
      { method: "CONNECT", path: undefined, reason: "malformed" },
      "what came through the tunnel was no HTTP request: if it is another protocol, allow with --passthrough",
    ],
    [
      "a handshake that failed",
      { method: "CONNECT", path: undefined, reason: "tls-handshake" },
      "the client broke off in the TLS handshake: does it trust the proxy's certificate authority?",
    ],
    [
      "a client that left while it was answered",
      { reason: "client-closed" },
      "no rule helps: the client closed the connection before the answer was complete",
    ],
  ];
  for (const [name, more, why] of rows) {
    await t.step(name, () => {
      const whole = {
        method: "GET",
        host: "a.test",
        port: 443,
        path: "/v1",
        reason: "no-rule",
        count: 1,
        lastMs: 0,
      };
      const remedy = findRemedy({ ...whole, ...more } as Denial, []);
      assertEquals([remedy.kind, remedy.kind === "no-rule" ? remedy.why : undefined], [
        why === undefined ? "rule" : "no-rule",
        why,
      ]);
    });
  }
});

Deno.test("isTunnelSolved() is about tunnels and look-ups of names, for which the port and the reason count", async (t) => {
  const rules = [
    asRule(parseRule({ host: "in.test" })),
    asRule(parseRule({ host: "db.test", ports: [5432], passthrough: true })),
    asRule(parseRule({ host: "no.test", deny: true })),
  ];
  const tunnel = {
    method: "CONNECT",
    host: "in.test",
    port: 443,
    reason: "no-rule",
    count: 1,
    lastMs: 0,
  } as const;
  const rows: readonly [string, Parameters<typeof isTunnelSolved>[0], boolean][] = [
    ["inspected", tunnel, true],
    ["inspected, and denied for another reason", { ...tunnel, reason: "tls-client-clock" }, false],
    ["a request", { ...tunnel, path: "/" }, false],
    ["no host", { ...tunnel, host: undefined }, false],
    ["no port", { ...tunnel, port: undefined }, false],
    ["another host", { ...tunnel, host: "other.test" }, false],
    [
      "passed through, whatever the reason",
      { ...tunnel, host: "db.test", port: 5432, reason: "tls-client-clock" },
      true,
    ],
    ["another port", { ...tunnel, host: "db.test" }, false],
    ["a rule that denies", { ...tunnel, host: "no.test" }, false],
    ["a name", { ...tunnel, method: "DNS", port: undefined }, true],
    ["a name that only a denying rule has", { ...tunnel, method: "DNS", host: "no.test" }, false],
    [
      "a name that was denied for another reason",
      { ...tunnel, method: "DNS", reason: "tls-client-clock" },
      false,
    ],
  ];
  for (const [name, denial, expected] of rows) {
    await t.step(name, () => assertEquals(isTunnelSolved(denial, rules), expected));
  }
});

Deno.test("portsFor() says no port where it is a usual one", () => {
  assertEquals([portsFor(80), portsFor(443), portsFor(8_443)], [[], [], [8_443]]);
});
