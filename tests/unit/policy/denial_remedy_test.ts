import { assertEquals } from "@std/assert";
import { findRemedy } from "../../../policy/denial_remedy.ts";

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
