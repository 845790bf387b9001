/**
 * The bodies of the calls that look at the audit log for rules: suggestions, and the test of a policy file.
 *
 * Not here: what all calls share (`schemas.ts`).
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { describePasses } from "../policy/package_trees.ts";
import { CHANGE_KINDS, type Replay } from "../policy/replay.ts";
import { REASONS } from "../policy/reason.ts";
import type { RuleSpec } from "../policy/rule.ts";
import { wordsOf } from "../policy/rule_words.ts";
import { wordsToJson } from "../policy/rule_words_json.ts";
import type { Proposal, Suggestion } from "../policy/suggest.ts";
import { rfc3339, ruleFields } from "./schemas.ts";
import { flag, since } from "./schemas_audit.ts";
import { policyText } from "./schemas_policy.ts";

const count = z.int().min(0);
const path = z.string().openapi({ description: "As sent, without the query", example: "/v1/models" });

/** The query of `GET /proxy/v1/clients/{name}/suggestions`. */
export const SuggestQuery = z.strictObject({
  since,
  exact: flag.describe(
    "Only the paths that were asked for: no prefixes, and nothing that programs ask for next",
  ),
});

/** A rule that is proposed, and why. */
const ProposalBody = z.strictObject({
  rule: z.strictObject(ruleFields).openapi({
    description: "As `POST /proxy/v1/allows` takes it, less the client",
  }),
  because: z.array(z.strictObject({
    method: z.string(),
    path,
    count,
    last: z.iso.datetime(),
    pattern: z.string().openapi({ description: "Which of the rule's paths lets it through" }),
  }))
    .openapi({ description: "The denied requests that it lets through" }),
  implied: z.array(z.strictObject({
    method: z.string(),
    path: z.string(),
    by: z.string(),
    after: z.string().openapi({ description: "The path of a request that it follows" }),
  }))
    .openapi({ description: "What a well-known program will ask for next, though nobody did yet" }),
  other_secrets: z.array(z.string()).openapi({
    description:
      "Secrets that the client's present rules inject on this host; the proposed rule injects none",
  }),
}).openapi("Proposal");

/** `GET /proxy/v1/clients/{name}/suggestions`. */
export const SuggestionBody = z.strictObject({
  proposals: z.array(ProposalBody),
  skipped: z.array(z.strictObject({
    host: z.string().optional(),
    port: z.int().optional(),
    why: z.string(),
    count,
  })).openapi({ description: "Denials that no proposal helps" }),
  passes: z.array(z.strictObject({
    by: z.string(),
    host: z.string(),
    more: count.optional(),
    words: z.string(),
  })).openapi({
    description:
      "Of programs whose packages depend on others: how many runs it takes at most beyond the next " +
      "one until nothing new is denied; without `more` one for each level of the tree",
  }),
  forgotten: count.openapi({ description: "Denials that were too many to be looked at; the latest were" }),
}).openapi("Suggestion");

/** `POST /proxy/v1/policy/test`. */
export const PolicyTestBody = z.strictObject({
  ...policyText,
  since,
}).openapi("PolicyTestRequest");

/** What would change. */
export const ReplayBody = z.strictObject({
  changes: z.array(z.strictObject({
    kind: z.enum(CHANGE_KINDS),
    client: z.string().optional(),
    method: z.string().optional(),
    host: z.string(),
    port: z.int().optional(),
    path: z.string().optional(),
    reason: z.enum(Object.keys(REASONS) as [keyof typeof REASONS]).optional(),
    from: z.string().optional().openapi({ description: "The secret that was injected" }),
    to: z.string().optional().openapi({ description: "The secret that would be injected" }),
    count,
  })),
  denied: count.openapi({ description: "Was allowed or passed through, would be denied" }),
  inspected: count.openapi({ description: "Was passed through, would be inspected" }),
  passthrough: count.openapi({ description: "Was inspected, would be passed through" }),
  credential: count.openapi({ description: "Would go out with another credential" }),
  allowed: count.openapi({ description: "Was denied, would be allowed" }),
  unchanged: count,
  not_judged: count.openapi({
    description: "Says nothing about rules: bad tokens, malformed requests and the like",
  }),
  unlisted: count.openapi({ description: "Changes beyond those that are listed" }),
}).openapi("PolicyTest");

/** The body of a suggestion. */
export function suggestionBody(
  { proposals, skipped, passes }: Suggestion,
  forgotten: number,
): z.infer<typeof SuggestionBody> {
  return {
    proposals: proposals.map(proposalBody),
    skipped: skipped.map(({ host, port, why, count }) => ({
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
      why,
      count,
    })),
    passes: passes.map((each) => ({ ...each, words: describePasses(each) })),
    forgotten,
  };
}

function proposalBody({ rule, because, implied, otherSecrets }: Proposal): z.infer<typeof ProposalBody> {
  return {
    rule: ruleFieldsOf(rule),
    because: because.map(({ method, path, count, lastMs, pattern }) => ({
      method,
      path,
      count,
      last: rfc3339(lastMs),
      pattern,
    })),
    implied: implied.map(({ method, path, by, after }) => ({ method, path, by, after })),
    other_secrets: [...otherSecrets],
  };
}

/** A rule without any of its limits would be another one: all that it says has to be here. */
function ruleFieldsOf(
  { host, methods, paths, ports, ...more }: RuleSpec,
): z.infer<typeof ProposalBody>["rule"] {
  return {
    host,
    ...(methods.length === 0 ? {} : { methods: [...methods] }),
    ...(paths.length === 0 ? {} : { paths: [...paths] }),
    ...(ports.length === 0 ? {} : { ports: [...ports] }),
    ...wordsToJson(wordsOf(more)),
  };
}

/** The body of a test's result. */
export function replayBody({ changes, notJudged, ...counts }: Replay): z.infer<typeof ReplayBody> {
  return {
    // Absent fields are undefined, which JSON leaves out.
    changes: changes.map((change) => ({ ...change })) as z.infer<typeof ReplayBody>["changes"],
    ...counts,
    not_judged: notJudged,
  };
}
