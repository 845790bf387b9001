import { assertEquals } from "@std/assert";
import { Grants } from "../../../proxy/grants.ts";
import type { Grant } from "../../../proxy/policy_source.ts";
import { TestPolicy } from "../../support/test_policy.ts";

function setUp() {
  const policy = new TestPolicy();
  const client = policy.addClient("one", "token");
  policy.addClient("two", "other");
  const rule = policy.allow("one", { host: "a.test" });
  const otherRule = policy.allow("one", { host: "b.test" });
  const credential = policy.setCredential({ secret: "key", host: "a.test", headers: [] });
  const grants = new Grants(policy);
  const ended: string[] = [];
  const grant: Grant = { client, rule, credential };
  return { policy, client, rule, otherRule, credential, grants, grant, ended };
}

Deno.test("Grants end exactly what a change takes away", async (t) => {
  type Setup = ReturnType<typeof setUp>;
  const rows: readonly (readonly [string, boolean, (setup: Setup) => void])[] = [
    ["the client is deleted", true, ({ policy }) => policy.removeClient("one")],
    ["the client is made anew", true, ({ policy }) => policy.addClient("one", "token")],
    ["another client is deleted", false, ({ policy }) => policy.removeClient("two")],
    ["the rule is revoked", true, ({ policy, rule }) => policy.revoke(rule)],
    ["another rule is revoked", false, ({ policy, otherRule }) => policy.revoke(otherRule)],
    ["a rule is added", false, ({ policy }) => void policy.allow("one", { host: "c.test" })],
    ["the secret is deleted", true, ({ policy }) => policy.removeCredential("key")],
    ["the secret is replaced", true, ({ policy, credential }) => void policy.setCredential(credential)],
    ["another secret is replaced", false, ({ policy }) => {
      policy.setCredential({ secret: "other", host: "a.test", headers: [] });
    }],
  ];
  for (const [name, ends, change] of rows) {
    await t.step(name, () => {
      const setup = setUp();
      const { grants, grant, ended } = setup;
      grants.hold(grant, (why) => ended.push(why));
      change(setup);
      change(setup);
      assertEquals(ended, ends ? ["revoked"] : []);
      assertEquals(grants.size, ends ? 0 : 1);
    });
  }
});

Deno.test("hold() ends at once when the grant is not in force, and never after it was let go", () => {
  const { policy, grants, grant, rule, ended } = setUp();
  const letGo = grants.hold(grant, (why) => ended.push(why));
  letGo();
  policy.revoke(rule);
  assertEquals(ended, []);
  grants.hold(grant, (why) => ended.push(why));
  assertEquals(ended, ["revoked"]);
  assertEquals(grants.size, 0);
});

Deno.test("holdClient() follows the client of that name as it is at the call", () => {
  const { policy, grants, rule, ended } = setUp();
  grants.holdClient("one", (why) => ended.push(`first ${why}`));
  policy.revoke(rule);
  assertEquals(ended, []);
  policy.addClient("one", "rotated");
  assertEquals(ended, ["first revoked"]);
  grants.holdClient("one", (why) => ended.push(`second ${why}`));
  assertEquals(ended, ["first revoked"]);
  grants.holdClient("-", () => ended.push("nobody"));
  policy.removeClient("one");
  assertEquals(ended, ["first revoked", "second revoked"]);
  assertEquals(grants.size, 0);
});

Deno.test("close() ends all that is open or still opened, and hears of no change", () => {
  const { policy, grants, grant, ended } = setUp();
  grants.hold(grant, (why) => ended.push(why));
  grants.close();
  grants.hold(grant, (why) => ended.push(`late ${why}`));
  policy.removeClient("one");
  assertEquals(ended, ["shutdown", "late shutdown"]);
  assertEquals(grants.size, 0);
});
