/**
 * Profiles: which there are, the words that name one, and the rules that it becomes.
 *
 * Not here: what each of them says (`profiles/`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import { nearest } from "../core/nearest.ts";
import { APT } from "./profiles/apt.ts";
import { CARGO } from "./profiles/cargo.ts";
import { CLAUDE_CODE } from "./profiles/claude_code.ts";
import { CODEX } from "./profiles/codex.ts";
import { DOCKER_HUB } from "./profiles/docker_hub.ts";
import { GITHUB_READ } from "./profiles/github_read.ts";
import { GO } from "./profiles/go.ts";
import { NPM } from "./profiles/npm.ts";
import { PIP } from "./profiles/pip.ts";
import type { Profile, ProfileVersion } from "./profiles/profile_data.ts";
import { hostWithin, parseRule, type RuleSpec } from "./rule.ts";

/** All of them, by name. */
export const PROFILES: readonly Profile[] = [
  ...[APT, CARGO, CLAUDE_CODE, CODEX, DOCKER_HUB, GITHUB_READ, GO, NPM, PIP],
];

/** A profile in one of its versions. */
export interface PinnedProfile extends ProfileVersion {
  readonly name: string;
  readonly version: number;
  /** `npm@1`. */
  readonly label: string;
  readonly summary: string;
}

/** A secret, as far as it decides which rules get it. */
export interface HostSecret {
  readonly name: string;
  /** The host that it is bound to, canonical. */
  readonly host: string;
}

const REFERENCE = /^([a-z0-9-]{1,64})(?:@([1-9][0-9]{0,5}))?$/;

/** Every version of every profile. */
export function allProfiles(): readonly PinnedProfile[] {
  return PROFILES.flatMap((profile) => profile.versions.map((_, i) => pin(profile, i + 1)));
}

/**
 * The profile that `npm@1` or, in its last version, `npm` names.
 *
 * @throws ProxyError `input.invalid`, with the nearest name or the versions that there are
 */
export function findProfile(text: string): PinnedProfile {
  const [, name = text, version] = REFERENCE.exec(text) ?? [];
  const profile = PROFILES.find((each) => each.name === name);
  if (!profile) {
    const names = PROFILES.map((each) => each.name);
    const meant = nearest(name.split("@")[0] ?? "", names);
    throw new ProxyError(
      "input.invalid",
      `Cannot use ${quoteText(text, 80)} as a profile: there is no such`,
      {
        hint: meant === undefined ? `there are ${names.join(", ")}` : `did you mean ${meant}?`,
      },
    );
  }
  const wanted = version === undefined ? profile.versions.length : Number(version);
  if (wanted > profile.versions.length) {
    throw new ProxyError("input.invalid", `Cannot use profile ${text}: there is no such version`, {
      hint: `there are ${profile.versions.map((_, i) => `${name}@${i + 1}`).join(", ")}`,
    });
  }
  return pin(profile, wanted);
}

/**
 * The same for what has to mean the same for ever, as in a policy file.
 *
 * @throws ProxyError `input.invalid`, also for a name without a version
 */
export function findPinnedProfile(text: string): PinnedProfile {
  const profile = findProfile(text);
  if (profile.label === text) return profile;
  throw new ProxyError("input.invalid", `Cannot use profile ${text} without a version`, {
    hint: `write ${profile.label}, so that it means the same rules after an update`,
  });
}

/**
 * The rules of a profile, in order. A secret goes to the rules that take one at its host; those that must have one and get
 * none are left out.
 *
 * @throws ProxyError `input.invalid` for a secret that no rule takes, two for one rule, and when no rule is left
 */
export function expandProfile(profile: PinnedProfile, secrets: readonly HostSecret[]): readonly RuleSpec[] {
  const used = new Set<string>();
  const rules = profile.rules.flatMap(({ secret: takes, ...input }) => {
    const fitting = takes === undefined ? [] : secrets.filter(({ host }) => hostWithin(input.host, host));
    const [secret, other] = fitting;
    if (secret && other) refuseTwo(profile, input.host, [secret.name, other.name]);
    if (!secret && takes === "must") return [];
    if (secret) used.add(secret.name);
    return [parseRule({ ...input, secret: secret?.name })];
  });
  const unused = secrets.find(({ name }) => !used.has(name));
  if (unused) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use profile ${profile.label} with secret ${unused.name}: no rule of it takes one for ${unused.host}`,
      { hint: hintOfHosts(profile) },
    );
  }
  if (rules.length > 0) return rules;
  throw new ProxyError("input.invalid", `Cannot use profile ${profile.label} without a secret`, {
    hint: hintOfHosts(profile),
  });
}

function pin({ name, summary, versions }: Profile, version: number): PinnedProfile {
  const { sources, rules } = versions[version - 1] ?? { sources: [], rules: [] };
  return { name, version, label: `${name}@${version}`, summary, sources, rules };
}

function refuseTwo({ label }: PinnedProfile, host: string, names: readonly string[]): never {
  throw new ProxyError(
    "input.invalid",
    `Cannot use profile ${label} with secrets ${names.join(" and ")}: both are for ${host}`,
    { hint: "give one of them" },
  );
}

function hintOfHosts({ rules }: PinnedProfile): string {
  const hosts = [...new Set(rules.flatMap(({ host, secret }) => secret === undefined ? [] : [host]))];
  return hosts.length === 0 ? "its rules take none" : `its rules take one for ${hosts.join(" or ")}`;
}
