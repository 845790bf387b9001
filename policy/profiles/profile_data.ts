/**
 * What a profile is: rules for one purpose under a name, in numbered versions. Each file beside this one holds one of them
 * as data, with the public pages that it was made from.
 *
 * A version that was released never changes: policy files pin it, and people have read its rules. Other rules are another
 * version, behind the ones that are there.
 *
 * Not here: which profiles there are, and how they become rules of a client (`../profile.ts`).
 *
 * @module
 */
import type { RuleInput } from "../rule.ts";

/** One purpose. */
export interface Profile {
  /** Lower case, with hyphens. */
  readonly name: string;
  /** What the rules let a client do, and what not; one line, lower case, no full stop. */
  readonly summary: string;
  /** From 1 on, without gaps; the last one is what a name without a version means. */
  readonly versions: readonly ProfileVersion[];
}

/** One version of it. */
export interface ProfileVersion {
  /** Public pages that say which hosts and paths these are. */
  readonly sources: readonly string[];
  /** In the order in which they are tried. */
  readonly rules: readonly ProfileRule[];
}

/** A rule before it has a secret. */
export interface ProfileRule extends Omit<RuleInput, "secret"> {
  /**
   * Absent: it takes none. `may`: it takes the one that is given for its host. `must`: it is left out without one, since
   * its host does as much for whoever brings a credential of their own, in the VM, as for the one that it is meant for.
   */
  readonly secret?: "may" | "must";
}

/** What reads and changes nothing (RFC 9110 §9.2.1). */
export const READING: readonly string[] = ["GET", "HEAD"];
