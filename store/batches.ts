/**
 * Many rows as few commits.
 *
 * @module
 */
import type { CommitBounds, Mutation } from "./engine.ts";

/** As few commits as the database takes, in order. */
export function batchesOf(mutations: readonly Mutation[], bounds: CommitBounds): Mutation[][] {
  const batches: Mutation[][] = [];
  let chars = Infinity;
  for (const mutation of mutations) {
    const own = JSON.stringify(mutation.value ?? "").length;
    chars += own;
    const last = batches.at(-1);
    if (last && last.length < bounds.rows && chars <= bounds.chars) {
      last.push(mutation);
      continue;
    }
    batches.push([mutation]);
    chars = own;
  }
  return batches;
}
