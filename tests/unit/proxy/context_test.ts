import { assertEquals } from "@std/assert";
import type { Mode } from "../../../policy/mode.ts";
import { CLEARTEXT_SECRETS, EXPLAIN, modeOf } from "../../../proxy/context.ts";
import { TestPolicy } from "../../support/test_policy.ts";

Deno.test("what may be chosen for credentials without TLS, and for refusals of tunnels", () => {
  assertEquals([...CLEARTEXT_SECRETS], ["private", "always", "never"]);
  assertEquals([...EXPLAIN], ["connect", "inside"]);
});

Deno.test("modeOf() is the client's own mode, and the proxy's where it has none or nobody is known", () => {
  const policy = new TestPolicy();
  policy.modeOf = (client): Mode | undefined => client === "one" ? "audit" : undefined;
  assertEquals(modeOf({ policy, mode: "strict" }, "one"), "audit");
  assertEquals(modeOf({ policy, mode: "strict" }, "two"), "strict");
  assertEquals(modeOf({ policy, mode: "audit" }), "audit");
});
