/**
 * Placeholders that no secret has replaced: found where they would go upstream, and refused.
 *
 * Not here: what a placeholder is (`policy/placeholder.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { hasPlaceholder } from "../../policy/placeholder.ts";
import type { Rule } from "../../policy/rule.ts";
import type { HeaderField } from "../message/fields.ts";

/**
 * Where a placeholder (`policy/placeholder.ts`) would go upstream: the first field that holds one, or the request target.
 *
 * @returns in words; undefined when there is none
 */
export function findPlaceholder(
  { fields, target }: { readonly fields: readonly HeaderField[]; readonly target: string },
): string | undefined {
  const field = fields.find(({ value }) => hasPlaceholder(value));
  if (field) return `the header ${field.name.slice(0, 64)}`;
  return hasPlaceholder(target) ? "the URL" : undefined;
}

/** The VM sent a placeholder that its rule has no credential for: the upstream would only say 401. */
export function unreplaced(place: string, { host, secret, client }: Rule): ProxyError {
  const why = secret === undefined ? "the rule names no secret" : `the secret "${secret}" does not go there`;
  return new ProxyError(
    "policy.placeholder",
    `Cannot forward the request of ${client} under its rule for ${host}: ${place} holds a placeholder, and ${why}`,
    { reason: "placeholder" },
  );
}
