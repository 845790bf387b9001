/**
 * Mutants that were looked at and change nothing that anybody could see, each with the reason. They are listed and not
 * counted. A row is named by the file, the line as it stands there, and what became what; when the line changes, the row no
 * longer fits and the mutant counts again.
 *
 * @module
 */
import type { Mutant } from "./mutants.ts";

interface Equivalent {
  readonly file: string;
  /** The source line, without blanks at its ends. */
  readonly at: string;
  readonly about: string;
  readonly why: string;
}

const EQUIVALENT: readonly Equivalent[] = [];

/** Why a mutant changes nothing, or undefined. */
export function whyEquivalent(mutant: Mutant, source: string): string | undefined {
  const at = source.split("\n")[mutant.line - 1]?.trim();
  return EQUIVALENT.find((each) => each.file === mutant.file && each.at === at && each.about === mutant.about)
    ?.why;
}
