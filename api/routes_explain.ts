/**
 * The call that says what would be decided about a request, without sending it.
 *
 * Not here: how that is found out (`policy/verdict_report.ts`).
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { type DeniedTarget, explainDenial } from "../policy/explain.ts";
import { DIMENSIONS } from "../policy/match.ts";
import type { Reason } from "../policy/reason.ts";
import { describeAsked, parseAsked, reportVerdict, type VerdictReport } from "../policy/verdict_report.ts";
import type { ControlPlane } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, requestJson } from "./responses.ts";
import { RuleBody, ruleBody } from "./schemas.ts";

/** `POST /proxy/v1/clients/{name}/explain`. */
const AskBody = z.strictObject({
  method: z.string().min(1).max(32).openapi({ example: "GET" }),
  url: z.string().min(1).max(16_384).openapi({ example: "https://api.example.com/v1/models" }),
}).openapi("ExplainRequest");

/** What would be decided. */
const VerdictBody = z.strictObject({
  request: z.string().openapi({ description: "The request as it was read" }),
  verdict: z.enum(["allow", "deny", "passthrough"]).openapi({
    description: "`passthrough`: its tunnel is spliced, and nobody looks at the request",
  }),
  reason: z.string().optional().openapi({ description: "For a denial", example: "no-rule" }),
  rule: z.int().min(1).optional().openapi({ description: "The place of the rule that decides" }),
  asks: z.literal(true).optional().openapi({ description: "A person is asked first: `--ask`" }),
  words: z.string().optional().openapi({ description: "For a denial: why, and what came closest" }),
  command: z.string().optional().openapi({ description: "What would allow exactly this" }),
  rules: z.array(RuleBody.extend({
    missed: z.array(z.enum(DIMENSIONS)).openapi({
      description: "What of the request the rule does not cover; empty when it covers it as it is written",
    }),
  })).openapi({ description: "All rules of the client, in order" }),
}).openapi("Verdict");

const explain = createRoute({
  method: "post",
  path: "/proxy/v1/clients/{name}/explain",
  operationId: "explainRequest",
  summary: "What would be decided about a request of a client, by which rule, and why not by the others",
  description: "Sends nothing. Bodies, addresses, credentials and quotas can still refuse what rules allow.",
  tags: ["allows"],
  middleware: jsonBody,
  request: {
    params: z.object({ name: z.string().openapi({ example: "ci-1" }) }),
    body: requestJson(AskBody),
  },
  responses: {
    ...common,
    ...commonWithBody,
    200: json("The verdict", VerdictBody),
    400: error("The method or the URL cannot be read"),
    404: error("There is no such client"),
  },
});

/** Adds the call to an app. */
export function addExplainRoute(
  app: OpenAPIHono,
  control: Pick<ControlPlane, "judgeRules" | "isSuspended" | "isLost">,
): void {
  app.openapi(explain, (c) => {
    const { name } = c.req.valid("param");
    const { method, url } = c.req.valid("json");
    const rules = control.judgeRules(name).map(({ rule }) => rule);
    const asked = parseAsked(method, url);
    const report = reportVerdict(name, rules, asked);
    const reason = control.isLost()
      ? "store-lost"
      : control.isSuspended(name)
      ? "client-suspended"
      : undefined;
    const said = reason ? refused({ client: name, ...asked }, reason, report) : report;
    return c.json({ request: describeAsked(asked), ...verdictBody(said) }, 200);
  });
}

/** Whatever the rules say, a client that is suspended gets nothing, and nobody does while the store is lost. */
function refused(denied: DeniedTarget, reason: Reason, { rules }: VerdictReport): VerdictReport {
  return { verdict: "deny", reason, explanation: explainDenial(denied, reason, []), rules };
}

function verdictBody(
  { verdict, reason, place, asks, explanation, rules }: VerdictReport,
): Omit<z.infer<typeof VerdictBody>, "request"> {
  return {
    verdict,
    ...(reason === undefined ? {} : { reason }),
    ...(place === undefined ? {} : { rule: place }),
    ...(asks ? { asks } : {}),
    ...(explanation ? { words: explanation.text } : {}),
    ...(explanation?.command === undefined ? {} : { command: explanation.command }),
    rules: rules.map(({ rule, missed }) => ({ ...ruleBody(rule), missed: [...missed] })),
  };
}
