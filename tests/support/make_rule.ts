/**
 * Rules for tests, read by the same strict reader as everyone's.
 *
 * @module
 */
import { parseRule, type Rule, type RuleInput } from "../../policy/rule.ts";

/** A stored rule of client `ci-1`; `id` makes it distinct. */
export function makeRule(id: string, input: RuleInput): Rule {
  return { ...parseRule(input), id, client: "ci-1" };
}
