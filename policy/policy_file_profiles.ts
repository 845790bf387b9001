/**
 * The profiles of a client in a policy file. They name their version, so that a file means the same rules under every
 * version of the program, or is refused by one that does not have it.
 *
 *     profiles:
 *       - npm@1
 *       - { profile: claude-code@1, secrets: [claude], ttl: 8h }
 *
 * Not here: what profiles are (`profile.ts`). A file that is exported has their rules and not their names.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { expandProfile, findPinnedProfile, type PinnedProfile } from "./profile.ts";
import type { RuleSpec } from "./rule.ts";
import { type KnownKeys, located, readText, YamlFields } from "./yaml_fields.ts";
import { type Lifetime, readLifetime } from "./yaml_lifetime.ts";
import type { YamlNode, YamlSource } from "./yaml_tree.ts";

const PROFILE: KnownKeys = {
  what: "a profile",
  required: ["profile"],
  optional: ["secrets", "ttl", "expires"],
};

/**
 * The rules of one item.
 *
 * @param secrets those that the file lists, with the hosts that they are bound to
 * @throws ProxyError `input.invalid` with a place
 */
export function readProfile(
  source: YamlSource,
  item: YamlNode,
  secrets: ReadonlyMap<string, { readonly host: string }>,
): readonly (Lifetime & { readonly spec: RuleSpec })[] {
  const { profile, names, lifetime } = item.kind === "map"
    ? readLong(new YamlFields(source, item, PROFILE), secrets)
    : { profile: readText(source, item, "profiles", findPinnedProfile), names: [], lifetime: {} };
  const given = [...new Set(names)].map((name) => ({ name, host: secrets.get(name)?.host ?? "" }));
  const specs = located(source, item.at, () => expandProfile(profile, given));
  return specs.map((spec) => ({ spec, ...lifetime }));
}

function readLong(
  fields: YamlFields,
  secrets: ReadonlyMap<string, unknown>,
): { readonly profile: PinnedProfile; readonly names: readonly string[]; readonly lifetime: Lifetime } {
  const profile = fields.text("profile", findPinnedProfile) ??
    fields.refuse("profile", "a profile has no name", "write profile: npm@1");
  const names = fields.texts("secrets", (name) => {
    if (secrets.has(name)) return;
    // The name is not shown: somebody may have put the credential itself there.
    throw new ProxyError("input.invalid", "this secret is not listed under the file's secrets", {
      hint: "list it there, with its host and type",
    });
  });
  return { profile, names, lifetime: readLifetime(fields) };
}
