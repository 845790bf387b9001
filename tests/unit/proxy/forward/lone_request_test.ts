import { assertEquals } from "@std/assert";
import type { RuleInput } from "../../../../policy/rule.ts";
import { isGuarded, isLoneRequest } from "../../../../proxy/forward/lone_request.ts";
import { makeRule } from "../../../support/make_rule.ts";

const rule = (more: Partial<RuleInput> = {}) => makeRule("1", { host: "up.test", ...more });

Deno.test("isGuarded() is true of rules that limit what is sent or add a credential", () => {
  assertEquals([isGuarded(rule()), isGuarded(rule({ ports: [443] }))], [false, false]);
  for (const more of [{ methods: ["GET"] }, { paths: ["/a"] }, { secret: "key" }, { mcpTool: ["a"] }]) {
    assertEquals(isGuarded(rule(more)), true);
  }
});

Deno.test("isLoneRequest() is true of bodies that a server may not read, under a guarded rule", () => {
  const guarded = rule({ secret: "key" });
  for (const method of ["GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND", "post"]) {
    assertEquals(isLoneRequest({ method, hasBody: true }, guarded), true, method);
    assertEquals(isLoneRequest({ method, hasBody: false }, guarded), false, method);
    assertEquals(isLoneRequest({ method, hasBody: true }, rule()), false, method);
  }
  for (const method of ["POST", "PUT", "PATCH"]) {
    assertEquals(isLoneRequest({ method, hasBody: true }, guarded), false, method);
  }
  assertEquals(
    isLoneRequest({ method: "POST", hasBody: false }, rule({ oneRequestPerConnection: true })),
    true,
  );
});
