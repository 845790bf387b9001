import { assert, assertEquals } from "@std/assert";
import { isReason, REASONS } from "../../../policy/reason.ts";

Deno.test("REASONS are words for a header and a log, each with one line of documentation", async (t) => {
  for (const [reason, line] of Object.entries(REASONS)) {
    await t.step(reason, () => {
      assert(/^[a-z]+(-[a-z]+)*$/.test(reason));
      assert(/^[\x20-\x7e]{10,120}$/.test(line) && !line.endsWith("."), line);
    });
  }
});

Deno.test("isReason() knows the set and nothing inherited", () => {
  assertEquals(["no-rule", "dns", "toString", "", "NO-RULE"].filter(isReason), ["no-rule", "dns"]);
});
