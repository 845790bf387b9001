import { assertEquals } from "@std/assert";
import { ruleInput } from "../../../api/schemas.ts";
import { SuggestionBody, suggestionBody } from "../../../api/schemas_suggest.ts";
import { parseRule, type RuleInput } from "../../../policy/rule.ts";

Deno.test("suggestionBody() says all that a proposed rule says: without a limit it would be another one", async (t) => {
  const rows: readonly RuleInput[] = [
    { host: "a.test", methods: ["GET"], paths: ["/v1/*"], ports: [8443] },
    { host: "a.test", grpc: ["p.S/Get", "q.T/*"] },
    { host: "a.test", methods: ["GET"], paths: ["/x"], query: ["service=git-upload-pack"] },
  ];
  for (const input of rows) {
    await t.step(JSON.stringify(input), () => {
      const rule = parseRule(input);
      const proposal = { rule, because: [], implied: [], otherSecrets: [] };
      const body = SuggestionBody.parse(
        suggestionBody({ proposals: [proposal], skipped: [], passes: [] }, 0),
      );
      assertEquals(body.proposals.map(({ rule }) => parseRule(ruleInput(rule))), [rule]);
    });
  }
});
