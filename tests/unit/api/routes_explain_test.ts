import { assertEquals, assertStringIncludes } from "@std/assert";
import { parseRule } from "../../../policy/rule.ts";
import { TestApi } from "./support.ts";

Deno.test("explain says that a client is suspended, by itself or with all, whatever its rules allow", async (t) => {
  await using api = await TestApi.start();
  await api.control.createClient("c");
  await api.control.addRule("c", parseRule({ host: "x.example" }));
  const rows: [name: string, change: () => Promise<void>, verdict: string, reason: string | undefined][] = [
    ["not yet", () => Promise.resolve(), "allow", undefined],
    ["by itself", () => api.control.suspend("c"), "deny", "client-suspended"],
    ["resumed", () => api.control.resume("c"), "allow", undefined],
    ["with all", () => api.control.suspend(undefined), "deny", "client-suspended"],
    ["all resumed", () => api.control.resume(undefined), "allow", undefined],
  ];
  for (const [name, change, verdict, reason] of rows) {
    await t.step(name, async () => {
      await change();
      const { status, text } = await api.call("/proxy/v1/clients/c/explain", {
        body: { method: "GET", url: "https://x.example/" },
      });
      const answer = JSON.parse(text);
      assertEquals([status, answer.verdict, answer.reason], [200, verdict, reason]);
      assertEquals(answer.rules.length, 1, "the rules are shown all the same");
      if (reason !== undefined) {
        assertEquals(
          [answer.rule, answer.command],
          [undefined, undefined],
          "no rule decides, and none would help",
        );
        assertStringIncludes(answer.words, "suspended until somebody resumes it");
      }
    });
  }
});
