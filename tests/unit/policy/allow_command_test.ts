import { assertEquals } from "@std/assert";
import { canBeTyped } from "../../../policy/allow_command.ts";

Deno.test("canBeTyped() is true for what means itself on a command line", () => {
  const typed = (more: { host?: string; method?: string; path?: string }) =>
    canBeTyped({ host: "a.test", ...more });
  assertEquals([typed({}), typed({ method: "GET", path: "/v1/x" }), typed({ method: "M-SEARCH" })], [
    true,
    true,
    true,
  ]);
  for (
    const more of [{ host: "*.a.test" }, { path: "/a*" }, { path: "/a,b" }, { method: "--passthrough" }, {
      method: "$(x)",
    }, { method: "" }]
  ) {
    assertEquals(typed(more), false, JSON.stringify(more));
  }
});
