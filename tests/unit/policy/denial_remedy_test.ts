import { assertEquals } from "@std/assert";
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
