/**
 * The bodies of calls about profiles.
 *
 * Not here: what profiles say (`policy/profile.ts`).
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_DURATION_MS } from "../core/duration.ts";
import type { PinnedProfile } from "../policy/profile.ts";
import { parseRule } from "../policy/rule.ts";
import { RuleBody, ruleFieldsBody } from "./schemas.ts";

const label = z.string().openapi({ description: "Name and version", example: "npm@1" });

/** A version of a profile in a list. */
export const ProfileBody = z.strictObject({
  profile: label,
  name: z.string().openapi({ example: "npm" }),
  version: z.int().min(1),
  summary: z.string().openapi({ description: "What its rules let a client do, and what not" }),
  sources: z.array(z.string()).openapi({ description: "Public pages that it was made from" }),
  rules: z.array(RuleBody.extend({
    takes_secret: z.enum(["may", "must"]).optional().openapi({
      description: "`must`: the rule is left out when no secret for its host is given",
    }),
  })).openapi({ description: "In the order in which they are tried" }),
}).openapi("Profile");

/** `POST /proxy/v1/allows/profile`. */
export const AddProfileBody = z.strictObject({
  client: z.string().min(1).openapi({ example: "ci-1" }),
  profile: z.string().min(1).max(128).openapi({
    description: "`npm@1`, or `npm` for its last version",
    example: "npm@1",
  }),
  secrets: z.array(z.string().min(1)).max(16).optional().openapi({
    description: "Each goes to the rules that take one at the host that it is bound to",
  }),
  ttl_seconds: z.int().min(0).max(MAX_DURATION_MS / 1_000).optional().openapi({
    description: "Seconds that the rules live; 0, or nothing, for ever",
  }),
  before: z.int().min(1).optional().openapi({
    description: "The place, from 1, of the rule before which they are put; behind all when left out",
  }),
  dry_run: z.boolean().optional().openapi({ description: "Only say what would be added" }),
}).openapi("AddProfileRequest");

/** What was added, or would be. */
export const AddedBody = z.strictObject({
  profile: label,
  rules: z.array(RuleBody),
}).openapi("AddedProfile");

/** The body of a profile in a list. */
export function profileBody(
  { label: profile, name, version, summary, sources, rules }: PinnedProfile,
): z.infer<typeof ProfileBody> {
  return {
    profile,
    ...{ name, version, summary, sources: [...sources] },
    rules: rules.map(({ secret, ...input }) => ({
      ...ruleFieldsBody(parseRule(input), undefined),
      ...(secret === undefined ? {} : { takes_secret: secret }),
    })),
  };
}
