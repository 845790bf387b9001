/**
 * Rows that are in memory already, as a source of rows.
 *
 * @module
 */
import type { Mutation, Row, RowSource } from "../engine.ts";
import { SEAL_KIND } from "../postgres/reseal.ts";
import { checkKnownFields, RULE_PREFIX } from "../rules.ts";

/** @param rows in key order */
export function sourceOf(rows: readonly Row[]): RowSource {
  return {
    async *rows(prefix) {
      for (const row of rows) if (prefix.every((part, i) => row.key[i] === part)) yield row;
    },
  };
}

/** Refuses rules with words that this version does not know. @throws ProxyError `state.newer` */
export function checkRows(rows: readonly Row[]): void {
  for (const row of rows) if (row.key[0] === RULE_PREFIX[0]) checkKnownFields(row, "of the fleet");
}

/** The id of the seal key that comes into force with a change; undefined when that stays. */
export function switchedKey(mutations: readonly Mutation[]): string | undefined {
  const found = mutations.find(({ key }) => key[0] === SEAL_KIND);
  return found === undefined ? undefined : String(found.value?.keyId);
}

/** Later than the places of all rules that a change puts. */
export function nextPlace(mutations: readonly Mutation[]): number {
  const places = mutations.flatMap(({ key, value }) =>
    key[0] === RULE_PREFIX[0] && value !== undefined ? [Math.floor(Number(key[2])) + 1] : []
  );
  return places.reduce((a, b) => Math.max(a, b), 0);
}
